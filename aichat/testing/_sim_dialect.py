"""
What the simulator has to know about a dialect, without a socket.

A dialect is a row: a place, its manners, and endpoints. An endpoint is a function from a
`Visit` to a reply: a document, a `Streamed` answer, or `Raw` bytes. Most conversations are
spoken alike, so that there is `Speech`: a request is read, and the answer written down.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, TypeAlias, TypeVar

from attrs import define, evolve, field, frozen

from ._sim_brain import Answer, Memory, Question, think

__all__ = [
    "Endpoint",
    "Event",
    "Exchange",
    "Manners",
    "Raw",
    "Refused",
    "Reply",
    "Shelf",
    "SimDialect",
    "Speech",
    "Streamed",
    "Visit",
    "mount",
]

_T = TypeVar("_T")


class Refused(Exception):
    """A request that the real server would not take either."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.param = param
        self.headers = dict(headers or {})


# -- what comes in ---------------------------------------------------------------------


@define
class Shelf:
    """What a server keeps between requests; each service has a compartment of its own."""

    _kept: dict[type, Any] = field(factory=dict, init=False)

    def of(self, kind: type[_T]) -> _T:
        """The compartment of *kind*, empty at first."""
        kept: _T = self._kept.setdefault(kind, kind())
        return kept


def _nobody(path: str, body: Any) -> dict[str, Any]:
    raise Refused(f"Invalid URL (POST {path})", status=404, code="unknown_url")


def _untwisted(answer: Answer) -> Answer:
    return answer


@frozen(kw_only=True)
class Visit:
    """A request, as an endpoint sees it."""

    #: Parsed, if it is JSON; else ``None``.
    body: Any = None
    #: As it came.
    data: bytes = field(default=b"", repr=False)
    #: In lower case.
    headers: Mapping[str, str] = field(factory=dict)
    query: Mapping[str, str] = field(factory=dict)
    #: What the placeholders of the path stand for.
    params: Mapping[str, str] = field(factory=dict)
    #: Where the server is, with the prefix: for those who answer with an address.
    root: str = ""
    #: Unique in this simulator; the ids of answers and calls are made of it.
    number: int = 1
    #: Seconds since the epoch.
    created: int = 0
    shelf: Shelf = field(factory=Shelf)
    #: Answers another request, without its stream, as a batch does. Raises `Refused`.
    perform: Callable[[str, Any], dict[str, Any]] = _nobody
    #: What is done to an answer before it is said, for a fault.
    twist: Callable[[Answer], Answer] = _untwisted

    def object(self) -> dict[str, Any]:
        """The body, which has to be a JSON object. Raises `Refused`."""
        if not isinstance(self.body, dict):
            raise Refused(
                "We could not parse the body of your request as a JSON object."
            )
        return self.body


# -- what goes out ---------------------------------------------------------------------


@frozen
class Event:
    """A piece of a streamed answer, as it goes over the wire."""

    data: bytes
    #: Whether something is said with it, which takes its time.
    word: bool = False


@frozen(kw_only=True)
class Streamed:
    """An answer that comes piece by piece."""

    events: Iterable[Event]
    content_type: str = "text/event-stream"
    #: How an error looks within this stream, if not as the `Manners` have it.
    error_event: Callable[[Refused, str, int], bytes] | None = None


@frozen(kw_only=True)
class Raw:
    """An answer that is no JSON document."""

    data: bytes
    content_type: str = "application/octet-stream"


Reply: TypeAlias = dict[str, Any] | Streamed | Raw


# -- a conversation --------------------------------------------------------------------


@frozen(kw_only=True)
class Exchange:
    """A question, its answer, and what an answer needs besides."""

    #: The request's body.
    body: Mapping[str, Any]
    question: Question
    answer: Answer
    #: Unique in this simulator; the ids of answers and calls are made of it.
    number: int
    #: Seconds since the epoch.
    created: int

    @property
    def model(self) -> str:
        return str(self.body["model"])


@frozen(kw_only=True)
class Speech:
    """How a conversation is spoken: pure functions."""

    #: Checks a body, with the request's headers in lower case. Raises `Refused`.
    read: Callable[[Mapping[str, Any], Mapping[str, str]], Question]
    #: The answer as a stream, and as one document.
    stream: Callable[[Exchange], Iterator[Event]]
    document: Callable[[Exchange], dict[str, Any]]
    #: The content type of a stream.
    stream_type: str = "text/event-stream"
    #: Whether it answers with a stream if the request does not say.
    streams: bool = False

    def ask(self, visit: Visit) -> Question:
        """Read the request. A model in its path is the one that counts. Raises `Refused`."""
        return self.read(_addressed(visit), visit.headers)

    def hear(self, visit: Visit) -> Exchange:
        """Read the request and find its answer. Raises `Refused`."""
        question = self.ask(visit)
        return Exchange(
            body=_addressed(visit),
            question=question,
            answer=visit.twist(think(question, visit.shelf.of(Memory))),
            number=visit.number,
            created=visit.created,
        )

    def answer(self, visit: Visit) -> Reply:
        """Answer as the body wants it: with a stream, or with a document."""
        return self.reply(self.hear(visit))

    def reply(self, exchange: Exchange) -> Reply:
        """The answer, as the body wants it."""
        if exchange.body.get("stream", self.streams):
            events = self.stream(exchange)
            return Streamed(events=events, content_type=self.stream_type)
        return self.document(exchange)


def _addressed(visit: Visit) -> dict[str, Any]:
    body = visit.object()
    return {**body, "model": visit.params["model"]} if "model" in visit.params else body


# -- a row -----------------------------------------------------------------------------


@frozen
class Endpoint:
    """
    Something that a server does.

    >>> bool(Endpoint("GET", "/models/{model}", dict).match("GET", "/models/gpt"))
    True
    """

    method: str
    #: Below the prefix; ``{name}`` stands for anything without a slash.
    path: str
    answer: Callable[[Visit], Reply] = field(hash=False, repr=False)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        escaped = re.sub(r"[^{}\w]", lambda m: re.escape(m[0]), self.path)
        return re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", escaped))

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """What the placeholders stand for; ``None`` if it is not meant."""
        found = self._pattern.fullmatch(path) if method == self.method else None
        return found and found.groupdict()


def mount(endpoints: Iterable[Endpoint], *bases: str) -> tuple[Endpoint, ...]:
    """Put *endpoints* below each of *bases*."""
    endpoints = tuple(endpoints)
    return tuple(
        evolve(each, path=base + each.path) for base in bases for each in endpoints
    )


@frozen(kw_only=True)
class Manners:
    """What is the same wherever a server is asked: its errors, headers and keys."""

    #: An error's body, from the request's id.
    error: Callable[[Refused, str], dict[str, Any]]
    #: The event that it is within a stream, after so many others.
    error_event: Callable[[Refused, str, int], bytes]
    #: What every answer carries, from its number and the request's id.
    headers: Callable[[int, str], dict[str, str]]
    #: Finds the key in the headers, and says how one is missed.
    key: Callable[[Mapping[str, str]], str | None]
    unauthorized: Callable[[str | None], Refused]


@frozen(kw_only=True)
class SimDialect:
    """One API at one place. Several may share a place; the first with the endpoint answers."""

    name: str
    #: What all its paths begin with.
    prefix: str
    #: What a client is given as its base URL.
    base_path: str
    #: Below the prefix: where the requests of a batch are answered.
    api: str = "/v1"
    manners: Manners
    endpoints: tuple[Endpoint, ...] = field(repr=False)
