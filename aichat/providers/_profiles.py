"""
What a model accepts, in words that do not depend on whose it is.

The facts themselves are rows in the tables of the dialects, `_openai_models` and its like,
where the encoders look them up; a profile is the view of such a row from outside. What a
user knows better goes the other way, by `_narrowing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, TypeAlias

from attrs import field, frozen

from ..types import Effort
from ._efforts import to_efforts

__all__ = ["Modality", "ModelProfile", "Reasoning", "Sampling"]

#: Whether a model reasons if nobody says how much.
Reasoning: TypeAlias = Literal["never", "if_asked", "unless_told", "always"]
#: When a model lets itself be told how to draw an answer: temperature, top_p and the like.
Sampling: TypeAlias = Literal["always", "without_reasoning", "never"]


class Modality(StrEnum):
    """What a message may consist of."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    DOCUMENT = "document"


def _to_inputs(inputs: Iterable[str]) -> frozenset[Modality]:
    return frozenset(map(Modality, inputs))


@frozen
class ModelProfile:
    """
    What a model accepts, by the API of its provider.

    The defaults are those of a model that takes everything. To say something of a model,
    start from another one that it is like::

        like = client.capabilities("openai:gpt-5.4")
        Client.from_config(config, profiles={
            "azure:my-deployment": like,
            "openai:my-model": evolve(like, sampling="never", max_output_tokens=8_192),
        })
    """

    #: The model that this is said of; what else is known of it counts as well.
    model: str
    provider: str = ""
    #: The whole window, with the answer in it; ``None``: nobody knows.
    context_tokens: int | None = field(default=None, kw_only=True)
    max_output_tokens: int | None = field(default=None, kw_only=True)
    inputs: frozenset[Modality] = field(
        default=frozenset(Modality), kw_only=True, converter=_to_inputs
    )
    tools: bool = field(default=True, kw_only=True)
    #: Whether `ChatRequest.tool_choice` may demand a call.
    forced_tool_choice: bool = field(default=True, kw_only=True)
    #: Whether it may call several tools in one answer.
    parallel_tools: bool = field(default=True, kw_only=True)
    #: Whether it can be kept to JSON without a schema, and to one with.
    json: bool = field(default=True, kw_only=True)
    json_schema: bool = field(default=True, kw_only=True)
    #: Whether it can be kept to a schema and still call tools.
    json_schema_with_tools: bool = field(default=True, kw_only=True)
    #: Whether it reasons if nobody says how much; ``"never"``: it cannot.
    reasoning: Reasoning = field(default="if_asked", kw_only=True)
    #: The levels of `ChatRequest.reasoning_effort` that differ to it.
    efforts: tuple[Effort, ...] = field(
        default=tuple(Effort), kw_only=True, converter=to_efforts
    )
    #: Whether it counts the tokens that it thinks with apart.
    reasoning_budget: bool = field(default=True, kw_only=True)
    #: When temperature, top_p and the like may be set.
    sampling: Sampling = field(default="always", kw_only=True)
    #: Whether it continues an assistant message that ends the conversation.
    prefill: bool = field(default=True, kw_only=True)
    streaming: bool = field(default=True, kw_only=True)
    #: False: nobody here has heard of it. The profile is that of the newest generation, or
    #: of a model that takes everything.
    known: bool = field(default=True, kw_only=True)

    def reasons_at(self, effort: Effort | None) -> bool:
        """Whether it reasons when asked for *effort*; ``None``: when not asked."""
        match self.reasoning:
            case "never":
                return False
            case "always":
                return True
            case "if_asked":
                return effort not in (None, Effort.NONE)
            case "unless_told":
                return effort is not Effort.NONE
