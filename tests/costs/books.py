"""A model with round prices, and what it has answered."""

from __future__ import annotations

from typing import Any, Final

from aichat.costs import Price, PriceBook
from aichat.types import ChatRequest, ChatResponse, Message, Role, TextPart, Usage

__all__ = ["ASK", "BOOK", "PRICE", "USAGE", "response"]

ASK: Final = ChatRequest("How much is it?", "fake:m")
#: A dollar for each token that is sent, and ten for each that comes back.
PRICE: Final = Price(1_000_000, 10_000_000, cache_read=100_000)
BOOK: Final = PriceBook({"fake:m": PRICE}, table=None)
USAGE: Final = Usage(input_tokens=5, output_tokens=2)


def response(usage: Usage = USAGE, text: str = "", **fields: Any) -> ChatResponse:
    message = Message(Role.ASSISTANT, (TextPart(text),) if text else ())
    return ChatResponse(
        message=message, usage=usage, **{"provider": "fake", "model": "m"} | fields
    )
