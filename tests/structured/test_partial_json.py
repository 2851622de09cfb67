"""JSON piece by piece agrees with JSON at once, at every prefix, and in linear time."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import sys
import weakref
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from aichat.structured import InvalidJSON, PartialJSON
from aichat.types import UNSET, JSONError
from aichat.types._codec import MAX_DEPTH

from .json_texts import as_far_as_certain, cut, mutants, texts, verdict, viable


def _read(*pieces: str, **options: Any) -> Any:
    partial = PartialJSON(**options)
    for piece in pieces:
        partial.feed(piece)
    return partial.finish()


def _failure(text: str) -> InvalidJSON | None:
    """How a text that comes in single characters is refused; ``None``: it is not."""
    partial = PartialJSON()
    try:
        for character in text:
            partial.feed(character)
    except InvalidJSON as error:
        return error
    return None


def _same(one: Any, other: Any) -> bool:
    # 1 is not 1.0 here, nor is it True; nor -0.0 0.0.
    return repr(one) == repr(other)


@given(texts())
@example('{"a": 1, "a": {"b": "x"}, "a": [true, -0, 1e5, "\\ud83d\\ude00\\n"]}')
@example("12")
@example("-0.0")
@example('"\\u00e9\\ud83d\\ude00"')
@settings(deadline=None)
def test_at_every_prefix(text: str) -> None:
    """
    What there is after any prefix is what closing that prefix would make of it.
    """
    partial = PartialJSON()
    for end, character in enumerate(text, 1):
        partial.feed(character)
        assert _same(partial.value, as_far_as_certain(text[:end])), text[:end]
    assert _same(partial.finish(), verdict(text))


@given(st.data(), texts())
@settings(deadline=None)
def test_however_it_is_cut(data: st.DataObject, text: str) -> None:
    """
    Where the pieces end is of no account for what there is then, nor for the whole.
    """
    # S3
    pieces = data.draw(cut(text))
    partial, so_far = PartialJSON(), ""
    for piece in pieces:
        partial.feed(piece)
        so_far += piece
        assert _same(partial.value, as_far_as_certain(so_far)), so_far
    assert _same(partial.finish(), verdict(text))


def _is_beginning(one: Any, other: Any) -> bool:
    """Whether *one* can grow into *other*."""
    match one, other:
        case dict(), dict():
            keys = list(one)
            return keys == list(other)[: len(keys)] and all(
                _is_beginning(one[key], other[key]) for key in keys
            )
        case list(), list():
            return len(one) <= len(other) and all(map(_is_beginning, one, other))
        case str(), str():
            return other.startswith(one)
        case _:
            return _same(one, other)


@given(texts())
@settings(deadline=None)
def test_it_only_grows(text: str) -> None:
    """
    Every value on the way is a beginning of the last one, and none is taken back.
    """
    partial, final = PartialJSON(), verdict(text)
    before = None
    for character in text:
        changed = partial.feed(character)
        if partial.value is UNSET:
            continue
        now = copy.deepcopy(partial.value)
        assert _is_beginning(now, final)
        assert before is None or _is_beginning(before[0], now)
        assert changed == (before is None or not _same(before[0], now))
        before = (now,)


@given(mutants())
@example('"\\ud83d\\ud83d"')
@example('"\\ud83dx"')
@example('"\\ud83d\\n"')
@example('"\\udc00"')
@example('"\ud83d"')
@example("[1,]")
@example('{"a":1,}')
@example("01")
@example("00")
@example('"\\ud83d\\uec00"')
@example("1.x")
@example("-")
@example("[1 2]")
@example("")
@example("\ufeff1")
@settings(max_examples=300, deadline=None)
def test_the_verdict_is_that_of_a_full_parse(text: str) -> None:
    """
    What is JSON is accepted with the same value; what is none is refused.
    """
    # I2
    for pieces in ([text], list(text)):
        try:
            value = _read(*pieces)
        except InvalidJSON:
            value = JSONError
        assert _same(value, verdict(text))


@given(mutants())
@example('{"a":"\\ud83d\\u00e9"}')
@example("[tru, 1]")
@example('"\\ud83d\\uec00"')
@example('"\\udd')
@settings(max_examples=100, deadline=None)
def test_refused_at_the_first_character_that_spoils_it(text: str) -> None:
    """
    Up to there it could have become JSON, and from there on nothing can.
    """
    failure = _failure(text)
    if failure is None:
        assert viable(text)
        return
    at = failure.position
    if "beyond all floats" not in failure.problem:  # that is seen at a number's end
        assert viable(text[:at]), text[:at]
    assert not viable(text[: at + 1]), text[: at + 1]


@given(st.data(), mutants())
def test_the_place_does_not_depend_on_the_pieces(
    data: st.DataObject, text: str
) -> None:
    """
    An error names the same character, and holds the same words, however it was cut.
    """
    whole = pieces = None
    try:
        _read(text)
    except InvalidJSON as error:
        whole = error
    try:
        _read(*data.draw(cut(text)))
    except InvalidJSON as error:
        pieces = error
    assert str(whole) == str(pieces)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "9" * 5000, "[NaN]", "Infinity"])
def test_numbers_that_are_none(text: str) -> None:
    """
    Numbers beyond all floats, and those that Python does not convert, are errors.
    """
    # I2
    assert verdict(text) is JSONError
    for pieces in ([text], list(text), [text + " "], [f"[{text}]"]):
        with pytest.raises(InvalidJSON):
            _read(*pieces)


def test_whole_numbers_stay_whole() -> None:
    """
    Sixty-four bits are no limit.
    """
    assert _read(f"[{2**80}, 1.0, 0]") == [2**80, 1.0, 0]


def test_a_number_is_shown_when_it_has_ended() -> None:
    """
    Its next digit would make it another one.
    """
    partial = PartialJSON()
    partial.feed('{"year": 20')
    assert partial.value == {}
    partial.feed("26")
    assert partial.value == {}
    assert partial.feed("}")
    assert partial.value == {"year": 2026}


def test_the_value_is_one_and_the_same_object() -> None:
    """
    No copies: what was there grows.
    """
    partial = PartialJSON()
    partial.feed('{"a": [')
    first = partial.value
    partial.feed('"x", {"b": ')
    assert first == {"a": ["x", {}]}
    partial.feed("null}]}")
    assert partial.finish() is first
    assert first == {"a": ["x", {"b": None}]}


def test_a_text_that_somebody_keeps_does_not_change() -> None:
    """
    Texts grow in place only where nobody can see it.
    """
    partial = PartialJSON()
    kept = []
    for piece in ('["', "a", "b", "é", "😀"):
        partial.feed(piece)
        kept.append(partial.value[0])
    assert kept == ["", "a", "ab", "abé", "abé😀"]


@pytest.mark.parametrize("text", ['{"a":1}', "[]", '"x"', "true", "null"])
def test_complete_with_its_last_character(text: str) -> None:
    """
    Nobody has to wait for the end of the text.
    """
    partial = PartialJSON()
    partial.feed(text[:-1])
    assert not partial.complete
    partial.feed(text[-1] + " \n")
    assert partial.complete
    with pytest.raises(InvalidJSON, match="goes on"):
        partial.feed("x")


@pytest.mark.parametrize(
    ("text", "missing"),
    [("", 0), ('{"a": ', 6), ("tru", 3), ('"x', 2), ("-", 1), ("1.", 2), ("[1", 2)],
)
def test_finishing_too_early(text: str, missing: int) -> None:
    """
    A text that ends before its value is an error, and keeps what it has.
    """
    partial = PartialJSON()
    partial.feed(text)
    with pytest.raises(InvalidJSON, match="ends before") as caught:
        partial.finish()
    assert caught.value.position == missing


def test_nothing_after_an_error() -> None:
    """
    What is broken stays broken, and what was there is still there.
    """
    partial = PartialJSON()
    with pytest.raises(InvalidJSON):
        partial.feed('{"a": "b", oh')
    assert partial.value == {"a": "b"}
    with pytest.raises(InvalidJSON, match="before"):
        partial.feed("}")
    with pytest.raises(InvalidJSON, match="before"):
        partial.finish()


def test_depth_has_a_ceiling() -> None:
    """
    As deep as a full parse goes, and no deeper.
    """
    # I1
    deep = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert _same(_read(deep), verdict(deep))
    with pytest.raises(InvalidJSON, match=f"{MAX_DEPTH} levels") as caught:
        _read(f"[{deep}]")
    assert caught.value.position == MAX_DEPTH
    assert verdict(f"[{deep}]") is JSONError
    with pytest.raises(InvalidJSON, match="2 levels"):
        _read('{"a": [[', max_depth=2)


def test_length_has_a_ceiling() -> None:
    """
    It counts what has come in all, and is reached before anything is kept.
    """
    # I1
    partial = PartialJSON(max_length=10)
    partial.feed('["12345')
    partial.feed('"')
    with pytest.raises(InvalidJSON, match="10 characters"):
        partial.feed(",1]")
    assert partial.value == ["12345"]
    assert _read('["123456"]', max_length=10) == ["123456"]


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"a": 1}\n```',
        '\n```\n{"a": 1}```\n',
        '``` JSON \r\n {"a": 1}\n```  ',
        '```json\n{"a": 1}',
        '{"a": 1}',
    ],
)
def test_a_code_block_where_it_may_be(text: str) -> None:
    """
    Models like to write them; an unfenced answer is good as well.
    """
    assert _read(text, fences=True) == {"a": 1}
    assert _read(*text, fences=True) == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        'Sure! ```json\n{"a": 1}\n```',
        '```json\n{"a": 1}\n``` Anything else?',
        '```json {"a": 1}```',
        '``json\n{"a": 1}\n``',
        '```json\n{"a": 1}\n```\n```json\n{"a": 1}\n```',
        '```json\n```json\n{"a": 1}',
        "[```json\n1\n```]",
        '{"a": 1}\n```',
        "```json\n```",
    ],
)
def test_nothing_but_a_code_block(text: str) -> None:
    """
    Words around it, or half a fence, are errors as ever.
    """
    with pytest.raises(InvalidJSON):
        _read(*text, fences=True)


def test_strict_without_being_asked() -> None:
    """
    By default a fence is what it is: no JSON.
    """
    failure = _failure("```json")
    assert failure is not None
    assert failure.position == 0


def test_a_fence_in_a_text_is_text() -> None:
    """
    What looks like the end of the code block may stand in a string.
    """
    text = '```json\n{"code": "```py\\n```"}\n```'
    assert _read(*text, fences=True) == {"code": "```py\n```"}


def test_errors_travel() -> None:
    """
    The error survives pickling, and says nothing of the text.
    """
    with pytest.raises(InvalidJSON) as caught:
        _read('{"password": hunter2}')
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.problem, again.position) == ("a value is expected", 13)
    assert str(again) == str(caught.value) == "a value is expected (character 13)"


def test_it_goes_without_the_garbage_collector() -> None:
    """
    A parser refers to itself nowhere.
    """

    class Watched(PartialJSON):
        __slots__ = ("__weakref__",)

    gc.disable()
    try:
        partial = Watched()
        partial.feed('{"a": ["b')
        gone = weakref.ref(partial)
        del partial
        assert gone() is None
    finally:
        gc.enable()


def _calls(text: str, size: int) -> int:
    """How many functions, of Python's and of C's, are called to read *text*."""
    partial, count = PartialJSON(), 0

    def counting(_: object, event: str, __: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(counting)
    try:
        for start in range(0, len(text), size):
            partial.feed(text[start : start + size])
            _ = partial.value
    finally:
        sys.setprofile(before)
    partial.finish()
    return count


@pytest.mark.parametrize("size", [1, 4, 64])
@pytest.mark.parametrize(
    "kind", ["records", "one text", "escapes", "one number", "keys", "spaces"]
)
def test_twice_the_text_takes_twice_the_work(kind: str, size: int) -> None:
    """
    The number of calls is linear in the text, whatever it consists of.
    """

    def text(n: int) -> str:
        match kind:
            case "records":
                return json.dumps([
                    {"id": i, "name": "Ada", "ok": True} for i in range(n)
                ])
            case "one text":
                return json.dumps("lorem ipsum " * n)
            case "escapes":
                return json.dumps("é\n😀" * n)
            case "one number":
                return "0." + "1" * n
            case "keys":
                return json.dumps({"k" * n: 1})
            case _:
                return "[" + " " * n + "]"

    once, twice = (_calls(text(n), size) / len(text(n)) for n in (500, 1000))
    assert twice <= once * 1.05
