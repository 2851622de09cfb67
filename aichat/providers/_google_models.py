"""
What each Gemini accepts, as data.

The longest matching prefix decides. A Gemini that nobody here has heard of is taken for the
newest generation.

See: https://ai.google.dev/gemini-api/docs/thinking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import evolve, frozen

from ..types import Effort

__all__ = ["Gemini", "gemini", "same_family"]

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
_2_0 = evolve(_2_5, thinking="never", validates=False, fetches=False)
_GEMMA = evolve(_2_0, instructions=False)
_SPEAKS = evolve(_2_5, thinking="never")
_PAINTS = evolve(_SPEAKS, instructions=False)

_GEMINIS: Final[Mapping[str, Gemini]] = {
    "": _NEWEST,
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
    "gemini-2.5-flash-lite": evolve(_2_5, budget=(512, 24_576)),
    "gemini-2.5-pro": evolve(_2_5, budget=(128, 32_768), off=False),
    "gemini-2.5-flash-image": _PAINTS,
    "gemini-2.5-flash-preview-tts": _SPEAKS,
    "gemini-2.5-pro-preview-tts": _SPEAKS,
    "gemini-2.0": _2_0,
    "gemini-2.0-flash-preview-image": evolve(_2_0, instructions=False),
    "gemini-1": _2_0,
    "gemma": _GEMMA,
    "gemma-4": evolve(_GEMMA, instructions=True),
}


def gemini(model: str) -> Gemini:
    """
    Look up what *model* accepts, with or without the path that leads to it.

    >>> gemini("models/gemini-2.5-pro-preview-06-05").budget
    (128, 32768)
    """
    name = _bare(model)
    return _GEMINIS[max(filter(name.startswith, _GEMINIS), key=len)]


def same_family(one: str | None, other: str) -> bool:
    """
    Whether the model *other* takes what *one* has signed.

    An alias stands for whatever is newest; how its line is called still has to agree.

    >>> same_family("gemini-3.8-flash", "gemini-flash-latest")
    True
    >>> same_family("gemini-2.5-pro", "gemini-3-pro-preview")
    False
    """
    if one is None:
        return True
    ours, asked = sorted((_bare(one), _bare(other)), key=len)
    if asked.startswith(ours):
        return not _line(asked.removeprefix(ours)) & _LINES
    if "latest" in (ours.rpartition("-")[2], asked.rpartition("-")[2]):
        return _line(ours) & _LINES == _line(asked) & _LINES
    # A tuned model has a name of its own, and answers under another.
    return not _bare(other).startswith(("gemini", "gemma"))


_LINES: Final = {"pro", "flash", "lite", "image", "tts"}


def _line(name: str) -> set[str]:
    return set(name.split("-"))


def _bare(model: str) -> str:
    return model.rpartition("/")[2].lower()
