"""
Gemini's batches, whose requests come inline: the results are in their order.

Each time somebody looks, a batch gets one step further: pending, running, succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import define, field

from ._sim_dialect import Endpoint, Refused, Reply, Visit
from ._sim_faults import perform_or_fail
from ._sim_pages import token_page

__all__ = ["GOOGLE_BATCHES"]

_TYPE: Final = "type.googleapis.com/google.ai.generativelanguage.v1main."
#: gRPC has numbers of its own; anything else is an INTERNAL error.
_GRPC: Final[Mapping[int, int]] = {400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 503: 14}
_INTERNAL: Final = 13


@define
class _Batch:
    name: str
    model: str
    title: str
    created: int
    waiting: list[Mapping[str, Any]]
    state: str = field(default="PENDING", init=False)
    results: list[dict[str, Any]] = field(factory=list, init=False)
    total: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.total = len(self.waiting)

    def advance(self, visit: Visit) -> None:
        """Get one step further."""
        match self.state:
            case "PENDING":
                self.state = "RUNNING"
            case "RUNNING":
                self.results = [self._result(visit, item) for item in self.waiting]
                self.waiting = []
                self.state = "SUCCEEDED"
            case _:
                pass  # it is over

    def _result(self, visit: Visit, item: Mapping[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        if "metadata" in item:
            result["metadata"] = item["metadata"]
        path = f"/models/{self.model}:generateContent"
        try:
            result["response"] = perform_or_fail(visit, path, item.get("request"))
        except Refused as refused:
            code = _GRPC.get(refused.status, _INTERNAL)
            result["error"] = {"code": code, "message": refused.message}
        return result

    def operation(self) -> dict[str, Any]:
        """The batch, as one of Google's long-running operations."""
        failed = sum("error" in result for result in self.results)
        stats = {
            "requestCount": self.total,
            "successfulRequestCount": len(self.results) - failed,
            "failedRequestCount": failed,
            "pendingRequestCount": len(self.waiting),
        }
        when = datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        over = self.state in ("SUCCEEDED", "CANCELLED")
        metadata: dict[str, Any] = {
            "@type": f"{_TYPE}GenerateContentBatch",
            "name": self.name,
            "model": f"models/{self.model}",
            "displayName": self.title,
            "createTime": when,
            "updateTime": when,
            # What is 0 is left out, and large numbers are text.
            "batchStats": {name: str(count) for name, count in stats.items() if count},
            "state": f"BATCH_STATE_{self.state}",
        }
        operation: dict[str, Any] = {"name": self.name, "metadata": metadata}
        if over:
            metadata["endTime"] = when
            operation["done"] = True
        if self.state == "SUCCEEDED":
            output = {"inlinedResponses": {"inlinedResponses": self.results}}
            metadata["output"] = output
            kind = f"{_TYPE}GenerateContentBatchOutput"
            operation["response"] = {"@type": kind, **output}
        if self.state == "CANCELLED":
            operation["error"] = {"code": 1, "message": "The batch was cancelled."}
        return operation


@define
class _Batches:
    by_name: dict[str, _Batch] = field(factory=dict, init=False)


# -- what can be asked -----------------------------------------------------------------


def _create(visit: Visit) -> Reply:
    asked = visit.object().get("batch") or {}
    source = asked.get("inputConfig") or {}
    if source.get("fileName"):
        raise Refused("The simulator has no files of Google's: send inline requests.")
    requests = (source.get("requests") or {}).get("requests")
    if not requests:
        raise Refused(
            "* BatchGenerateContentRequest.batch.input_config: the requests are missing"
        )
    name = f"batches/sim{visit.number:08d}"
    title = asked.get("displayName") or ""
    batch = _Batch(name, visit.params["model"], title, visit.created, list(requests))
    visit.shelf.of(_Batches).by_name[name] = batch
    return batch.operation()


def _found(visit: Visit) -> _Batch:
    name = f"batches/{visit.params['id']}"
    batches = visit.shelf.of(_Batches).by_name
    if name not in batches:
        raise Refused(f"Batch {name} is not found.", status=404)
    return batches[name]


def _get(visit: Visit) -> Reply:
    batch = _found(visit)
    batch.advance(visit)
    return batch.operation()


def _cancel(visit: Visit) -> Reply:
    batch = _found(visit)
    if batch.state == "SUCCEEDED":
        raise Refused("A batch that is over cannot be cancelled.", status=400)
    batch.state = "CANCELLED"
    return {}


def _delete(visit: Visit) -> Reply:
    del visit.shelf.of(_Batches).by_name[_found(visit).name]
    return {}


def _list(visit: Visit) -> Reply:
    kept = visit.shelf.of(_Batches).by_name.values()
    # The latest first.
    operations = [batch.operation() for batch in kept][::-1]
    return token_page("operations", operations, visit.query)


GOOGLE_BATCHES: Final = (
    Endpoint("POST", "/models/{model}:batchGenerateContent", _create),
    Endpoint("GET", "/batches", _list),
    Endpoint("GET", "/batches/{id}", _get),
    Endpoint("POST", "/batches/{id}:cancel", _cancel),
    Endpoint("DELETE", "/batches/{id}", _delete),
)
