"""Fragments of tool calls, in everybody's spelling: `aichat.providers._openai_chat_calls`."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.types import ToolCallDelta, ToolCallPart

from .openai_chat_streams import chunk, decoder, delta, fold_of

Fragment = dict[str, Any]


def f(
    arguments: Any = None, *, name: Any = None, id: Any = None, **fields: Any
) -> Fragment:
    """A fragment that has only what is given."""
    function = {"name": name, "arguments": arguments}
    function = {k: v for k, v in function.items() if v is not None}
    return {"function": function, **({"id": id} if id is not None else {}), **fields}


def calls(*fragments: Fragment) -> list[tuple[str, str, str]]:
    """What fragments become that come one by one: id, name and arguments."""
    events = [delta(tool_calls=[fragment]) for fragment in fragments]
    message = fold_of(*events, delta("tool_calls")).message
    return [(call.id, call.name, call.arguments) for call in message.tool_calls]


@pytest.mark.parametrize(
    ("fragments", "expected"),
    [
        pytest.param(
            [f("", name="f", id="a", index=0), f('{"x":', index=0), f("1}", index=0)],
            [("a", "f", '{"x":1}')],
            id="as OpenAI sends them",
        ),
        pytest.param(
            [
                f("", name="f", id="a", index=0),
                f("", name="g", id="b", index=1),
                f("[1", index=0),
                f("[2", index=1),
                f("]", index=0),
                f("]", index=1),
            ],
            [("a", "f", "[1]"), ("b", "g", "[2]")],
            id="two at a time",
        ),
        pytest.param(
            [f("{", name="f", id="a", index=0), f("}", name="f", id="a", index=0)],
            [("a", "f", "{}")],
            id="id and name repeated",
        ),
        pytest.param(
            [f("{", name="f", id="a", index=0), f("}", id="", name="", index=0)],
            [("a", "f", "{}")],
            id="id and name empty later",
        ),
        pytest.param(
            [
                f("", name="f", id="a", index=0),
                {"id": None, "index": 0, "function": {"name": None, "arguments": "{}"}},
            ],
            [("a", "f", "{}")],
            id="id and name null later",
        ),
        pytest.param(
            [f("{", name="f", index=0), f("}", index=0)],
            [("made_1", "f", "{}")],
            id="no id at all",
        ),
        pytest.param(
            [
                f("{", name="f", id="", index=0),
                f("}", index=0),
                f("{}", name="g", id="", index=1),
            ],
            [("made_1", "f", "{}"), ("made_2", "g", "{}")],
            id="empty ids",
        ),
        pytest.param(
            [f('{"a":1}', name="f", id="a"), f('{"a":2}', name="f", id="b")],
            [("a", "f", '{"a":1}'), ("b", "f", '{"a":2}')],
            id="no number, each call whole",
        ),
        pytest.param(
            [f('{"a":1}', name="f"), f('{"a":2}', name="f")],
            [("made_1", "f", '{"a":1}'), ("made_2", "f", '{"a":2}')],
            id="neither number nor id, each call whole",
        ),
        pytest.param(
            [f("{", name="f", id="a"), f("}", id="a")],
            [("a", "f", "{}")],
            id="no number, but the id each time",
        ),
        pytest.param(
            [f("{", name="f", id="a"), f("}")],
            [("a", "f", "{}")],
            id="no number, then nothing at all",
        ),
        pytest.param(
            [f("{}", name="f", id="a", index=0), f("{}", name="f", id="b", index=0)],
            [("a", "f", "{}"), ("b", "f", "{}")],
            id="all number 0",
        ),
        pytest.param(
            [f('{"a":1}', name="f", index=0), f('{"a":2}', name="f", index=0)],
            [("made_1", "f", '{"a":1}'), ("made_2", "f", '{"a":2}')],
            id="all number 0, without ids, the same function",
        ),
        pytest.param(
            [
                f('{"a":1}', name="f", index=0),
                f("{", name="g", index=0),
                f("}", index=0),
            ],
            [("made_1", "f", '{"a":1}'), ("made_2", "g", "{}")],
            id="all number 0, without ids, another function",
        ),
        pytest.param(
            [
                f('{"a"', name="f", index=0),
                f(":{", name="f", index=0),
                f("}}", name="f", index=0),
            ],
            [("made_1", "f", '{"a":{}}')],
            id="the name on every fragment",
        ),
        pytest.param(
            [
                f('{"a":', name="f", index=0),
                f('{"b":1}', name="f", index=0),
                f("}", index=0),
            ],
            [("made_1", "f", '{"a":{"b":1}}')],
            id="the name on every fragment, one of them an object",
        ),
        pytest.param(
            [f('{"a":{}', name="f", index=0), f("{}", name="f", index=0)],
            [("made_1", "f", '{"a":{}{}')],
            id="an object inside arguments that are not yet whole",
        ),
        pytest.param(
            [f("{", id="a", index=0), f("", name="f", index=0), f("}", index=0)],
            [("a", "f", "{}")],
            id="the name late",
        ),
        pytest.param(
            [f("{", id="a", index=0, name="f"), f("}", id="b", index=0)],
            [("a", "f", "{}")],
            id="another id on each fragment, without a name",
        ),
        pytest.param(
            [f(name="f", id="a", index=0)], [("a", "f", "")], id="no arguments"
        ),
        pytest.param(
            [{"id": "a", "index": 0, "function": {"name": "f", "arguments": None}}],
            [("a", "f", "")],
            id="arguments null",
        ),
        pytest.param(
            [f({"a": [1]}, name="f", id="a", index=0)],
            [("a", "f", '{"a":[1]}')],
            id="arguments an object",
        ),
        pytest.param(
            [f("{", name="f", id="a", index="0"), f("}", index="0")],
            [("a", "f", "{}")],
            id="a number that is none",
        ),
        pytest.param(
            [f("{", name="f", id="a", index=10**9), f("}", index=10**9)],
            [("a", "f", "{}")],
            id="a number that is large",
        ),
        pytest.param(
            [f("{}", name="multi_tool_use.parallel", id="a", index=0)],
            [("a", "multi_tool_use.parallel", "{}")],
            id="a leak of the model's",
        ),
    ],
)
def test_which_call_it_belongs_to(
    fragments: list[Fragment], expected: list[tuple[str, str, str]]
) -> None:
    """
    Each fragment goes to its call, whatever it leaves out or repeats.
    """
    assert calls(*fragments) == expected


def test_several_in_one_delta() -> None:
    """
    One element is one call where there are no numbers.
    """
    both = [f("{}", name="f"), f("{}", name="f")]
    message = fold_of(delta("stop", tool_calls=both)).message
    assert [call.id for call in message.tool_calls] == ["made_1", "made_2"]


def test_fragments_after_the_finish_reason() -> None:
    """
    Calls are over when the stream is: a prefix of arguments may be valid by itself.
    """
    # S7
    answer = fold_of(
        delta(tool_calls=[f("{}", name="f", id="a", index=0)]),
        delta("tool_calls"),
        delta(tool_calls=[f("!", index=0)]),
    )
    assert answer.tool_calls == ()
    assert answer.invalid_tool_calls[0].arguments == "{}!"


def test_cut_off_by_the_token_limit() -> None:
    """
    Half a call is kept as it is and never executed.
    """
    # S7
    answer = fold_of(
        delta(tool_calls=[f('{"city":"Par', name="f", id="a", index=0)]),
        delta("length"),
    )
    (call,) = answer.invalid_tool_calls
    assert call.arguments == '{"city":"Par'
    assert "length" in (call.invalid or "")


def test_a_call_that_never_gets_a_name() -> None:
    """
    It is not lost, and not executed either.
    """
    # S7
    target = decoder()
    chunks = [
        *target.decode(delta(tool_calls=[f("{", id="a", index=0)])),
        *target.decode(delta(tool_calls=[f("}", index=0)])),
        *target.decode(chunk("[DONE]")),
    ]
    assert not any(isinstance(c, ToolCallDelta) for c in chunks)
    assert ToolCallDelta(0, "a", None, "{}") in list(target.flush())


def test_a_custom_tool() -> None:
    """
    Its input is free text, and its later fragments need not say what they are.
    """
    answer = fold_of(
        delta(
            tool_calls=[
                {"index": 0, "id": "a", "type": "custom", "custom": {"name": "sql"}}
            ]
        ),
        delta(tool_calls=[{"index": 0, "custom": {"input": "SELECT "}}]),
        delta(tool_calls=[{"index": 0, "custom": {"input": "1"}}]),
        delta("tool_calls"),
    )
    assert answer.tool_calls == (ToolCallPart("a", "sql", "SELECT 1", kind="custom"),)


def test_an_empty_custom_beside_the_function() -> None:
    """
    Snowflake always sends both.
    """
    both = {**f("{}", name="f", id="a"), "custom": {"name": "", "input": ""}}
    answer = fold_of(delta("", tool_calls=[both]), chunk("[DONE]"))
    assert answer.tool_calls == (ToolCallPart("a", "f", "{}"),)


def test_nothing_is_said_twice() -> None:
    """
    Each fragment is handed on at once; id and name come with the first one only.
    """
    target = decoder()
    fragments = [
        f("", name="f", id="a", index=0),
        f("{", name="f", id="a", index=0),
        f("", index=0),
        f("}", index=0),
    ]
    chunks = [c for each in fragments for c in target.decode(delta(tool_calls=[each]))]
    assert chunks[1:] == [
        ToolCallDelta(0, "a", "f", ""),
        ToolCallDelta(0, None, None, "{"),
        ToolCallDelta(0, None, None, "}"),
    ]
