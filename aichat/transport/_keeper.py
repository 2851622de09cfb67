"""What closes connections at the end of their loop, if nobody has done it before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

__all__ = ["keeper_of"]


def keeper_of(close: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
    """
    Return a generator whose closing awaits *close*. Made in the loop that it is for.

    A loop that ends closes its async generators (`loop.shutdown_asyncgens`), and one that is
    garbage hands them to the loop for closing. So whoever forgets to close leaves no socket
    and no warning behind.
    """
    keeper = _keep(close)
    with suppress(StopIteration):
        keeper.__anext__().send(None)  # to its `yield`, where it stays
    return keeper


async def _keep(close: Callable[[], Awaitable[object]]) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await close()
