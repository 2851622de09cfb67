"""What Gemini said goes back to it as it came (S9)."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.providers.google import encode_request
from aichat.types import (
    ChatRequest,
    Message,
    ToolCallPart,
    from_json,
    loads_exact,
    to_json,
    tool_result,
    user,
)

from .google_sdk import complaints
from .google_streams import recording, response


def sent_back(message: Message, model: str = "gemini-3.8-flash") -> list[Any]:
    """The parts that *message* becomes in the next request."""
    results = [tool_result(call, "done") for call in message.tool_calls]
    conversation = [user("Go on."), message, *results]
    request = ChatRequest(conversation, model, prefill=not results)
    body = encode_request(request).body
    assert complaints(body) == []
    parts: list[Any] = body["contents"][1]["parts"]
    return parts


def came(name: str) -> list[Any]:
    """The parts of a recording, one by one."""
    events = recording(name).decode().split("\r\n\r\n")
    values = [loads_exact(e.removeprefix("data: ")) for e in events if e]
    return [
        part
        for value in values
        for candidate in value.get("candidates", ())
        for part in candidate.get("content", {}).get("parts", ())
    ]


@pytest.mark.parametrize(
    "name",
    ["thinking_and_tools.sse", "signed_text.sse", "search.sse", "code_execution.sse"],
)
def test_every_signature_is_on_its_part(name: str) -> None:
    """Byte for byte, beside the very data that it came with, in order."""
    signed = [p for p in came(name) if "thoughtSignature" in p]
    # An empty text may be left out by them, not by us.
    signed = [{"text": "", **p} if len(p) == 1 else p for p in signed]
    back = sent_back(response(name).message)
    assert [p for p in back if "thoughtSignature" in p] == signed


def test_calls_and_their_ids() -> None:
    """An id goes back if it came from there, and only then."""
    message = response("thinking_and_tools.sse").message
    text, zurich, rome, now = sent_back(message)
    assert text == {"text": "Checking."}
    assert zurich["functionCall"]["id"] == "a1"
    assert rome == {
        "functionCall": {"id": "a2", "name": "get_weather", "args": {"city": "Rome"}}
    }
    assert now == {"functionCall": {"name": "now", "args": {}}}


def test_pictures() -> None:
    """A picture that was drawn may be changed in the next turn; its draft stays away."""
    parts = sent_back(response("picture.sse").message)
    assert parts[:2] == came("picture.sse")[1:3]
    assert len(parts) == 5


def test_nothing_of_it_is_lost_in_a_file() -> None:
    """Written down and read again, it goes back the same."""
    message = response("thinking_and_tools.sse").message
    again = from_json(Message, to_json(message))
    assert sent_back(again) == sent_back(message)


def test_another_model_gets_words_and_calls() -> None:
    """The rest is not for it; where it wants a signature, Google has a word for it."""
    message = response("thinking_and_tools.sse").message
    parts = sent_back(message, "gemini-4-argon")
    assert [p.get("thoughtSignature") for p in parts] == [
        None,
        "skip_thought_signature_validator",
        None,
        None,
    ]
    assert all("id" not in p.get("functionCall", {}) for p in parts)


def test_made_up_ids_stay_here() -> None:
    """They tell calls apart for us, and mean nothing to Google."""
    *_, now = response("thinking_and_tools.sse").message.content
    assert isinstance(now, ToolCallPart)
    assert now.provider_state is None
