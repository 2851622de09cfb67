"""What is fuzzed: every decoder there is, and which recordings it starts from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any, Final

from attrs import frozen

from aichat import Registry
from aichat.providers import ProviderSpec
from aichat.transport import Dialect

from .seeds import Seed, seeds

__all__ = ["TARGETS", "Target"]

_REGISTRY: Final = Registry()
_CHAT: Final = ("openai_chat", "openai-chat", "openai-compatible", "azure-chat")
_RESPONSES: Final = ("responses", "openai-responses")
_GEMINI: Final = ("google", "gemini-generate")
_OLLAMA: Final = ("ollama", "ollama-chat")

#: The providers whose decoders, tables of errors or ways to send a message back differ.
_FOLDERS: Final = {
    "openai-chat": _CHAT,
    "azure": _CHAT,
    "perplexity": _CHAT,  # looks for <think>
    "openrouter": _CHAT,
    "mistral": _CHAT,
    "deepseek": _CHAT,
    "cerebras": _CHAT,
    "groq": _CHAT,
    "zai": _CHAT,
    "openai": _RESPONSES,
    "azure-responses": _RESPONSES,
    "anthropic": ("anthropic", "anthropic-messages"),
    "google": _GEMINI,
    "vertex": _GEMINI,
    "ollama": _OLLAMA,
}


@frozen
class Target:
    """One dialect."""

    name: str
    spec: ProviderSpec
    folders: Sequence[str]

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """The answers that it starts from."""
        return seeds(*self.folders)

    def dialect(self) -> Dialect:
        """The provider's own, but with ids of tool calls that are the same every time."""
        numbers = count(1)

        def next_id() -> str:
            return f"made_{next(numbers)}"

        return Dialect(
            framing=self.spec.framing,
            decoder=_with_ids(self.spec.decoder, next_id),
            error_codes=self.spec.error_codes,
        )


def _with_ids(
    decoder: Callable[..., Any], next_id: Callable[[], str]
) -> Callable[[], Any]:
    # Some call it so and some so; neither is meant for callers.
    made = getattr(decoder, "func", decoder)
    name = "make_id" if "make_id" in made.__annotations__ else "new_id"
    return partial(decoder, **{name: next_id})


def _target(name: str, folders: Sequence[str]) -> Target:
    spec = _REGISTRY[name]
    assert isinstance(spec, ProviderSpec)
    return Target(name, spec, folders)


TARGETS: Final = {name: _target(name, folders) for name, folders in _FOLDERS.items()}
