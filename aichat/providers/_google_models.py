"""
What each Gemini accepts, as data.

The longest matching prefix decides. A Gemini that nobody here has heard of is taken for the
newest generation.

See: https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, frozen

from ..types import Effort
from ._profiles import Modality, ModelProfile, Reasoning

__all__ = ["Gemini", "gemini", "gemini_profile", "same_family"]

#: How thinking is asked for, if it is at all.
Thinking: TypeAlias = Literal["never", "budget", "level"]


@frozen(kw_only=True)
class Gemini:
    """What one generation of models accepts. The defaults are the newest generation's."""

    thinking: Thinking = "level"
    #: The levels of `Effort` it knows, from the lowest.
    levels: tuple[Effort, ...] = (Effort.LOW, Effort.MEDIUM, Effort.HIGH)
    #: The fewest and the most tokens that it may be given to think with.
    budget: tuple[int, int] = (0, 0)
    #: Whether a budget of 0 switches thinking off.
    off: bool = False
    #: Whether it thinks without being asked to.
    thinks: bool = True
    #: Whether it refuses its own calls without their signatures, while tools are at work.
    wants_signatures: bool = True
    #: Whether it has a place for instructions beside the conversation.
    instructions: bool = True
    #: Whether the result of a tool may hold pictures and documents.
    media_results: bool = True
    #: Whether it follows a response_format while it has tools.
    formats_with_tools: bool = True
    #: Whether ``VALIDATED`` makes its calls follow their schemas.
    validates: bool = True
    #: Whether it fetches what is behind a URL.
    fetches: bool = True
    #: Tokens that fit, those of the answer included; and those of an answer.
    context: int | None = 1_048_576
    max_output: int | None = 65_536
    #: Whether it has tools, and whether it can be kept to a JSON Schema.
    tools: bool = True
    structured: bool = True
    #: What it takes; all of them see.
    inputs: frozenset[Modality] = frozenset(Modality)

    def profile(self, name: str) -> ModelProfile:
        """The same from outside, of the model *name*."""
        reasoning: Reasoning = "unless_told" if self.thinks else "if_asked"
        efforts: tuple[Effort, ...] = self.levels
        if self.thinking == "budget":
            # Each becomes a budget, and the last one all that it takes.
            more = self.budget[1] > _2_5.budget[1]
            efforts = (*_EVERY_LEVEL, Effort.MAX) if more else _EVERY_LEVEL
        if self.thinking == "never":
            reasoning, efforts = "never", ()
        elif not self.off:
            reasoning = "always"
        else:
            efforts = (Effort.NONE, *efforts)
        return ModelProfile(
            name,
            context_tokens=self.context,
            max_output_tokens=self.max_output,
            inputs=self.inputs,
            tools=self.tools,
            forced_tool_choice=self.tools,
            parallel_tools=self.tools,
            json_schema=self.structured,
            json_schema_with_tools=self.structured and self.formats_with_tools,
            reasoning=reasoning,
            efforts=efforts,
            reasoning_budget=self.thinking == "budget",
        )

    def like(self, profile: ModelProfile) -> Gemini:
        """This model, as far as *profile* grants it more."""
        thinking = self.thinking
        levels = tuple(effort for effort in profile.efforts if effort in _EVERY_LEVEL)
        if profile.reasoning == "never":
            thinking = "never"
        elif thinking == "never":
            thinking = "budget" if profile.reasoning_budget else "level"
        changes: dict[str, Any] = {}
        if thinking == "level" and levels:
            changes["levels"] = levels
        if thinking != "never":
            changes["off"] = profile.reasoning != "always"
            changes["thinks"] = profile.reasoning != "if_asked"
        return evolve(self, thinking=thinking, **changes)


_SEES: Final = frozenset({Modality.TEXT, Modality.IMAGE})
_EVERY_LEVEL: Final = (Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH)

_NEWEST = Gemini()
_3 = evolve(_NEWEST, levels=_EVERY_LEVEL)
_3_PRO = evolve(_NEWEST, levels=(Effort.LOW, Effort.HIGH))
_2_5 = Gemini(
    thinking="budget",
    budget=(1, 24_576),
    off=True,
    wants_signatures=False,
    media_results=False,
    formats_with_tools=False,
)
_2_0 = evolve(
    _2_5,
    thinking="never",
    validates=False,
    fetches=False,
    max_output=8_192,
    structured=False,
)
_1 = evolve(_2_0, context=None)
_GEMMA = evolve(_1, instructions=False, tools=False, inputs=_SEES, max_output=None)
_SPEAKS = evolve(
    _2_5,
    thinking="never",
    context=None,
    max_output=None,
    tools=False,
    structured=False,
    inputs=frozenset({Modality.TEXT}),
)
_PAINTS = evolve(_SPEAKS, instructions=False, inputs=_SEES)

_GEMINIS: Final[Mapping[str, Gemini]] = {
    "": _NEWEST,
    "gemini-4": _NEWEST,
    "gemini-3": _3,
    "gemini-3-pro": _3_PRO,
    "gemini-3-pro-image": evolve(_3_PRO, instructions=False),
    "gemini-3.1-pro": _NEWEST,
    "gemini-3.1-flash-image": evolve(_3, instructions=False),
    "gemini-3.1-flash-lite-image": evolve(
        _3, levels=(Effort.MINIMAL, Effort.HIGH), instructions=False
    ),
    "gemini-3.7": _NEWEST,
    "gemini-3.8": _NEWEST,
    "gemini-flash-lite-latest": _3,
    "gemini-2.5": _2_5,
    "gemini-2.5-flash-lite": evolve(_2_5, budget=(512, 24_576), thinks=False),
    "gemini-2.5-pro": evolve(_2_5, budget=(128, 32_768), off=False),
    "gemini-2.5-flash-image": _PAINTS,
    "gemini-2.5-flash-preview-tts": _SPEAKS,
    "gemini-2.5-pro-preview-tts": _SPEAKS,
    "gemini-2.0": _2_0,
    "gemini-2.0-flash-preview-image": evolve(_2_0, instructions=False),
    "gemini-1": _1,
    "gemma": _GEMMA,
    "gemma-4": evolve(_GEMMA, instructions=True, tools=True),
}


def gemini(model: str, profile: ModelProfile | None = None) -> Gemini:
    """
    Look up what *model* accepts, with or without the path that leads to it.

    With a *profile* it is what that makes of it.

    >>> gemini("models/gemini-2.5-pro-preview-06-05").budget
    (128, 32768)
    """
    if profile is not None:
        return gemini(profile.model).like(profile)
    return _GEMINIS[_row(model)]


def gemini_profile(model: str) -> ModelProfile:
    """What *model* accepts, from outside."""
    row = _row(model)
    return evolve(_GEMINIS[row].profile(model), known=bool(row))


def _row(model: str) -> str:
    return max(filter(_bare(model).startswith, _GEMINIS), key=len)


def same_family(signer: str | None, asked: str) -> bool:
    """
    Whether the model *asked* takes what *signer* has signed.

    The one that answers may bear another name than the one that was asked: an alias stands
    for the newest of its line, and a preview that is gone for what came after it.

    >>> same_family("gemini-3.1-pro-preview", "gemini-3-pro-preview")
    True
    >>> same_family("gemini-2.5-pro", "gemini-3-pro-preview")
    False
    """
    if signer is None:
        return True
    ours, theirs = _bare(signer), _bare(asked)
    if not theirs.startswith(("gemini", "gemma")):
        return True  # tuned, with a name of its own
    line, version = _line(theirs), _version(theirs)
    if version is None:
        return line in (set(), _line(ours))
    before = _version(ours) or version
    moved = "preview" in theirs and before > version and before[0] == version[0]
    return line == _line(ours) and (before == version or moved)


#: Words in the name of a model that do not make it another one.
_NOISE: Final = {"gemini", "preview", "exp", "latest", "customtools"}


def _line(name: str) -> set[str]:
    """The words that tell models of one version apart: pro, flash, lite …"""
    return set(re.findall(r"\b[a-z]+\b", name)) - _NOISE


def _version(name: str) -> tuple[int, int] | None:
    found = re.match(r"[a-z]+-(\d+)(?:\.(\d+))?(?:-|$)", name)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def _bare(model: str) -> str:
    return model.rpartition("/")[2].lower()
