"""What the simulator refuses, as the real servers would; and what it understands."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.testing._sim_anthropic import ANTHROPIC
from aichat.testing._sim_brain import Answer, Question
from aichat.testing._sim_dialect import Exchange, Refused
from aichat.testing._sim_openai_chat import OPENAI_CHAT

HI: dict[str, Any] = {"role": "user", "content": "Hi"}
VERSION = {"anthropic-version": "2023-06-01"}


def read(body: dict[str, Any]) -> Question:
    return OPENAI_CHAT.read({"model": "m", "messages": [HI], **body}, {})


def read_messages(body: dict[str, Any], version: str = "2023-06-01") -> Question:
    base = {"model": "m", "max_tokens": 2000, "messages": [HI]}
    return ANTHROPIC.read({**base, **body}, {"anthropic-version": version})


# -- Chat Completions ------------------------------------------------------------------

FUNCTION = {"type": "function", "function": {"name": "f"}}


def call(id: str = "a", arguments: Any = "{}") -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"id": id, "type": "function", "function": function}


def called(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def result(id: str = "a") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "18"}


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        ({"model": None}, None, "must provide a model"),
        ({"messages": None}, "messages", "Missing required parameter"),
        ({"messages": []}, "messages", "minimum length 1"),
        ({"messages": "Hi"}, "messages", "expected an array"),
        ({"messages": [{"role": "robot"}]}, "messages[0].role", "'robot'"),
        ({"messages": ["Hi"]}, "messages[0].role", "Supported values"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "got null"),
        ({"messages": [HI, {"role": "assistant"}]}, "messages[1].content", "got null"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "type"),
        (
            {"messages": [HI, called(call(arguments="{"))]},
            "messages[1].tool_calls",
            "holds a JSON object",
        ),
        (
            {"messages": [HI, called(call(arguments={}))]},
            "messages[1].tool_calls",
            "holds a JSON object",
        ),
        (
            {"messages": [HI, called(call())]},
            "messages.[1].role",
            "response messages: a",
        ),
        (
            {"messages": [HI, called(call(), call("b")), result(), HI]},
            "messages.[2].role",
            "response messages: b",
        ),
        ({"messages": [HI, result()]}, "messages.[1].role", "a preceeding message"),
        (
            {"messages": [HI, called(call()), result(), result()]},
            "messages.[3].role",
            "a preceeding message",
        ),
        ({"max_tokens": 0}, "max_tokens", "below minimum"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens", "below minimum"),
        ({"temperature": 3}, "temperature", "between 0 and 2"),
        ({"temperature": -1}, "temperature", "between 0 and 2"),
        ({"stream_options": {}}, "stream_options", "'stream' is enabled"),
        ({"tool_choice": "auto"}, "tool_choice", "'tools' are specified"),
        ({"parallel_tool_calls": True}, "parallel_tool_calls", "'tools' are specified"),
        ({"stop": list("abcde")}, "stop", "maximum length 4"),
        ({"n": 2}, "n", "one choice"),
        ({"response_format": {"type": "json_object"}}, "messages", "the word 'json'"),
        ({"tools": [{"type": "function"}]}, "tools", "with a name"),
        ({"tools": [FUNCTION], "tool_choice": "maybe"}, "tool_choice", "'maybe'"),
    ],
)
def test_chat_completions_refuse(
    body: dict[str, Any], param: str | None, message: str
) -> None:
    """
    The mistakes that the real one refuses, and it says in which parameter.
    """
    with pytest.raises(Refused, match=message) as caught:
        read(body)

    assert caught.value.status == 400
    assert caught.value.param == param


def test_chat_completions_are_understood() -> None:
    """
    A long conversation is read for what was said last.
    """
    question = read({
        "messages": [
            {"role": "system", "content": [{"type": "text", "text": "Be kind."}]},
            HI,
            {
                "role": "assistant",
                "content": [{"type": "refusal", "refusal": "I would rather not."}],
            },
            {"role": "user", "content": "Do it"},
            called(call(), {"id": "b", "type": "custom", "custom": {"name": "sql"}}),
            result(),
            result("b"),
        ],
        "tools": [FUNCTION],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "reasoning_effort": "none",
    })

    assert question.prompt == "Do it"
    assert question.system == "Be kind."
    assert question.results == (("f", "18"), ("sql", "18"))
    assert question.choice == "required"
    assert not question.reason
    assert len(question.segments) == 8
    assert "I would rather not." in question.segments[3]


def test_chat_completions_without_a_user_are_understood() -> None:
    """
    Instructions alone are a prompt too.
    """
    assert read({"messages": [{"role": "developer", "content": "Go"}]}).prompt == ""


def test_what_ends_in_a_call_is_written_as_it_is() -> None:
    """
    An answer without text and calls has an empty text, and not null.
    """
    question = Question(prompt="", segments=())
    exchange = Exchange(
        body={"model": "m"}, question=question, answer=Answer(), number=1, created=1
    )

    message = OPENAI_CHAT.document(exchange)["choices"][0]["message"]
    assert message["content"] == ""
    assert ANTHROPIC.document(exchange)["content"] == []


# -- Messages --------------------------------------------------------------------------

TOOL = {"name": "f", "input_schema": {"type": "object"}}
THINKING = {"type": "enabled", "budget_tokens": 1024}


def use(id: str = "a") -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "f", "input": {}}


def used(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def answered(*ids: str) -> dict[str, Any]:
    result = {"type": "tool_result", "content": "18"}
    blocks = [{**result, "tool_use_id": each} for each in ids]
    return {"role": "user", "content": blocks}


TEXT = {"type": "text", "text": "Well"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"model": None}, "model: Field required"),
        ({"max_tokens": None}, "max_tokens: Field required"),
        ({"messages": None}, "messages: Field required"),
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"max_tokens": 0}, "max_tokens: Input should be"),
        ({"max_tokens": "9"}, "max_tokens: Input should be"),
        ({"temperature": 1.5}, "temperature: range"),
        ({"stop_sequences": [" "]}, "non-whitespace"),
        ({"tool_choice": {"type": "auto"}}, "only be specified while providing tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "maybe"}}, "tool_choice: Input tag"),
        ({"messages": []}, "at least one message"),
        ({"messages": "Hi"}, "at least one message"),
        ({"messages": [{**HI, "role": "tool"}]}, "messages.0.role"),
        ({"messages": [{**HI, "content": ""}]}, "must be non-empty"),
        ({"messages": [{**HI, "content": []}, HI]}, "messages.0: .*non-empty content"),
        ({"messages": [{**HI, "role": "assistant"}]}, 'use the "user" role'),
        ({"messages": [HI, used(use())]}, "without `tool_result` .*: a"),
        ({"messages": [HI, used(use()), HI]}, "without `tool_result` .*: a"),
        (
            {"messages": [HI, used(use(), use("b")), answered("a")]},
            "without `tool_result` .*: b",
        ),
        # Results that come after something else do not count.
        (
            {
                "messages": [
                    HI,
                    used(use()),
                    {"role": "user", "content": [TEXT, *answered("a")["content"]]},
                ]
            },
            "without `tool_result` .*: a",
        ),
        ({"messages": [HI, used(use()), answered("a", "x")]}, "unexpected .*: x"),
        ({"messages": [HI, used(use()), answered("a", "a")]}, "unexpected .*: a, a"),
        ({"messages": [HI, used(use(), use())]}, "must be unique"),
        ({"thinking": {"type": "enabled"}}, "greater than or equal to 1024"),
        ({"thinking": {**THINKING, "budget_tokens": 2000}}, "must be greater than"),
        (
            {"thinking": THINKING, "tools": [TOOL], "tool_choice": {"type": "any"}},
            "may not be enabled when tool_choice forces",
        ),
        (
            {"thinking": THINKING, "messages": [HI, used(use()), answered("a")]},
            "Expected `thinking` .* found `tool_use`",
        ),
    ],
)
def test_messages_refuse(body: dict[str, Any], message: str) -> None:
    """
    The mistakes that the real one refuses, in its words.
    """
    with pytest.raises(Refused, match=message) as caught:
        read_messages(body)

    assert caught.value.status == 400


def test_messages_want_a_version() -> None:
    """
    And the newer one has no sampling.
    """
    with pytest.raises(Refused, match="header is required"):
        read_messages({}, version="")
    with pytest.raises(Refused, match="temperature: Extra inputs"):
        read_messages({"temperature": 0.5}, version="2026-10-21")
    assert read_messages({"temperature": 0.5}).prompt == "Hi"


def test_messages_are_understood() -> None:
    """
    Turns in a row are one turn, and results are read with the names of their tools.
    """
    question = read_messages({
        "system": [{"type": "text", "text": "Be kind."}],
        "messages": [
            HI,
            {"role": "user", "content": "Do it"},
            used(TEXT, use(), use("b")),
            answered("b"),
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]},
            {"role": "user", "content": "And be quick"},
        ],
        "tools": [TOOL, {**TOOL, "name": "g"}],
        "tool_choice": {"type": "tool", "name": "f"},
    })

    assert question.prompt == "And be quick"
    assert question.system == "Be kind."
    assert question.results == (("f", "18"), ("f", ""))
    assert [tool.name for tool in question.tools] == ["f"]
    assert question.cacheable == 0


def test_messages_may_end_with_the_beginning_of_an_answer() -> None:
    """
    A prefill is the assistant's, and may be empty.
    """
    assert read_messages({"messages": [HI, used()]}).prompt == "Hi"
