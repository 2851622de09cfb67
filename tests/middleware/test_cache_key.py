"""What makes two requests the same."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import evolve, fields
from hypothesis import assume, given, strategies as st

from aichat import (
    CacheHint,
    ChatRequest,
    Deadlines,
    ImagePart,
    Message,
    Role,
    TextPart,
    Tool,
    ToolChoice,
    assistant,
    json_schema,
    system,
    user,
)
from aichat.middleware._cache_key import cache_key, digest
from aichat.types import Effort, ProviderState, ReasoningPart, to_json

from ..types.strategies import requests

TOOL = Tool("lookup")
PLAIN = ChatRequest("Hi", "fake:m")

#: A different value for every field that is part of the question.
ASKED: dict[str, Any] = {
    "messages": "Ho",
    "model": "fake:n",
    "max_tokens": 1,
    "temperature": 0,
    "top_p": 0.5,
    "top_k": 3,
    "stop": "x",
    "seed": 0,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logit_bias": {"1": 2},
    "logprobs": False,
    "top_logprobs": 0,
    "n": 1,
    "tools": [TOOL],
    "tool_choice": "none",
    "parallel_tool_calls": False,
    "response_format": "json",
    "reasoning_effort": Effort.LOW,
    "reasoning_budget": 0,
    "include_reasoning": False,
    "verbosity": "low",
    "user": "u-1",
    "metadata": {"tenant": "a"},
    "service_tier": "flex",
    "store": False,
    "truncation": "auto",
    "cache": CacheHint(),
    "cache_key": "k",
    "prefill": True,
    "on_unsupported": "ignore",
    "provider_options": {"fake": {}},
}
#: And for those that say how to ask.
NOT_ASKED: dict[str, Any] = {"deadlines": Deadlines(total=1), "max_retries": 7}


def key(request: ChatRequest, namespace: str = "n") -> str:
    found = cache_key(request, namespace)
    assert found is not None
    return found


def test_every_field_is_classified() -> None:
    """
    A new field of ChatRequest has to be put into one of the two tables above.  # X5
    """
    assert {f.name for f in fields(ChatRequest)} == {*ASKED, *NOT_ASKED}
    assert not ASKED.keys() & NOT_ASKED.keys()


@pytest.mark.parametrize("name", ASKED)
def test_what_shapes_the_answer_is_in_the_key(name: str) -> None:
    """
    Another value of any of them is another question.  # X5
    """
    given = {"messages": "Hi", "model": "fake:m"} | {name: ASKED[name]}
    assert key(ChatRequest(**given)) != key(PLAIN)


@pytest.mark.parametrize("name", NOT_ASKED)
def test_patience_is_not_in_the_key(name: str) -> None:
    """
    Who would wait longer or try more often asks the same.  # X5
    """
    assert key(evolve(PLAIN, **{name: NOT_ASKED[name]})) == key(PLAIN)


STATE = ProviderState("fake", {"signature": "s1"})
SCHEMA = {"type": "object", "properties": {"a": {}, "b": {}}}
OTHER_SCHEMA = {"type": "object", "properties": {"b": {}, "a": {}}}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"messages": [system("A"), user("B")]}, {"messages": [user("A"), user("B")]}),
        ({"messages": [user("AB")]}, {"messages": [user("A", "B")]}),
        ({"messages": [user("A"), user("B")]}, {"messages": [user("A", "B")]}),
        ({"messages": [user("A", name="x")]}, {"messages": [user("A", name="y")]}),
        (
            {"messages": [user(ImagePart(data=b"\x89PNG\r\n\x1a\n1"))]},
            {"messages": [user(ImagePart(data=b"\x89PNG\r\n\x1a\n2"))]},
        ),
        (
            {"messages": [user("A"), assistant(ReasoningPart("r")), user("B")]},
            {
                "messages": [
                    user("A"),
                    assistant(ReasoningPart("r", provider_state=STATE)),
                    user("B"),
                ]
            },
        ),
        (
            {"messages": [Message(Role.USER, TextPart("A"))]},
            {"messages": [Message(Role.USER, TextPart("A", cache=CacheHint()))]},
        ),
        ({"messages": "A", "model": "a:b:c"}, {"messages": "A", "model": "b:c"}),
        # Models read a schema in its order.
        (
            {"messages": "A", "response_format": json_schema(SCHEMA)},
            {"messages": "A", "response_format": json_schema(OTHER_SCHEMA)},
        ),
        (
            {"messages": "A", "tools": [Tool("t", parameters=SCHEMA)]},
            {"messages": "A", "tools": [Tool("t", parameters=OTHER_SCHEMA)]},
        ),
        (
            {"messages": "A", "tools": [Tool("a"), Tool("b")]},
            {"messages": "A", "tools": [Tool("b"), Tool("a")]},
        ),
        (
            {"messages": "A", "tools": [TOOL], "tool_choice": "required"},
            {
                "messages": "A",
                "tools": [TOOL],
                "tool_choice": ToolChoice("required", "lookup"),
            },
        ),
        (
            {"messages": "A", "provider_options": {"fake": {"x": 1}}},
            {"messages": "A", "provider_options": {"fake": {"x": True}}},
        ),
    ],
)
def test_small_differences_count(one: dict[str, Any], other: dict[str, Any]) -> None:
    """
    Order, roles, pictures, signatures and the form of a number are part of it.  # X5
    """
    assert key(ChatRequest(**one)) != key(ChatRequest(**other))
    assert key(ChatRequest(**one)) == key(ChatRequest(**one))


def test_namespaces_do_not_meet() -> None:
    """
    The same request in another namespace is another question.  # X5
    """
    assert key(PLAIN, "a") != key(PLAIN, "b")


def test_a_key_tells_nothing() -> None:
    """
    It is a hash: neither prompt nor namespace can be read from a store.  # X1
    """
    found = key(ChatRequest("my secret", "fake:m"), "tenant-7")
    assert len(found) == 64
    assert set(found) <= set("0123456789abcdef")


@pytest.mark.parametrize("value", [object(), {1, 2}, "\ud800"])
def test_what_has_no_form_in_json_has_no_key(value: object) -> None:
    """
    It cannot be sent, and whoever tries will say so.  # I2
    """
    request = ChatRequest("Hi", "fake:m", provider_options={"fake": {"x": value}})
    assert cache_key(request, "n") is None


def test_what_is_nested_too_deeply_has_no_key() -> None:
    """No crash of another type."""  # I2
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    request = ChatRequest("Hi", "fake:m", provider_options={"fake": {"x": deep}})
    assert cache_key(request, "n") is None
    while deep:  # let go of it level by level: Python's own way down is a recursion
        deep = deep.pop()


@given(requests, requests)
def test_no_two_questions_have_one_key(one: ChatRequest, other: ChatRequest) -> None:
    """
    Equal keys mean equal questions, and the other way round.  # X5
    """
    same = [
        to_json(evolve(request, deadlines=None, max_retries=None))
        for request in (one, other)
    ]
    assert (key(one) == key(other)) == (same[0] == same[1])
    assert key(evolve(one, max_retries=3)) == key(one)


fields_of_bytes = st.lists(st.binary(max_size=4), max_size=4)


@given(fields_of_bytes, fields_of_bytes)
def test_moving_a_byte_to_the_next_field_is_a_difference(
    one: list[bytes], other: list[bytes]
) -> None:
    """
    Each field stands behind its length.  # X5
    """
    assume(one != other)
    assert digest(*one) != digest(*other)


def test_nan_is_asked_as_it_is_sent() -> None:
    """The body of a request says null for it, and so does the key."""
    nan = evolve(PLAIN, provider_options={"fake": {"x": math.nan}})
    null = evolve(PLAIN, provider_options={"fake": {"x": None}})
    assert key(nan) == key(null)
