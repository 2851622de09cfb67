"""Plays a recorded case to a `Client` and puts what comes of it into the kit's terms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from attrs import evolve, frozen

from aichat import Client, ClientConfig, Registry, connect, tool_result, user
from aichat.errors import AIChatError
from aichat.providers import ProviderSpec, compatible
from aichat.testing import check_stream
from aichat.transport import Pool
from aichat.types import ChatRequest, ChatResponse, ToolCallPart, fold

from .corpus import kit

__all__ = ["KEY", "Outcome", "Player"]

#: So unlike anything else that finding it anywhere means that it leaked.
KEY = "sk-canary-5b1f0c7e9d2a48633e71"

_REGISTRY = Registry()
#: Where a request holds the conversation, by dialect.
_TURNS = ("messages", "input", "contents")
#: What Gemini takes where a signature is missing; it is nobody's state.
_PLACEHOLDER = "skip_thought_signature_validator"


@frozen(kw_only=True)
class Outcome:
    """A response, or what there was of it before the error."""

    response: ChatResponse
    error: AIChatError | None = None
    #: Signatures and encrypted thoughts that the next request would hold.
    sent_back: Sequence[str] = ()

    def neutral(self) -> dict[str, Any]:
        """Say the same in the kit's terms."""
        response, error = self.response, self.error
        if error is not None:
            described = {
                "code": error.code,
                "status": error.status,
                "message": error.message,
                "retryable": error.retryable,
            }
            return {"text": response.text, "error": described}
        usage = response.usage
        return {
            "text": response.text,
            "reasoning": response.reasoning,
            "refusal": response.refusal,
            "tool_calls": [
                {"id": c.id, "name": c.name, "arguments": _arguments(c)}
                for c in response.message.tool_calls
            ],
            "finish": response.finish_reason,
            "finish_raw": response.raw_finish_reason,
            "usage": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "total_tokens": usage.total_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
            },
            "model": response.model,
            "response_id": response.id,
            "signatures": len(self.sent_back),
            "error": None,
        }

    def without_made_up_ids(self, body: bytes) -> Outcome:
        """Blank out the ids of tool calls that *body* does not hold."""
        message = self.response.message
        parts = [
            evolve(part, id="")
            if isinstance(part, ToolCallPart) and part.id.encode() not in body
            else part
            for part in message.content
        ]
        message = evolve(message, content=tuple(parts))
        return evolve(self, response=evolve(self.response, message=message))


@frozen
class Player:
    """Plays one case."""

    case: Any
    spec: ProviderSpec
    client: Client
    model: str

    @classmethod
    def of(cls, case: Any, base_url: str, pool: Pool) -> Player:
        """Speak the dialect of *case*, and send one request per call."""
        # The vendors that imitate OpenAI: Ollama's name stands for its own dialect.
        wanted = kit().target(case, known=set(compatible.SPECS))
        name, settings = wanted.provider, wanted.options
        spec = _REGISTRY[name]
        assert isinstance(spec, ProviderSpec)
        config = ClientConfig(
            provider=name,
            base_url=base_url,
            api_key=KEY,
            max_retries=0,
            settings=settings,
        )
        client = Client.with_provider(connect(config, spec, pool=pool, environ={}))
        return cls(case, spec, client, f"{name}:{wanted.model}")

    async def stream(self) -> Outcome:
        """Read the answer chunk by chunk, and hold the chunks against the grammar."""
        stream = self.client.stream("hi", model=self.model)
        try:
            async with stream:
                chunks = [chunk async for chunk in check_stream(stream)]
        except AIChatError as error:
            return Outcome(response=stream.partial(), error=error)
        response = await stream.response()
        assert fold(chunks) == response
        return Outcome(response=response, sent_back=self._sent_back(response))

    async def complete(self) -> Outcome:
        """Await the whole answer."""
        try:
            response = await self.client.complete("hi", model=self.model)
        except AIChatError as error:
            caught = error
        else:
            return Outcome(response=response, sent_back=self._sent_back(response))
        assert caught.partial is not None
        return Outcome(response=caught.partial, error=caught)

    def _sent_back(self, response: ChatResponse) -> Sequence[str]:
        """Go on with the conversation, and look what the request holds."""
        said = response.message
        if not said.content:
            return ()
        answers = [tool_result(call, "done") for call in said.tool_calls]
        request = ChatRequest(
            [user("hi"), said, *(answers or [user("go on")])],
            self.model,
            on_unsupported="ignore",
        )
        body = self.spec.encode_request(request).body
        turns = next(body[name] for name in _TURNS if name in body)
        return tuple(_opaque(turns))


def _arguments(call: ToolCallPart) -> Any:
    """The parsed arguments, or their text where it is no JSON."""
    if not call.arguments.strip():
        return {}
    try:
        return json.loads(call.arguments)
    except ValueError:
        return call.arguments


def _opaque(payload: Any) -> Iterator[str]:
    """Every signature and encrypted thought in *payload*."""
    match payload:
        case {"signature": str(signature), **rest} if signature:
            yield signature
            yield from _opaque(rest)
        case {"thoughtSignature": str(signature), **rest} if signature:
            if signature != _PLACEHOLDER:
                yield signature
            yield from _opaque(rest)
        case {"type": "redacted_thinking" | "reasoning.encrypted", "data": str(data)}:
            yield data
        case {"type": "reasoning", "encrypted_content": str(data)}:
            yield data
        case {**fields}:
            for value in fields.values():
                yield from _opaque(value)
        case [*items]:
            for item in items:
                yield from _opaque(item)
        case _:
            pass
