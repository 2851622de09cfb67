"""
Batches: many requests as one job, for half the price and within a day.

A spec that has them carries a `BatchesAPI`, which is a description with pure functions in it,
and `HTTPBatches` runs that over the provider's transport. What takes more than one request is
a generator: it yields requests, is sent the JSON of the answers, and returns the job.

Whoever does not use our transport implements `BatchSubmitter`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import (
    AsyncGenerator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from attrs import evolve, field, frozen

from ..errors import (
    AIChatError,
    BadRequestError,
    DeadlineError,
    InvalidRequestError,
    ModelNotFoundError,
    ProtocolError,
    StreamInterruptedError,
)
from ..transport import (
    ChatDecoder,
    Decoder,
    HTTPRequest,
    NDJSONDecoder,
    provider_error,
)
from ..types import (
    Accumulator,
    Batch,
    BatchRequest,
    BatchResult,
    BatchStatus,
    ChatRequest,
    ChatResponse,
    Deadlines,
    JSONError,
    ResponseStart,
    StreamChunk,
    loads_exact,
)

if TYPE_CHECKING:
    from ._base import HTTPProvider

__all__ = [
    "BatchLine",
    "BatchSource",
    "BatchSubmitter",
    "BatchesAPI",
    "HTTPBatches",
    "Steps",
    "Submission",
    "batches_of",
    "count",
    "seconds",
    "text",
]

#: Requests that are encoded before the event loop gets its turn: a few milliseconds.
_AT_ONCE = 64
#: Bytes per second that an upload has at least, when its deadline is computed: 1 Mbit/s.
_SLOWEST = 128 * 2**10
#: No provider's ids have other characters, and a URL is made of them.
_JOB_ID = re.compile(r"[\w.:~=-]+(/[\w.:~=-]+)*")
_CODES: Mapping[str, type[AIChatError]] = {"batch_expired": DeadlineError}


@runtime_checkable
class BatchSubmitter(Protocol):
    """
    Who takes many requests at once. A provider is one, or has one as ``batches``.

    Everything raises `AIChatError` and nothing else.
    """

    async def submit(self, requests: Iterable[BatchRequest], /) -> Batch:
        """
        Hand in *requests*, whose models are all of this provider.

        Raises `InvalidRequestError` before anything is sent.
        """
        ...

    async def get(self, id: str, /) -> Batch:
        """Ask how far a batch is."""
        ...

    def results(self, batch: Batch, /) -> AsyncGenerator[BatchResult, None]:
        """Yield what became of each request of *batch*, which is done, in any order."""
        ...

    async def cancel(self, id: str, /) -> Batch:
        """Ask that a batch be given up. What has been answered stays."""
        ...

    def list(self) -> AsyncGenerator[Batch, None]:
        """Yield the batches that there are, as a rule the newest first."""
        ...


def batches_of(provider: object) -> BatchSubmitter | None:
    """Find out whether *provider* takes batches, and who does it for it."""
    found = getattr(provider, "batches", provider)
    return found if isinstance(found, BatchSubmitter) else None


#: Requests to send, one after the other; what is sent back is the JSON of each answer, or the
#: `AIChatError` that came instead is thrown in. What it returns is the job, as JSON.
Steps: TypeAlias = Generator[HTTPRequest, Any, Any]


@frozen(kw_only=True)
class Submission:
    """What there is to hand in: the requests, encoded, and what they have in common."""

    lines: tuple[bytes, ...] = field(repr=False)
    #: Where each of the requests would have gone, and with which headers.
    path: str
    headers: Mapping[str, str] = field(factory=dict, repr=False, hash=False)
    settings: Mapping[str, str] = field(factory=dict, hash=False)


@frozen(kw_only=True)
class BatchSource:
    """Where results are, and the decoder from the bytes there to one JSON text each."""

    request: HTTPRequest
    framing: Callable[[], Decoder[bytes, bytes]] = NDJSONDecoder


@frozen(kw_only=True)
class BatchLine:
    """One result as it came."""

    id: str
    #: What the same request would have been answered with. ``None``: there is a *failure*.
    answer: Any = None
    #: An error in any of the shapes that `provider_error` knows.
    failure: Any = None
    status: int | None = None
    request_id: str | None = None


def _no_failure(_: Mapping[str, Any]) -> None:
    return None


@frozen(kw_only=True)
class BatchesAPI:
    """How one dialect does batches. Nothing in it does any I/O."""

    #: The JSON text of one request, with its id, and the settings of the provider.
    encode: Callable[[str, HTTPRequest, Mapping[str, str]], bytes]
    submit: Callable[[Submission], Steps]
    get: Callable[[str], HTTPRequest]
    cancel: Callable[[str], Steps]
    #: One page of all jobs; the argument is what `decode_page` said about the next one.
    list: Callable[[str | None], HTTPRequest]
    decode: Callable[[Mapping[str, Any]], Batch]
    #: The jobs on a page, and where the next page is.
    decode_page: Callable[[Mapping[str, Any]], tuple[Iterable[Any], str | None]]
    #: None of them, if there are no results.
    results: Callable[[Batch], Iterable[BatchSource]]
    decode_result: Callable[[Mapping[str, Any]], BatchLine]
    #: Why a job as a whole has failed, for `provider_error`.
    failure: Callable[[Mapping[str, Any]], Any] = _no_failure
    #: For jobs that come with all their results: leaves the results out as they arrive. The
    #: last thing that it makes is the job.
    slim: Callable[[], Decoder[bytes, bytes]] | None = None

    max_requests: int
    #: Of the whole job, as it is sent.
    max_bytes: int
    #: What an id may look like, and that in words.
    ids: str = r"[^\x00-\x1f\x7f]+"
    ids_are: str = "any text without control characters"
    #: Whether all requests must be for the same model.
    one_model: bool = True


@frozen
class HTTPBatches:
    """The `BatchSubmitter` of an `HTTPProvider` whose spec has a `BatchesAPI`."""

    _api: BatchesAPI
    _provider: HTTPProvider

    async def submit(self, requests: Iterable[BatchRequest], /) -> Batch:
        """Hand in *requests*; see `BatchSubmitter.submit`."""
        requests = tuple(requests)
        try:
            submission, warnings = await self._encode(requests)
            raw = await self._walk(self._api.submit(submission))
            batch = self._decode(raw)
        except AIChatError as error:
            raise self._noted(error) from None
        models = {request.request.model_name for request in requests}
        model = models.pop() if len(models) == 1 else None
        return evolve(batch, model=batch.model or model, warnings=warnings)

    async def get(self, id: str, /) -> Batch:
        """Ask how far a batch is."""
        try:
            return self._decode(await self._ask(self._api.get(_checked(id))))
        except AIChatError as error:
            raise self._noted(error, of_batch=True) from None

    async def cancel(self, id: str, /) -> Batch:
        """Ask that a batch be given up."""
        try:
            return self._decode(await self._walk(self._api.cancel(_checked(id))))
        except AIChatError as error:
            raise self._noted(error, of_batch=True) from None

    async def list(self) -> AsyncGenerator[Batch, None]:
        """Yield the batches that there are."""
        page: str | None = None
        while True:
            try:
                raw = _object(await self._ask(self._api.list(page)), "list of batches")
                jobs, following = self._api.decode_page(raw)
                batches = [self._decode(job) for job in jobs]
            except AIChatError as error:
                raise self._noted(error) from None
            for batch in batches:
                yield batch
            if following is None or following == page:
                return
            page = following

    async def results(self, batch: Batch, /) -> AsyncGenerator[BatchResult, None]:
        """
        Yield what became of each request, once per id, as it arrives.

        A download that breaks goes on where it broke, as long as each attempt brings
        something new. Results that cannot be read are an error after the last of the others.
        """
        sources = tuple(self._api.results(batch))
        if not sources and batch.status is BatchStatus.FAILED:
            raise self._noted(self._refusal(batch))
        seen: set[str] = set()
        unreadable = 0
        for source in sources:
            bad = -1  # while something is missing
            while bad < 0:
                known = len(seen)
                try:
                    async with aclosing(self._read(source)) as lines:
                        async for line in lines:
                            if isinstance(line, int):
                                bad = line
                            elif line.id not in seen:
                                seen.add(line.id)
                                yield self._result(line)  # noqa: ASYNC119 -- closed by the chain
                except (StreamInterruptedError, DeadlineError) as error:
                    if len(seen) == known:
                        raise self._noted(error) from None
                except AIChatError as error:
                    raise self._noted(error, of_batch=True) from None
            unreadable += bad
        if unreadable:
            raise self._noted(
                ProtocolError(
                    f"{unreadable} results of the batch {batch.id} could not be read.",
                    context={"unreadable": unreadable},
                )
            )

    # --- on the way there -------------------------------------------------------------

    async def _encode(
        self, requests: tuple[BatchRequest, ...]
    ) -> tuple[Submission, tuple[str, ...]]:
        """Check everything, and write it down."""
        api, provider = self._api, self._provider
        self._check(requests)
        lines: list[bytes] = []
        size = 0
        warnings: dict[str, None] = {}
        common: HTTPRequest | None = None
        for number, request in enumerate(requests):
            if number % _AT_ONCE == _AT_ONCE - 1:
                await asyncio.sleep(0)
            try:
                wire = provider.spec.encode_request(request.request)
                line = api.encode(request.id, wire, provider.settings)
            except AIChatError as error:
                raise _about(request.id, error)  # noqa: B904 -- it is the same error
            common = common or wire
            if (wire.path, wire.headers) != (common.path, common.headers):
                _refuse(
                    f"The requests {requests[0].id!r} and {request.id!r} cannot be in one "
                    "batch: they go to different places, or ask for different betas."
                )
            warnings |= dict.fromkeys(wire.warnings)
            lines.append(line)
            size += len(line) + 1
            if size > api.max_bytes:
                _refuse(
                    f"The batch is larger than {api.max_bytes:,} bytes, which is the most "
                    f"that {provider.spec.title} takes: it has to be several."
                )
        assert common is not None  # an empty batch does not get here
        submission = Submission(
            lines=tuple(lines),
            path=common.path,
            headers=common.headers,
            settings=provider.settings,
        )
        return submission, tuple(warnings)

    def _check(self, requests: tuple[BatchRequest, ...]) -> None:
        api, title = self._api, self._provider.spec.title
        if not requests:
            _refuse("A batch needs at least one request.")
        if len(requests) > api.max_requests:
            _refuse(
                f"{len(requests):,} requests are too many for one batch: {title} takes "
                f"{api.max_requests:,}."
            )
        seen: set[str] = set()
        for request in requests:
            if not re.fullmatch(api.ids, request.id):
                _refuse(
                    f"The id {request.id!r} will not do: {title} takes {api.ids_are}."
                )
            if request.id in seen:
                _refuse(f"Two requests have the same id {request.id!r}.")
            seen.add(request.id)
            _check_options(request)
        first = requests[0]
        for request in requests if api.one_model else ():
            if request.request.model_name != first.request.model_name:
                _refuse(
                    f"{title} wants one model per batch; {first.id!r} is for "
                    f"{first.request.model_name}, and {request.id!r} for "
                    f"{request.request.model_name}."
                )

    # --- back and forth ---------------------------------------------------------------

    async def _walk(self, steps: Steps) -> Any:
        """Do *steps*, and return what they come to."""
        try:
            request = next(steps)
            while True:
                try:
                    answer = await self._ask(request)
                except AIChatError as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            return end.value
        finally:
            steps.close()

    async def _ask(self, request: HTTPRequest) -> Any:
        """Send *request*, and return the JSON of the answer without any results in it."""
        provider, slim = self._provider, self._api.slim
        wire = await provider._address(request)
        codes = provider.spec.error_codes
        if slim is None or request.method != "GET":
            return await provider.transport.fetch(
                wire, error_codes=codes, deadlines=self._patience(wire)
            )
        last = b""
        async with aclosing(
            provider.transport.download(wire, slim, error_codes=codes)
        ) as reads:
            async for pieces in reads:
                last = pieces[-1]
        return _parsed(last)

    def _patience(self, request: HTTPRequest) -> Deadlines | None:
        """More time until the first byte of the answer, for those who send a lot first."""
        first_byte = self._provider.transport.deadlines.limit("first_byte")
        if not isinstance(request.body, bytes) or first_byte is None:
            return None
        return Deadlines(first_byte=first_byte + len(request.body) / _SLOWEST)

    async def _read(self, source: BatchSource) -> AsyncGenerator[BatchLine | int, None]:
        """
        Read all of *source*; at the end say how many lines could not be read.

        A last line that is no JSON was cut.
        """
        provider = self._provider
        wire = await provider._address(source.request)
        bad = 0
        cut = False
        async with aclosing(
            provider.transport.download(
                wire, source.framing, error_codes=provider.spec.error_codes
            )
        ) as reads:
            async for pieces in reads:
                for piece in pieces:
                    if piece.startswith(b"<"):
                        raise ProtocolError(
                            "The server answered with a web page instead of results."
                        )
                    value = _parsed(piece)
                    cut = value is None
                    try:
                        line = self._api.decode_result(_object(value, "result"))
                    except ProtocolError:
                        bad += 1
                        continue
                    yield line  # noqa: ASYNC119 -- closed by the chain
        if cut:
            raise StreamInterruptedError("The results ended in the middle of a line.")
        yield bad

    # --- on the way back --------------------------------------------------------------

    def _decode(self, raw: Any) -> Batch:
        batch = self._api.decode(_object(raw, "batch"))
        return evolve(batch, provider=self._provider.name)

    def _result(self, line: BatchLine) -> BatchResult:
        spec = self._provider.spec
        try:
            if line.answer is not None:
                return BatchResult(line.id, self._response(line))
            raise provider_error(
                line.failure, status=line.status, codes={**_CODES, **spec.error_codes}
            )
        except AIChatError as error:
            error.note(request_id=line.request_id)
            return BatchResult(line.id, error=self._noted(error).with_traceback(None))

    def _response(self, line: BatchLine) -> ChatResponse:
        """Fold the answer in *line*, as if it had come alone. Raises `AIChatError`."""
        decoder = self._provider.spec.decoder()
        so_far = Accumulator()
        so_far.add(
            ResponseStart(provider=self._provider.name, request_id=line.request_id)
        )
        failure: AIChatError | None = None
        try:
            for chunk in _chunks(decoder, line.answer):
                if isinstance(chunk, ResponseStart):
                    chunk = evolve(
                        chunk,
                        provider=self._provider.name,
                        request_id=chunk.request_id or line.request_id,
                    )
                so_far.add(chunk)
        except StreamInterruptedError as error:
            failure = error.note(partial=so_far.response())
        except AIChatError as error:
            failure = error
        except Exception as error:
            # As in a stream: a decoder should have said so itself.
            failure = ProtocolError(
                "The answer has a shape that the decoder does not understand.",
                context={"cause": type(error).__name__},
            )
        if failure is not None:
            raise failure
        return so_far.response()

    def _refusal(self, batch: Batch) -> AIChatError:
        payload = self._api.failure(batch.raw)
        if payload is None:
            return BadRequestError(f"The batch {batch.id} failed as a whole.")
        codes = {**_CODES, **self._provider.spec.error_codes}
        return provider_error(payload, status=400, codes=codes)

    def _noted(self, error: AIChatError, *, of_batch: bool = False) -> AIChatError:
        provider = self._provider
        if of_batch and isinstance(error, ModelNotFoundError) and error.status == 404:
            # What is not there is the batch, or its file.
            error = BadRequestError(
                error.message,
                status=error.status,
                provider_code=error.provider_code,
                request_id=error.request_id,
                attempts=error.attempts,
                context=error.context,
            )
        error.note(operation="batch", provider=provider.name)
        return error.suggest(provider.spec.hint(error))


# --- for the dialects -----------------------------------------------------------------


def seconds(value: Any) -> float | None:
    """Read a point in time: seconds since the epoch, or RFC 3339."""
    match value:
        case bool():
            return None
        case int() | float():
            return float(value)
        case str():
            try:
                # Python reads no more than six digits of a fraction; Google sends nine.
                return datetime.fromisoformat(
                    re.sub(r"(\.\d{6})\d+", r"\1", value)
                ).timestamp()
            except ValueError:
                return None
        case _:
            return None


def count(value: Any) -> int | None:
    """Read a number of things, which in protobuf's JSON is a text."""
    match value:
        case bool():
            return None
        case int():
            return value
        case str() if value.isdecimal():
            return int(value)
        case _:
            return None


def text(of: Mapping[str, Any], name: str) -> str:
    """The text under *name*. Raises the error that stands there instead."""
    value = of.get(name)
    if isinstance(value, str) and value:
        return value
    if of.get("error"):
        # Some answer 200 to everything (S5).
        raise provider_error(of)
    raise ProtocolError(f"There is no {name!r} in what the provider says of a batch.")


# --- small things ---------------------------------------------------------------------


def _chunks(decoder: ChatDecoder[Any], answer: Any) -> Iterator[StreamChunk]:
    yield from decoder.document(answer)
    yield from decoder.flush()


def _parsed(data: bytes) -> Any:
    """The JSON in *data*, or ``None``."""
    try:
        return loads_exact(data)
    except JSONError:
        return None


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if isinstance(value, dict):
        return value
    raise ProtocolError(f"The answer is no {what}. Is the base URL right?")


def _checked(id: str) -> str:
    if not _JOB_ID.fullmatch(id) or ".." in id:
        _refuse(f"{id[:200]!r} is no id of a batch.")
    return id


def _check_options(request: BatchRequest) -> None:
    """Refuse what only a request that is sent by itself can have."""
    chat: ChatRequest = request.request
    for option in ("deadlines", "max_retries"):
        if getattr(chat, option) is not None:
            _refuse(
                f"The request {request.id!r} has {option}, which mean nothing in a batch: "
                "the provider answers it when it likes."
            )


def _about(id: str, error: AIChatError) -> AIChatError:
    """Say which request *error* is about."""
    error.message = f"{id!r}: {error.message}"
    error.args = (error.message,)
    return error


def _refuse(message: str) -> None:
    raise InvalidRequestError(message, operation="batch")
