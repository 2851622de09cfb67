"""Another model answers when one cannot (B2)."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from attrs import evolve

from ..errors import (
    AIChatError,
    ClosedError,
    ConfigError,
    DeadlineError,
    SpendLimitError,
)
from ..types import ChatRequest, StreamChunk
from ._compose import Handler, Middleware
from ._detour import Detour, begin, turned_to
from ._remaining import Remaining

__all__ = ["fallback"]


def fallback(
    *models: str, when: Callable[[AIChatError], bool] | None = None
) -> Middleware:
    """
    Let the next of *models* answer when the one before it failed without any output.

    The model that the request names is asked first. *when* says which errors are worth
    another model; by default all but `ClosedError`, `SpendLimitError` and a *total*
    deadline, which would meet every model alike. Each model is asked once, with all the
    retries that a call has, and all of them share one *total* deadline of the request.

    The prompt goes along as it is: what only the first provider understands, such as its
    signatures, is left out by the encoder of the next one. `ChatResponse.warnings` says who
    answered instead of whom. When all have failed, the last error comes out; its
    ``context["fallback"]`` holds the models and codes of those before it, and its `attempts`
    counts all requests.

    Raises `ConfigError` at once for models that make no sense.

    >>> resilient = fallback("anthropic:claude-opus-5", "ollama:qwen3.6")
    """
    check_models("fallback", models)
    worth = _is_worth_another if when is None else when

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        detour, remaining = Detour(), Remaining(request)
        # By name, so that nobody is asked twice.
        order = tuple(dict.fromkeys((request.model, *models)))
        following = iter(order)
        model = next(following)
        try:
            while True:
                asked = (
                    request if model == request.model else evolve(request, model=model)
                )
                try:
                    first, chunks = await begin(call_next, remaining.of(asked))
                except AIChatError as error:
                    successor = next(following, None)
                    if successor is None or not worth(error):
                        raise
                    detour.add(model, error)
                    turned_to(successor, error)
                    model = successor
                    continue
                break
            for chunk in detour.introduce(first, model, request.model):
                yield chunk
            async for chunk in chunks:
                yield chunk
        except AIChatError as error:
            detour.blame(error, "fallback")
            raise

    return middleware


def check_models(who: str, models: tuple[object, ...]) -> None:
    """Refuse, for *who*, models that are none, nameless, or there twice."""
    if not models:
        raise ConfigError(f"{who} needs at least one model, such as 'openai:gpt-5.1'.")
    for model in models:
        if not isinstance(model, str) or not model.strip():
            raise ConfigError(
                f"{who} takes names of models, such as 'openai:gpt-5.1'; got {model!r}."
            )
    twice = sorted({str(model) for model in models if models.count(model) > 1})
    if twice:
        raise ConfigError(f"{who} names {', '.join(twice)} more than once.")


def _is_worth_another(error: AIChatError) -> bool:
    match error:
        case ClosedError() | SpendLimitError() | DeadlineError(phase="total"):
            return False
        case _:
            return True
