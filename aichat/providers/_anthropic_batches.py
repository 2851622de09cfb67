"""
Anthropic's batches: all requests in one body, all results in lines, in any order.

What is wrong with a request is found out while the batch runs, and is a result like others.

See: https://platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import Batch, BatchCounts, BatchStatus, dumps
from ._batching import (
    BatchesAPI,
    BatchLine,
    BatchSource,
    Steps,
    Submission,
    count,
    seconds,
    text,
)

__all__ = ["ANTHROPIC_BATCHES"]

_PATH: Final = "/v1/messages/batches"
#: What a message may have, unless it is one of a batch.
_NOT_THERE: Final = ("fallbacks", "speed")
#: Results that are no answers. The provider has no words for them beyond these.
_UNANSWERED: Final[Mapping[str, str]] = {
    "canceled": "The batch was cancelled before this request was answered.",
    "expired": "The batch expired before this request was answered.",
}


def _encode(id: str, request: HTTPRequest, _: Mapping[str, str]) -> bytes:
    params = dict(request.body)
    params.pop("stream", None)
    for name in _NOT_THERE:
        if name in params:
            raise InvalidRequestError(
                f"{name} in provider_options is nothing that a batch can have.",
                operation="batch",
            )
    return dumps({"custom_id": id, "params": params})


def _submit(submission: Submission) -> Steps:
    body = b'{"requests":[%b]}' % b",".join(submission.lines)
    return (
        yield HTTPRequest(_PATH, body, headers=submission.headers, repeatable=False)
    )


def _cancel(id: str) -> Steps:
    return (yield HTTPRequest(f"{_path(id)}/cancel"))


def _get(id: str) -> HTTPRequest:
    return HTTPRequest(_path(id), method="GET")


def _list(after: str | None) -> HTTPRequest:
    query = {"limit": "100"} | ({"after_id": after} if after else {})
    return HTTPRequest(_PATH, method="GET", query=query)


def _path(id: str) -> str:
    return f"{_PATH}/{quote(id, safe='')}"


def _decode(raw: Mapping[str, Any]) -> Batch:
    said = raw.get("request_counts") or {}
    kinds = ("processing", "succeeded", "errored", "canceled", "expired")
    number = {kind: count(said.get(kind)) for kind in kinds}
    known = [n for n in number.values() if n is not None]
    return Batch(
        id=text(raw, "id"),
        status=_status(raw, number),
        counts=BatchCounts(
            total=sum(known) if known else None,
            succeeded=number["succeeded"],
            failed=number["errored"],
            cancelled=number["canceled"],
            expired=number["expired"],
        ),
        created_at=seconds(raw.get("created_at")),
        ended_at=seconds(raw.get("ended_at")),
        expires_at=seconds(raw.get("expires_at")),
        raw=raw,
    )


def _status(raw: Mapping[str, Any], number: Mapping[str, int | None]) -> BatchStatus:
    match raw.get("processing_status"):
        case "canceling":
            return BatchStatus.CANCELLING
        case "ended" if number["canceled"]:
            return BatchStatus.CANCELLED
        case "ended" if number["expired"]:
            return BatchStatus.EXPIRED
        case "ended":
            return BatchStatus.COMPLETED
        case _:
            return BatchStatus.RUNNING


def _decode_page(raw: Mapping[str, Any]) -> tuple[Iterable[Any], str | None]:
    jobs = raw.get("data") or []
    return jobs, text(jobs[-1], "id") if jobs and raw.get("has_more") else None


def _results(batch: Batch) -> Iterable[BatchSource]:
    # Not where `results_url` points: the key goes along, and to nobody else.
    yield BatchSource(request=HTTPRequest(f"{_path(batch.id)}/results", method="GET"))


def _decode_result(raw: Mapping[str, Any]) -> BatchLine:
    key = text(raw, "custom_id")
    match raw.get("result"):
        case {"type": "succeeded", "message": dict() as message}:
            return BatchLine(id=key, answer=message)
        case {"type": "errored", "error": error}:
            return BatchLine(id=key, failure=error)
        case {"type": ("canceled" | "expired") as kind}:
            what = kind.replace("canceled", "cancelled")
            failure = {"code": f"batch_{what}", "message": _UNANSWERED[kind]}
            return BatchLine(id=key, failure={"error": failure})
        case other:
            return BatchLine(id=key, failure={"error": other})


ANTHROPIC_BATCHES: Final = BatchesAPI(
    encode=_encode,
    submit=_submit,
    get=_get,
    cancel=_cancel,
    list=_list,
    decode=_decode,
    decode_page=_decode_page,
    results=_results,
    decode_result=_decode_result,
    max_requests=100_000,
    max_bytes=256 * 10**6,
    ids=r"[a-zA-Z0-9_-]{1,64}",
    ids_are="letters, digits, _ and -, 64 at most",
    one_model=False,
)
