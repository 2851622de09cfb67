"""Answers with a type: asked for by a schema, read into real values, streamed as they grow."""

from ._errors import (
    Shortfall as Shortfall,
    StructuredOutputError as StructuredOutputError,
)
from ._expected import Expected as Expected, SchemaVia as SchemaVia
from ._object_stream import Answer as Answer, ObjectStream as ObjectStream
from ._partial_json import InvalidJSON as InvalidJSON, PartialJSON as PartialJSON
from ._typed_response import (
    TypedResponse as TypedResponse,
    complete_typed as complete_typed,
)
