"""
What is known of the models at those who imitate Chat Completions, as data.

The same open models are served by many, under names that end alike; how they are asked is
the server's business, and stands in its `Quirks`. Where a provider stands before the name,
the row is about that one's. The longest row that a name begins with tells. Of a model
without a row everything is assumed, and the server may refuse it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import evolve, frozen

from ..types import Effort
from ._openai_chat_quirks import Quirks
from ._openai_models import openai_model, openai_profile
from ._profiles import Modality, ModelProfile, Reasoning

__all__ = ["chat_profile"]


@frozen(kw_only=True)
class _Model:
    #: Tokens that fit, those of the answer included; and those of an answer, if fewer.
    context: int
    max_output: int | None = None
    sees: bool = True
    reasoning: Reasoning = "unless_told"
    efforts: tuple[Effort, ...] = tuple(Effort)


_GPT_OSS: Final = _Model(
    context=131_072,
    sees=False,
    reasoning="always",
    efforts=(Effort.LOW, Effort.MEDIUM, Effort.HIGH),
)
_QUARTER: Final = _Model(context=262_144)
_1M: Final = _Model(context=1_000_000)
_2_20: Final = _Model(context=1_048_576)
_GROK: Final = _Model(context=500_000, reasoning="always")
_SONAR: Final = _Model(context=128_000, reasoning="never")

_MODELS: Final[Mapping[str, _Model]] = {
    "gpt-oss": _GPT_OSS,
    "groq:gpt-oss": evolve(_GPT_OSS, max_output=65_536),
    "cerebras:gpt-oss": evolve(_GPT_OSS, max_output=32_768),
    "cerebras:gemma-4": _Model(context=131_072, max_output=40_960),
    "groq:qwen3.8-27b": _Model(context=131_072, max_output=16_384),
    "deepseek-v4": evolve(_1M, max_output=393_216, sees=False),
    "deepseek-v4-flash": evolve(_1M, max_output=393_216),
    "grok-4.3": _1M,
    "grok-4.20": _1M,
    "grok-4.5": _GROK,
    "grok-4.6": _GROK,
    "grok-4.7": _GROK,
    "mistral-large-4": _2_20,
    "mistral-large": evolve(_QUARTER, reasoning="never"),
    "mistral-medium-3.5": evolve(_QUARTER, reasoning="if_asked"),
    "mistral-small": evolve(_QUARTER, reasoning="if_asked"),
    "magistral": evolve(_QUARTER, reasoning="always"),
    "devstral": _Model(context=256_000, sees=False),
    "codestral": _Model(context=128_000, sees=False, reasoning="never"),
    "sonar": _SONAR,
    "sonar-pro": evolve(_SONAR, context=200_000, max_output=8_000),
    "sonar-reasoning": evolve(_SONAR, reasoning="always"),
    "sonar-deep-research": evolve(_SONAR, reasoning="always"),
    "kimi-k3": _2_20,
    "k3.1-pro": _2_20,
    "kimi-k2": _QUARTER,
}


def chat_profile(model: str, *, provider: str, quirks: Quirks) -> ModelProfile:
    """What *model* accepts at a server with these *quirks*."""
    tools = quirks.tools
    if quirks.openai_models:
        profile = openai_profile(model)
        row = openai_model(model)
        if row is not None and not row.tools_while_reasoning:
            tools = Effort.NONE in row.efforts
    else:
        profile = _profile(model, provider, quirks)
    return evolve(
        profile,
        tools=tools,
        # One way or the other.
        forced_tool_choice=quirks.required is not None or quirks.named_choice,
        json=quirks.json_object or quirks.json_schema,
        json_schema=quirks.json_schema and profile.json_schema,
        json_schema_with_tools=quirks.schema_with_tools and profile.json_schema,
        prefill=quirks.prefill is not None,
    )


def _profile(model: str, provider: str, quirks: Quirks) -> ModelProfile:
    name = model.lower().rpartition("/")[2]
    names = (name, f"{provider}:{name}")
    found = [row for row in _MODELS if any(n.startswith(row) for n in names)]
    facts = _MODELS[max(found, key=len)] if found else None
    profile = ModelProfile(model, efforts=quirks.efforts, known=False)
    if facts is not None:
        seen = {Modality.IMAGE, Modality.DOCUMENT} if facts.sees else set[Modality]()
        profile = ModelProfile(
            model,
            context_tokens=facts.context,
            max_output_tokens=facts.max_output,
            inputs={Modality.TEXT} | seen,
            reasoning=facts.reasoning,
            efforts=[e for e in quirks.efforts if e in facts.efforts],
        )
    # What nobody can ask for may happen all the same.
    reasons = quirks.reasoning is not None and profile.reasoning != "never"
    unheard = {Effort.NONE} if profile.reasoning == "always" else set[Effort]()
    return evolve(
        profile,
        efforts=[e for e in profile.efforts if reasons and e not in unheard],
        reasoning_budget=reasons
        and quirks.reasoning in ("reasoning", "enable_thinking"),
    )
