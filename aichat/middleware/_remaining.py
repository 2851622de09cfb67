"""The *total* deadline of a request that is sent more than once."""

from __future__ import annotations

import asyncio

from attrs import evolve

from ..errors import DeadlineError
from ..types import ChatRequest, Deadlines

__all__ = ["Remaining"]


class Remaining:
    """
    Hands the *total* deadline of *request* out to all the calls that answer it (D3).

    Only the one that the request itself names: what a client has for all its calls begins
    with each of them. Made, and asked, in the loop that answers.
    """

    def __init__(self, request: ChatRequest) -> None:
        deadlines = request.deadlines
        self._total = deadlines.limit("total") if deadlines is not None else None
        self._began = asyncio.get_running_loop().time()

    @property
    def seconds(self) -> float:
        """What is left; infinite without a deadline."""
        if self._total is None:
            return float("inf")
        return self._began + self._total - asyncio.get_running_loop().time()

    def of(self, request: ChatRequest) -> ChatRequest:
        """
        Return *request* with what is left for its *total*.

        Raises `DeadlineError` if that is nothing.
        """
        if self._total is None:
            return request
        seconds = self.seconds
        if seconds <= 0:
            raise DeadlineError(
                f"The call was not done within {self._total:g} s.",
                phase="total",
                retryable=False,
                context={"deadline": self._total},
            )
        limits = Deadlines(total=seconds).over(request.deadlines or Deadlines())
        return evolve(request, deadlines=limits)
