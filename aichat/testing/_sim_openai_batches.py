"""
OpenAI's batches: a file of requests, and later a file of answers in another order.

Each time somebody looks, a batch gets one step further: ``validating``, ``in_progress``
with the first half of it answered, ``finalizing``, ``completed``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from attrs import define, field

from ..types import dumps, loads
from ._sim_dialect import Endpoint, Refused, Reply, Visit
from ._sim_faults import perform_or_fail
from ._sim_openai import OPENAI
from ._sim_openai_files import Files
from ._sim_pages import page

__all__ = ["OPENAI_BATCHES"]

_URLS: Final = ("/v1/responses", "/v1/chat/completions", "/v1/embeddings")
_DAY: Final = 24 * 60 * 60


@define
class _Batch:
    about: dict[str, Any]
    #: The requests that are not answered yet.
    waiting: list[Mapping[str, Any]] = field(factory=list, init=False)
    #: Lines of the files to come.
    answered: list[dict[str, Any]] = field(factory=list, init=False)
    failed: list[dict[str, Any]] = field(factory=list, init=False)

    def advance(self, visit: Visit) -> None:
        """Get one step further."""
        now = visit.created
        match self.about["status"]:
            case "validating":
                self._validate(visit)
            case "in_progress":
                self._work(visit, len(self.waiting))
                self.about |= {"status": "finalizing", "finalizing_at": now}
            case "finalizing":
                self._publish(visit)
                self.about |= {"status": "completed", "completed_at": now}
            case "cancelling":
                self._publish(visit)
                self.about |= {"status": "cancelled", "cancelled_at": now}
            case _:
                pass  # it is over

    def _validate(self, visit: Visit) -> None:
        data = visit.shelf.of(Files).content.get(self.about["input_file_id"], b"")
        lines = [line for line in data.splitlines() if line.strip()]
        requests, errors = _parsed(lines, self.about["endpoint"])
        if errors:
            listed = {"object": "list", "data": errors}
            over = {"status": "failed", "failed_at": visit.created, "errors": listed}
            self.about |= over
            return
        self.waiting = requests
        self.about["request_counts"] = {**_COUNTS, "total": len(requests)}
        self.about |= {"status": "in_progress", "in_progress_at": visit.created}
        self._work(visit, len(requests) // 2)

    def _work(self, visit: Visit, count: int) -> None:
        for _ in range(count):
            line = self.waiting.pop(0)
            number = len(self.answered) + len(self.failed)
            result = {
                "id": f"batch_req_{self.about['id']}_{number}",
                "custom_id": line["custom_id"],
                "response": _response(visit, line, f"req_{number}"),
                "error": None,
            }
            bad = result["response"]["status_code"] >= 400
            (self.failed if bad else self.answered).append(result)
        counts = self.about["request_counts"]
        counts |= {"completed": len(self.answered), "failed": len(self.failed)}

    def _publish(self, visit: Visit) -> None:
        files = visit.shelf.of(Files)
        for kind, lines in (("output", self.answered), ("error", self.failed)):
            if not lines:
                continue
            # In any order but that of the requests.
            data = b"".join(dumps(line) + b"\n" for line in reversed(lines))
            name = f"{self.about['id']}_{kind}"
            self.about[f"{kind}_file_id"] = f"file-{name}"
            files.keep(
                f"file-{name}",
                data,
                created_at=visit.created,
                filename=f"{name}.jsonl",
                purpose="batch_output",
            )


_COUNTS: Final = {"total": 0, "completed": 0, "failed": 0}


@define
class _Batches:
    by_id: dict[str, _Batch] = field(factory=dict, init=False)

    def find(self, batch_id: str) -> _Batch:
        if batch_id not in self.by_id:
            raise Refused(f"No batch found with id '{batch_id}'.", status=404)
        return self.by_id[batch_id]


def _parsed(
    lines: list[bytes], url: str
) -> tuple[list[Mapping[str, Any]], list[dict[str, Any]]]:
    """The requests, and what is wrong with them."""
    requests: list[Any] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    for number, line in enumerate(lines, 1):
        try:
            request = loads(line)
        except ValueError:
            request = None
        for code, message, param in _mistakes(request, url, seen):
            error = {"code": code, "message": message, "param": param}
            errors.append({**error, "line": number})
        if isinstance(request, dict):
            seen.add(str(request.get("custom_id")))
        requests.append(request)
    if not lines:
        error = {"code": "empty_file", "message": "The input file is empty."}
        errors.append({**error, "param": None, "line": None})
    models = {str(r["body"].get("model")) for r in requests} if not errors else set()
    if len(models) > 1:
        message = "All requests of a batch go to one model."
        error = {"code": "mismatched_model", "message": message}
        errors.append({**error, "param": "body.model", "line": None})
    return requests, errors


def _mistakes(
    request: Any, url: str, seen: set[str]
) -> Iterator[tuple[str, str, str | None]]:
    if not isinstance(request, dict):
        message = "This line is not parseable as valid JSON."
        yield "invalid_json_line", message, None
        return
    custom_id = request.get("custom_id")
    if not isinstance(custom_id, str) or not custom_id:
        message = "Missing required parameter: 'custom_id'."
        yield "missing_required_parameter", message, "custom_id"
    elif custom_id in seen:
        message = f"The custom_id '{custom_id}' is used more than once."
        yield "duplicate_custom_id", message, "custom_id"
    if request.get("method") != "POST":
        yield "invalid_method", "The method must be 'POST'.", "method"
    if request.get("url") != url:
        message = f"The url must be that of the batch, '{url}'."
        yield "mismatched_endpoint", message, "url"
    if not isinstance(request.get("body"), dict):
        message = "Missing required parameter: 'body'."
        yield "missing_required_parameter", message, "body"
    elif request["body"].get("stream"):
        message = "A batch has no streams."
        yield "unsupported_parameter", message, "body.stream"


def _response(visit: Visit, line: Mapping[str, Any], name: str) -> dict[str, Any]:
    try:
        path = line["url"].removeprefix("/v1")
        body = perform_or_fail(visit, path, line["body"])
        status = 200
    except Refused as refused:
        body, status = OPENAI.error(refused, name), refused.status
    return {"status_code": status, "request_id": name, "body": body}


# -- what can be asked -----------------------------------------------------------------


def _create(visit: Visit) -> Reply:
    body = visit.object()
    url = str(body.get("endpoint"))
    # Azure's older versions leave out the version.
    if url not in (*_URLS, *(known.removeprefix("/v1") for known in _URLS)):
        raise Refused(
            f"Invalid value: '{url}'. Supported values are: {', '.join(_URLS)}.",
            code="invalid_value",
            param="endpoint",
        )
    if body.get("completion_window") != "24h":
        raise Refused(
            "Invalid value for 'completion_window'. Supported values are: '24h'.",
            code="invalid_value",
            param="completion_window",
        )
    source = visit.shelf.of(Files).find(str(body.get("input_file_id")))
    if source["purpose"] != "batch":
        raise Refused(
            "The input file has another purpose than 'batch'.", param="input_file_id"
        )
    about: dict[str, Any] = {
        "id": f"batch_sim{visit.number:08d}",
        "object": "batch",
        "endpoint": url,
        "errors": None,
        "input_file_id": source["id"],
        "completion_window": "24h",
        "status": "validating",
        "output_file_id": None,
        "error_file_id": None,
        "created_at": visit.created,
        "expires_at": visit.created + _DAY,
        "request_counts": dict(_COUNTS),
        "metadata": body.get("metadata"),
    }
    visit.shelf.of(_Batches).by_id[about["id"]] = _Batch(about)
    return about


def _get(visit: Visit) -> Reply:
    batch = visit.shelf.of(_Batches).find(visit.params["id"])
    batch.advance(visit)
    return batch.about


def _cancel(visit: Visit) -> Reply:
    batch = visit.shelf.of(_Batches).find(visit.params["id"])
    if batch.about["status"] not in ("validating", "in_progress", "finalizing"):
        raise Refused(
            f"Cannot cancel a batch with status '{batch.about['status']}'.", status=409
        )
    batch.about |= {"status": "cancelling", "cancelling_at": visit.created}
    return batch.about


def _list(visit: Visit) -> Reply:
    kept = visit.shelf.of(_Batches).by_id.values()
    # The latest first.
    abouts = [batch.about for batch in kept][::-1]
    return {"object": "list", **page(abouts, visit.query, size=20)}


OPENAI_BATCHES: Final = (
    Endpoint("POST", "/batches", _create),
    Endpoint("GET", "/batches", _list),
    Endpoint("GET", "/batches/{id}", _get),
    Endpoint("POST", "/batches/{id}/cancel", _cancel),
)
