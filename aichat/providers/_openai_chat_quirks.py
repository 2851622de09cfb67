"""How a server that imitates OpenAI's Chat Completions differs from it, as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from attrs import field, frozen

from ..types import Effort

__all__ = ["Quirks", "ReasoningReplay", "ReasoningSwitch"]

#: How a request says how hard to think.
ReasoningSwitch: TypeAlias = Literal[
    "reasoning_effort",  # {"reasoning_effort": "low"}
    "reasoning",  # {"reasoning": {"effort" | "max_tokens": …, "exclude": …}}
    "reasoning.enabled",  # {"reasoning": {"enabled": …}}
    "thinking",  # {"thinking": {"type": "enabled" | "disabled"}}
    "enable_thinking",  # {"enable_thinking": …, "thinking_budget": …}
]
#: In what form earlier reasoning goes back with an assistant message.
ReasoningReplay: TypeAlias = Literal[
    "reasoning_content",
    "reasoning",
    "parts",  # thinking parts in `content`
]


def _to_names(names: str | frozenset[str]) -> frozenset[str]:
    return frozenset(names.split() if isinstance(names, str) else names)


@frozen(kw_only=True)
class Quirks:
    """
    What a vendor takes and gives, where that is not what everybody does.

    The defaults are those of an unknown server: everything that was asked for is sent,
    in its most widely understood form, and the server may refuse it.
    """

    # -- the request -----------------------------------------------------------------
    #: Look up the model in `openai_models`, and follow what is known about it.
    openai_models: bool = False
    token_limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    #: Whether usage has to be asked for, with ``stream_options``.
    stream_options: bool = True
    #: Options of `ChatRequest` that it does not know; a text with blanks between them.
    refuses: frozenset[str] = field(default=frozenset(), converter=_to_names)
    seed: Literal["seed", "random_seed"] = "seed"
    user: Literal["user", "safety_identifier"] = "user"

    # -- tools and form --------------------------------------------------------------
    tools: bool = True
    strict_tools: bool = True
    #: Its word for "some tool must be called"; ``None`` if there is none.
    required: Literal["required", "any"] | None = "required"
    #: Whether one tool can be asked for by its name.
    named_choice: bool = True
    #: Whether several can; else only these are sent.
    allowed_tools: bool = False
    custom_tools: bool = False
    json_object: bool = True
    json_schema: bool = True
    #: Whether it still calls tools then.
    schema_with_tools: bool = True

    # -- messages --------------------------------------------------------------------
    #: Whether a message may say who speaks.
    names: bool = True
    #: Whether a refusal has a field of its own; else it goes back as text.
    refusals: bool = False
    #: Whether an assistant message that only calls tools must have a `content`.
    empty_content: bool = True
    #: What the ids of tool calls must look like; others are replaced.
    call_id: str | None = None
    #: Whether audio is wanted as a data URL rather than as bare base64.
    audio_url: bool = False
    documents: bool = True
    #: Whether a document may be given by its URL.
    document_urls: bool = False
    #: How to mark what shall be cached.
    cache: Literal["prompt_cache_breakpoint", "cache_control"] | None = None
    #: What marks an assistant message that is to be continued; ``None``: impossible.
    prefill: Mapping[str, Any] | None = field(default=None, hash=False)

    # -- reasoning -------------------------------------------------------------------
    reasoning: ReasoningSwitch | None = "reasoning_effort"
    #: The levels that it knows.
    efforts: tuple[Effort, ...] = tuple(Effort)
    #: Whether the answer shows what was thought: always, never, or as ``field`` says.
    shows_reasoning: Literal["always", "never", "include_reasoning", "exclude"] = (
        "always"
    )
    replay: ReasoningReplay | None = None
    #: Only within the tool calls of the latest turn, or in every message.
    replay_scope: Literal["tool_loop", "always"] = "tool_loop"

    # -- the answer ------------------------------------------------------------------
    #: Whether reasoning comes as ``<think>…</think>`` at the start of the text.
    think_tags: bool = False
