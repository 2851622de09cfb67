"""
The decoder of server-sent events against the standard's own words.

`reference` follows WHATWG HTML, 9.2.5 and 9.2.6, sentence by sentence, over the whole text at
once: slow, and easy to see to be right. It shares nothing with the decoder.

See: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from aichat.transport._sse import SSEDecoder

Event = tuple[str, str, str]


def reference(stream: bytes) -> tuple[list[Event], str, int | None, bool]:
    """Events as (type, data, last event id); the id, the time, whether anything was dropped."""
    # "Streams must be decoded using the UTF-8 decode algorithm", which strips one BOM.
    text = stream.decode("utf-8", "replace")
    if text.startswith("\N{ZERO WIDTH NO-BREAK SPACE}"):
        text = text[1:]
    # "Lines must be separated by either CRLF, a single LF, or a single CR."
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    *lines, _ = text.split("\n")
    events: list[Event] = []
    data, kind, last_id, dispatched_id = "", "", "", ""
    retry: int | None = None
    for line in lines:
        if line == "":  # "Dispatch the event, as defined below."
            dispatched_id = last_id
            if data == "":
                kind = ""
                continue
            data = data[:-1] if data.endswith("\n") else data
            events.append((kind or "message", data, last_id))
            data = kind = ""
        elif line.startswith(":"):  # "Ignore the line."
            continue
        else:
            if ":" in line:
                field, value = line.split(":", 1)
                value = value[1:] if value.startswith(" ") else value
            else:
                field, value = line, ""
            if field == "event":
                kind = value
            elif field == "data":
                data = data + value + "\n"
            elif field == "id":
                last_id = last_id if "\0" in value else value
            elif field == "retry":
                digits = value != "" and all(c in "0123456789" for c in value)
                if digits and len(value) <= 4300:
                    retry = int(value)
    return events, dispatched_id, retry, bool(data)


def decoded(pieces: Sequence[bytes]) -> tuple[list[Event], str, int | None, bool]:
    """The same by the decoder, fed in *pieces*."""
    decoder = SSEDecoder()
    found = [event for piece in pieces for event in decoder.decode(piece)]
    found += decoder.flush()
    pending = decoder.pending
    return (
        [(e.type, e.data, e.last_event_id) for e in found],
        decoder.last_event_id,
        decoder.retry,
        pending is not None,
    )


def agree(stream: bytes, pieces: Sequence[bytes]) -> None:
    events, last_id, retry, dropped = reference(stream)
    found = decoded(pieces)
    assert found[:3] == (events, last_id, retry)
    # What a last line without its end would add is ours to tell, not the standard's.
    ended = stream[-1:] in (b"", b"\r", b"\n")
    assert found[3] == dropped or not ended


CASES: dict[str, bytes] = {
    "nothing": b"",
    "only a BOM": b"\xef\xbb\xbf",
    "half a BOM": b"\xef\xbb",
    "half a BOM and more": b"\xef\xbbdata: a\n\n",
    "two BOMs": b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n",
    "BOM before a later line": b"data: a\n\n\xef\xbb\xbfdata: b\n\n",
    "BOM in a value": b"data: a\xef\xbb\xbfb\n\n",
    "BOM before a line end": b"\xef\xbb\xbf\ndata: a\n\n",
    "BOM before a CR": b"\xef\xbb\xbf\r\ndata: a\r\n\r\n",
    "BOM before a comment": b"\xef\xbb\xbf: hi\ndata: a\n\n",
    "data without a colon": b"data\n\n",
    "data without a colon, twice": b"data\ndata\n\n",
    "data with nothing": b"data:\n\n",
    "data with a space": b"data: \n\n",
    "data with two spaces": b"data:  a\n\n",
    "data with a tab": b"data:\ta\n\n",
    "data of spaces": b"data:    \n\n",
    "data of colons": b"data:::a\n\n",
    "space before the colon": b"data : a\n\n",
    "space before the name": b" data: a\n\n",
    "capitals": b"Data: a\nDATA: b\n\ndata: c\n\n",
    "longer name": b"database: a\n\n",
    "lines of data": b"data: a\ndata: b\ndata:\ndata: c\n\n",
    "empty last line of data": b"data: a\ndata\n\n",
    "LF, CR and CRLF": b"data: a\r\ndata: b\rdata: c\n\r\n",
    "CR CR": b"data: a\r\rdata: b\r\r",
    "CR LF LF": b"data: a\r\n\ndata: b\n\n",
    "LF CR": b"data: a\n\rdata: b\n\r",
    "CRLF CR": b"data: a\r\n\rdata: b\r\n\r",
    "CR CRLF": b"data: a\r\r\ndata: b\r\r\n",
    "CRLF CR LF": b"data: a\r\n\r\ndata: b\r\n\r",
    "CR at the very end": b"data: a\n\r",
    "CR after an unfinished event": b"data: a\r",
    "LF CR LF CR": b"\n\r\n\rdata: a\n\r\n\r",
    "other line ends in Unicode": "data: a\x0bb\x0cc\x1cd\x85e\u2028f\n\n".encode(),
    "no blank line at the end": b"data: a\n\ndata: b\n",
    "no line end at the end": b"data: a\n\ndata: b",
    "a name without data": b"event: a\n\ndata: b\n\n",
    "name after the data": b"data: a\nevent: b\n\n",
    "two names": b"event: a\nevent: b\ndata: c\n\n",
    "a name and none": b"event: a\nevent\ndata: c\n\n",
    "name in Unicode": "event: é\u20ac😀\ndata: a\n\n".encode(),
    "name with spaces": b"event:  a b \ndata: c\n\n",
    "name of an event before": b"event: a\ndata: b\n\ndata: c\n\n",
    "id": b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
    "id with NUL": b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n",
    "id of NUL": b"id: \0\ndata: b\n\n",
    "id without data": b"id: 7\n\ndata: a\n\n",
    "id that is not dispatched": b"data: a\n\nid: 7\n",
    "id in Unicode": "id: 😀\ndata: a\n\n".encode(),
    "retry": b"retry: 10\n\nretry: 20\ndata: a\n\n",
    "retry without digits": b"retry: 1\nretry:\nretry\nretry: -1\nretry: 1.5\nretry: 1e3\n\n",
    "retry with a space too many": b"retry:  1\n\nretry: 1 \n\n",
    "retry with other digits": "retry: ٣\nretry: ²\n\n".encode(),
    "retry with zeros": b"retry: 0007\n\n",
    "only comments": b": a\n:\n::\n: data: b\n\n:\n\n",
    "comment in an event": b"data: a\n: b\ndata: c\n\n",
    "comment without an end": b"data: a\n\n: b",
    "unknown fields": b"what: a\nx\n:\ny:\n\ndata: b\n\n",
    "NUL in data": b"data: a\0b\n\n",
    "NUL in a name": b"da\0ta: b\nevent: a\0\ndata: c\n\n",
    "no UTF-8 in data": b"data: \xff\xc3(\xe2\x82\xf0\x9f\x98\n\n",
    "no UTF-8 in a name": b"event: \xff\ndata: a\n\nda\xffta: b\n\n",
    "no UTF-8 in an id": b"id: \xc3\xff\ndata: a\n\n",
    "no UTF-8 in a comment": b": \xff\xfe\ndata: a\n\n",
    "cut letters at line ends": b"data: \xe2\x82\ndata: \xac\n\n",
    "a surrogate": b"data: \xed\xa0\x80\n\n",
    "an overlong form": b"data: \xc0\xafa\xe0\x80\xaf\n\n",
    "letters of two, three, four bytes": "data: é€😀\n\n".encode() * 3,
    "a very long line": b"data: " + b"a" * 5000 + b"\n\n",
    "a very long name": b"event: " + b"a" * 5000 + b"\ndata: b\n\n",
    "a very long comment": b":" + b"a" * 5000 + b"\ndata: b\n\n",
    "many blank lines": b"\n" * 100
    + b"data: a"
    + b"\r\n" * 100
    + b"data: b"
    + b"\r" * 99,
}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 0])
@pytest.mark.parametrize("name", CASES)
def test_a_stream_that_is_hard_to_read(name: str, size: int) -> None:
    """The same as the standard, however it is cut."""  # I3, S3
    stream = CASES[name]
    step = size or max(len(stream), 1)
    agree(stream, [stream[n : n + step] for n in range(0, len(stream), step)])


@pytest.mark.parametrize("name", [n for n, s in CASES.items() if len(s) < 200])
def test_every_single_cut(name: str) -> None:
    """Also within a letter, a line end or a byte order mark."""  # I3, S3
    stream = CASES[name]
    for at in range(len(stream) + 1):
        agree(stream, [stream[:at], b"", stream[at:]])


_WORDS: list[bytes] = [
    *(b"data|event|id|retry|:| |\n|\r|\r\n|\n\n|\r\r|\r\n\r\n|\0|a|1|12|:x".split(b"|")),
    *(b"data: a\n\n|data:|data: |event: b\n|id: 3\n|retry: 5\n|: c\n|xdata: y\n".split(b"|")),
    *(b"\xef\xbb\xbf|\xef\xbb|\xff|\xc3|\xa9|\xe2\x82|\xac|\xf0\x9f|\x98\x80".split(b"|")),
    "é".encode(),
    "😀".encode(),
    "\u2028".encode(),
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=40).map(b"".join), st.data())
def test_any_stream(stream: bytes, draw: Any) -> None:
    """Whatever is made of these words, in whatever pieces."""  # I3, S3
    places = st.integers(0, len(stream))
    marks = sorted(draw.draw(st.lists(places, max_size=8)))
    bounds = zip((0, *marks), (*marks, len(stream)), strict=True)
    agree(stream, [stream[a:b] for a, b in bounds])


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes(stream: bytes) -> None:
    """Any bytes at all, one by one."""  # I2, I3
    agree(stream, [stream[n : n + 1] for n in range(len(stream))])
