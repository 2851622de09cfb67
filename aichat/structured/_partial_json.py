"""
JSON that is still arriving.

Each character is looked at once, whatever the pieces are: parsing what has arrived anew
with every piece takes the square of the time. The value that grows is one and the same
object, for the same reason: a copy per piece would be quadratic again.

What stands in the value after any piece is what a full parse would make of the text so far
if it were closed as soon as possible: strings as far as they are certain, with their escapes
and surrogate pairs complete; numbers, ``true``, ``false`` and ``null`` when they have ended;
keys when their value has begun.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeAlias

from ..types import UNSET
from ..types._codec import MAX_DEPTH
from ._numbers import AFTER, ENDED, NUMBER, START, to_number

__all__ = ["InvalidJSON", "PartialJSON"]

#: Characters; more than any model says at once, by far.
MAX_LENGTH: Final = 32 * 1024 * 1024

#: What a string may hold as it is. Halves of surrogate pairs are not Unicode.
_PLAIN: Final = re.compile(r'[^"\\\x00-\x1f\ud800-\udfff]*').match
_SPACES: Final = re.compile(r"[ \t\n\r]+").match
_SPACE: Final = " \t\n\r"
_DELIMITERS: Final = frozenset(" \t\n\r,]}")
_WORDS: Final = {"t": ("true", True), "f": ("false", False), "n": ("null", None)}
_ESCAPES: Final = {
    '"': '"',
    "\\": "\\",
    "/": "/",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
}
_HEX: Final = frozenset("0123456789abcdefABCDEF")
#: How the second half of a surrogate pair begins: it is DC00 to DFFF.
_SECOND: Final = frozenset({"dc", "dd", "de", "df"})
_FENCE: Final = "```"
#: What may follow an opening fence on its line.
_LANGUAGE: Final = re.compile(r"[\w \t\r]*").match

_State: TypeAlias = Callable[["PartialJSON", str, int], int]


class InvalidJSON(ValueError):
    """The text is no JSON, whatever may follow; *position* is where that became certain."""

    def __init__(self, problem: str, position: int) -> None:
        super().__init__(f"{problem} (character {position})")
        #: What is wrong, without the place.
        self.problem = problem
        #: How many characters came before the offending one.
        self.position = position

    def __reduce__(self) -> tuple[Any, ...]:
        return (InvalidJSON, (self.problem, self.position))


class PartialJSON:
    """
    Takes JSON piece by piece and knows, at any time, the value so far.

    The value is the same object all the time, and grows: read it, or keep a copy of it, but
    do not change it. Strict: nothing is repaired. With *fences* the JSON may stand in a
    Markdown code block, as models like to write it. Nested deeper than *max_depth*, or
    longer than *max_length* characters, it is refused.

    >>> partial = PartialJSON()
    >>> partial.feed('{"name": "Ada", "tags": ["m')
    True
    >>> partial.value
    {'name': 'Ada', 'tags': ['m']}
    >>> partial.feed('ath"]}')
    True
    >>> partial.finish()
    {'name': 'Ada', 'tags': ['math']}
    """

    __slots__ = (
        "_changed",
        "_code",
        "_container",
        "_expected",
        "_fenced",
        "_fences",
        "_high",
        "_is_key",
        "_key",
        "_length",
        "_max_depth",
        "_max_length",
        "_next",
        "_number",
        "_outer",
        "_parts",
        "_shown",
        "_speaking",
        "_state",
        "_word",
        "complete",
        "value",
    )

    def __init__(
        self,
        *,
        fences: bool = False,
        max_depth: int = MAX_DEPTH,
        max_length: int = MAX_LENGTH,
    ) -> None:
        self._fences = fences
        self._max_depth = max_depth
        self._max_length = max_length
        #: What there is so far; `UNSET` before it has begun.
        self.value: Any = UNSET
        #: Whether the value has ended. One that is only a number ends with `finish`.
        self.complete = False
        # Functions rather than bound methods, which would refer to us in a circle.
        self._state: _State = PartialJSON._before_value
        #: The state after the value that comes next.
        self._next: _State = PartialJSON._at_end
        #: What the value under way stands in, and under which key.
        self._container: dict[str, Any] | list[Any] | None = None
        self._key = ""
        #: The same of the containers around that one.
        self._outer: list[tuple[dict[str, Any] | list[Any] | None, str, _State]] = []
        #: Of the string or number under way, as far as it does not stand in the value.
        self._parts: list[str] = []
        self._is_key = False
        #: Whether a string that is a value is under way, and stands in the value already.
        self._speaking = self._shown = False
        self._code = ""
        #: The first half of a surrogate pair.
        self._high = 0
        self._number = ""
        self._word: tuple[str, Any] = ("", None)
        #: What is left of the word, or fence, under way.
        self._expected = ""
        self._fenced = False
        self._changed = False
        self._length = 0

    def feed(self, piece: str) -> bool:
        """
        Take some more text; returns whether the value has changed.

        Raises `InvalidJSON` at the first character that no JSON text could go on with.
        """
        self._changed = False
        at, end = 0, len(piece)
        if self._length + end > self._max_length:
            self._length = self._max_length
            self._fail(0, f"longer than {self._max_length:,} characters")
        while at < end:
            at = self._state(self, piece, at)
        self._length += end
        if self._speaking and (self._parts or not self._shown):
            self._show()
        return self._changed

    def finish(self) -> Any:
        """
        Return the value, whose text has ended.

        Raises `InvalidJSON` if something is missing.
        """
        if self._state is PartialJSON._in_number and self._number in ENDED:
            self._end_number(0)
        if not self.complete:
            if self._state is PartialJSON._broken:
                self._broken("", 0)
            self._fail(0, "the text ends before its value does")
        return self.value

    # -- around values ---------------------------------------------------------------

    def _before_value(self, piece: str, at: int) -> int:
        character = piece[at]
        if character == '"':
            self._speaking, self._shown = True, False
            self._state = PartialJSON._in_string
            return at + 1
        if character in "{[":
            return self._open(character, at)
        if character in START:
            return self._begin_number(piece, at)
        if character in _WORDS:
            self._word = _WORDS[character]
            self._expected = self._word[0][1:]
            self._state = PartialJSON._in_word
            return at + 1
        if character in _SPACE:
            return _end_of_spaces(piece, at)
        if character == "`" and self._fences and self._container is None:
            self._fences, self._fenced = False, True
            self._expected = _FENCE
            self._state = PartialJSON._in_opening_fence
            return at
        self._fail(at, "a value is expected")

    def _before_first_item(self, piece: str, at: int) -> int:
        if piece[at] == "]":
            return self._close(at)
        return self._before_value(piece, at)

    def _after_item(self, piece: str, at: int) -> int:
        match piece[at]:
            case ",":
                self._state = PartialJSON._before_value
                return at + 1
            case "]":
                return self._close(at)
            case _:
                return self._space(piece, at, "a comma or ] is expected")

    def _before_first_key(self, piece: str, at: int) -> int:
        if piece[at] == "}":
            return self._close(at)
        return self._before_key(piece, at)

    def _before_key(self, piece: str, at: int) -> int:
        if piece[at] == '"':
            self._is_key = True
            self._state = PartialJSON._in_string
            return at + 1
        return self._space(piece, at, "a key is expected")

    def _after_key(self, piece: str, at: int) -> int:
        if piece[at] == ":":
            self._state = PartialJSON._before_value
            return at + 1
        return self._space(piece, at, "a colon is expected")

    def _after_member(self, piece: str, at: int) -> int:
        match piece[at]:
            case ",":
                self._state = PartialJSON._before_key
                return at + 1
            case "}":
                return self._close(at)
            case _:
                return self._space(piece, at, "a comma or } is expected")

    def _at_end(self, piece: str, at: int) -> int:
        if piece[at] == "`" and self._fenced:
            self._fenced = False
            self._expected = _FENCE
            self._state = PartialJSON._in_closing_fence
            return at
        return self._space(piece, at, "the value has ended, but the text goes on")

    def _broken(self, _: str, at: int) -> NoReturn:
        raise InvalidJSON("the text was no JSON before this", self._length + at)

    def _open(self, bracket: str, at: int) -> int:
        if len(self._outer) >= self._max_depth:
            self._fail(at, f"nested deeper than {self._max_depth} levels")
        inner: dict[str, Any] | list[Any] = {} if bracket == "{" else []
        self._put(inner)
        self._outer.append((self._container, self._key, self._next))
        self._container = inner
        if bracket == "{":
            self._next = PartialJSON._after_member
            self._state = PartialJSON._before_first_key
        else:
            self._next = PartialJSON._after_item
            self._state = PartialJSON._before_first_item
        return at + 1

    def _close(self, at: int) -> int:
        self._container, self._key, self._next = self._outer.pop()
        self._end_value()
        return at + 1

    def _put(self, value: Any) -> None:
        """Let *value* stand where the next one belongs."""
        container = self._container
        if container is None:
            self.value = value
        elif type(container) is list:
            container.append(value)
        else:
            key: Any = self._key
            container[key] = value
        self._changed = True

    def _end_value(self) -> None:
        self._state = self._next
        if self._container is None:
            self.complete = True

    def _space(self, piece: str, at: int, problem: str) -> int:
        """Skip white space, which is all that there may be."""
        if piece[at] in _SPACE:
            return _end_of_spaces(piece, at)
        self._fail(at, problem)

    def _fail(self, at: int, problem: str) -> NoReturn:
        self._state = PartialJSON._broken
        self._speaking = False
        raise InvalidJSON(problem, self._length + at)

    # -- strings ---------------------------------------------------------------------

    def _in_string(self, piece: str, at: int) -> int:
        end = _PLAIN(piece, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        if end > at:
            self._parts.append(piece[at:end])
        if end == len(piece):
            return end
        character = piece[end]
        if character == '"':
            self._end_string()
        elif character == "\\":
            self._state = PartialJSON._after_backslash
        else:
            self._fail(end, "a string holds what must be escaped")
        return end + 1

    def _after_backslash(self, piece: str, at: int) -> int:
        character = piece[at]
        if character == "u":
            self._code = ""
            self._state = PartialJSON._in_code
        elif self._high:
            self._fail(at, "half of a surrogate pair is missing")
        elif character in _ESCAPES:
            self._parts.append(_ESCAPES[character])
            self._state = PartialJSON._in_string
        else:
            self._fail(at, "there is no such escape")
        return at + 1

    def _in_code(self, piece: str, at: int) -> int:
        character = piece[at]
        if character not in _HEX:
            self._fail(at, "four hexadecimal digits are expected")
        code = self._code = self._code + character
        match len(code):
            case 1 if self._high and code not in "dD":
                self._fail(at, "half of a surrogate pair is missing")
            case 2 if bool(self._high) != (code.lower() in _SECOND):
                self._fail(at, "half of a surrogate pair is missing")
            case 4:
                self._end_code(int(code, 16))
            case _:
                pass
        return at + 1

    def _end_code(self, code: int) -> None:
        if 0xD800 <= code < 0xDC00:
            self._high = code
            self._state = PartialJSON._between_halves
            return
        if self._high:
            code = 0x10000 + ((self._high - 0xD800) << 10) + (code - 0xDC00)
            self._high = 0
        self._parts.append(chr(code))
        self._state = PartialJSON._in_string

    def _between_halves(self, piece: str, at: int) -> int:
        if piece[at] != "\\":
            self._fail(at, "half of a surrogate pair is missing")
        self._state = PartialJSON._after_backslash
        return at + 1

    def _end_string(self) -> None:
        if self._is_key:
            self._key = "".join(self._parts)
            self._parts.clear()
            self._is_key = False
            self._state = PartialJSON._after_key
            return
        if self._parts or not self._shown:
            self._show()
        self._speaking = False
        self._end_value()

    def _show(self) -> None:
        """Put what is known of the string under way into the value."""
        parts = self._parts
        new = parts[0] if len(parts) == 1 else "".join(parts)
        parts.clear()
        if not self._shown:
            self._shown = True
            self._put(new)
            return
        # CPython lets a string grow in place if nobody else holds it: so we take it out,
        # and a long text takes linear time, though it is shown with every piece.
        container = self._container
        if container is None:
            text, self.value = self.value, None
            text += new
            self.value = text
        elif type(container) is list:
            text, container[-1] = container[-1], None
            text += new
            container[-1] = text
        else:
            key: Any = self._key
            text, container[key] = container[key], None
            text += new
            container[key] = text
        self._changed = True

    # -- numbers and words -----------------------------------------------------------

    def _begin_number(self, piece: str, at: int) -> int:
        whole = NUMBER.match(piece, at)
        if whole is not None:
            end = whole.end()
            if end < len(piece) and piece[end] in _DELIMITERS:
                self._parts.append(whole[0])
                self._end_number(end)
                return end
        self._parts.append(piece[at])
        self._number = START[piece[at]]
        self._state = PartialJSON._in_number
        return at + 1

    def _in_number(self, piece: str, at: int) -> int:
        state, began = self._number, at
        for at in range(began, len(piece)):
            following = AFTER[state].get(piece[at])
            if following is None:
                break
            state = following
        else:
            self._parts.append(piece[began:])
            self._number = state
            return len(piece)
        if state not in ENDED:
            self._fail(at, "a digit is expected")
        self._parts.append(piece[began:at])
        self._end_number(at)
        return at

    def _end_number(self, at: int) -> None:
        text = "".join(self._parts)
        self._parts.clear()
        try:
            number = to_number(text)
        except ValueError:
            self._fail(at, "a number is beyond all floats, or has too many digits")
        self._put(number)
        self._end_value()

    def _in_word(self, piece: str, at: int) -> int:
        if self._matches(piece[at], at):
            self._put(self._word[1])
            self._end_value()
        return at + 1

    # -- code blocks -----------------------------------------------------------------

    def _in_opening_fence(self, piece: str, at: int) -> int:
        if self._matches(piece[at], at):
            self._state = PartialJSON._in_language
        return at + 1

    def _in_language(self, piece: str, at: int) -> int:
        end = _LANGUAGE(piece, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        if end == len(piece):
            return end
        if piece[end] != "\n":
            self._fail(end, "a code block begins with its language, on a line")
        self._state = PartialJSON._before_value
        return end + 1

    def _in_closing_fence(self, piece: str, at: int) -> int:
        if self._matches(piece[at], at):
            self._state = PartialJSON._at_end
        return at + 1

    def _matches(self, character: str, at: int) -> bool:
        """Whether *character* is the last of what is expected."""
        expected = self._expected
        if character != expected[0]:
            self._fail(at, "a value is expected")
        self._expected = expected[1:]
        return len(expected) == 1


def _end_of_spaces(piece: str, at: int) -> int:
    return _SPACES(piece, at).end()  # type: ignore[union-attr]  # there is one at least
