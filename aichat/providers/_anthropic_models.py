"""
What each Claude accepts, as data.

The longest matching prefix decides. A Claude that nobody here has heard of is taken for
the newest generation; a model that is no Claude, behind a server that imitates this API,
for one that takes everything.

See: https://platform.claude.com/docs/en/about-claude/models/overview
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

from attrs import evolve, field, frozen

from ..types import Effort
from ._profiles import Modality, ModelProfile, Reasoning, Sampling

__all__ = ["Claude", "claude", "claude_profile"]

#: How thinking is asked for: with a budget of tokens, adaptively, or either way.
Thinking: TypeAlias = Literal["never", "budget", "either", "adaptive"]
#: What switches thinking off; ``None``: nothing does.
Off: TypeAlias = Literal["omit", "disabled", "between_tools"]


@frozen(kw_only=True)
class Claude:
    """What one generation of models accepts. The defaults are the newest generation's."""

    #: What we ask for when the user does not say: the field is required.
    max_tokens: int = 128_000
    #: The highest temperature, or ``None`` if sampling is not up to the user.
    temperature: float | None = None
    #: Whether temperature and top_p may be sent together.
    mixes_sampling: bool = False
    #: Whether temperature and top_k may be sent while it thinks.
    samples_thinking: bool = False
    thinking: Thinking = "adaptive"
    #: Whether it thinks without being asked to.
    thinks: bool = True
    off: Off | None = None
    #: Whether what was thought is left out unless it is asked for.
    hides_thinking: bool = True
    #: The levels of `Effort` it knows, each with what it goes by on the wire.
    efforts: Mapping[Effort, str] = field(factory=lambda: EVERY, hash=False)
    #: Whether tool_choice may force a call.
    forced_choice: bool = True
    #: Whether it continues an assistant message that ends the conversation.
    prefill: bool = False
    #: Whether ``messages`` may hold system messages.
    later_system: bool = False
    #: Whether ``output_config.format`` and strict tools work.
    structured: bool = True
    #: Tokens that fit, those of the answer included.
    context: int | None = 1_000_000
    #: The most that it generates, where that is more than we ask for.
    most_tokens: int | None = None

    def profile(self, name: str) -> ModelProfile:
        """The same from outside, of the model *name*."""
        reasoning: Reasoning = "unless_told" if self.thinks else "if_asked"
        if self.thinking == "never":
            reasoning = "never"
        elif self.off is None:
            reasoning = "always"
        sampling: Sampling = "without_reasoning"
        if self.temperature is None:
            sampling = "never"
        elif reasoning == "never" or self.samples_thinking:
            sampling = "always"
        return ModelProfile(
            name,
            context_tokens=self.context,
            max_output_tokens=self.most_tokens or self.max_tokens,
            inputs={Modality.TEXT, Modality.IMAGE, Modality.DOCUMENT},
            forced_tool_choice=self.forced_choice,
            json=False,
            json_schema=self.structured,
            reasoning=reasoning,
            efforts=self._levels(),
            reasoning_budget=self.thinking in ("budget", "either"),
            sampling=sampling,
            prefill=self.prefill,
        )

    def _levels(self) -> tuple[Effort, ...]:
        off = (Effort.NONE,) if self.off is not None else ()
        match self.thinking:
            case "never":
                return ()
            case "budget" if not self.efforts:
                # Each becomes a budget; but the last two become the same.
                return (*off, *_BUDGETED)
            case _:
                # Those that do not stand for another one.
                return (*off, *(e for e, wire in self.efforts.items() if e == wire))

    def like(self, profile: ModelProfile) -> Claude:
        """This model, as far as *profile* grants it more, or another answer's length."""
        ours = self.profile(profile.model)
        changes: dict[str, Any] = {}
        if profile.max_output_tokens != ours.max_output_tokens:
            changes["max_tokens"] = profile.max_output_tokens or self.max_tokens
            changes["most_tokens"] = None
        if profile.sampling != ours.sampling:
            changes["temperature"] = self.temperature or 1
            changes["samples_thinking"] = profile.sampling == "always"
        if profile.reasoning != ours.reasoning:
            changes["thinks"] = profile.reasoning in ("unless_told", "always")
            changes["off"] = self.off or "disabled"
            if profile.reasoning == "always":
                changes["off"] = None
        if self.efforts:
            more = {e: EVERY[e] for e in profile.efforts if e in EVERY}
            changes["efforts"] = {**self.efforts, **more}
        return evolve(
            self,
            thinking=self._thinking_like(profile),
            forced_choice=profile.forced_tool_choice,
            structured=profile.json_schema,
            prefill=profile.prefill,
            **changes,
        )

    def _thinking_like(self, profile: ModelProfile) -> Thinking:
        if profile.reasoning == "never":
            return "never"
        if self.thinking == "never":
            return "budget" if profile.reasoning_budget else "adaptive"
        if self.thinking == "adaptive" and profile.reasoning_budget:
            return "either"
        return self.thinking


EVERY: Final[Mapping[Effort, str]] = {
    Effort.MINIMAL: "low",
    Effort.LOW: "low",
    Effort.MEDIUM: "medium",
    Effort.HIGH: "high",
    Effort.XHIGH: "xhigh",
    Effort.MAX: "max",
}
#: Levels that become budgets of their own.
_BUDGETED: Final = tuple(EVERY)[:-1]
_NO_XHIGH: Final = {**EVERY, Effort.XHIGH: "max"}
_UP_TO_HIGH: Final = {**EVERY, Effort.XHIGH: "high", Effort.MAX: "high"}

_FABLE = Claude(later_system=True)
_UNFORCED = evolve(_FABLE, forced_choice=False)
_OPUS_5 = evolve(_FABLE, off="disabled")
_OPUS_4_7 = Claude(thinks=False, off="omit")
_4_6 = evolve(
    _OPUS_4_7,
    temperature=1,
    thinking="either",
    hides_thinking=False,
    efforts=_NO_XHIGH,
)
# Room in the default for a long prompt: these refuse what could pass their 200k window.
_4_5 = evolve(
    _4_6,
    max_tokens=64_000,
    thinking="budget",
    efforts={},
    prefill=True,
    context=200_000,
)
_4_0 = evolve(_4_5, max_tokens=32_000, structured=False)
_SONNET_4 = evolve(_4_0, most_tokens=64_000)
_3_7 = evolve(_SONNET_4, mixes_sampling=True)
_3_5 = evolve(_3_7, max_tokens=8_192, thinking="never", most_tokens=None)

_CLAUDES: Final[Mapping[str, Claude]] = {
    "claude": evolve(_UNFORCED, max_tokens=64_000, most_tokens=128_000),
    "claude-fable": _UNFORCED,
    "claude-fable-5": _FABLE,
    "claude-fable-5-1": _UNFORCED,
    "claude-fable-5-2": _UNFORCED,
    "claude-mythos": _UNFORCED,
    "claude-mythos-preview": Claude(thinking="either"),
    "claude-mythos-5": _FABLE,
    "claude-mythos-5-1": _UNFORCED,
    "claude-mythos-5-2": _UNFORCED,
    "claude-opus-5": _OPUS_5,
    "claude-opus-5-5": _UNFORCED,
    "claude-sonnet-5": evolve(_OPUS_5, later_system=False),
    "claude-sonnet-5-5": evolve(_UNFORCED, off="between_tools"),
    "claude-haiku-5-5": evolve(_OPUS_5, context=None),
    "claude-opus-4-8": evolve(_OPUS_4_7, later_system=True),
    "claude-opus-4-7": _OPUS_4_7,
    "claude-opus-4-6": _4_6,
    "claude-sonnet-4-6": _4_6,
    "claude-opus-4-5": evolve(_4_5, efforts=_UP_TO_HIGH),
    "claude-sonnet-4-5": _4_5,
    "claude-haiku-4-5": _4_5,
    "claude-opus-4-1": evolve(_4_0, structured=True),
    "claude-opus-4": _4_0,
    "claude-sonnet-4": _SONNET_4,
    "claude-4": _4_0,
    "claude-3-7": _3_7,
    "claude-3-5": _3_5,
    "claude-3": evolve(_3_5, max_tokens=4_096),
    "claude-2": evolve(_3_5, max_tokens=4_096),
    "claude-instant": evolve(_3_5, max_tokens=4_096),
}
#: Servers that imitate the API know the version of 2023, and nothing that came after it.
_IMITATION: Final = Claude(
    max_tokens=8_192,
    temperature=2,
    mixes_sampling=True,
    thinking="budget",
    thinks=False,
    off="disabled",
    hides_thinking=False,
    efforts={},
    prefill=True,
    context=None,
)
#: Rows for what is newer than this table.
_FAMILIES: Final = frozenset({"claude", "claude-fable", "claude-mythos"})


def claude(model: str, profile: ModelProfile | None = None) -> Claude:
    """
    Look up what *model* accepts, under any of the names that platforms give it.

    With a *profile* it is what that makes of it.

    >>> claude("us.anthropic.claude-sonnet-4-5-20250929-v1:0").max_tokens
    64000
    """
    if profile is not None:
        return claude(profile.model).like(profile)
    row = _row(model)
    return _IMITATION if row is None else _CLAUDES[row]


def claude_profile(model: str) -> ModelProfile:
    """What *model* accepts, from outside."""
    row = _row(model)
    if row is None:
        profile = _IMITATION.profile(model)
        return evolve(profile, max_output_tokens=None, known=False)
    return evolve(_CLAUDES[row].profile(model), known=row not in _FAMILIES)


def _row(model: str) -> str | None:
    at = model.find("claude")
    if at < 0:
        return None
    name = model[at:].replace(".", "-")
    return max(filter(name.startswith, _CLAUDES), key=len)
