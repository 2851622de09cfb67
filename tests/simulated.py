"""Who takes part in tests against the simulator: every dialect that it speaks, and how."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import pytest
from attrs import field, frozen

from aichat import Client, ClientConfig, ModelProfile, Registry
from aichat.providers import Capability, ProviderSpec
from aichat.testing import Simulator
from aichat.testing._sim_dialect import Refused
from aichat.testing._sim_table import DIALECTS
from aichat.transport import Send

__all__ = ["KEY", "TARGETS", "Target", "client", "sim", "target"]

#: So unlike anything else that finding it anywhere means that it leaked.
KEY: Final = "sk-canary-7d41e09bc2f85a63"

_REGISTRY: Final = Registry()


@frozen
class Target:
    """A provider before one of the simulator's dialects, with a model to ask for."""

    dialect: str
    provider: str
    model: str = "simulator"
    settings: Mapping[str, str] = field(factory=dict, hash=False)

    def __str__(self) -> str:
        version = self.settings.get("api_version", "")
        return "-".join(filter(None, (self.provider, self.model, version)))

    @property
    def spec(self) -> ProviderSpec:
        entry = _REGISTRY[self.provider]
        assert isinstance(entry, ProviderSpec)
        return entry

    @property
    def profile(self) -> ModelProfile:
        """What the model accepts."""
        return self.spec.profile_of(self.model)

    @property
    def names_errors(self) -> bool:
        """Whether an error is more than words, so that it has a type without a status."""
        manners = DIALECTS[self.dialect].manners
        error = manners.error(Refused("No."), "id")["error"]
        return not isinstance(error, str)

    def needs(self, capability: Capability) -> None:
        """Skip the test for those who have not got it."""
        if capability not in self.spec.capabilities:
            pytest.skip(f"{self.provider} has no {capability}")

    def client(
        self, at: Simulator | str, *, send: Send | None = None, **options: Any
    ) -> Client:
        """
        A client as anybody would make it.

        It tries once, unless *options* of its configuration say otherwise, and then without
        a pause.
        """
        usual: dict[str, Any] = {
            "api_key": KEY,
            "model": self.model,
            "settings": self.settings,
            "max_retries": 0,
            "retry_backoff": 0.0,
        }
        config = ClientConfig(
            provider=self.provider,
            base_url=at if isinstance(at, str) else at.base_url(self.dialect),
            **{**usual, **options},
        )
        return Client.from_config(config, environ={}, send=send)


#: Providers, and models that differ in what they take and want back.
_ROWS: Final = (
    Target("openai", "openai", "gpt-6-sol"),
    Target("openai-chat", "openai-chat", "gpt-5.1"),
    Target("openai-chat", "openai-compatible"),
    Target("azure", "azure", "my-deployment"),
    Target("azure", "azure", "gpt-4.1", {"api_version": "2024-10-21"}),
    Target("azure-responses", "azure-responses", "gpt-6-sol"),
    Target("anthropic", "anthropic", "claude-opus-5"),
    Target("google", "google", "gemini-3.8-flash"),
    Target("google", "google", "gemini-2.5-flash"),
    Target("vertex", "vertex", "gemini-3.8-flash", {"project": "p"}),
    Target("ollama", "ollama", "qwen3.6"),
)

#: A dialect without a row takes part as well, and so does a row once its dialect is there.
TARGETS: Final = (
    *(row for row in _ROWS if row.dialect in DIALECTS),
    *(Target(n, n) for n in DIALECTS if n not in {row.dialect for row in _ROWS}),
)


@pytest.fixture(params=TARGETS, ids=str)
def target(request: pytest.FixtureRequest) -> Target:
    """Each of them. Whoever imports `client` may have another one of its own."""
    found: Target = request.param
    return found


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(api_keys=[KEY]) as simulator:
        yield simulator


@pytest.fixture
async def client(target: Target, sim: Simulator) -> AsyncIterator[Client]:
    """It tries once."""
    async with target.client(sim) as client:
        yield client
