"""Answers with a type: asked for by a schema, read into real values, streamed as they grow."""

from ._errors import (
    Shortfall as Shortfall,
    StructuredOutputError as StructuredOutputError,
)
from ._expected import Expected as Expected, SchemaVia as SchemaVia
from ._form import (
    Form as Form,
    FormOptions as FormOptions,
    TypedRequestOptions as TypedRequestOptions,
)
from ._object_stream import Answer as Answer, ObjectStream as ObjectStream
from ._partial_json import InvalidJSON as InvalidJSON, PartialJSON as PartialJSON
from ._typed_response import (
    TypedResponse as TypedResponse,
    check_repair as check_repair,
    complete_typed as complete_typed,
)
