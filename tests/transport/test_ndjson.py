from __future__ import annotations

import pytest
from hypothesis import given, settings, strategies as st

from aichat.errors import ResponseTooLargeError
from aichat.transport._ndjson import NDJSONDecoder

TOKENS = st.sampled_from([
    *(b'{"a":1}', b"{", b"}", b" ", b"\t", b"\n", b"\n\n", b"\r", b"\r\n", b"\0"),
    *(b"\xef\xbb\xbf", b"\xef\xbb", b"\xf0\x9f", b"\xff", b"\xe2\x80\xa8", b"\x0c"),
])


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream in pieces, some of them empty."""
    stream = draw(st.lists(TOKENS, max_size=30).map(b"".join))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [
        stream[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]


@settings(deadline=None)
@given(cut_streams())
def test_any_stream_in_any_pieces(pieces: list[bytes]) -> None:
    """
    LF separates, a CR before it goes, blanks are nothing, the rest comes at the end.
    """
    decoder = NDJSONDecoder()
    lines = [line for piece in pieces for line in decoder.decode(piece)]
    at_boundary = decoder.at_boundary
    last = decoder.flush()

    *whole, rest = b"".join(pieces).removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert lines == [line.removesuffix(b"\r") for line in whole if line.strip(b" \t\r")]
    assert last == ([rest.removesuffix(b"\r")] if rest.strip(b" \t\r") else [])
    assert at_boundary is not bool(last)
    assert decoder.flush() == []


@settings(deadline=None)
@given(cut_streams(), st.integers(0, 12))
def test_the_ceiling_does_not_depend_on_the_cuts(
    pieces: list[bytes], max_line: int
) -> None:
    """
    The same lines come out before the ceiling is passed, or it is not.
    """

    def outcome(pieces: list[bytes]) -> tuple[list[bytes], bool]:
        decoder = NDJSONDecoder(max_line=max_line)
        lines: list[bytes] = []
        try:
            for piece in pieces:
                lines += decoder.decode(piece)
            lines += decoder.flush()
        except ResponseTooLargeError:
            return lines, True
        return lines, False

    stream = b"".join(pieces)
    bytewise = [stream[at : at + 1] for at in range(len(stream))]
    assert outcome(pieces) == outcome([stream]) == outcome(bytewise)


def test_last_line_without_its_end() -> None:
    """
    It is pending until the end, and handed over there.
    """
    decoder = NDJSONDecoder()
    assert decoder.decode(b'{"a":1}\n{"b"') == [b'{"a":1}']
    assert decoder.pending == b'{"b"'
    assert not decoder.at_boundary
    assert decoder.flush() == [b'{"b"']
    assert decoder.pending is None
    assert decoder.at_boundary


def test_line_above_its_ceiling() -> None:
    """
    Known with the first byte too many; the error names the ceiling, not the content.
    """
    decoder = NDJSONDecoder(max_line=4)
    assert decoder.decode(b"1234\r\n1234\r") == [b"1234"]
    with pytest.raises(ResponseTooLargeError, match=r"4 bytes \(max_line\)") as info:
        decoder.decode(b"5")
    assert info.value.context == {"limit": "max_line", "bytes": 4}


def test_lines_before_the_overflow() -> None:
    """
    They come out first; the error follows with the next call, and stays.
    """
    decoder = NDJSONDecoder(max_line=4)
    assert decoder.decode(b"1\n2\n3456789\n4\n") == [b"1", b"2"]
    for _ in range(2):
        with pytest.raises(ResponseTooLargeError):
            decoder.flush()
        with pytest.raises(ResponseTooLargeError):
            decoder.decode(b"1\n")


class CountingBytes(bytes):
    """Counts the bytes that searches may have looked at."""

    touched = 0

    def rfind(self, sub: bytes) -> int:  # type: ignore[override]
        # One signature of several: the one in use.
        CountingBytes.touched += len(self)
        return super().rfind(sub)


def test_a_long_line_in_small_pieces() -> None:
    """
    Each piece is searched once: what is already kept is not searched again.
    """
    CountingBytes.touched = 0
    decoder = NDJSONDecoder()
    decoder.decode(b"[")
    for _ in range(10_000):
        assert decoder.decode(CountingBytes(b"0123456789")) == []
    assert CountingBytes.touched == 100_000
    assert decoder.decode(b"]\n") == [b"[" + b"0123456789" * 10_000 + b"]"]
