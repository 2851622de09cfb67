"""
The models that an Ollama has installed.

See: https://docs.ollama.com/api/tags
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import ModelInfo
from ._asking import items_in, number_in, object_of
from ._listing import ListingAPI
from ._ollama_fields import text_or_none

__all__ = ["LISTING"]


def decode_models(value: Any) -> Iterator[ModelInfo]:
    """The models; what fits into one is known to the newest servers only."""
    for item in items_in(object_of(value, "list of models"), "models"):
        model = object_of(item, "list of models")
        # The first releases knew only the second one.
        name = text_or_none(model.get("model")) or text_or_none(model.get("name"))
        if name is None:
            raise ProtocolError("There is a model without a name.")
        context = number_in(model, "details.context_length")
        yield ModelInfo(name, context_length=context, raw=model)


LISTING: Final = ListingAPI(
    request=HTTPRequest("/api/tags", method="GET"), decode=decode_models
)
