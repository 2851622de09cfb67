"""
Gemini's batches: a long-running operation, which comes back with all its answers inside.

However often one asks how far it is: when it is done, the whole lot comes along, and at
times twice. `InlinedResponses` takes the answers out of the JSON as it arrives, so that
neither is more than one of them held here. A job that somebody made of a file has a file of
results, in lines.

Vertex AI has other batches, which live in Cloud Storage and BigQuery.

See: https://ai.google.dev/gemini-api/docs/batch-api
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any, Final, final
from urllib.parse import quote

from ..errors import (
    InvalidRequestError,
    ProtocolError,
    ResponseTooLargeError,
    StreamInterruptedError,
)
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

__all__ = ["GOOGLE_BATCHES", "InlinedResponses"]

#: Bytes of one answer, or of a job without its answers.
_MOST: Final = 32 * 2**20
_STREAM: Final = ":streamGenerateContent"

_STATUS: Final[Mapping[str, BatchStatus]] = {
    "PENDING": BatchStatus.PENDING,
    "QUEUED": BatchStatus.PENDING,
    "CANCELLING": BatchStatus.CANCELLING,
    "SUCCEEDED": BatchStatus.COMPLETED,
    "PARTIALLY_SUCCEEDED": BatchStatus.COMPLETED,
    "FAILED": BatchStatus.FAILED,
    "CANCELLED": BatchStatus.CANCELLED,
    "EXPIRED": BatchStatus.EXPIRED,
}
#: Errors inside of an answer have gRPC's numbers instead of HTTP's.
#: See: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_RPC: Final[Mapping[int, str]] = {
    1: "CANCELLED",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}


@final
class InlinedResponses:
    """
    Finds the list under ``inlinedResponses`` in JSON that comes in pieces.

    Makes each object in it, and, with *job*, only at the end what is left without them. A
    second such list says the same again.
    """

    _KEY: Final = b'"inlinedResponses"'
    _OUTSIDE: Final = re.compile(rb'["\[\]{}]')
    _INSIDE: Final = re.compile(rb'["\\]')

    def __init__(self, *, job: bool = False) -> None:
        self._job = job
        self._rest = bytearray()  # the job without its lists
        self._item = bytearray()  # the object that has begun
        self._depth = 0  # in a list; 1 is between its objects
        self._open = 0  # outside of lists
        self._text = False  # within quotes
        self._escaped = False
        self._text_from = 0  # where the latest text in the rest began
        self._spoken = False  # whether a list had something in it
        self._again = False  # whether this list is another one

    def decode(self, data: bytes, /) -> list[bytes]:
        """Return the objects that *data* completes."""
        items: list[bytes] = []
        at = 0
        if self._escaped and data:
            self._escaped = False
            self._keep(data[:1])
            at = 1
        while at < len(data):
            pattern = self._INSIDE if self._text else self._OUTSIDE
            found = pattern.search(data, at)
            end = found.end() if found else len(data)
            self._keep(data[at:end])
            at = end
            if found and self._see(found[0], items):
                # A backslash: the next byte is text, whatever it is.
                self._escaped = at == len(data)
                self._keep(data[at : at + 1])
                at += 1
        return [] if self._job else items

    def flush(self) -> list[bytes]:
        """Return the job, if it is wanted. Raises `StreamInterruptedError` if it was cut."""
        if not self._rest.lstrip().startswith((b"{", b"[")):
            raise ProtocolError("The answer is not JSON. Is the base URL right?")
        if self._depth or self._open or self._text:
            raise StreamInterruptedError("The batch ended in the middle of its JSON.")
        return [bytes(self._rest)] if self._job else []

    def _keep(self, data: bytes) -> None:
        kept = self._item if self._depth else self._rest
        kept += data
        if len(kept) > _MOST:
            raise ResponseTooLargeError(
                f"An answer in a batch is longer than {_MOST} bytes.",
                context={"bytes": _MOST},
            )

    def _see(self, mark: bytes, items: list[bytes]) -> bool:
        """Take notice of *mark*, which is the last thing kept; True for a backslash."""
        if mark == b"\\":
            return True
        if mark == b'"':
            self._text = not self._text
            if self._text and not self._depth:
                self._text_from = len(self._rest) - 1
        elif self._depth:
            self._in_list(mark, items)
        elif mark == b"[" and self._is_ours():
            self._depth = 1
            self._again = self._spoken
            self._item.clear()
        else:
            self._open += 1 if mark in b"[{" else -1
        return False

    def _is_ours(self) -> bool:
        """Whether the bracket that the rest ends with opens a list of answers."""
        before = bytes(self._rest[self._text_from : -1])
        return (
            before.startswith(self._KEY)
            and before[len(self._KEY) :].strip(b" \t\r\n") == b":"
        )

    def _in_list(self, mark: bytes, items: list[bytes]) -> None:
        if mark in b"[{":
            if self._depth == 1:
                del self._item[:-1]  # commas and blanks
            self._depth += 1
            return
        self._depth -= 1
        if self._depth == 0:
            self._rest += b"]"
        elif self._depth == 1:
            self._spoken = True
            if not self._again:
                items.append(bytes(self._item))
            self._item.clear()


def _encode(id: str, request: HTTPRequest, _: Mapping[str, str]) -> bytes:
    return dumps({"request": request.body, "metadata": {"key": id}})


def _submit(submission: Submission) -> Steps:
    body = (
        b'{"batch":{"displayName":"aichat","inputConfig":{"requests":{"requests":[%b]}}}}'
        % b",".join(submission.lines)
    )
    path = submission.path.removesuffix(_STREAM)
    return (yield HTTPRequest(f"{path}:batchGenerateContent", body, repeatable=False))


def _cancel(id: str) -> Steps:
    # The answer is empty.
    yield HTTPRequest(f"{_path(id)}:cancel", {})
    return (yield _get(id))


def _get(id: str) -> HTTPRequest:
    return HTTPRequest(_path(id), method="GET")


def _list(page: str | None) -> HTTPRequest:
    query = {"pageSize": "20"} | ({"pageToken": page} if page else {})
    return HTTPRequest("/batches", method="GET", query=query)


def _path(id: str) -> str:
    name = id.removeprefix("batches/")
    if "/" in name:
        raise InvalidRequestError(f"{id!r} is no id of a batch.", operation="batch")
    return f"/batches/{quote(name, safe='')}"


def _decode(raw: Mapping[str, Any]) -> Batch:
    job = raw.get("metadata")
    job = job if isinstance(job, dict) else raw
    stats = job.get("batchStats") or {}
    # Protobuf's JSON leaves zeros out.
    none = 0 if stats else None
    model = job.get("model")
    # Requests and results do not belong into what is kept.
    kept = {k: v for k, v in job.items() if k not in ("inputConfig", "output")}
    file = _file(raw, job)
    return Batch(
        id=text(raw, "name"),
        status=_status(raw, job),
        counts=BatchCounts(
            total=count(stats.get("requestCount", none)),
            succeeded=count(stats.get("successfulRequestCount", none)),
            failed=count(stats.get("failedRequestCount", none)),
        ),
        model=model.removeprefix("models/") if isinstance(model, str) else None,
        created_at=seconds(job.get("createTime")),
        ended_at=seconds(job.get("endTime")),
        raw={
            "name": raw["name"],
            "metadata": kept,
            **({"error": raw["error"]} if raw.get("error") else {}),
            **({"responsesFile": file} if file else {}),
        },
    )


def _status(raw: Mapping[str, Any], job: Mapping[str, Any]) -> BatchStatus:
    state = str(job.get("state")).removeprefix("JOB_STATE_")
    status = _STATUS.get(state.removeprefix("BATCH_STATE_"), BatchStatus.RUNNING)
    if raw.get("done") is not True or status is not BatchStatus.RUNNING:
        return status
    # A state that we do not know, of an operation that is over.
    return BatchStatus.FAILED if raw.get("error") else BatchStatus.COMPLETED


def _file(raw: Mapping[str, Any], job: Mapping[str, Any]) -> str | None:
    for holder in (raw.get("response"), job.get("output"), job.get("dest")):
        if isinstance(holder, dict):
            file = holder.get("responsesFile") or holder.get("fileName")
            if isinstance(file, str):
                return file
    return None


def _decode_page(raw: Mapping[str, Any]) -> tuple[Iterable[Any], str | None]:
    return raw.get("operations") or [], raw.get("nextPageToken") or None


def _results(batch: Batch) -> Iterable[BatchSource]:
    if file := batch.raw.get("responsesFile"):
        name = quote(file.removeprefix("files/"), safe="")
        path = f"/files/{name}:download"
        yield BatchSource(
            request=HTTPRequest(path, method="GET", query={"alt": "media"})
        )
    elif batch.status is not BatchStatus.FAILED:
        yield BatchSource(request=_get(batch.id), framing=InlinedResponses)


def _decode_result(raw: Mapping[str, Any]) -> BatchLine:
    inner = raw.get("metadata")
    key = (inner if isinstance(inner, dict) else raw).get("key")
    if not isinstance(key, str):
        raise ProtocolError("The result has no key.")
    answer = raw.get("response")
    if isinstance(answer, dict) and not raw.get("error"):
        return BatchLine(id=key, answer=answer)
    return BatchLine(id=key, failure=_failure(raw) or {"error": answer})


def _failure(raw: Mapping[str, Any]) -> Any:
    match raw.get("error"):
        case {"code": int() as code, **others} if code in _RPC:
            return {"error": {"status": _RPC[code], **others}}
        case None:
            return None
        case error:
            return {"error": error}


GOOGLE_BATCHES: Final = BatchesAPI(
    encode=_encode,
    submit=_submit,
    get=_get,
    cancel=_cancel,
    list=_list,
    decode=_decode,
    decode_page=_decode_page,
    results=_results,
    decode_result=_decode_result,
    failure=_failure,
    slim=partial(InlinedResponses, job=True),
    # There is no number in the documentation; the bytes end it before.
    max_requests=1_000_000,
    # Inline. Larger ones would have to go into a file first.
    max_bytes=20 * 10**6,
)
