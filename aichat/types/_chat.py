"""A request, and what it is answered with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from attrs import Attribute, field, frozen

from ..errors import InvalidRequestError
from ._conversation import check_conversation
from ._deadlines import Deadlines
from ._messages import (
    CacheHint,
    Citation,
    Message,
    RefusalPart,
    TextPart,
    ToolCallPart,
    user,
)
from ._options import Effort, OnUnsupported, ResponseFormat, Tool, ToolChoice
from ._usage import FinishReason, Usage
from ._values import JSONObject, frozen_mapping, is_number

__all__ = ["ChatRequest", "ChatResponse", "Prompt"]


def _to_messages(value: str | Message | Iterable[Message]) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (user(value),)
    if isinstance(value, Message):
        return (value,)
    _check_iterable(value, "What is asked", "a text, messages or a ChatRequest")
    return tuple(value)


def _to_stop(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    _check_iterable(value, "stop", "a text or several")
    return tuple(value)


def _to_tools(value: Iterable[Tool] | None) -> tuple[Tool, ...]:
    if value is None:
        return ()
    _check_iterable(value, "tools", "a list of them")
    return tuple(value)


def _check_iterable(value: object, name: str, wanted: str) -> None:
    # Bytes are full of numbers, and a mapping of names.
    if isinstance(value, (bytes, Mapping)) or not isinstance(value, Iterable):
        _refuse(f"{name} must be {wanted}; got a {type(value).__name__}.")


def _to_choice(value: ToolChoice | str | None) -> ToolChoice | None:
    return ToolChoice(value) if isinstance(value, str) else value  # type: ignore[arg-type]  # ToolChoice checks it


def _to_format(
    value: ResponseFormat | str | Mapping[str, Any] | None,
) -> ResponseFormat | None:
    if isinstance(value, Mapping):
        return ResponseFormat("json_schema", dict(value))
    return ResponseFormat(value) if isinstance(value, str) else value  # type: ignore[arg-type]  # ResponseFormat checks it


def _to_effort(value: Effort | str | None) -> Effort | None:
    try:
        return None if value is None else Effort(value)
    except ValueError:
        levels = ", ".join(Effort)
        raise InvalidRequestError(
            f"reasoning_effort must be one of {levels}; got {value!r}."
        ) from None


def _to_deadlines(value: Deadlines | float | None) -> Deadlines | None:
    return Deadlines.of(value) if isinstance(value, (int, float)) else value


def _between(low: float, high: float = math.inf) -> Callable[..., None]:
    """Make a validator for a number from *low* to *high*, or ``None``."""

    def check(_: object, attribute: Attribute[Any], value: float | None) -> None:
        if value is None:
            return
        if not (is_number(value) and low <= value <= high):
            wanted = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
            raise InvalidRequestError(
                f"{attribute.name} must be {wanted}, got {value!r}.", operation="chat"
            )

    return check


def _whole(low: int, high: float = math.inf) -> Callable[..., None]:
    """Make a validator for a whole number from *low* to *high*, or ``None``."""
    in_range = _between(low, high)

    def check(instance: object, attribute: Attribute[Any], value: float | None) -> None:
        in_range(instance, attribute, value)
        if value is not None and not isinstance(value, int):
            raise InvalidRequestError(
                f"{attribute.name} must be a whole number, got {value!r}.",
                operation="chat",
            )

    return check


def _one_of(*values: str) -> Callable[..., None]:
    """Make a validator for one of *values*, or ``None``."""

    def check(_: object, attribute: Attribute[Any], value: str | None) -> None:
        if value is not None and value not in values:
            wanted = ", ".join(map(repr, values))
            _refuse(f"{attribute.name} must be {wanted} or None, got {value!r}.")

    return check


def _a(kind: type) -> Callable[..., None]:
    """Make a validator for a *kind*, or ``None`` where that is the default."""

    def check(_: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, kind) and (value is not None or kind is str):
            _refuse(f"{attribute.name} must be a {kind.__name__}, got {value!r}.")

    return check


@frozen
class ChatRequest:
    """
    Everything that is asked for, as a value; checked when it is made.

    An option that is ``None`` is not sent. Whatever has no field here travels in
    *provider_options*, under the name of the provider that understands it, and is merged
    into the body of the request::

        ChatRequest("Hi", "openrouter:…", provider_options={"openrouter": {"models": […]}})

    Raises `InvalidRequestError` that names the message or the field.
    """

    messages: tuple[Message, ...] = field(converter=_to_messages)
    #: ``"provider:name"``; a bare name belongs to the client's default provider.
    model: str = field(default="", validator=_a(str))

    # -- how the answer is drawn -----------------------------------------------------
    #: Tokens that may be generated, reasoning included.
    max_tokens: int | None = field(default=None, kw_only=True, validator=_whole(1))
    temperature: float | None = field(
        default=None, kw_only=True, validator=_between(0, 2)
    )
    top_p: float | None = field(default=None, kw_only=True, validator=_between(0, 1))
    top_k: int | None = field(default=None, kw_only=True, validator=_whole(1))
    #: Texts that end the answer when they come up.
    stop: tuple[str, ...] = field(default=(), kw_only=True, converter=_to_stop)
    seed: int | None = field(default=None, kw_only=True)
    presence_penalty: float | None = field(
        default=None, kw_only=True, validator=_between(-2, 2)
    )
    frequency_penalty: float | None = field(
        default=None, kw_only=True, validator=_between(-2, 2)
    )
    logit_bias: JSONObject = field(
        factory=dict, kw_only=True, converter=frozen_mapping, hash=False
    )
    logprobs: bool | None = field(default=None, kw_only=True)
    top_logprobs: int | None = field(
        default=None, kw_only=True, validator=_whole(0, 20)
    )
    #: Always one: a stream is one answer. For more, send more requests.
    n: int | None = field(default=None, kw_only=True, validator=_whole(1))

    # -- tools and form --------------------------------------------------------------
    tools: tuple[Tool, ...] = field(default=(), kw_only=True, converter=_to_tools)
    tool_choice: ToolChoice | None = field(
        default=None, kw_only=True, converter=_to_choice, validator=_a(ToolChoice)
    )
    #: False: at most one call per answer.
    parallel_tool_calls: bool | None = field(default=None, kw_only=True)
    response_format: ResponseFormat | None = field(
        default=None, kw_only=True, converter=_to_format, validator=_a(ResponseFormat)
    )

    # -- thinking --------------------------------------------------------------------
    reasoning_effort: Effort | None = field(
        default=None, kw_only=True, converter=_to_effort
    )
    #: Tokens that may be spent on thinking, for models that count them apart.
    reasoning_budget: int | None = field(
        default=None, kw_only=True, validator=_whole(0)
    )
    #: Whether to show what was thought, where the provider leaves the choice.
    include_reasoning: bool | None = field(default=None, kw_only=True)
    verbosity: Literal["low", "medium", "high"] | None = field(
        default=None, kw_only=True, validator=_one_of("low", "medium", "high")
    )

    # -- for the provider's books ----------------------------------------------------
    #: A stable, opaque id of the end user.
    user: str | None = field(default=None, kw_only=True)
    metadata: JSONObject = field(
        factory=dict, kw_only=True, converter=frozen_mapping, hash=False
    )
    service_tier: str | None = field(default=None, kw_only=True)
    #: Whether the provider may keep the conversation.
    store: bool | None = field(default=None, kw_only=True)
    #: What to do with a prompt that does not fit.
    truncation: Literal["auto", "disabled"] | None = field(
        default=None, kw_only=True, validator=_one_of("auto", "disabled")
    )
    #: Cache the prompt as far as the provider thinks best.
    cache: CacheHint | None = field(default=None, kw_only=True, validator=_a(CacheHint))
    #: Requests with the same key share a cache, where the provider asks for one.
    cache_key: str | None = field(default=None, kw_only=True)

    # -- for aichat ------------------------------------------------------------------
    #: Let the model continue the assistant message that ends the conversation.
    prefill: bool = field(default=False, kw_only=True)
    #: For options that the model does not take. ``None``: warn about sampling, raise for
    #: what changes the meaning.
    on_unsupported: OnUnsupported | None = field(
        default=None, kw_only=True, validator=_one_of("warn", "raise", "ignore")
    )
    deadlines: Deadlines | None = field(
        default=None, kw_only=True, converter=_to_deadlines, validator=_a(Deadlines)
    )
    #: How many further attempts; ``None``: as the client has it.
    max_retries: int | None = field(default=None, kw_only=True, validator=_whole(0))
    provider_options: Mapping[str, JSONObject] = field(
        factory=dict, kw_only=True, converter=frozen_mapping, hash=False
    )

    def __attrs_post_init__(self) -> None:
        check_conversation(self.messages, prefill=self.prefill)
        if self.n not in (None, 1):
            _refuse(f"n={self.n}: a stream is one answer. Send the request n times.")
        for text in self.stop:
            if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
                _refuse(f"stop must hold texts, got a {type(text).__name__}.")
        if not all(self.stop):
            _refuse("stop holds an empty text, which would end every answer at once.")
        for name, extras in self.provider_options.items():
            if not isinstance(extras, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
                _refuse(
                    f"provider_options[{name!r}] must be a mapping, got {extras!r}."
                )
        self._check_tools()

    def _check_tools(self) -> None:
        for tool in self.tools:
            if not isinstance(tool, Tool):  # pyright: ignore[reportUnnecessaryIsInstance]  # types can lie
                advice = (
                    "To have it called, use client.run(); to be told of the call, make "
                    "it a Tool with @tool."
                    if callable(tool)
                    else "Make one: Tool('name', 'What it does.', {…})."
                )
                _refuse(f"tools must hold Tools, got a {type(tool).__name__}. {advice}")
        names = [tool.name for tool in self.tools]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            _refuse(f"Two tools have the same name: {', '.join(twice)}.")
        choice = self.tool_choice
        if choice is None:
            return
        if not names and (choice.mode == "required" or choice.names):
            _refuse("tool_choice asks for a tool, but tools is empty.")
        unknown = [name for name in choice.names if name not in names]
        if unknown:
            _refuse(
                f"tool_choice names {', '.join(unknown)}, which is not among the tools "
                f"({', '.join(names)})."
            )

    @property
    def provider_name(self) -> str | None:
        """The part of `model` before its first colon; ``None`` for a bare name."""
        provider, colon, _ = self.model.partition(":")
        return provider if colon else None

    @property
    def model_name(self) -> str:
        """The model as its provider calls it: what comes after the first colon."""
        provider, colon, name = self.model.partition(":")
        return name if colon else provider

    def extras(self, *providers: str) -> dict[str, Any]:
        """The `provider_options` under any of these names, merged in their order."""
        merged: dict[str, Any] = {}
        for name in providers:
            merged |= self.provider_options.get(name, {})
        return merged


@frozen(kw_only=True)
class ChatResponse:
    """What a stream folds to."""

    message: Message
    #: ``None`` only in the partial response of a stream that broke.
    finish_reason: FinishReason | None = None
    #: The provider's own word.
    raw_finish_reason: str | None = None
    usage: Usage = field(factory=Usage)
    #: The provider's id of the response, if it gave one.
    id: str | None = None
    #: The model as the provider named it.
    model: str | None = None
    provider: str | None = None
    #: Seconds since the epoch, if the provider said.
    created_at: float | None = None
    #: What to quote to the provider's support.
    request_id: str | None = None
    #: The stop sequence that was met, where the provider tells.
    stop_sequence: str | None = None
    #: What the request asked for and this provider could not do.
    warnings: tuple[str, ...] = ()
    #: Nobody was asked for this call: the answer is one that was given before, and its
    #: usage is what it cost then.
    from_cache: bool = False
    #: Who was asked, ``"provider:model"``, if it was not whom the request names.
    rerouted_to: str | None = None
    #: More facts of the provider's, such as a system fingerprint.
    metadata: JSONObject = field(factory=dict, converter=frozen_mapping, hash=False)

    @property
    def text(self) -> str:
        """All visible text."""
        return self.message.text

    @property
    def reasoning(self) -> str:
        """What the model thought, as far as it was shown."""
        return self.message.reasoning

    @property
    def refusal(self) -> str | None:
        """The model's words for why it does not answer; ``None`` if it did not refuse."""
        words = [p.text for p in self.message.content if isinstance(p, RefusalPart)]
        return "".join(words) if words else None

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls that may be executed."""
        return tuple(c for c in self.message.tool_calls if c.invalid is None)

    @property
    def invalid_tool_calls(self) -> tuple[ToolCallPart, ...]:
        """The tool calls that must not be executed: cut off, or not JSON."""
        return tuple(c for c in self.message.tool_calls if c.invalid is not None)

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The sources of all text parts."""
        texts = (p for p in self.message.content if isinstance(p, TextPart))
        return tuple(c for p in texts for c in p.citations)


#: What may be asked: a text, messages, or a whole request.
Prompt = str | Message | Iterable[Message] | ChatRequest


def _refuse(message: str) -> None:
    raise InvalidRequestError(message, operation="chat")
