"""
Anthropic's models, with what fits into them.

See: https://platform.claude.com/docs/en/api/models-list
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import ProtocolError
from ..transport import HTTPRequest
from ..types import ModelInfo
from ._anthropic_fields import text_or_none
from ._asking import items_in, number_in, object_of
from ._listing import ListingAPI

__all__ = ["LISTING"]


def decode_models(value: Any) -> Iterator[ModelInfo]:
    """The models on a page, newest first."""
    for item in items_in(object_of(value, "list of models"), "data"):
        model = object_of(item, "list of models")
        name = text_or_none(model.get("id"))
        if not name:
            raise ProtocolError("There is a model without an id.")
        yield ModelInfo(
            name,
            title=text_or_none(model.get("display_name")),
            created_at=_epoch(model.get("created_at")),
            context_length=number_in(model, "max_input_tokens"),
            max_output_tokens=number_in(model, "max_tokens"),
            raw=model,
        )


def following(value: Any) -> dict[str, str] | None:
    """Where the next page begins."""
    page = object_of(value, "list of models")
    last = page.get("last_id")
    return {"after_id": str(last)} if page.get("has_more") and last else None


def _epoch(value: Any) -> float | None:
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    # Models of unknown age were made in 1970.
    return time.timestamp() or None


LISTING: Final = ListingAPI(
    request=HTTPRequest("/v1/models", method="GET", query={"limit": "1000"}),
    decode=decode_models,
    following=following,
)
