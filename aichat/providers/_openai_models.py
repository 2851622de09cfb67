"""
What OpenAI's models accept, as data.

The longest name that a model's name begins with, up to a dash or its end, tells; a name
without a row is sent whatever was asked for. That is not only kinder to models that are
newer than this table: a wrong guess would take an option away that the model has.

See: https://platform.openai.com/docs/models
"""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from ..types import Effort

__all__ = ["OPENAI_MODELS", "OpenAIModel", "nearest_effort", "openai_model"]

_LEVELS = tuple(Effort)


def _to_efforts(levels: str | tuple[Effort, ...]) -> tuple[Effort, ...]:
    names = levels.split() if isinstance(levels, str) else levels
    return tuple(map(Effort, names))


@frozen
class OpenAIModel:
    """One model, or one family of them."""

    name: str
    #: Whether it reasons if nobody says how much; ``"never"``: it cannot.
    reasons: Literal["never", "if_asked", "unless_told", "always"] = "never"
    #: The levels of `ChatRequest.reasoning_effort` that it takes.
    efforts: tuple[Effort, ...] = field(default=(), converter=_to_efforts)
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


_5_1 = "none low medium high"
_5_2 = "none low medium high xhigh"
_5_6 = "none low medium high xhigh max"
_O = "low medium high"

OPENAI_MODELS: tuple[OpenAIModel, ...] = (
    *(
        OpenAIModel(
            name,
            "unless_told",
            _5_6,
            tools_while_reasoning=False,
            cache_marks=True,
            current=True,
        )
        for name in ("gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra")
    ),
    *(
        OpenAIModel(
            name,
            "always",
            "low medium high xhigh max",
            tools_while_reasoning=False,
            cache_marks=True,
            current=True,
        )
        for name in ("gpt-6-astra", "gpt-6.1-sol")
    ),
    *(
        OpenAIModel(
            name,
            "unless_told",
            _5_6,
            tools_while_reasoning=False,
            cache_marks=True,
            current=name != "gpt-5.6",
        )
        for name in ("gpt-5.6", "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna")
    ),
    OpenAIModel(
        "gpt-5.5", "unless_told", _5_2, tools_while_reasoning=False, current=True
    ),
    # The sources disagree whether tools may be sent with the effort left out, although
    # the default is none: the encoder says none.
    OpenAIModel("gpt-5.4", "if_asked", _5_2, tools_while_reasoning=False, current=True),
    OpenAIModel(
        "gpt-5.4-mini", "if_asked", _5_2, tools_while_reasoning=False, current=True
    ),
    OpenAIModel(
        "gpt-5.4-nano", "if_asked", _5_2, tools_while_reasoning=False, current=True
    ),
    OpenAIModel("gpt-5.2", "if_asked", _5_2, current=True),
    OpenAIModel("gpt-5.1", "if_asked", _5_1, current=True),
    *(
        OpenAIModel(name, "always", "low medium high xhigh")
        for name in ("gpt-5.1-chat", "gpt-5.2-chat", "gpt-5.3-chat", "gpt-5.4-chat")
    ),
    *(
        OpenAIModel(name, "always", "medium high xhigh")
        for name in ("gpt-5.2-pro", "gpt-5.4-pro", "gpt-5.5-pro")
    ),
    OpenAIModel("gpt-5.1-codex", "always", _O),
    OpenAIModel("gpt-5.1-codex-max", "always", "low medium high xhigh"),
    OpenAIModel("gpt-5.3-codex", "if_asked", _5_2),
    OpenAIModel("gpt-5", "always", "minimal low medium high"),
    OpenAIModel("gpt-5-pro", "always", "high"),
    # An ordinary chat model, despite its name.
    OpenAIModel("gpt-5-chat"),
    OpenAIModel("o4-mini", "always", _O, parallel_switch=False),
    OpenAIModel("o3", "always", _O, parallel_switch=False),
    OpenAIModel(
        "o3-mini", "always", _O, parallel_switch=False, stop_while_reasoning=True
    ),
    OpenAIModel("o3-pro", "always", _O, parallel_switch=False),
    OpenAIModel("o1", "always", _O, parallel_switch=False, stop_while_reasoning=True),
    OpenAIModel("gpt-4.1", current=True),
    OpenAIModel("gpt-4.1-mini", current=True),
    OpenAIModel("gpt-4o", current=True),
    OpenAIModel("gpt-4o-mini", current=True),
    OpenAIModel("gpt-audio", chat_only=True, current=True),
    OpenAIModel("gpt-4"),
    OpenAIModel("gpt-4-turbo"),
    OpenAIModel("gpt-3.5-turbo"),
    OpenAIModel("chatgpt-4o"),
)


def openai_model(name: str) -> OpenAIModel | None:
    """
    The row for the model *name*, if there is one.

    >>> openai_model("gpt-5.4-mini-2026-03-17").name
    'gpt-5.4-mini'
    >>> openai_model("ft:gpt-4o-2024-08-06:acme::abc").name
    'gpt-4o'
    """
    if name.startswith("ft:"):
        name = name.split(":")[1]
    rows = (row for row in OPENAI_MODELS if f"{name}-".startswith(f"{row.name}-"))
    return max(rows, key=lambda row: len(row.name), default=None)


def nearest_effort(effort: Effort, known: tuple[Effort, ...]) -> Effort:
    """
    Of the *known* levels the highest that is not above *effort*, or else the lowest.

    None at all is no level: whoever asks for some gets some, and the other way round only
    where it cannot be helped.

    >>> str(nearest_effort(Effort.MINIMAL, (Effort.NONE, Effort.LOW, Effort.HIGH)))
    'low'
    """
    rank = _LEVELS.index
    thinking = [level for level in known if level is not Effort.NONE]
    lower = [level for level in thinking if rank(level) <= rank(effort)]
    return max(lower, key=rank) if lower else min(thinking, key=rank)
