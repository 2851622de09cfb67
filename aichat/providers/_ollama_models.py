"""
How Ollama's models are told to think, and what else is known of them, as data.

What a model can do, only the server knows: it refuses the rest, and nobody here does it
beforehand. Neither do we know the window: it is as large as the server was told to make it.

See: https://docs.ollama.com/capabilities/thinking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, field, frozen

from ..types import Effort
from ._profiles import Modality, ModelProfile, Reasoning

__all__ = ["Thinker", "ollama_profile", "thinker"]

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
    #: Whether it thinks, where anybody says so.
    reasons: Reasoning = "unless_told"
    tools: bool = True
    sees: bool = False

    def profile(self, name: str) -> ModelProfile:
        """The same from outside, of the model *name*."""
        # Those that do not stand for another one; if all are "yes", one of them.
        efforts = tuple(e for e, wire in self.efforts.items() if e == wire)
        efforts = efforts or (Effort.MEDIUM,)
        off = (Effort.NONE,) if self.off else ()
        return ModelProfile(
            name,
            inputs={Modality.TEXT} | ({Modality.IMAGE} if self.sees else set()),
            tools=self.tools,
            # No call can be forced; but a tool that is named is offered alone.
            forced_tool_choice=False,
            parallel_tools=self.tools,
            # It is kept to the form from its first token on.
            json_schema_with_tools=False,
            reasoning=self.reasons,
            efforts=() if self.reasons == "never" else (*off, *efforts),
            reasoning_budget=False,
        )

    def like(self, profile: ModelProfile) -> Thinker:
        """This family, as far as *profile* does not say otherwise."""
        return evolve(
            self, off=profile.reasoning != "always", reasons=profile.reasoning
        )


#: Everything may be: only the server knows.
_DEFAULT: Final = Thinker(sees=True)
_SPEAKS: Final = Thinker(reasons="never")
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
        reasons="always",
    ),
    "qwen3": Thinker(),
    "qwen3-coder": _SPEAKS,
    "qwen3-vl": Thinker(sees=True),
    "qwen3.5": Thinker(sees=True),
    "qwen3.6": Thinker(sees=True),
    "deepseek-r1": Thinker(),
    "gemma3": Thinker(reasons="never", tools=False, sees=True),
    "llama3.1": _SPEAKS,
    "llama3.2": _SPEAKS,
    "llama3.2-vision": Thinker(reasons="never", tools=False, sees=True),
}


def thinker(model: str, profile: ModelProfile | None = None) -> Thinker:
    """
    Look up how *model* is told to think; with a *profile*, what that makes of it.

    >>> thinker("hf.co/unsloth/GPT-OSS-20b-GGUF:Q4_K_M").off
    False
    """
    if profile is not None:
        return thinker(profile.model).like(profile)
    row = _row(model)
    return _DEFAULT if row is None else _THINKERS[row]


def ollama_profile(model: str) -> ModelProfile:
    """What *model* accepts, from outside."""
    row = _row(model)
    return evolve(thinker(model).profile(model), known=row is not None)


def _row(model: str) -> str | None:
    name = model.lower()
    return max((part for part in _THINKERS if part in name), key=len, default=None)
