"""Lines that ask for something, in our form and in OpenAI's, and what comes out."""

from __future__ import annotations

import base64
from decimal import Decimal
from pathlib import Path
from typing import Any

import openai.types.chat as openai_chat
import openai.types.responses as openai_responses
import pytest
from hypothesis import given, strategies as st

from aichat.bulk._lines import (
    BadLine,
    Form,
    Line,
    as_failure,
    as_output,
    error_facts,
    name_of,
    raw_lines,
    read_line,
)
from aichat.errors import InvalidRequestError, RateLimitError, StreamInterruptedError
from aichat.middleware import CallCost
from aichat.testing import reply, tool_call
from aichat.types import (
    AudioPart,
    ChatRequest,
    ChatResponse,
    DocumentPart,
    FinishReason,
    ImagePart,
    Message,
    RefusalPart,
    ResponseFormat,
    Role,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    Usage,
    assistant,
    dumps,
    fold,
    from_json,
    loads,
    system,
    to_json,
    tool_result,
    user,
)


def _address(model: str) -> str:
    return model if model.startswith(("openai:", "other:")) else f"openai:{model}"


def _read(value: Any) -> Line:
    raw = value if isinstance(value, bytes) else dumps(value)
    line = read_line(7, raw, _address)
    assert isinstance(line, Line), line
    return line


def _refused(value: Any) -> str:
    raw = value if isinstance(value, bytes) else dumps(value)
    line = read_line(7, raw, _address)
    assert isinstance(line, BadLine), line
    assert line.error.message.startswith("Line 7: ")
    return line.error.message


def _chat(**body: Any) -> ChatRequest:
    body = {"model": "gpt-5.1", "messages": [{"role": "user", "content": "Hi"}]} | body
    url = "/v1/chat/completions"
    line = _read({"custom_id": "a", "method": "POST", "url": url, "body": body})
    assert line.form is Form.CHAT
    return line.request


def _responses(**body: Any) -> ChatRequest:
    body = {"model": "gpt-5.1", "input": "Hi"} | body
    line = _read({"custom_id": "a", "url": "/v1/responses", "body": body})
    assert line.form is Form.RESPONSES
    return line.request


# -- ours ------------------------------------------------------------------------------


def test_a_request_as_to_json_writes_it() -> None:
    """Comes back as it was, whatever is in it."""
    weather = Tool("weather", "Tells it.", {"type": "object", "properties": {}})
    request = ChatRequest(
        [
            system("Be brief."),
            user("What is this?", ImagePart(data=b"\x89PNG\r\n\x1a\n")),
            assistant(tool_call("weather", "c1", city="Paris")),
            tool_result("c1", "Rain."),
        ],
        "openai:gpt-5.1",
        temperature=0.5,
        tools=[weather],
        tool_choice="required",
        response_format={"type": "object"},
        stop="END",
        deadlines=30,
        provider_options={"openai": {"n": 12345678901234567890123}},
    )
    line = _read(_with_id(request))
    assert line.request == request
    assert (line.number, line.id, line.form) == (7, "a", Form.OURS)


def _with_id(request: ChatRequest) -> bytes:
    return b'{"id":"a",' + to_json(request)[1:]


@given(st.text(min_size=1), st.floats(0, 2), st.lists(st.text(min_size=1), max_size=3))
def test_any_text_comes_back(prompt: str, temperature: float, stop: list[str]) -> None:
    """Also as a plain prompt or a plain content."""
    try:
        request = ChatRequest(prompt, "openai:m", temperature=temperature, stop=stop)
    except InvalidRequestError:
        return  # of blanks, or the like
    given = {"model": "m", "temperature": temperature, "stop": stop}
    messages = [{"role": "user", "content": prompt}]
    assert _read(_with_id(request)).request == request
    assert _read({"id": "a", "prompt": prompt, **given}).request == request
    assert _read({"id": "a", "messages": messages, **given}).request == request


def test_what_one_may_write_for_short() -> None:
    """As with the arguments of `complete`."""
    tools = [{"name": "weather"}]
    request = _read({
        "id": "a",
        "prompt": "Hi",
        "stop": "END",
        "tool_choice": "none",
        "response_format": "json",
        "tools": tools,
        "seed": None,
    }).request
    assert request.stop == ("END",)
    assert request.tool_choice == ToolChoice("none")
    assert request.response_format == ResponseFormat("json")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b"nonsense", "not JSON, at character 1"),
        (b'"text"', "must be a JSON object"),
        (b'{"id": "a", "prompt": "\xff"}', "not JSON"),
        ({"prompt": "Hi"}, "id must be a text"),
        ({"id": "", "prompt": "Hi"}, "id must be a text"),
        ({"id": 1, "prompt": "Hi"}, "id must be a text"),
        ({"id": "a"}, "no prompt"),
        ({"id": "a", "prompt": 1}, "prompt must be a text"),
        ({"id": "a", "prompt": "Hi", "messages": []}, "give one of them"),
        ({"id": "a", "messages": "Hi"}, "messages is no list"),
        ({"id": "a", "messages": []}, "message"),
        ({"id": "a", "messages": ["Hi"]}, ""),
        ({"id": "a", "messages": [{"role": "king", "content": "Hi"}]}, "king"),
        ({"id": "a", "messages": [{"rolle": "user"}]}, "Did you mean 'role'?"),
        ({"id": "a", "prompt": "Hi", "temprature": 1}, "Did you mean 'temperature'?"),
        ({"id": "a", "prompt": "Hi", "temperature": 3}, "temperature"),
        ({"id": "a", "prompt": "Hi", "temperature": "hot"}, "temperature"),
        ({"id": "a", "prompt": "Hi", "model": 1}, "model"),
        ({"custom_id": ""}, "custom_id must be a text"),
        ({"custom_id": "a", "method": "GET"}, "method must be POST"),
        ({"custom_id": "a", "url": "/v1/chat/completions"}, "body must be an object"),
        ({"custom_id": "a", "body": {"model": 1}}, "body.model must be a text"),
        ({"custom_id": "a", "url": "/v1/embeddings", "body": {}}, "url must be"),
        ({"custom_id": "a", "prompt": "Hi"}, "no field 'prompt'"),
    ],
)
def test_lines_that_are_no_requests(value: Any, says: str) -> None:
    """Each says what is wrong and where. (G4)"""
    assert says in _refused(value)


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    """Is one mistake, and those behind it are read. (I1)"""
    path = tmp_path / "in"
    long = b"x" * (130 * 2**20)
    path.write_bytes(b"\xef\xbb\xbf{}\n\n" + long + b"\n  {1}  \n{2}")
    found = list(raw_lines(path))
    assert [(number, raw[:3]) for number, raw in found] == [
        (1, b"{}"),
        (3, b"xxx"),
        (4, b"{1}"),
        (5, b"{2}"),
    ]
    assert "longer than" in _refused(found[1][1])


def test_the_name_of_a_line() -> None:
    """Is found without a look at the rest."""
    assert name_of(b'{"id": "a", "more": 1}') == ("a", Form.OURS, "")
    assert name_of(b'{"id": "a", "model": "x:y"}') == ("a", Form.OURS, "x:y")
    assert name_of(b'{"id": "a", "model": 1}') == ("a", Form.OURS, "")
    chat = {"custom_id": "b", "url": "/v1/chat/completions", "body": {"model": "m"}}
    assert name_of(dumps(chat)) == ("b", Form.CHAT, "m")
    raw = b'{"custom_id": "c", "url": "/v1/responses", "body": 3, "model": "x"}'
    assert name_of(raw) == ("c", Form.RESPONSES, "")
    for raw in (b"nonsense", b"[]", b"{}", b'{"id": 1}', b'{"id": ""}'):
        assert name_of(raw) is None


# -- OpenAI's --------------------------------------------------------------------------


def test_a_chat_completion_with_everything() -> None:
    """Each field becomes ours; what we have no field for goes to the provider as it is."""
    png = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
    function = {"name": "weather", "description": "Tells it.", "strict": True}
    call = {"name": "weather", "arguments": '{"city": "Paris"}'}
    request = _chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "name": "Ann",
                "content": [
                    {"type": "text", "text": "Look:"},
                    {
                        "type": "image_url",
                        "image_url": {"url": "https://x/y", "detail": "low"},
                    },
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{png}"},
                    },
                    {
                        "type": "input_audio",
                        "input_audio": {"data": png, "format": "mp3"},
                    },
                    {"type": "file", "file": {"file_id": "file-1"}},
                    {
                        "type": "file",
                        "file": {
                            "file_data": f"data:application/pdf;base64,{png}",
                            "filename": "a.pdf",
                        },
                    },
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": call}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "Rain."},
        ],
        max_completion_tokens=50,
        temperature=0,
        stop=["END"],
        tools=[{"type": "function", "function": function}],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "w", "schema": {"type": "object"}, "strict": True},
        },
        prompt_cache_key="k",
        stream=False,
        seed=None,
        safety_identifier="s",
    )
    data = b"\x89PNG\r\n\x1a\n"
    assert request == ChatRequest(
        [
            system("Be brief."),
            user(
                "Look:",
                ImagePart(url="https://x/y", detail="low"),
                ImagePart(data=data, media_type="image/png"),
                AudioPart(data=data, media_type="audio/mpeg"),
                DocumentPart(file_id="file-1"),
                DocumentPart(data=data, media_type="application/pdf", name="a.pdf"),
                name="Ann",
            ),
            assistant(ToolCallPart("c1", "weather", '{"city": "Paris"}')),
            tool_result("c1", "Rain."),
        ],
        "openai:gpt-5.1",
        max_tokens=50,
        temperature=0,
        stop="END",
        tools=[Tool("weather", "Tells it.", strict=True)],
        tool_choice=ToolChoice("required", "weather"),
        response_format=ResponseFormat(
            "json_schema", {"type": "object"}, name="w", strict=True
        ),
        cache_key="k",
        provider_options={"openai": {"safety_identifier": "s"}},
    )


def test_more_of_chat_completions() -> None:
    """Tools that only OpenAI has, a refusal, a custom call, a message to go on with."""
    custom = [{"type": "custom", "custom": {"name": "sql"}}]
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    request = _chat(tools=custom, tool_choice=choice)
    assert request.provider_options == {
        "openai": {"tools": custom, "tool_choice": choice}
    }
    for form, ours in (("text", "text"), ("json_object", "json")):
        found = _chat(response_format={"type": form}).response_format
        assert found == ResponseFormat(ours)  # type: ignore[arg-type]  # both are
    call = {"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "SELECT"}}
    said = [{"type": "refusal", "refusal": "No."}]
    request = _chat(
        messages=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": said, "refusal": "Never."},
            {"role": "user", "content": "Please."},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": "1"},
            {"role": "assistant", "content": "So"},
        ]
    )
    assert request.prefill
    assert request.messages[1] == assistant(RefusalPart("No."), RefusalPart("Never."))
    assert request.messages[3].tool_calls[0].kind == "custom"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": "Hi"}, "messages must be a list"),
        ({"messages": ["Hi"]}, "messages[0] must be an object"),
        ({"messages": [{"role": "king"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "Hi", "mood": 1}]}, "mood"),
        ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, "audio"),
        ({"messages": [{"role": "user", "content": [{"type": "x"}]}]}, "no part"),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "no tool call"),
        ({"messages": [{"role": "assistant", "tool_calls": 1}]}, "not well-formed"),
        ({"stream": True}, "stream"),
        ({"tools": {}}, "tools must be a list"),
        ({"tools": ["x"]}, "tools[0] is no tool"),
        ({"response_format": {"type": "x"}}, "response_format"),
        ({"n": 2}, "n=2"),
        ({"temperature": 9}, "temperature"),
    ],
)
def test_bodies_of_chat_completions_that_cannot_be(body: Any, says: str) -> None:
    """Nothing is left out in silence. (G5)"""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | body
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": body}
    assert says in _refused(line)


@pytest.mark.parametrize(
    "url", ["data:image/png,abc", "data:image/png;base64,!!!", "data:nothing"]
)
def test_data_that_is_none(url: str) -> None:
    """Says so."""
    part = {"type": "image_url", "image_url": {"url": url}}
    body = {"messages": [{"role": "user", "content": [part]}]}
    line = {"custom_id": "a", "url": "/v1/chat/completions", "body": body}
    assert "base64" in _refused(line)


def test_a_request_of_responses_with_everything() -> None:
    """Instructions, items, calls and what they gave, and the options."""
    request = _responses(
        instructions="Be brief.",
        input=[
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look:"},
                    {"type": "input_image", "image_url": "https://x/y"},
                    {"type": "input_image", "file_id": "file-1", "detail": "low"},
                    {"type": "input_file", "file_id": "file-2"},
                    {"type": "input_file", "file_url": "https://x/z"},
                    {
                        "type": "input_file",
                        "file_data": "data:application/pdf;base64,AAAA",
                    },
                ],
            },
            {"role": "assistant", "content": [{"type": "output_text", "text": "Hm."}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "c2", "name": "g", "input": "x"},
            {"type": "function_call_output", "call_id": "c1", "output": "1"},
            {"type": "custom_tool_call_output", "call_id": "c2", "output": "2"},
            {"type": "message", "role": "developer", "content": "Now."},
            {"role": "user", "content": "Go on."},
        ],
        max_output_tokens=20,
        tools=[{"type": "function", "name": "f", "parameters": {"type": "object"}}],
        tool_choice={"type": "function", "name": "f"},
        text={"format": {"type": "json_object"}, "verbosity": "low"},
        reasoning={"effort": "low"},
        include=["reasoning.encrypted_content"],
        stream=False,
        user=None,
    )
    assert [str(m.role) for m in request.messages] == [
        "system", "user", "assistant", "tool", "tool", "system", "user",
    ]  # fmt: skip
    assert len(request.messages[2].content) == 3
    assert request.max_tokens == 20
    assert (request.verbosity, request.reasoning_effort) == ("low", "low")
    assert request.response_format == ResponseFormat("json")
    assert request.tool_choice == ToolChoice("required", "f")
    assert request.provider_options == {
        "openai": {"include": ["reasoning.encrypted_content"]}
    }


def test_more_of_responses() -> None:
    """What has another shape goes to the provider; a conversation may end with a call."""
    hosted = [{"type": "web_search"}]
    reasoning = {"effort": "low", "summary": "auto"}
    choice = {"type": "web_search"}
    request = _responses(
        tools=hosted, reasoning=reasoning, tool_choice=choice, text={"odd": 1}
    )
    assert request.provider_options == {
        "openai": {
            "tools": hosted,
            "reasoning": reasoning,
            "tool_choice": choice,
            "text": {"odd": 1},
        }
    }
    schema = {"type": "json_schema", "name": "w", "schema": {"type": "object"}}
    assert _responses(text={"format": schema}).response_format == ResponseFormat(
        "json_schema", {"type": "object"}, name="w"
    )
    plain = _responses(text={"format": {"type": "text"}}, tool_choice="auto")
    assert plain.response_format == ResponseFormat("text")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"input": None}, "input must be"),
        ({"input": ["Hi"]}, "input[0] is no item"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "reasoning"),
        ({"input": [{"role": "user", "content": 1}]}, "must be a text or a list"),
        ({"input": [{"role": "user", "content": [{"type": "x"}]}]}, "no part"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, ""),
        ({"input": [{"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}]},
         "Message 0"),
        ({"stream": True}, "stream"),
        ({"text": {"format": {"type": "x"}}}, "text.format"),
    ],
)  # fmt: skip
def test_bodies_of_responses_that_cannot_be(body: Any, says: str) -> None:
    """Nothing is left out in silence. (G5)"""
    body = {"model": "m", "input": "Hi"} | body
    assert says in _refused({"custom_id": "a", "url": "/v1/responses", "body": body})


# -- what comes out --------------------------------------------------------------------

_ANSWERS = [
    fold(reply("Hello!", usage=Usage(input_tokens=3, output_tokens=2), model="m")),
    fold(reply("Hm.", reasoning="Well …", tool_calls=[tool_call("f", "c1", x=1)])),
    ChatResponse(
        message=Message(Role.ASSISTANT, [RefusalPart("No."), TextPart("Sorry.")]),
        finish_reason=FinishReason.CONTENT_FILTER,
        id="r1",
        created_at=1700000000.5,
    ),
    ChatResponse(
        message=assistant(ToolCallPart("c1", "sql", "SELECT", kind="custom")),
        finish_reason=FinishReason.TOOL_CALLS,
    ),
    ChatResponse(
        message=assistant(ImagePart(url="https://x/y"), "Cut"),
        finish_reason=FinishReason.LENGTH,
    ),
]
_COST = CallCost(by_kind={"input": Decimal(1)}, priced_as="m", estimated=True)


@pytest.mark.parametrize("response", _ANSWERS)
def test_our_form_holds_the_whole_response(response: ChatResponse) -> None:
    """`from_json` reads it back."""
    line = as_output("a", Form.OURS, response, None)
    value = loads(line)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert from_json(ChatResponse, dumps(value["response"])) == response
    assert value["usage"]["input_tokens"] == response.usage.input_tokens
    assert (value["id"], value["cost"]) == ("a", None)


@pytest.mark.parametrize("response", _ANSWERS)
def test_openais_form_is_read_by_openais_sdk(response: ChatResponse) -> None:
    """With their own classes."""
    value = loads(as_output("a", Form.CHAT, response, _COST))
    assert (value["custom_id"], value["error"]) == ("a", None)
    assert value["response"]["status_code"] == 200
    assert value["cost"] == {"total": "1", "currency": "USD", "estimated": True}
    completion = openai_chat.ChatCompletion.construct(**value["response"]["body"])
    assert (completion.choices[0].message.content or "") == response.text
    calls = completion.choices[0].message.tool_calls or []
    assert [call.id for call in calls] == [c.id for c in response.tool_calls]
    value = loads(as_output("a", Form.RESPONSES, response, None))
    assert "cost" not in value
    answer = openai_responses.Response.construct(**value["response"]["body"])
    assert answer.output_text == response.text
    cut = response.finish_reason in (FinishReason.LENGTH, FinishReason.CONTENT_FILTER)
    assert answer.status == ("incomplete" if cut else "completed")


def test_a_failure_can_be_read_again() -> None:
    """It is the line that it was, with an error in it."""
    raw = dumps({"id": "a", "prompt": "Hi"})
    error = RateLimitError("Slow.", status=429, retry_after=3, attempts=2)
    line = as_failure(raw, error_facts(error), 7)
    assert loads(line)["error"] == {
        "type": "RateLimitError",
        "code": "rate_limit",
        "message": "[429]: Slow.",
        "status": 429,
        "attempts": 2,
        "retry_after": 3,
    }
    assert _read(line.strip()).request == _read(raw).request
    again = as_failure(line.strip(), {"type": "Other"}, 7)
    assert loads(again)["error"] == {"type": "Other"}
    batch = {"custom_id": "a", "url": "/v1/responses", "body": {"input": "Hi"}}
    assert _read(as_failure(dumps(batch), {}, 7).strip()).id == "a"


def test_what_was_paid_for_is_in_the_failure() -> None:
    """An answer that broke keeps what had come of it."""
    error = StreamInterruptedError("Cut.", partial=fold(reply("So far")))
    assert error_facts(error)["partial"]["message"]["role"] == "assistant"
    assert "partial" not in error_facts(StreamInterruptedError("Cut."))
    assert error_facts(ValueError("x")) == {"type": "ValueError", "message": "x"}


def test_a_failure_that_was_not_json() -> None:
    """Keeps the text."""
    value = loads(as_failure(b"nonsense \xff", {"type": "X"}, 7))
    assert value == {"line": 7, "raw": "nonsense �", "error": {"type": "X"}}
