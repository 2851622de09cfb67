"""
What goes on in a call beside reading, for those who count and log.

A call has one answer, but may take several attempts and waits for it, and those who know of
them (the transport, a hedge, a cache) do not know who listens. Listeners are in a context
variable, so everything that happens beneath a pull finds the ones of its own call::

    with listening(print):
        first = await anext(chunks)  # attempts, waits and retries happen in here
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, Literal, TypeAlias

from attrs import frozen

from ..errors import AIChatError

__all__ = ["CallEvent", "Listener", "heard", "listening", "tell"]

_log = logging.getLogger("aichat")

EventKind: TypeAlias = Literal[
    "attempt",  # a request is about to be sent
    "waiting",  # for *seconds*, because of *reason*
    "failed",  # an attempt did, with *error*
    "rerouted",  # the call goes on to another *model*, because of *error* if there is one
    "hedged",  # a second attempt runs beside the first
    "cache",  # *reason* says what the cache knew
]


@frozen(kw_only=True)
class CallEvent:
    """Something that happened on the way to an answer."""

    kind: EventKind
    #: Who was or will be asked.
    provider: str = ""
    #: The model, where it is known.
    model: str = ""
    #: 1 is the first.
    attempt: int = 1
    #: ``limiter``, ``backoff`` or ``flight`` of a wait; ``hit``, ``miss`` or ``shared`` of a
    #: cache.
    reason: Literal["", "limiter", "backoff", "flight", "hit", "miss", "shared"] = ""
    #: How long a wait will take, as far as it is known.
    seconds: float = 0.0
    error: AIChatError | None = None
    #: Where an attempt goes to, if it is an address; it has been checked, and holds no key.
    base_url: str = ""


#: Is told in the middle of it all: must not block.
Listener: TypeAlias = Callable[[CallEvent], None]

_listeners: Final = ContextVar[tuple[Listener, ...]]("aichat_listeners", default=())


@contextmanager
def listening(listener: Listener) -> Generator[None, None, None]:
    """
    Tell *listener* of everything that happens within; around a pull, never across a yield.
    """
    token = _listeners.set((*_listeners.get(), listener))
    try:
        yield
    finally:
        _listeners.reset(token)


def heard() -> bool:
    """Whether anybody listens: an event that nobody hears need not be made."""
    return bool(_listeners.get())


def tell(event: CallEvent) -> None:
    """Pass *event* to everybody who listens."""
    for listener in _listeners.get():
        try:
            listener(event)
        except Exception:
            # Whoever only watches must not be what breaks the call.
            _log.exception("A listener raised")
