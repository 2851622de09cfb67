"""
OpenAI's batches: a file of requests goes up, and one or two files of answers come down.

What succeeded and what failed are in separate files, each in its own order, and either may
be missing. The same for Chat Completions and for Responses.

See: https://platform.openai.com/docs/guides/batch
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final
from urllib.parse import quote

from ..errors import AIChatError, InvalidRequestError
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

__all__ = ["AZURE_BATCHES", "OPENAI_BATCHES", "openai_batches"]

#: How a path of the API is called in the file, and in the job.
Endpoint = Callable[[str, Mapping[str, str]], str]

_STATUS: Final[Mapping[str, BatchStatus]] = {
    "validating": BatchStatus.PENDING,
    "in_progress": BatchStatus.RUNNING,
    "finalizing": BatchStatus.RUNNING,
    "cancelling": BatchStatus.CANCELLING,
    "completed": BatchStatus.COMPLETED,
    "failed": BatchStatus.FAILED,
    "expired": BatchStatus.EXPIRED,
    "cancelled": BatchStatus.CANCELLED,
    # Azure's word.
    "canceled": BatchStatus.CANCELLED,
}
_ENDS: Final = ("completed_at", "failed_at", "expired_at", "cancelled_at")
#: What the encoders add for a stream. Somebody who asked for more of it meant a stream.
_OF_STREAMS: Final[Mapping[str, Any]] = {
    "stream": True,
    "stream_options": {"include_usage": True},
}


def openai_batches(endpoint: Endpoint) -> BatchesAPI:
    """Describe the batches of a server whose paths in files *endpoint* knows."""
    return BatchesAPI(
        encode=partial(_encode, endpoint),
        submit=partial(_submit, endpoint),
        get=_get,
        cancel=_cancel,
        list=_list,
        decode=_decode,
        decode_page=_decode_page,
        results=_results,
        decode_result=_decode_result,
        failure=_failure,
        max_requests=50_000,
        max_bytes=200 * 10**6,
    )


def _encode(
    endpoint: Endpoint, id: str, request: HTTPRequest, settings: Mapping[str, str]
) -> bytes:
    body = dict(request.body)
    for name, ours in _OF_STREAMS.items():
        if body.pop(name, ours) != ours:
            raise InvalidRequestError(
                f"{name} in provider_options is for streams, and there are none in a batch.",
                operation="batch",
            )
    return dumps({
        "custom_id": id,
        "method": "POST",
        "url": endpoint(request.path, settings),
        "body": body,
    })


def _submit(endpoint: Endpoint, submission: Submission) -> Steps:
    file = text((yield _upload(submission.lines)), "id")
    try:
        return (
            yield HTTPRequest(
                "/batches",
                {
                    "input_file_id": file,
                    "endpoint": endpoint(submission.path, submission.settings),
                    "completion_window": "24h",
                },
                repeatable=False,
            )
        )
    except AIChatError as error:
        # Unless the job may be there after all, nobody needs the file any more.
        if error.status is not None and error.status < 500:
            with suppress(AIChatError):
                yield HTTPRequest(f"/files/{quote(file, safe='')}", method="DELETE")
        raise


def _upload(lines: Iterable[bytes]) -> HTTPRequest:
    """A form with the file in it (RFC 7578)."""
    boundary = uuid.uuid4().hex
    dashes = f"--{boundary}"
    head = (
        f'{dashes}\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        f'{dashes}\r\ncontent-disposition: form-data; name="file"; '
        'filename="batch.jsonl"\r\ncontent-type: application/jsonl\r\n\r\n'
    )
    return HTTPRequest(
        "/files",
        b"".join((head.encode(), b"\n".join(lines), f"\n\r\n{dashes}--\r\n".encode())),
        headers={"content-type": f"multipart/form-data; boundary={boundary}"},
    )


def _get(id: str) -> HTTPRequest:
    return HTTPRequest(_path(id), method="GET")


def _cancel(id: str) -> Steps:
    return (yield HTTPRequest(f"{_path(id)}/cancel"))


def _list(after: str | None) -> HTTPRequest:
    query = {"limit": "100"} | ({"after": after} if after else {})
    return HTTPRequest("/batches", method="GET", query=query)


def _path(id: str) -> str:
    return f"/batches/{quote(id, safe='')}"


def _decode(raw: Mapping[str, Any]) -> Batch:
    counts = raw.get("request_counts") or {}
    # A word that we do not know is one of something that goes on.
    status = _STATUS.get(str(raw.get("status")), BatchStatus.RUNNING)
    ends = [at for name in _ENDS if (at := seconds(raw.get(name))) is not None]
    model = raw.get("model")
    return Batch(
        id=text(raw, "id"),
        status=status,
        counts=BatchCounts(
            total=count(counts.get("total")),
            succeeded=count(counts.get("completed")),
            failed=count(counts.get("failed")),
        ),
        model=model if isinstance(model, str) else None,
        created_at=seconds(raw.get("created_at")),
        ended_at=max(ends, default=None),
        expires_at=seconds(raw.get("expires_at")),
        raw=raw,
    )


def _decode_page(raw: Mapping[str, Any]) -> tuple[Iterable[Any], str | None]:
    jobs = raw.get("data") or []
    return jobs, text(jobs[-1], "id") if jobs and raw.get("has_more") else None


def _results(batch: Batch) -> Iterable[BatchSource]:
    for name in ("output_file_id", "error_file_id"):
        if file := batch.raw.get(name):
            path = f"/files/{quote(file, safe='')}/content"
            yield BatchSource(request=HTTPRequest(path, method="GET"))


def _decode_result(raw: Mapping[str, Any]) -> BatchLine:
    response = raw.get("response") or {}
    status = count(response.get("status_code"))
    body = response.get("body")
    good = isinstance(body, dict) and (status is None or 200 <= status < 300)
    failure = raw.get("error") or body
    return BatchLine(
        id=text(raw, "custom_id"),
        answer=body if good and not raw.get("error") else None,
        failure={"error": failure} if failure is not body else body,
        status=status,
        request_id=response.get("request_id") or None,
    )


def _failure(raw: Mapping[str, Any]) -> Any:
    """The first of the things that are wrong with the file, and where it is."""
    errors = (raw.get("errors") or {}).get("data") or []
    if not errors or not isinstance(errors[0], dict):
        return None
    first = errors[0]
    where = "" if first.get("line") is None else f"Line {first['line']}: "
    more = f" (And {len(errors) - 1} more.)" if len(errors) > 1 else ""
    return {"error": {**first, "message": f"{where}{first.get('message')}{more}"}}


# --- who calls what how ---------------------------------------------------------------


def _at_openai(path: str, _: Mapping[str, str]) -> str:
    return f"/v1{path}"


def _at_azure(path: str, settings: Mapping[str, str]) -> str:
    """Where the version is a date, there is no ``/v1``."""
    return path if settings.get("api_version", "")[:1].isdigit() else f"/v1{path}"


OPENAI_BATCHES: Final = openai_batches(_at_openai)
#: A deployment of the type *Global Batch* is needed.
AZURE_BATCHES: Final = openai_batches(_at_azure)
