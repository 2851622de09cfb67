"""
What OpenAI's models accept, as data.

The longest name that a model's name begins with, up to a dash or its end, tells; a name
without a row is sent whatever was asked for. That is not only kinder to models that are
newer than this table: a wrong guess would take an option away that the model has.

See: https://platform.openai.com/docs/models
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from attrs import evolve, field, frozen

from ..types import Effort
from ._efforts import to_efforts
from ._profiles import Modality, ModelProfile, Reasoning, Sampling

__all__ = ["OPENAI_MODELS", "OpenAIModel", "openai_model", "openai_profile"]

_TEXT: Final = frozenset({Modality.TEXT})
_HEARS: Final = frozenset({Modality.TEXT, Modality.AUDIO})
#: PDF files are shown to those that see.
_SEES: Final = frozenset({Modality.TEXT, Modality.IMAGE, Modality.DOCUMENT})


@frozen
class OpenAIModel:
    """One model, or one family of them."""

    name: str
    #: Whether it reasons if nobody says how much; ``"never"``: it cannot.
    reasons: Reasoning = "never"
    #: The levels of `ChatRequest.reasoning_effort` that it takes.
    efforts: tuple[Effort, ...] = field(default=(), converter=to_efforts)
    #: When it takes temperature, top_p and the like; ``None``: while it does not reason.
    sampling: Sampling | None = field(default=None, kw_only=True)
    #: Tokens that fit, those of the answer included; and those of an answer.
    context: int | None = field(default=None, kw_only=True)
    max_output: int | None = field(default=None, kw_only=True)
    inputs: frozenset[Modality] = field(default=_SEES, kw_only=True)
    #: Whether it can be kept to a JSON Schema.
    structured: bool = field(default=True, kw_only=True)
    #: Whether Chat Completions lets it call functions while it reasons.
    tools_while_reasoning: bool = field(default=True, kw_only=True)
    #: Whether `ChatRequest.parallel_tool_calls` may be set.
    parallel_switch: bool = field(default=True, kw_only=True)
    #: Whether it takes stop sequences while it reasons.
    stop_while_reasoning: bool = field(default=False, kw_only=True)
    #: Whether parts of the prompt can be marked for the cache.
    cache_marks: bool = field(default=False, kw_only=True)
    #: Whether only Chat Completions has it.
    chat_only: bool = field(default=False, kw_only=True)
    #: Whether to list it among the models of the provider.
    current: bool = field(default=False, kw_only=True)

    def reasons_at(self, effort: str | None) -> bool:
        """Whether it reasons when asked for *effort*; ``None``: when not asked."""
        if effort is None:
            return self.reasons in ("unless_told", "always")
        return self.reasons != "never" and effort != "none"

    def samples_at(self, effort: str | None) -> bool:
        """Whether it takes temperature and the like when asked for *effort*."""
        if self.sampling in (None, "without_reasoning"):
            return not self.reasons_at(effort)
        return self.sampling == "always"

    def profile(self) -> ModelProfile:
        """The same from outside."""
        sampling: Sampling = "without_reasoning"
        if self.reasons == "never":
            sampling = "always"
        elif Effort.NONE not in self.efforts:
            sampling = "never"
        return ModelProfile(
            self.name,
            context_tokens=self.context,
            max_output_tokens=self.max_output,
            inputs=self.inputs,
            parallel_tools=self.parallel_switch,
            json_schema=self.structured,
            reasoning=self.reasons,
            efforts=self.efforts,
            reasoning_budget=False,
            sampling=self.sampling or sampling,
            prefill=False,
        )

    def like(self, profile: ModelProfile) -> OpenAIModel:
        """This model, as far as *profile* does not say otherwise."""
        model = evolve(
            self,
            reasons=profile.reasoning,
            efforts=profile.efforts,
            sampling=None,
            parallel_switch=profile.parallel_tools,
        )
        if model.profile().sampling == profile.sampling:
            return model
        return evolve(model, sampling=profile.sampling)


_5_1: Final = "none low medium high"
_5_2: Final = "none low medium high xhigh"
_5_6: Final = "none low medium high xhigh max"
_O: Final = "low medium high"


def _row(
    name: str,
    reasons: Reasoning = "never",
    efforts: str = "",
    tokens: tuple[int, int] | None = None,
    **facts: Any,
) -> OpenAIModel:
    """A row, with the tokens that fit and those of an answer side by side."""
    context, max_output = tokens or (None, None)
    return OpenAIModel(
        name, reasons, efforts, context=context, max_output=max_output, **facts
    )


_1M: Final = (1_050_000, 128_000)
_400K: Final = (400_000, 128_000)
_O_TOKENS: Final = (200_000, 100_000)
_4_1: Final = (1_047_576, 32_768)
_4O: Final = (128_000, 16_384)

#: From `gpt-5.4` on, Chat Completions has no functions for those who reason.
_SPLIT: Final[Mapping[str, Any]] = {"tools_while_reasoning": False, "current": True}
_NEW: Final[Mapping[str, Any]] = {**_SPLIT, "cache_marks": True}
_OLD: Final[Mapping[str, Any]] = {"inputs": _TEXT, "structured": False}

# Newest first.
OPENAI_MODELS: tuple[OpenAIModel, ...] = (
    *(
        _row(name, "unless_told", _5_6, _1M, **_NEW)
        for name in ("gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra")
    ),
    *(
        _row(name, "always", "low medium high xhigh max", _1M, **_NEW)
        for name in ("gpt-6-astra", "gpt-6.1-sol")
    ),
    *(
        _row(name, "unless_told", _5_6, _1M, **{**_NEW, "current": name != "gpt-5.6"})
        for name in ("gpt-5.6", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna")
    ),
    _row("gpt-5.5", "unless_told", _5_2, _1M, **_SPLIT),
    # The sources disagree whether tools may be sent with the effort left out, although
    # the default is none: the encoder says none.
    _row("gpt-5.4", "if_asked", _5_2, _1M, **_SPLIT),
    _row("gpt-5.4-mini", "if_asked", _5_2, _400K, **_SPLIT),
    _row("gpt-5.4-nano", "if_asked", _5_2, _400K, **_SPLIT),
    _row("gpt-5.2", "if_asked", _5_2, _400K, current=True),
    _row("gpt-5.1", "if_asked", _5_1, _400K, current=True),
    *(
        _row(name, "always", "low medium high xhigh")
        for name in ("gpt-5.1-chat", "gpt-5.2-chat", "gpt-5.3-chat", "gpt-5.4-chat")
    ),
    _row("gpt-5.2-pro", "always", "medium high xhigh", _400K, structured=False),
    _row("gpt-5.4-pro", "always", "medium high xhigh", _1M, structured=False),
    _row("gpt-5.5-pro", "always", "medium high xhigh", _1M, structured=False),
    _row("gpt-5.1-codex", "always", _O, _400K),
    _row("gpt-5.1-codex-max", "always", "low medium high xhigh", _400K),
    _row("gpt-5.3-codex", "if_asked", _5_2, _400K),
    _row("gpt-5", "always", "minimal low medium high", _400K),
    _row("gpt-5-pro", "always", "high", (400_000, 272_000)),
    # An ordinary chat model, despite its name.
    _row("gpt-5-chat"),
    _row("o4-mini", "always", _O, _O_TOKENS, parallel_switch=False),
    _row("o3", "always", _O, _O_TOKENS, parallel_switch=False),
    _row(
        "o3-mini",
        "always",
        _O,
        _O_TOKENS,
        inputs=_TEXT,
        parallel_switch=False,
        stop_while_reasoning=True,
    ),
    _row("o3-pro", "always", _O, _O_TOKENS, parallel_switch=False),
    _row(
        "o1",
        "always",
        _O,
        _O_TOKENS,
        parallel_switch=False,
        stop_while_reasoning=True,
    ),
    _row("gpt-4.1", tokens=_4_1, current=True),
    _row("gpt-4.1-mini", tokens=_4_1, current=True),
    _row("gpt-4o", tokens=_4O, current=True),
    _row("gpt-4o-mini", tokens=_4O, current=True),
    _row(
        "gpt-audio",
        tokens=_4O,
        inputs=_HEARS,
        structured=False,
        chat_only=True,
        current=True,
    ),
    _row("gpt-4", tokens=(8_192, 4_096), **_OLD),
    _row("gpt-4-turbo", tokens=(128_000, 4_096), structured=False),
    _row("gpt-3.5-turbo", tokens=(16_385, 4_096), **_OLD),
    _row("chatgpt-4o", tokens=_4O),
)


def openai_model(name: str, profile: ModelProfile | None = None) -> OpenAIModel | None:
    """
    The row for the model *name*, if there is one; or what *profile* makes of it.

    >>> openai_model("gpt-5.4-mini-2026-03-17").name
    'gpt-5.4-mini'
    >>> openai_model("ft:gpt-4o-2024-08-06:acme::abc").name
    'gpt-4o'
    """
    if profile is not None:
        model = openai_model(profile.model) or OpenAIModel(profile.model)
        return model.like(profile)
    return _row_of(name)


@lru_cache
def _row_of(name: str) -> OpenAIModel | None:
    if name.startswith("ft:"):
        name = name.split(":")[1]
    rows = (row for row in OPENAI_MODELS if f"{name}-".startswith(f"{row.name}-"))
    return max(rows, key=lambda row: len(row.name), default=None)


def openai_profile(name: str) -> ModelProfile:
    """
    What the model *name* accepts.

    Of one without a row the encoder assumes nothing: it sends whatever was asked for. For
    those who only want to look, it is taken for one of the newest generation.
    """
    row = openai_model(name)
    known = row is not None
    return evolve((row or OPENAI_MODELS[0]).profile(), model=name, known=known)
