"""Many requests as one job: what goes in, how far it is, what comes out."""

from __future__ import annotations

from enum import StrEnum

from attrs import Attribute, field, frozen

from ..errors import AIChatError, InvalidRequestError
from ._chat import ChatRequest, ChatResponse
from ._values import JSONObject, frozen_mapping

__all__ = ["Batch", "BatchCounts", "BatchRequest", "BatchResult", "BatchStatus"]


class BatchStatus(StrEnum):
    """How far a batch is. From `COMPLETED` on nothing changes any more."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    #: Every request has been tried; those that failed say so themselves.
    COMPLETED = "completed"
    #: The batch as a whole was refused.
    FAILED = "failed"
    #: Time was up. What was answered by then is there.
    EXPIRED = "expired"
    #: Somebody cancelled it. What was answered by then is there.
    CANCELLED = "cancelled"


_DONE = frozenset({
    BatchStatus.COMPLETED,
    BatchStatus.FAILED,
    BatchStatus.EXPIRED,
    BatchStatus.CANCELLED,
})


def _check_id(_: object, __: Attribute[str], value: object) -> None:
    if not (isinstance(value, str) and value):
        raise InvalidRequestError(
            f"The id of a request in a batch must be a text, got {value!r}.",
            operation="batch",
        )


@frozen
class BatchRequest:
    """One request of a batch, under an *id* that its result will have."""

    id: str = field(validator=_check_id)
    request: ChatRequest


@frozen(kw_only=True)
class BatchCounts:
    """How many requests there are, and what became of them; ``None`` where nobody says."""

    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    cancelled: int | None = None
    expired: int | None = None


@frozen(kw_only=True)
class Batch:
    """
    A job at a provider, as it was when we asked last.

    `to_json` writes it down and ``from_json(Batch, …)`` reads it, so that another process
    may collect what this one has submitted.
    """

    #: The provider's.
    id: str
    #: The name under which the client knows the provider.
    provider: str = ""
    status: BatchStatus
    counts: BatchCounts = field(factory=BatchCounts)
    #: The model's name without its provider, where one is known for all requests.
    model: str | None = None
    #: Seconds since the epoch. For some providers counts and times come only at the end.
    created_at: float | None = None
    ended_at: float | None = None
    #: When it will have expired, or the results will.
    expires_at: float | None = None
    #: What was asked for and could not be expressed, each once; known to who submitted it.
    warnings: tuple[str, ...] = ()
    #: The job as the provider describes it, without requests and results.
    raw: JSONObject = field(
        factory=dict, converter=frozen_mapping, hash=False, repr=False
    )

    @property
    def done(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.status in _DONE


@frozen
class BatchResult:
    """What became of the request with this *id*: a response, or an error."""

    id: str
    response: ChatResponse | None = None
    error: AIChatError | None = None
