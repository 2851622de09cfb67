"""Our own recordings of batches, and a desk where batches are handed in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from aichat import Client
from aichat.providers import HTTPProvider, ProviderSpec
from aichat.transport import HTTPRequest, Phase, Transport
from aichat.types import BatchRequest, ChatRequest, dumps, loads

from ..transport.toys import ScriptedAnswer

__all__ = ["Desk", "at", "body_of", "client", "recorded", "requests"]

_FOLDER = Path(__file__).parents[1] / "recordings" / "batches"

Answer: TypeAlias = ScriptedAnswer | Exception | bytes | dict[str, Any]


def recorded(name: str) -> bytes:
    """The recording *name*."""
    return (_FOLDER / name).read_bytes()


class Desk:
    """A `Send` that has answers for each ``METHOD path``, the last one for ever."""

    def __init__(self, answers: Mapping[str, Answer | list[Answer]]) -> None:
        self._answers = {
            place: list(given) if isinstance(given, list) else [given]
            for place, given in answers.items()
        }
        self.requests: list[HTTPRequest] = []
        #: What a request waits for when it fails.
        self.phase: Phase = "first_byte"

    @property
    def places(self) -> list[str]:
        """Where it was asked, in order."""
        return [f"{request.method} {request.path}" for request in self.requests]

    async def __call__(
        self, request: HTTPRequest, enter: Callable[[Phase], None]
    ) -> ScriptedAnswer:
        self.requests.append(request)
        enter(self.phase)
        left = self._answers[f"{request.method} {request.path}"]
        answer = left[0] if len(left) == 1 else left.pop(0)
        match answer:
            case ScriptedAnswer():
                return answer
            case Exception():
                raise answer
            case bytes():
                return ScriptedAnswer(*_pieces(answer))
            case _:
                return ScriptedAnswer(dumps(answer))


def _pieces(data: bytes) -> Iterable[bytes]:
    # As a network would: not where the lines end.
    return (data[at : at + 700] for at in range(0, len(data), 700))


async def _no_sleep(_: float) -> None:
    pass


def at(desk: Desk, spec: ProviderSpec, **settings: str) -> HTTPProvider:
    """The provider of *spec*, in front of *desk*."""
    return HTTPProvider(
        spec=spec,
        transport=Transport(name=spec.name, send=desk, sleep=_no_sleep),
        base_url=spec.base_url or "https://example.openai.azure.com",
        api_key="sk-very-secret-key",
        settings={k: v or "" for k, v in spec.settings.items()} | settings,
    )


def client(desk: Desk, spec: ProviderSpec, **settings: str) -> Client:
    """A client whose only provider is that one."""
    return Client.with_provider(at(desk, spec, **settings))


def requests(model: str, *ids: str) -> list[BatchRequest]:
    """Small requests with these *ids*."""
    return [BatchRequest(each, ChatRequest("Say hello.", model)) for each in ids]


def body_of(request: HTTPRequest) -> Any:
    """The JSON that *request* carries."""
    return loads(request.body) if isinstance(request.body, bytes) else request.body
