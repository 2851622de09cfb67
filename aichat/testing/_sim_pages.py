"""Long lists, page by page, as the vendors cut them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ._sim_dialect import Refused

__all__ = ["page", "token_page"]

Item = dict[str, Any]


def page(items: Sequence[Item], query: Mapping[str, str], *, size: int) -> Item:
    """
    The page that *query* asks for by the ids of its neighbours.

    OpenAI says ``after``, Anthropic ``after_id`` and ``before_id``; both say ``limit``.
    """
    ids = [item["id"] for item in items]
    limit = _size(query.get("limit"), "limit", size)
    before = query.get("before_id")
    after = query.get("after_id") or query.get("after")
    if before is not None:
        end = _find(ids, before)
        start = max(end - limit, 0)
        more = start > 0
    else:
        start = 0 if after is None else _find(ids, after) + 1
        end = start + limit
        more = end < len(items)
    shown = items[start:end]
    return {
        "data": list(shown),
        "has_more": more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def token_page(name: str, items: Sequence[Item], query: Mapping[str, str]) -> Item:
    """The page that *query* asks for by Google's token, in a field called *name*."""
    size = _size(query.get("pageSize"), "pageSize", 50)
    token = query.get("pageToken") or "0"
    if not token.isdecimal():
        raise Refused("Invalid page token.", param="pageToken")
    start, end = int(token), int(token) + size
    shown: Item = {name: list(items[start:end])}
    return shown | {"nextPageToken": str(end)} if end < len(items) else shown


def _size(text: str | None, name: str, usual: int) -> int:
    if text is None:
        return usual
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise Refused(f"{name}: Input should be between 1 and 1000", param=name)
    return int(text)


def _find(ids: Sequence[str], id: str) -> int:
    if id not in ids:
        raise Refused(f"There is no {id!r} to go on from.", status=404)
    return ids.index(id)
