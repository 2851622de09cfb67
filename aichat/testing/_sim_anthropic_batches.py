"""
Anthropic's message batches: results in any order, each of them with its own fate.

Nothing is checked before it is its turn. Half of a batch is done when somebody looks for
the first time, and all of it the next time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field

from ..types import dumps
from ._sim_anthropic import MANNERS
from ._sim_dialect import Endpoint, Raw, Refused, Reply, Visit
from ._sim_faults import perform_or_fail
from ._sim_pages import page

__all__ = ["ANTHROPIC_BATCHES"]

_DAY: Final = 24 * 60 * 60
#: What a request in a batch may not have.
_ALONE: Final = ("stream", "speed", "fallbacks")


@define
class _Batch:
    id: str
    root: str
    created: int
    waiting: list[Mapping[str, Any]]
    results: list[dict[str, Any]] = field(factory=list, init=False)
    status: str = field(default="in_progress", init=False)
    cancelled: int | None = field(default=None, init=False)
    ended: int | None = field(default=None, init=False)

    def about(self) -> dict[str, Any]:
        # They count only at the end.
        counts = {
            kind: sum(r["result"]["type"] == kind for r in self.results)
            if self.status == "ended"
            else 0
            for kind in ("succeeded", "errored", "canceled", "expired")
        }
        waiting = len(self.waiting) + len(self.results) - sum(counts.values())
        there = f"{self.root}/v1/messages/batches/{self.id}/results"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": self.status,
            "request_counts": {"processing": waiting, **counts},
            "created_at": _time(self.created),
            "expires_at": _time(self.created + _DAY),
            "ended_at": _time(self.ended),
            "cancel_initiated_at": _time(self.cancelled),
            "archived_at": None,
            "results_url": there if self.status == "ended" else None,
        }

    def advance(self, visit: Visit) -> None:
        """Get one step further."""
        if self.status == "ended":
            return
        if self.status == "canceling":
            for request in self.waiting:
                self._end(request, {"type": "canceled"})
            self.waiting = []
        elif self.results or len(self.waiting) < 2:
            self._work(visit, len(self.waiting))
        else:
            self._work(visit, len(self.waiting) // 2)
            return
        self.status, self.ended = "ended", visit.created

    def _work(self, visit: Visit, count: int) -> None:
        for _ in range(count):
            request = self.waiting.pop(0)
            self._end(request, _result(visit, request["params"], self.id))

    def _end(self, request: Mapping[str, Any], result: dict[str, Any]) -> None:
        self.results.append({"custom_id": request["custom_id"], "result": result})


def _result(visit: Visit, params: Any, batch_id: str) -> dict[str, Any]:
    try:
        for name in _ALONE:
            if name in params:
                raise Refused(f"{name}: Extra inputs are not permitted")
        message = perform_or_fail(visit, "/messages", params)
    except Refused as refused:
        error = MANNERS.error(refused, f"req_{batch_id}")
        return {"type": "errored", "error": error}
    usage = {**message["usage"], "service_tier": "batch"}
    return {"type": "succeeded", "message": {**message, "usage": usage}}


def _time(seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat()


@define
class _Batches:
    by_id: dict[str, _Batch] = field(factory=dict, init=False)

    def find(self, batch_id: str) -> _Batch:
        if batch_id not in self.by_id:
            raise Refused(f"Message batch {batch_id} not found", status=404)
        return self.by_id[batch_id]


# -- what can be asked -----------------------------------------------------------------


def _create(visit: Visit) -> Reply:
    if not visit.headers.get("anthropic-version"):
        raise Refused("anthropic-version: header is required")
    requests = visit.object().get("requests")
    if not isinstance(requests, list) or not requests:
        raise Refused("requests: List should have at least 1 item after validation")
    seen: set[str] = set()
    for index, request in enumerate(requests):
        custom_id, params = request.get("custom_id"), request.get("params")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", str(custom_id), re.ASCII):
            raise Refused(
                f"requests.{index}.custom_id: String should match pattern "
                "'^[a-zA-Z0-9_-]{1,64}$'"
            )
        if custom_id in seen:
            raise Refused(f"requests.{index}.custom_id: duplicate custom_id")
        if not isinstance(params, dict):
            raise Refused(f"requests.{index}.params: Field required")
        seen.add(custom_id)
    batch_id = f"msgbatch_sim{visit.number:08d}"
    batch = _Batch(batch_id, visit.root, visit.created, list(requests))
    visit.shelf.of(_Batches).by_id[batch_id] = batch
    return batch.about()


def _found(visit: Visit) -> _Batch:
    return visit.shelf.of(_Batches).find(visit.params["id"])


def _get(visit: Visit) -> Reply:
    batch = _found(visit)
    batch.advance(visit)
    return batch.about()


def _results(visit: Visit) -> Reply:
    batch = _found(visit)
    if batch.status != "ended":
        raise Refused(f"Batch {batch.id} has no available results.", status=404)
    # In any order but that of the requests.
    lines = [dumps(result) + b"\n" for result in reversed(batch.results)]
    return Raw(data=b"".join(lines), content_type="application/x-jsonl")


def _cancel(visit: Visit) -> Reply:
    batch = _found(visit)
    if batch.status == "ended":
        raise Refused(f"Batch {batch.id} cannot be canceled: it has ended.")
    batch.status, batch.cancelled = "canceling", visit.created
    return batch.about()


def _delete(visit: Visit) -> Reply:
    batch = _found(visit)
    if batch.status != "ended":
        raise Refused(f"Batch {batch.id} cannot be deleted before it has ended.")
    del visit.shelf.of(_Batches).by_id[batch.id]
    return {"id": batch.id, "type": "message_batch_deleted"}


def _list(visit: Visit) -> Reply:
    kept = visit.shelf.of(_Batches).by_id.values()
    # The latest first.
    abouts = [batch.about() for batch in kept][::-1]
    return page(abouts, visit.query, size=20)


ANTHROPIC_BATCHES: Final = (
    Endpoint("POST", "/messages/batches", _create),
    Endpoint("GET", "/messages/batches", _list),
    Endpoint("GET", "/messages/batches/{id}", _get),
    Endpoint("GET", "/messages/batches/{id}/results", _results),
    Endpoint("POST", "/messages/batches/{id}/cancel", _cancel),
    Endpoint("DELETE", "/messages/batches/{id}", _delete),
)
