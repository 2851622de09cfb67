"""What is asked for when a type is, and what is made of the answer."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Annotated, Any, Literal, Optional

import pytest

from aichat import ChatRequest, ChatResponse, FinishReason, assistant, system, user
from aichat.errors import ConfigError, ErrorCode, InvalidRequestError, ProtocolError
from aichat.structured import Expected, StructuredOutputError
from aichat.structured._expected import _name
from aichat.testing import reply, tool_call
from aichat.types import (
    RefusalDelta,
    ResponseEnd,
    StreamChunk,
    TextDelta,
    Usage,
    fold,
)

from .values import KINDS, City, Tree

REQUEST = ChatRequest("Where?", "fake:m")


def answer(text: str, finish: FinishReason = FinishReason.STOP) -> ChatResponse:
    return fold(reply(text, finish_reason=finish))


def shortfall(expected: Expected[Any], response: ChatResponse) -> StructuredOutputError:
    with pytest.raises(StructuredOutputError) as caught:
        expected.read(response)
    error = caught.value
    assert error.partial is response
    assert error.rounds == (response,)
    assert error.usage == response.usage
    return error


@pytest.mark.parametrize(("kind", "value", "made"), KINDS, ids=str)
def test_a_value_of_every_kind(kind: Any, value: Any, made: Any) -> None:
    """
    Asked for is an object, always; what comes back is of the kind.
    """
    expected = Expected[Any](kind)
    assert expected.schema["type"] == "object"
    if list(expected.schema["properties"]) == ["value"]:
        value = {"value": value}
    read = expected.read(answer(json.dumps(value)))
    assert read == made
    assert type(read) is type(made)


def test_an_object_is_asked_for_as_it_is() -> None:
    """
    Nothing is wrapped that needs not be, and the provider shall enforce it.
    """
    form = Expected[City](City).asked(REQUEST).response_format
    assert form is not None
    assert form.type == "json_schema"
    assert form.name == "City"
    assert form.strict
    assert form.schema is not None
    assert list(form.schema["properties"]) == ["name", "people", "sights"]
    loose = Expected[City](City, strict=False).asked(REQUEST).response_format
    assert loose is not None
    assert loose.strict is False


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (City, "City"),
        (list[City], "list[City]"),
        (Annotated[dict[str, City | None], "words"], "dict[str, City | None]"),
        (Optional[int], "int | None"),  # noqa: UP045
        (Literal["a", 1], "'a' | 1"),
        (None, "None"),
        ("City", "City"),
        ({"title": "City", "type": "object"}, "City"),
        ({"type": "object"}, "JSON of that schema"),
    ],
)
def test_names_in_errors(kind: Any, name: str) -> None:
    """
    A type is called what people call it.
    """
    assert _name(kind) == name


def test_the_name_of_a_list() -> None:
    """
    Schemas have names with few characters in them.
    """
    form = Expected[Any](list[City]).asked(REQUEST).response_format
    assert form is not None
    assert form.name.startswith("list_")
    form = (
        Expected[Any]({"title": "…", "type": "object"}).asked(REQUEST).response_format
    )
    assert form is not None
    assert form.name == "response"


def test_definitions_stay_on_top_when_wrapped() -> None:
    """
    References go on to point at what they pointed at.
    """
    assert "$defs" in Expected[Any](list[Tree]).schema
    tree = {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]}
    expected = Expected[Any](tree)
    inner = expected.schema["properties"]["value"]
    assert inner["anyOf"][1]["items"] == {"$ref": "#/properties/value"}
    assert expected.read(answer('{"value": [[null], []]}')) == [[None], []]
    again = {"$defs": {"n": {"type": "integer"}}, "$ref": "#/$defs/n"}
    wrapped = Expected[Any](again).schema
    assert wrapped["properties"]["value"] == {"$ref": "#/$defs/n"}
    assert wrapped["$defs"] == again["$defs"]


def test_a_schema_is_copied() -> None:
    """
    What its owner does to it later is of no account.
    """
    schema = {"type": "object", "properties": {}}
    expected = Expected[Any](schema)
    schema["type"] = "array"
    assert expected.schema["type"] == "object"


def test_said_in_words() -> None:
    """
    The schema follows the system messages, and nothing else changes.
    """
    request = ChatRequest([system("Be brief."), user("Hi")], "fake:m")
    asked = Expected[Any](City, prompted=True).asked(request)
    assert [m.role for m in asked.messages] == ["system", "system", "user"]
    assert asked.messages[0].text == "Be brief."
    assert '"people"' in asked.messages[1].text
    assert asked.response_format is None
    ended = ChatRequest([system("x"), user("y")], "fake:m", response_format="json")
    kept = Expected[Any](City, prompted=True).asked(ended)
    assert kept.response_format == ended.response_format


def test_said_in_words_it_may_come_in_a_code_block() -> None:
    """
    And only then: a provider that enforces a schema writes none.
    """
    fenced = answer('```json\n{"name": "Rome", "people": 3}\n```')
    assert Expected[City](City, prompted=True).read(fenced) == City("Rome", 3)
    assert shortfall(Expected(City), fenced).reason == "not_json"
    broken = answer("```json\n{]\n```")
    assert shortfall(Expected(City, prompted=True), broken).reason == "not_json"


def test_two_forms_at_once() -> None:
    """
    A response_format and a type, or half an answer of our own, make no sense together.
    """
    for form in ("json", {"type": "object"}):
        request = ChatRequest("Hi", response_format=form)
        with pytest.raises(InvalidRequestError, match="not both"):
            Expected[City](City).asked(request)
    request = ChatRequest("Hi", response_format={"type": "object"})
    with pytest.raises(InvalidRequestError, match="not both"):
        Expected[City](City, prompted=True).asked(request)
    request = ChatRequest([user("Hi"), assistant("{")], prefill=True)
    with pytest.raises(InvalidRequestError, match="prefill"):
        Expected[City](City).asked(request)


@pytest.mark.parametrize("kind", [object(), {"type": "int"}, bytearray, lambda: 0])
def test_no_kind_at_all(kind: Any) -> None:
    """
    What has no form in JSON is refused when it is named.
    """
    with pytest.raises(ConfigError):
        Expected[Any](kind)


@pytest.mark.parametrize(
    ("text", "finish", "reason", "told"),
    [
        ('{"name": "Ro', "length", "cut_off", "raise max_tokens"),
        ("", "length", "cut_off", "raise max_tokens"),
        ('{"name": "Ro', "paused", "unfinished", "paused"),
        ('{"name": "Ro', "error", "unfinished", "error"),
        ('{"name": "Ro', "stop", "not_json", "no JSON"),
        ('{"name": "Ro', "other", "not_json", "no JSON"),
        ("Rome, of course.", "stop", "not_json", "no JSON"),
        ("", "stop", "not_json", "no text"),
        ('{"name": "Rome", "people": NaN}', "stop", "not_json", "NaN is not JSON"),
        ('{"name": "Rome", "people": 3}', "content_filter", "filtered", "filter"),
        ('{"name": "Rome"}', "stop", "mismatch", "$.people"),
        ('{"name": 1, "people": "3"}', "stop", "mismatch", "$.name"),
        ('["Rome", 3]', "stop", "mismatch", "$: "),
    ],
)
def test_what_an_answer_may_lack(
    text: str, finish: str, reason: str, told: str
) -> None:
    """
    One error, which says in which way, and never a value that is none.
    """
    error = shortfall(Expected(City), answer(text, FinishReason(finish)))
    assert error.reason == reason
    assert told in str(error)
    assert "City" in str(error)
    assert "Rome" not in str(error)
    assert error.code is ErrorCode.PROTOCOL_ERROR
    assert isinstance(error, ProtocolError)
    assert not error.retryable
    assert error.operation == "chat"


def test_all_problems_are_told() -> None:
    """
    Not only the first one.
    """
    error = shortfall(Expected(City), answer('{"name": 1, "people": "3", "x": 1}'))
    assert sorted(p.path for p in error.problems) == ["$.name", "$.people", "$.x"]


def test_a_refusal() -> None:
    """
    The model's words are in the response, and not in the message.
    """
    chunks: list[StreamChunk] = [
        RefusalDelta("I cannot tell you of Rome."),
        ResponseEnd(FinishReason.STOP),
    ]
    error = shortfall(Expected(City), fold(chunks))
    assert error.reason == "refused"
    assert error.partial is not None
    assert error.partial.refusal == "I cannot tell you of Rome."
    assert "Rome" not in str(error)


def test_tools_instead_of_an_answer() -> None:
    """
    It names them: the caller may go on from there.
    """
    error = shortfall(Expected(City), fold(reply(tool_calls=[tool_call("look_up")])))
    assert error.reason == "tool_calls"
    assert "look_up" in str(error)


def test_whole_at_the_very_limit() -> None:
    """
    An answer that is complete was not cut, whatever ended it.
    """
    whole = answer('{"name": "Rome", "people": 3}', FinishReason.LENGTH)
    assert Expected[City](City).read(whole) == City("Rome", 3)


@pytest.mark.parametrize(
    "text", ["[1]", "{}", '{"value": [1], "more": 2}', '{"v": [1]}']
)
def test_the_wrapping_has_to_be_there(text: str) -> None:
    """
    What was to be in an object under a key is not looked for elsewhere.
    """
    error = shortfall(Expected(list[int]), answer(text))
    assert error.reason == "mismatch"
    assert "'value'" in str(error)


def test_the_error_travels() -> None:
    """
    Workers send it home, with all that it knows.
    """
    error = shortfall(Expected(City), answer('{"name": "Rome"}'))
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert str(again) == str(error)
        assert again.reason == "mismatch"
        assert again.problems == error.problems
        assert again.partial == error.partial
        assert again.usage == Usage()


def test_an_error_without_an_answer() -> None:
    """
    Middleware of one's own may raise it, too.
    """
    error = StructuredOutputError("No.")
    assert error.rounds == ()
    assert error.usage == Usage()


def test_what_is_known_of_a_wrapped_value() -> None:
    """
    A text that is no object has nothing in it yet.
    """
    expected = Expected[Any](list[int])
    parser = expected.parser()
    for piece, known in (("", None), ('{"val', None), ('ue": [1', []), (",", [1])):
        parser.feed(piece)
        within = expected.within(parser.value)
        assert (within if isinstance(within, list) else None) == known
    assert repr(expected) == "<Expected list[int]>"
    other = expected.parser()
    other.feed("[1,")
    assert not isinstance(expected.within(other.value), list)


def test_in_the_order_of_the_text() -> None:
    """
    Several parts of text are one text.
    """
    chunks: list[StreamChunk] = [
        TextDelta('{"name": "Rome",', 0),
        TextDelta(' "people": 3}', 1),
        ResponseEnd(FinishReason.STOP),
    ]
    assert Expected[City](City).read(fold(chunks)) == City("Rome", 3)
