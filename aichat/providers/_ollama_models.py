"""
How Ollama's models are told to think, as data.

Whether a model can think at all, only the server knows: it refuses what a model cannot do.

See: https://docs.ollama.com/capabilities/thinking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from ..types import Effort

__all__ = ["Thinker", "thinker"]

# Most take any level for "yes", and older servers take no level at all.
_YES: Final[Mapping[Effort, str | bool]] = {
    effort: True for effort in Effort if effort is not Effort.NONE
}


@frozen(kw_only=True)
class Thinker:
    """How a family of models takes ``think``. The defaults are those of most."""

    #: What each `Effort` is on the wire.
    efforts: Mapping[Effort, str | bool] = field(factory=lambda: _YES, hash=False)
    #: Whether it can be kept from thinking.
    off: bool = True


_DEFAULT: Final = Thinker()
#: By a part of the name: families come under the names of many who convert them.
_THINKERS: Final[Mapping[str, Thinker]] = {
    "gpt-oss": Thinker(
        efforts={
            Effort.MINIMAL: "low",
            Effort.LOW: "low",
            Effort.MEDIUM: "medium",
            Effort.HIGH: "high",
            Effort.XHIGH: "high",
            Effort.MAX: "high",
        },
        off=False,
    ),
}


def thinker(model: str) -> Thinker:
    """
    Look up how *model* is told to think.

    >>> thinker("hf.co/unsloth/GPT-OSS-20b-GGUF:Q4_K_M").off
    False
    """
    name = model.lower()
    return next((how for part, how in _THINKERS.items() if part in name), _DEFAULT)
