"""
What the application knows of a call and nobody beneath it does: whose it is, and what for.

It stands in a context variable, so it reaches every call that is made within, through whatever
lies between: spans, log lines, and the headers of requests (O5).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType, TracebackType
from typing import Final, final

from attrs import evolve, field, fields, frozen

from ..errors import ConfigError
from ..types._secret import is_secret
from ._address import check_headers

__all__ = ["Observation", "observation", "observe", "observe_also", "observed_headers"]

#: Characters of an id: it stands in every line and span, and they are no place for texts.
_LONGEST: Final = 256

#: Headers that belong to HTTP, to us, or to the cookie jar that we do not have (X3).
_OURS: Final = frozenset(
    {
        "accept", "accept-encoding", "connection", "content-encoding", "content-length",
        "content-type", "cookie", "expect", "host", "idempotency-key", "keep-alive",
        "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def _to_headers(value: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(value))


@frozen(kw_only=True)
class Observation:
    """What `observe` has said, all those around it taken together."""

    operation: str | None = None
    request_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    #: Sent along with every request, to whichever provider.
    headers: Mapping[str, str] = field(
        factory=dict, converter=_to_headers, repr=False, hash=False
    )

    def over(self, other: Observation) -> Observation:
        """What is said here, and what *other* says where nothing is said here."""
        said = {
            f.name: value
            for f in fields(Observation)
            if f.name != "headers" and (value := getattr(self, f.name)) is not None
        }
        kept = _without(other.headers, self.headers)
        return evolve(other, **said, headers={**kept, **self.headers})


_NOTHING: Final = Observation()
_current: Final = ContextVar[Observation | None]("aichat_observation", default=None)


def observation() -> Observation:
    """What has been said about the calls that are made here; empty outside of `observe`."""
    return _current.get() or _NOTHING


def observe(
    *,
    operation: str | None = None,
    request_id: str | None = None,
    user_id: str | None = None,
    session_id: str | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> Observing:
    """
    Say what the calls within are part of.

    The ids come out in spans and log lines, never as labels of metrics, and are not sent to
    anybody; *headers* are, with every request to every provider. Within another `observe` it
    adds to what that one says. What counts is where a stream is read, not where it is made::

        with observe(operation="summarise", session_id="s-1", headers={"x-team": "search"}):
            response = await client.complete("…")

    Raises `ConfigError` for what is no id, and for headers that are not the application's to
    choose: credentials, and those that HTTP needs.
    """
    ids = {
        "operation": operation,
        "request_id": request_id,
        "user_id": user_id,
        "session_id": session_id,
    }
    for name, value in ids.items():
        _check_id(name, value)
    _check_chosen(headers)
    return Observing(Observation(**ids, headers=headers))


@final
class Observing:
    """What `observe` returns: a context manager, to be entered as often as you like."""

    __slots__ = ("_said", "_tokens")

    def __init__(self, said: Observation) -> None:
        self._said = said
        self._tokens: list[Token[Observation | None]] = []

    def __enter__(self) -> Observation:
        merged = self._said.over(observation())
        self._tokens.append(_current.set(merged))
        return merged

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _current.reset(self._tokens.pop())


@contextmanager
def observe_also(headers: Mapping[str, str]) -> Generator[None, None, None]:
    """Send *headers* as well, but for those that the application has chosen itself."""
    said = observation()
    if headers:
        said = said.over(Observation(headers=headers))
    token = _current.set(said)
    try:
        yield
    finally:
        _current.reset(token)


def observed_headers(
    api: Mapping[str, str], client: Mapping[str, str], request: Mapping[str, str]
) -> Mapping[str, str]:
    """
    Merge the headers of a request: later ones win, and those of `observe` win over the
    *client*'s only. What the *api* or the *request* needs they cannot change.
    """
    chosen: Mapping[str, str] = observation().headers
    if chosen:
        chosen = _without(chosen, (*api, *request))
        client = {**_without(client, chosen), **chosen}
    return {**api, **client, **request}


def _without(headers: Mapping[str, str], others: Iterable[str]) -> dict[str, str]:
    """Those of *headers* that are not among *others*; case does not count."""
    names = {name.lower() for name in others}
    return {n: value for n, value in headers.items() if n.lower() not in names}


def _check_id(name: str, value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(
            f"observe: {name} must be a text that is not empty; got {value!r}."
        )
    if len(value) > _LONGEST or not value.isprintable():
        raise ConfigError(
            f"observe: {name} must be printable, with {_LONGEST} characters at most; got "
            f"{value[:50]!r}, with {len(value)}."
        )


def _check_chosen(headers: Mapping[str, str]) -> None:
    if not all(isinstance(text, str) for pair in headers.items() for text in pair):
        raise ConfigError("observe: the names and values of headers are texts.")
    check_headers(headers)
    for name in headers:
        if name.lower() in _OURS or is_secret(name):
            raise ConfigError(
                f"observe: the header {name!r} is not for the application to choose. Keys "
                "belong to the client: pass them as api_key."
            )
