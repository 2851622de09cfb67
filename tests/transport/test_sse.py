from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from aichat.errors import ResponseTooLargeError
from aichat.transport._sse import ServerSentEvent, SSEDecoder

# What the rules are about, and what looks like it: field names whole and in pieces,
# every line end, the byte order mark, broken UTF-8, other people's line ends. Whole
# events are there as well, so that the fast path takes its turn.
TOKENS = st.sampled_from([
    b"data: x\n\n",
    b"data: x\r\n\r\n",
    b"event: y\ndata: {}\n\n",
    b"event: y\r\ndata: {}\r\n\r\n",
    *(b"data: ", b"data:", b"data", b"event: ", b"event", b"id: ", b"id", b"retry: "),
    *(b": ", b":", b" ", b"\n", b"\n\n", b"\r", b"\r\n", b"\0", b"7", b"x", b"da"),
    *(b"\xef\xbb\xbf", b"\xef\xbb", b"\xf0\x9f\x98\x80", b"\xf0\x9f", b"\xff"),
    *(b"\xc2\x85", b"\xe2\x80\xa8", b"\x0b", b"\x0c", b"\x1c"),
])
STREAMS = st.lists(TOKENS, max_size=20).map(b"".join)


@st.composite
def cut_streams(draw: st.DrawFn) -> list[bytes]:
    """A stream in pieces, some of them empty."""
    stream = draw(STREAMS)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    return [
        stream[start:end]
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]


@dataclass
class Reference:
    """The standard's own words, on the whole stream at once, as text."""

    events: list[tuple[str, str, str]] = field(default_factory=list)
    last_event_id: str = ""
    retry: int | None = None
    pending: tuple[str, str, str] | None = None
    at_boundary: bool = True

    def read(self, stream: bytes) -> Reference:
        text = stream.decode("utf-8", "replace").removeprefix("\ufeff")
        data, kind, key = "", "", ""
        *lines, rest = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        self.at_boundary = not rest or rest.startswith(":")
        # The rest and an empty line are what would complete a pending event.
        for number, line in enumerate([*lines, rest, ""]):
            ours = number < len(lines)
            if number == len(lines):
                self.at_boundary &= not data
                if not line:
                    continue
            if not line:
                if ours:
                    self.last_event_id = key
                if data:
                    event = (kind or "message", data[:-1], key)
                    if ours:
                        self.events.append(event)
                    else:
                        self.pending = event
                data, kind = "", ""
                continue
            name, colon, value = line.partition(":")
            if colon and value[:1] == " ":
                value = value[1:]
            if name == "data":
                data += value + "\n"
            elif name == "event":
                kind = value
            elif name == "id" and "\0" not in value:
                key = value
            elif name == "retry" and value and set(value) <= set("0123456789") and ours:
                self.retry = int(value)
        return self


def decode_all(*pieces: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.decode(piece)]


def as_tuple(event: ServerSentEvent) -> tuple[str, str, str]:
    return (event.type, event.data, event.last_event_id)


@settings(max_examples=500, deadline=None)
@given(cut_streams())
@example([b"data: x\r", b"", b"\ndata: y\n\n"])
@example([b"x", b"data: x\n\n"])
@example([b":", b"data: x\n\n"])
@example([b"retry: 7\nretry: 1_0\nretry: \nretry: -1\nretry: \xc2\xb2\n\n"])
@example([b"id: 1\nid: 2\0\ndata: x\n\n"])
@example([b"\xef", b"\xbb\xbfdata: x\n\n"])
@example([b": \r", b"data: x\n\n"])
@example([b"data: x\n\nevent: y", b"\ndata: z\n\n"])
@example([b"id: 1\ndata: x\n\ndata: y\n\nevent: \ndata: z\n\n"])
def test_any_stream_in_any_pieces(pieces: list[bytes]) -> None:
    """
    We read what a plain reading of the standard reads.
    """
    decoder = SSEDecoder()
    events = [event for piece in pieces for event in decoder.decode(piece)]
    assert decoder.flush() == []

    expected = Reference().read(b"".join(pieces))
    assert [as_tuple(event) for event in events] == expected.events
    assert decoder.last_event_id == expected.last_event_id
    assert decoder.retry == expected.retry
    assert decoder.at_boundary == expected.at_boundary
    pending = decoder.pending
    assert (pending and as_tuple(pending)) == expected.pending


@settings(deadline=None)
@given(cut_streams(), st.integers(0, 12), st.integers(0, 12))
@example([b"data", b":", b" ", b"x\n\n"], 5, 0)
@example([b"data\ndata: x\n\n"], 5, 0)
@example([b"data\ndata", b"x\n"], 12, 0)
def test_ceilings_do_not_depend_on_the_cuts(
    pieces: list[bytes], max_line: int, max_event: int
) -> None:
    """
    The same events come out before the same ceiling is passed, or none is.
    """

    def outcome(pieces: list[bytes]) -> tuple[list[ServerSentEvent], object]:
        decoder = SSEDecoder(max_line=max_line, max_event=max_event)
        events: list[ServerSentEvent] = []
        try:
            for piece in pieces:
                events += decoder.decode(piece)
            decoder.flush()
        except ResponseTooLargeError as error:
            return events, error.context["limit"]
        return events, None

    stream = b"".join(pieces)
    bytewise = [stream[at : at + 1] for at in range(len(stream))]
    assert outcome(pieces) == outcome([stream]) == outcome(bytewise)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_an_event_is_out_as_soon_as_its_empty_line_is(end: bytes) -> None:
    """
    No event waits for more bytes, not even behind a CR that may be half of a CRLF.
    """
    decoder = SSEDecoder()
    whole = b"event: x" + end + b"data: 1" + end + end
    shortest = len(whole) - (end == b"\r\n")
    assert decoder.decode(whole[: shortest - 1]) == []
    assert decoder.decode(whole[shortest - 1 : shortest]) == [
        ServerSentEvent(b"1", "x")
    ]


def test_lf_after_a_cr_that_ended_the_last_read() -> None:
    """
    It belongs to the CR, also when an empty read came between.
    """
    for between in [[], [b""], [b"", b""]]:
        assert decode_all(b"data: a\r", *between, b"\ndata: b\n\n") == [
            ServerSentEvent(b"a\nb")
        ]


def test_other_line_ends_in_text() -> None:
    """
    VT, FF, FS, NEL and U+2028 are text; `str.splitlines` thinks otherwise.
    """
    text = "a\x0bb\x0cc\x1cd\x85e\u2028f"
    [event] = decode_all(f"data: {text}\r\n\r\n".encode())
    assert event.data == text


def test_retry_with_more_digits_than_python_reads() -> None:
    """
    A number that ``int`` refuses to read is ignored; it is not our crash.
    """
    decoder = SSEDecoder()
    decoder.decode(b"retry: 5\nretry: " + b"9" * 100_000 + b"\n\n")
    assert decoder.retry == 5


def test_event_cut_by_the_end() -> None:
    """
    It is not dispatched, but before and after the end we can say what it was.
    """
    decoder = SSEDecoder()
    assert decoder.decode(b"id: 1\nevent: x\ndata: a\ndata: [DON") == []
    pending = ServerSentEvent(b"a\n[DON", "x", "1")
    assert decoder.pending == pending
    assert decoder.flush() == []
    assert decoder.pending == pending
    assert not decoder.at_boundary
    assert decoder.last_event_id == ""


def test_looking_at_what_is_pending() -> None:
    """
    A look changes nothing: the event still completes.
    """
    decoder = SSEDecoder()
    decoder.decode(b"event: x\ndata: a\ndata: b")
    assert decoder.pending == ServerSentEvent(b"a\nb", "x")
    assert decoder.decode(b"c\n\n") == [ServerSentEvent(b"a\nbc", "x")]
    assert decoder.pending is None
    assert decoder.at_boundary


def test_a_field_without_data_at_the_end() -> None:
    """
    A finished ``event:`` line is no loss; half of one might have been anything.
    """
    decoder = SSEDecoder()
    decoder.decode(b"event: x\n")
    assert decoder.at_boundary
    decoder.decode(b"da")
    assert not decoder.at_boundary
    assert decoder.pending is None


def test_line_above_its_ceiling() -> None:
    """
    Known with the first byte too many; the error names the ceiling, not the content.
    """
    decoder = SSEDecoder(max_line=16)
    assert decoder.decode(b"data: 0123456789") == []
    with pytest.raises(ResponseTooLargeError, match=r"16 bytes \(max_line\)") as info:
        decoder.decode(b"S")
    assert info.value.context == {"limit": "max_line", "bytes": 16}
    assert "0123" not in str(info.value)


def test_event_above_its_ceiling() -> None:
    """
    Its data counts, with the line feeds between the lines, and nothing else does.
    """
    decoder = SSEDecoder(max_event=5)
    assert decoder.decode(b"event: a long name\n: a comment\ndata: 12\n") == []
    assert decoder.decode(b"data: 34") == []
    with pytest.raises(ResponseTooLargeError, match=r"5 bytes \(max_event\)"):
        decoder.decode(b"5")


def test_event_of_empty_lines_above_its_ceiling() -> None:
    """
    Lines of nothing take room too: the line feeds that join them.
    """
    decoder = SSEDecoder(max_event=3)
    assert decoder.decode(b"data\n" * 4) == []
    with pytest.raises(ResponseTooLargeError, match="max_event"):
        decoder.decode(b"data\n")


def test_events_before_the_overflow() -> None:
    """
    They come out first; the error follows with the next call, and stays.
    """
    decoder = SSEDecoder(max_line=16)
    assert decoder.decode(b"data: ok\n\ndata: " + b"x" * 100) == [
        ServerSentEvent(b"ok")
    ]
    for _ in range(2):
        with pytest.raises(ResponseTooLargeError):
            decoder.flush()
        with pytest.raises(ResponseTooLargeError):
            decoder.decode(b"data: ok\n\n")
    assert decoder.pending is None


def test_comment_without_end() -> None:
    """
    It is thrown away as it comes, whatever its length.
    """
    decoder = SSEDecoder(max_line=16, max_event=16)
    for _ in range(1000):
        assert decoder.decode(b":" * 1000) == []
    assert decoder.at_boundary
    assert held(decoder) == 0
    assert decoder.decode(b"\ndata: a\n\n") == [ServerSentEvent(b"a")]


def held(decoder: SSEDecoder) -> int:
    """How many bytes *decoder* keeps."""
    return sum(
        len(kept)
        for kept in vars(decoder).values()
        if isinstance(kept, bytes | bytearray)
    )


def test_nothing_is_kept_between_events() -> None:
    """
    A long stream takes no more memory than its longest event.
    """
    decoder = SSEDecoder()
    decoder.decode(b"data: " + b"x" * 100_000 + b"\ndata: y")
    assert held(decoder) == 100_002 + len(b"data: y") - 1
    decoder.decode(b"\n\n")
    for _ in range(100):
        decoder.decode(b"id: 1\ndata: z\n\n: ping\n\n")
    assert held(decoder) == 0


class CountingBytes(bytes):
    """Counts the bytes that searches may have looked at, and that slices copied."""

    touched = 0

    def find(self, sub: bytes, start: int = 0) -> int:  # type: ignore[override]
        # One signature of several: the one in use.
        end = super().find(sub, start)
        CountingBytes.touched += (len(self) if end < 0 else end + 1) - start
        return end

    def __getitem__(self, key: slice | int) -> bytes:  # type: ignore[override]
        got = super().__getitem__(key)
        CountingBytes.touched += len(got) if isinstance(got, bytes) else 1
        return got  # type: ignore[return-value]  # an int for an int


class CountingArray(bytearray):
    """The same for what is kept."""

    def find(self, *args: Any) -> int:
        CountingBytes.touched += len(self)
        return super().find(*args)

    def __bytes__(self) -> bytes:
        CountingBytes.touched += len(self)
        return bytes(memoryview(self))


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"data: " + b"x" * 50_000 + b"\n\n", id="one long line"),
        pytest.param(b"data: x\n" * 5000 + b"\n", id="many lines"),
        pytest.param(b"data: x\n\n" * 5000, id="many events"),
        pytest.param(b"event: x\n" * 5000, id="many types"),
        pytest.param(b"event: x\ndata: y\nz\n" * 3000, id="never quite an event"),
        pytest.param(b"\n" * 50_000, id="empty lines"),
        pytest.param(b": x\n" * 10_000, id="comments"),
    ],
)
@pytest.mark.parametrize("size", [16, 1000, 100_000])
def test_work_grows_with_the_length(stream: bytes, size: int) -> None:
    """
    No byte is searched or copied more than a few times, in whatever pieces it comes.
    """
    decoder = SSEDecoder()
    decoder.decode(b":\n\n")  # past the byte order mark, which makes a copy
    decoder._line = CountingArray()
    CountingBytes.touched = 0
    for at in range(0, len(stream), size):
        decoder.decode(CountingBytes(stream[at : at + size]))
    assert 0 < CountingBytes.touched <= 6 * len(stream)


def test_event_is_a_value() -> None:
    """
    Equal by what it holds, hashable, copied and pickled, and shown as it is made.
    """
    event = ServerSentEvent(b"a\xff", "x", "1")
    assert event == ServerSentEvent(b"a\xff", "x", "1")
    assert hash(event) == hash(ServerSentEvent(b"a\xff", "x", "1"))
    assert event != ServerSentEvent(b"a\xff", "y", "1")
    assert event != (b"a\xff", "x", "1")
    assert eval(repr(event)) == event
    assert pickle.loads(pickle.dumps(event)) == deepcopy(event) == event
    assert event.data == "a\ufffd"
    match ServerSentEvent(b"a"):
        case ServerSentEvent(b"a", "message", ""):
            pass
        case _:
            pytest.fail("The defaults are not what the standard says.")
