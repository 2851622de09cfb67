"""
Gemini's count of tokens, at the Gemini API and at Vertex AI.

See: https://ai.google.dev/api/tokens
"""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from ..transport import HTTPRequest
from ._counting import CountingAPI, count_in

__all__ = ["COUNTING", "VERTEX_COUNTING"]

#: What only matters for the answer, or for the books.
_WITHOUT: Final = ("labels", "serviceTier", "store", "safetySettings")


def encode_at_gemini(chat: HTTPRequest) -> HTTPRequest:
    """
    Ask what *chat* would count.

    As a whole request: with nothing but ``contents``, system messages and tools would be
    refused.
    """
    model = chat.path.rpartition(":")[0].removeprefix("/")
    whole = {"model": model, **_prompt(chat)}
    return evolve(
        chat, path=_path(chat), query={}, body={"generateContentRequest": whole}
    )


def encode_at_vertex(chat: HTTPRequest) -> HTTPRequest:
    """Ask what *chat* would count."""
    body = _prompt(chat)
    # It is about the answer, except that a form may count.
    body.pop("toolConfig", None)
    return evolve(chat, path=_path(chat), query={}, body=body)


def _prompt(chat: HTTPRequest) -> dict[str, Any]:
    return {key: value for key, value in chat.body.items() if key not in _WITHOUT}


def _path(chat: HTTPRequest) -> str:
    return f"{chat.path.rpartition(':')[0]}:countTokens"


def _decode(value: Any) -> Any:
    return count_in(value, "totalTokens")


COUNTING: Final = CountingAPI(encode=encode_at_gemini, decode=_decode)
VERTEX_COUNTING: Final = CountingAPI(encode=encode_at_vertex, decode=_decode)
