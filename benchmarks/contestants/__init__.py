"""
Who takes part, and what has to be installed for it.

A contestant is a module of this package with a `Contestant` in it. It runs in an environment
where neither aichat nor its dependencies need be there, so what all of them share
(`_base`, `benchmarks._worker`) needs the standard library only.
"""

from __future__ import annotations

from typing import Final, NamedTuple

__all__ = ["FLOOR", "OURS", "PEERS", "Entry"]


class Entry(NamedTuple):
    """One row of the field."""

    name: str
    #: The module of this package.
    module: str
    #: What to install; nothing for those who live in our own environment.
    requirements: tuple[str, ...]
    dialects: tuple[str, ...]
    #: What `import` loads.
    imports: str


_ALL: Final = ("openai-chat", "openai", "anthropic", "google", "ollama")

FLOOR: Final = Entry("floor", "floor", (), _ALL, "aiohttp, orjson")
OURS: Final = Entry("aichat", "ours", (), _ALL, "aichat")

#: As their users call them, in their newest releases.
PEERS: Final = (
    Entry("openai", "openai", ("openai",), ("openai-chat", "openai"), "openai"),
    Entry(
        "openai[aiohttp]",
        "openai_aiohttp",
        ("openai[aiohttp]",),
        ("openai-chat", "openai"),
        "openai",
    ),
    Entry("anthropic", "anthropic", ("anthropic",), ("anthropic",), "anthropic"),
    Entry(
        "google-genai", "google_genai", ("google-genai",), ("google",), "google.genai"
    ),
    Entry("ollama", "ollama", ("ollama",), ("ollama",), "ollama"),
    Entry(
        "litellm", "litellm", ("litellm",), ("openai-chat", "anthropic"), "litellm"
    ),
    Entry(
        "pydantic-ai",
        "pydantic_ai",
        ("pydantic-ai-slim[openai,anthropic]",),
        ("openai-chat", "openai", "anthropic"),
        "pydantic_ai",
    ),
    Entry(
        "langchain-openai",
        "langchain_openai",
        ("langchain-openai",),
        ("openai-chat", "openai"),
        "langchain_openai",
    ),
    Entry("any-llm", "any_llm", ("any-llm-sdk[openai]",), ("openai-chat",), "any_llm"),
)  # fmt: skip
