"""What the simulator has to know about a dialect: a row of its table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from ._sim_brain import Answer, Question

__all__ = ["Event", "Exchange", "Refused", "SimDialect"]


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


@frozen
class Event:
    """A piece of a streamed answer, as it goes over the wire."""

    data: bytes
    #: Whether something is said with it, which takes its time.
    word: bool = False


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
class SimDialect:
    """
    How one API is spoken: pure functions, without a socket.

    Another dialect is another file that ends with one of these, and a line in the table.
    """

    name: str
    #: What all its paths begin with.
    prefix: str
    #: What a client is given as its base URL.
    base_path: str
    #: Below the prefix.
    chat_paths: tuple[str, ...]
    models_paths: tuple[str, ...]

    #: Checks a body, with the request's headers in lower case. Raises `Refused`.
    read: Callable[[Mapping[str, Any], Mapping[str, str]], Question]
    #: The answer as a stream, and as one document.
    stream: Callable[[Exchange], Iterator[Event]]
    document: Callable[[Exchange], dict[str, Any]]
    models: Callable[[], dict[str, Any]]
    #: An error's body, and the event that it is within a stream, from the request's id.
    error: Callable[[Refused, str], dict[str, Any]]
    error_event: Callable[[Refused, str], bytes]
    #: What every answer carries, from its number and the request's id.
    headers: Callable[[int, str], dict[str, str]]
    #: Finds the key in the headers, and says how one is missed.
    key: Callable[[Mapping[str, str]], str | None]
    unauthorized: Callable[[str | None], Refused]

    #: The content type of a stream.
    stream_type: str = "text/event-stream"
    #: Whether it answers with a stream if the request does not say.
    streams: bool = False
    #: Whatever else can be read, by path: documents that are always the same.
    pages: Mapping[str, Mapping[str, Any]] = field(factory=dict, hash=False)
