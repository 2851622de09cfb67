"""Holds a request body against the types of Google's own SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.genai import types
from pydantic import BaseModel, ValidationError

__all__ = ["complaints"]


class _Body(BaseModel, extra="forbid"):
    """``GenerateContentRequest``: the SDK has its parts, but puts it together by hand."""

    contents: list[types.Content]
    systemInstruction: types.Content | None = None
    generationConfig: types.GenerationConfig | None = None
    tools: list[types.Tool] | None = None
    toolConfig: types.ToolConfig | None = None
    safetySettings: list[types.SafetySetting] | None = None
    cachedContent: str | None = None
    labels: dict[str, str] | None = None
    serviceTier: types.ServiceTier | None = None
    store: bool | None = None


def complaints(body: Mapping[str, Any]) -> list[str]:
    """Everything in *body* that the SDK has no place for, or that it misses."""
    try:
        _Body.model_validate_json(json.dumps(body))
    except ValidationError as error:
        return [f"{e['loc']}: {e['msg']}" for e in error.errors(include_url=False)]
    return []
