"""A dialect, a wire and a clock small enough to see through."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from typing import Any, TypeAlias

from aichat.errors import ProtocolError, StreamInterruptedError
from aichat.transport import (
    Dialect,
    HTTPRequest,
    NDJSONDecoder,
    Phase,
    ServerSentEvent,
    SSEDecoder,
    Transport,
    provider_error,
)
from aichat.types import (
    FinishReason,
    ResponseEnd,
    ResponseStart,
    StreamChunk,
    TextDelta,
    Usage,
    UsageUpdate,
    dumps,
    loads,
)


class ToyDecoder:
    """
    Objects with the keys *id*, *text*, *usage*, *finish* and *error*; ``[DONE]`` is the last.
    """

    def __init__(self) -> None:
        self.complete = False
        self.finished = False

    def decode(self, event: ServerSentEvent | bytes, /) -> Iterator[StreamChunk]:
        data = event if isinstance(event, bytes) else event.raw
        if data == b"[DONE]":
            self.complete = self.finished = True
            return
        value = None
        with suppress(ValueError):
            value = loads(data)
        if value is None:
            raise ProtocolError("That is not JSON.")
        yield from self.document(value)

    def document(self, value: Any, /) -> Iterator[StreamChunk]:
        if "id" in value:
            yield ResponseStart(value["id"])
        if "text" in value:
            yield TextDelta(value["text"])
        if "usage" in value:
            yield UsageUpdate(Usage(output_tokens=value["usage"]))
        if "error" in value:
            raise provider_error(value)
        if "finish" in value:
            self.complete = True

    def flush(self) -> Iterator[StreamChunk]:
        if not self.complete:
            raise StreamInterruptedError("There was no end.")
        yield ResponseEnd(FinishReason.STOP)


TOY = Dialect(framing=SSEDecoder, decoder=ToyDecoder)
TOY_LINES = Dialect(framing=NDJSONDecoder, decoder=ToyDecoder)

#: A request that needs nothing.
ASK = HTTPRequest("/chat", {"q": "hi"}, base_url="http://localhost:1")


def sse(*values: Any) -> bytes:
    """The events of *values*; ``"[DONE]"`` as it is."""
    return b"".join(
        b"data: %b\n\n" % (value.encode() if isinstance(value, str) else dumps(value))
        for value in values
    )


#: A whole good answer.
GOOD = sse({"id": "1"}, {"text": "Hel"}, {"text": "lo"}, {"finish": 1}, "[DONE]")


def text(chunks: Sequence[StreamChunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, TextDelta))


Step: TypeAlias = bytes | float | Exception


def again(*steps: Step, times: int = 99) -> list[Step]:
    """The same *steps*, again and again."""
    return [step for _ in range(times) for step in steps]


class ScriptedAnswer:
    """
    An `HTTPResponse` that plays bytes, waits (numbers) and exceptions, then ends.

    With ``inf`` as a wait it hangs until it is aborted.
    """

    def __init__(
        self,
        *steps: Step,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.status = status
        self.headers: Mapping[str, str] = headers or {}
        self.aborted = False
        self.reads = 0
        self._steps = list(steps)
        self._broken: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    async def read(self) -> bytes:
        self.reads += 1
        while self._steps:
            match step := self._steps.pop(0):
                case bytes():
                    return step
                case Exception():
                    raise step
                case _:
                    await self._wait(step)
        return b""

    async def _wait(self, seconds: float) -> None:
        if self._error is not None:
            raise self._error
        self._broken = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait(
            [self._broken], timeout=None if seconds == float("inf") else seconds
        )
        for future in done:
            future.result()

    def abort(self, error: Exception | None = None) -> None:
        self.aborted = True
        self._error = error
        if error is not None and self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)


Outcome: TypeAlias = ScriptedAnswer | Exception | float


class Wire:
    """A `Send` that plays one outcome per request, and keeps the requests."""

    def __init__(self, *outcomes: Outcome | Sequence[Outcome]) -> None:
        self._outcomes = list(outcomes)
        self.requests: list[HTTPRequest] = []
        self.at: list[float] = []
        #: Said before each outcome.
        self.phases: tuple[Phase, ...] = ()

    async def __call__(
        self, request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> ScriptedAnswer:
        self.requests.append(request)
        self.at.append(asyncio.get_running_loop().time())
        for phase in self.phases:
            enter(phase)
        outcome = self._outcomes.pop(0)
        steps: list[Outcome] = []
        if isinstance(outcome, Sequence):
            steps += outcome
        else:
            steps.append(outcome)
        for step in steps:
            match step:
                case ScriptedAnswer():
                    return step
                case Exception():
                    raise step
                case _:
                    await asyncio.sleep(step)
        raise AssertionError("The script has no answer.")


def good() -> ScriptedAnswer:
    return ScriptedAnswer(GOOD)


def refusal(status: int, body: bytes = b"", **headers: str) -> ScriptedAnswer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return ScriptedAnswer(body, status=status, headers=names)


def transport(*outcomes: Outcome | Sequence[Outcome], **settings: Any) -> Transport:
    """A `Transport` over a `Wire`, whose jitter is half of everything."""
    settings.setdefault("rand", lambda: 0.5)
    return Transport(name="toy", send=Wire(*outcomes), **settings)


def wire(of: Transport) -> Wire:
    assert isinstance(of.send, Wire)
    return of.send


async def read(
    of: Transport, request: HTTPRequest = ASK, dialect: Dialect = TOY, **options: Any
) -> list[StreamChunk]:
    """All chunks of one call."""
    chunks: list[StreamChunk] = []
    async for some in of.stream(request, dialect, **options):
        chunks += some
    return chunks


# --- a clock that jumps ----------------------------------------------------------------


class _Selector(selectors.SelectSelector):
    """Instead of waiting it moves the clock."""

    now = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "The test waits for something that never comes."
            self.now += max(timeout, 0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run *test* in a loop in which waiting takes no time."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main())

    return run


def now() -> float:
    """The running loop's time."""
    return asyncio.get_running_loop().time()
