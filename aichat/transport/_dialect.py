"""
From the bytes of one answer to chunks, without any I/O.

::

    bytes ──framing──▶ events ──decoder──▶ chunks
      └──── a whole JSON document ──▶ ┘

What an answer is, its first bytes tell and not its content type: servers label streams as
JSON, JSON as a stream, and captive portals label web pages as whatever was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from traceback import walk_tb
from typing import Any, TypeAlias, final

from attrs import field, frozen

from ..errors import (
    AIChatError,
    ProtocolError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
from ..types import JSONError, StreamChunk, loads_exact
from ._errors import page_text
from ._ndjson import NDJSONDecoder
from ._sse import ServerSentEvent
from ._wire import ChatDecoder, Decoder

__all__ = ["MAX_DOCUMENT", "Dialect", "Pipeline"]

#: Bytes of an answer that comes as one JSON document. Images and audio may be in it.
MAX_DOCUMENT = 64 * 2**20

_BOM = b"\xef\xbb\xbf"
_BLANK = b" \t\r\n"
#: The title of a page stands in its first bytes.
_PAGE = 16 * 2**10
#: Nobody indents an answer by more.
_LONGEST_BLANK = 4096


#: See `ChatDecoder`.
_Run: TypeAlias = Callable[[Sequence[Any], int, list[StreamChunk]], int]


@frozen(kw_only=True)
class Dialect:
    """What has to be known for reading the answers of one API."""

    #: Makes the decoder from bytes to events.
    framing: Callable[[], Decoder[bytes, Any]]
    #: Makes the decoder from events to chunks.
    decoder: Callable[[], ChatDecoder[Any]]
    #: The provider's own words for errors, where the usual ones do not do.
    error_codes: Mapping[str, type[AIChatError]] = field(factory=dict, hash=False)


@final
class Pipeline:
    """
    Reads one answer: `feed` it what the network brings, then `end` it.

    Both return the chunks that are known by then and never raise. What went wrong stands
    in `error`, behind the chunks that came before it; when `over` there is no more to read.
    """

    __slots__ = (
        "_body",
        "_decoder",
        "_feed",
        "_framing",
        "_max_document",
        "_run",
        "error",
        "over",
        "progressed",
    )

    def __init__(self, dialect: Dialect, *, max_document: int = MAX_DOCUMENT) -> None:
        self._framing = dialect.framing()
        self._decoder = dialect.decoder()
        self._run: _Run | None = getattr(self._decoder, "run", None)
        self._max_document = max_document
        self._feed = self._sniff
        self._body = bytearray()
        #: Why the answer is of no use from here on.
        self.error: AIChatError | None = None
        #: Whether the answer has ended, well or badly.
        self.over = False
        #: Whether the last bytes held more than keep-alives.
        self.progressed = False

    @property
    def complete(self) -> bool:
        """Whether the answer could end here: its end marker has been seen."""
        return self._decoder.complete

    def feed(self, data: bytes, /) -> list[StreamChunk]:
        """Decode what the network brought."""
        chunks: list[StreamChunk] = []
        try:
            self._feed(data, chunks)
        except Exception as error:
            self._fail(error)
        return chunks

    def end(self) -> list[StreamChunk]:
        """Decode what is left at a proper end of the body."""
        chunks: list[StreamChunk] = []
        try:
            self._end(chunks)
        except Exception as error:
            self._fail(error)
        self.over = True
        return chunks

    def _sniff(self, data: bytes, chunks: list[StreamChunk]) -> None:
        """Look at the first bytes that are not blank, and decide how to read on."""
        body = self._body
        body += data
        if body[:3] == _BOM[: len(body)] and len(body) < 3:
            self.progressed = False
            return
        # Blank lines before a document are a keep-alive (DeepSeek), and no harm to a stream.
        start = bytes(body).removeprefix(_BOM).lstrip(_BLANK)
        if not start and len(body) <= _LONGEST_BLANK:
            # One line end stays: what follows is not the beginning of the input, where a
            # byte order mark would mean nothing.
            blank = body.rfind(b"\n") + 1
            body[:blank] = b"\n" * bool(blank)
            self.progressed = False
            return
        if start.startswith(b"<"):
            self._feed = self._page
        # A line of JSON also begins with a brace: no documents there.
        elif start.startswith((b"{", b"[")) and not isinstance(
            self._framing, NDJSONDecoder
        ):
            self._feed = self._collect
        else:
            self._feed = self._decode
            start = bytes(body)  # a byte order mark and blank lines are for the framing
        self._body = bytearray()
        self._feed(start, chunks)

    def _page(self, data: bytes, chunks: list[StreamChunk]) -> None:
        """Read as much of a web page as says what it is."""
        self._body += data
        if len(self._body) >= _PAGE:
            self._end(chunks)

    def _collect(self, data: bytes, chunks: list[StreamChunk]) -> None:
        self.progressed = True
        self._body += data
        if len(self._body) > self._max_document:
            raise self._too_large()

    def _decode(self, data: bytes, chunks: list[StreamChunk]) -> None:
        decoder, run = self._decoder, self._run
        events = self._framing.decode(data)
        if type(events) is not list:
            events = list(events)
        at, end = 0, len(events)
        while at < end:
            if run is not None and (at := at + run(events, at, chunks)) == end:
                break
            # `+=` keeps what came before an exception, so an event may speak and then fail.
            chunks += decoder.decode(events[at])
            at += 1
            if decoder.finished:
                # Whatever follows the last event is not part of the answer.
                chunks += decoder.flush()
                self.over = True
                break
        self.progressed = bool(chunks) or not _only_pings(events)

    def _end(self, chunks: list[StreamChunk]) -> None:
        if self._feed == self._sniff:
            raise StreamInterruptedError("The server sent an empty answer.")
        if self._feed == self._page:
            raise ProtocolError(
                "The server answered with a web page: "
                f"{page_text(bytes(self._body[:_PAGE]))} "
                "Is the base URL right, or is there a proxy in between?"
            )
        if self._feed == self._collect:
            chunks += self._decoder.document(self._document())
        else:
            self._last_event(chunks)
        chunks += self._decoder.flush()

    def _document(self) -> Any:
        body = bytes(self._body)
        self._body.clear()
        try:
            return loads_exact(body)
        except JSONError as error:
            what = str(error)
        raise ProtocolError(f"The answer is not JSON: {what[:200]}.")

    def _last_event(self, chunks: list[StreamChunk]) -> None:
        """
        Decode an event that the end of the input left unfinished, if it is whole.

        Some servers forget the last line end (I3). If it does not decode, it was cut.
        """
        events = list(self._framing.flush())
        pending = getattr(self._framing, "pending", None)
        if not events and pending is not None:
            events = [pending]
        for event in events:
            try:
                chunks += self._decoder.decode(event)
            except ProtocolError:
                break
        else:
            return
        raise StreamInterruptedError("The stream ended in the middle of an event.")

    def _fail(self, error: Exception) -> None:
        self.over = True
        # The frames of decoding hold what was decoded, and so does what `json` raised on the
        # way (`JSONDecodeError.doc`): no business of an error reporter's.
        where = _where(error)
        if isinstance(error, AIChatError):
            error.__cause__ = error.__context__ = None
            self.error = error.with_traceback(None)
            return
        # A decoder should have said so itself. Whatever it stumbled over, it was not what
        # the dialect promises, and callers are promised nothing but an `AIChatError`.
        self.error = ProtocolError(
            "The answer has a shape that the decoder does not understand.",
            context={"cause": type(error).__name__, "where": where},
        )

    def _too_large(self) -> ResponseTooLargeError:
        return ResponseTooLargeError(
            f"The answer is longer than {self._max_document} bytes (max_document).",
            context={"limit": "max_document", "bytes": self._max_document},
        )


def _only_pings(events: Iterable[Any]) -> bool:
    """Whether *events*, which may be none, are all keep-alives."""
    return all(isinstance(e, ServerSentEvent) and e.type == "ping" for e in events)


def _where(error: Exception) -> str:
    """The place that *error*, which has been raised, comes from."""
    *_, (frame, line) = walk_tb(error.__traceback__)
    return f"{frame.f_globals.get('__name__')}:{line}"
