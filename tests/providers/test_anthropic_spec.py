"""The description of Anthropic: `aichat.providers.anthropic.SPEC`."""

from __future__ import annotations

import pytest
from attrs import evolve

from aichat.providers import Capability
from aichat.providers._anthropic_models import claude
from aichat.providers.anthropic import SPEC
from aichat.transport import HTTPRequest


@pytest.mark.parametrize(
    "base_url", ["https://api.anthropic.com", "https://api.anthropic.com/v1"]
)
def test_both_ways_to_write_the_address(base_url: str) -> None:
    """Whether the base URL holds the version or not, there is one in the end."""
    request = evolve(HTTPRequest("/v1/messages"), base_url=base_url)
    ready = SPEC.prepare(request, {"version": "2023-06-01"})
    assert ready.base_url + ready.path == "https://api.anthropic.com/v1/messages"


def test_the_version_is_a_setting() -> None:
    """A header of the user's own wins over it."""
    request = HTTPRequest("/v1/messages")
    assert SPEC.prepare(request, SPEC.settings).headers == {  # type: ignore[arg-type]  # this one has no None
        "anthropic-version": "2023-06-01"
    }
    newer = SPEC.prepare(request, {"version": "2026-10-21"})
    assert newer.headers == {"anthropic-version": "2026-10-21"}
    own = evolve(request, headers={"anthropic-version": "mine"})
    assert SPEC.prepare(own, {"version": "2023-06-01"}).headers == own.headers


def test_the_key_goes_into_its_own_header() -> None:
    """Nowhere else (X1)."""
    ready = SPEC.auth(HTTPRequest("/v1/messages", {"a": 1}), "sk-ant-secret")
    assert ready.headers == {"x-api-key": "sk-ant-secret"}
    assert "secret" not in repr(ready)


def test_its_health_costs_nothing() -> None:
    """It asks for one model's name."""
    check = SPEC.health_check
    assert check is not None
    assert (check.method, check.path, check.query) == (
        "GET",
        "/v1/models",
        {"limit": "1"},
    )


def test_its_models_are_known() -> None:
    """None of them is taken for a model that nobody has heard of."""
    unknown = claude("claude-unheard-of")
    assert all(claude(name) is not unknown for name in SPEC.models)
    assert len(set(SPEC.models)) == len(SPEC.models)


def test_what_it_can_do() -> None:
    """No sound, no vectors, no JSON without a schema."""
    assert Capability.JSON_SCHEMA in SPEC.capabilities
    assert not {Capability.AUDIO, Capability.EMBEDDINGS, Capability.JSON} & (
        SPEC.capabilities
    )
