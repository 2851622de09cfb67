"""Providers whose every answer is written down beforehand: for what is one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aichat.providers import HTTPProvider, ProviderSpec
from aichat.transport import HTTPRequest
from aichat.types import dumps

from ..transport.toys import Outcome, ScriptedAnswer, transport, wire

__all__ = ["KEY", "answer", "bodies", "provider", "requests"]

KEY = "sk-canary-0b2d4f6a8c"


def answer(value: Any, status: int = 200, **headers: str) -> ScriptedAnswer:
    """*value* as JSON, in one piece."""
    names = {name.replace("_", "-"): text for name, text in headers.items()}
    return ScriptedAnswer(dumps(value), status=status, headers=names)


def provider(
    spec: ProviderSpec,
    *outcomes: Outcome,
    settings: Mapping[str, str] | None = None,
    base_url: str = "http://localhost:1",
    **options: Any,
) -> HTTPProvider:
    """What *spec* describes, over a wire with these *outcomes*."""
    known = {name: value or "" for name, value in spec.settings.items()}
    return HTTPProvider(
        spec=spec,
        transport=transport(*outcomes, **options),
        base_url=base_url,
        api_key=KEY,
        settings={**known, **(settings or {})},
    )


def requests(of: HTTPProvider) -> list[HTTPRequest]:
    """What was sent."""
    return wire(of.transport).requests


def bodies(of: HTTPProvider) -> list[Any]:
    """The bodies of what was sent."""
    return [request.body for request in requests(of)]
