"""What a request may ask for besides its messages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, Literal, TypeAlias, TypedDict

from attrs import field, frozen

from ..errors import InvalidRequestError
from ._deadlines import Deadlines
from ._messages import CacheHint
from ._values import JSONObject

__all__ = [
    "AnswerOptions",
    "Effort",
    "OnUnsupported",
    "RequestOptions",
    "ResponseFormat",
    "Tool",
    "ToolChoice",
    "json_schema",
]

#: What every provider accepts as the name of a tool.
TOOL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}")

#: What to do with an option that the model does not take.
OnUnsupported: TypeAlias = Literal["warn", "raise", "ignore"]


class Effort(StrEnum):
    """How hard to think. Providers have fewer levels and round."""

    NONE = "none"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


def _to_schema(value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    return dict(value) if value else {"type": "object", "properties": {}}


@frozen
class Tool:
    """
    A function that the model may ask us to call.

    Raises `InvalidRequestError` for a name that some provider would refuse.
    """

    name: str
    description: str | None = None
    #: JSON Schema of the arguments: an object.
    parameters: JSONObject = field(default=None, converter=_to_schema, hash=False)
    #: Whether the provider shall enforce the schema. ``None``: as it likes.
    strict: bool | None = field(default=None, kw_only=True)
    cache: CacheHint | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if not TOOL_NAME.fullmatch(self.name):
            raise InvalidRequestError(
                f"The tool name {self.name!r} will not do: begin with a letter or _, "
                "go on with letters, digits, _ and -, 64 characters at most."
            )
        if self.parameters.get("type", "object") != "object":
            raise InvalidRequestError(
                f"The parameters of the tool {self.name!r} must be a JSON Schema of "
                f"type object, not {self.parameters['type']!r}."
            )


def _to_names(value: Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@frozen
class ToolChoice:
    """
    Whether tools may, must, or must not be called; *names* narrows it to some of them.

    >>> ToolChoice("required", "get_weather").names
    ('get_weather',)
    """

    mode: Literal["auto", "none", "required"] = "auto"
    names: tuple[str, ...] = field(default=(), converter=_to_names)

    def __attrs_post_init__(self) -> None:
        if self.mode not in ("auto", "none", "required"):
            raise InvalidRequestError(
                f"tool_choice must be 'auto', 'none', 'required' or a ToolChoice, not "
                f"{self.mode!r}. For one tool: ToolChoice('required', {self.mode!r})."
            )
        if self.mode == "none" and self.names:
            raise InvalidRequestError("tool_choice 'none' takes no names.")


@frozen
class ResponseFormat:
    """Text, any JSON, or JSON after a schema. See `json_schema`."""

    type: Literal["text", "json", "json_schema"] = "text"
    schema: JSONObject | None = field(default=None, hash=False)
    #: Some providers want a name for the schema.
    name: str = field(default="response", kw_only=True)
    description: str | None = field(default=None, kw_only=True)
    #: Whether the provider shall enforce the schema. ``None``: as it likes.
    strict: bool | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.type not in ("text", "json", "json_schema"):
            raise InvalidRequestError(
                "response_format must be 'text', 'json' or a JSON Schema, "
                f"not {self.type!r}."
            )
        if (self.schema is not None) != (self.type == "json_schema"):
            raise InvalidRequestError(
                "ResponseFormat needs a schema with type 'json_schema', and only then."
            )
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", self.name):
            raise InvalidRequestError(
                f"The schema name {self.name!r} will not do: letters, digits, _ and -, "
                "64 characters at most."
            )


def json_schema(
    schema: Mapping[str, Any],
    *,
    name: str = "response",
    description: str | None = None,
    strict: bool | None = None,
) -> ResponseFormat:
    """Ask for JSON that follows *schema*."""
    return ResponseFormat(
        "json_schema", dict(schema), name=name, description=description, strict=strict
    )


class AnswerOptions(TypedDict, total=False):
    """What shapes an answer, but for the tools, which are more than values in a run."""

    model: str
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    top_k: int | None
    stop: str | Iterable[str]
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[str, float]
    logprobs: bool | None
    top_logprobs: int | None
    n: int | None
    tool_choice: ToolChoice | Literal["auto", "none", "required"] | None
    parallel_tool_calls: bool | None
    response_format: ResponseFormat | Literal["text", "json"] | Mapping[str, Any] | None
    reasoning_effort: (
        Effort
        | Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
        | None
    )
    reasoning_budget: int | None
    include_reasoning: bool | None
    verbosity: Literal["low", "medium", "high"] | None
    user: str | None
    metadata: Mapping[str, str]
    service_tier: str | None
    store: bool | None
    truncation: Literal["auto", "disabled"] | None
    cache: CacheHint | None
    cache_key: str | None
    prefill: bool
    on_unsupported: OnUnsupported | None
    deadlines: Deadlines | float | None
    timeout: float | None
    max_retries: int | None
    provider_options: Mapping[str, Mapping[str, Any]]


class RequestOptions(AnswerOptions, total=False):
    """The keyword arguments of `Client.stream` and `Client.complete`; see `ChatRequest`."""

    tools: Iterable[Tool]
