"""
Holding requests to what the user says of a model.

Whatever a profile denies is taken out of the request before it is encoded, for any dialect
and by the same policy (G5). What it grants beyond our own tables, the encoder has to know:
that is why `ProfiledEncoder` hands the profile on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import (
    AudioPart,
    ChatRequest,
    DocumentPart,
    Effort,
    ImagePart,
    ToolResultPart,
)
from ._efforts import nearest_effort
from ._profiles import Modality, ModelProfile
from ._unsupported import Unsupported

__all__ = ["ProfiledEncoder", "narrowed"]


@frozen
class ProfiledEncoder:
    """
    An `encode_request` that knows what the user says of some models.

    *encode* gets the profile, if there is one, together with a request that keeps to it.
    """

    encode: Callable[[ChatRequest, ModelProfile | None], HTTPRequest]
    #: By the name of the model, without its provider.
    profiles: Mapping[str, ModelProfile] = field(factory=dict, hash=False)

    def __call__(self, request: ChatRequest, /) -> HTTPRequest:
        profile = self.profiles.get(request.model_name)
        if profile is None:
            return self.encode(request, None)
        request, warnings = narrowed(request, profile)
        wire = self.encode(request, profile)
        return evolve(wire, warnings=(*warnings, *wire.warnings))


def narrowed(
    request: ChatRequest, profile: ModelProfile
) -> tuple[ChatRequest, tuple[str, ...]]:
    """
    Take out of *request* what *profile* does not accept, and say what that was.

    Raises `InvalidRequestError` for what must not be left out.
    """
    _check_messages(request, profile)
    unsupported = Unsupported(request, request.model_name)
    changes = {
        **_drawing(request, profile, unsupported),
        **_thinking(request, profile, unsupported),
        **_tools(request, profile, unsupported),
        **_form(request, profile, unsupported),
    }
    return (evolve(request, **changes) if changes else request), unsupported.warnings


#: What shapes how an answer is drawn, and what each says when it says nothing.
_DRAWING: Final[Mapping[str, Any]] = {
    "temperature": None,
    "top_p": None,
    "top_k": None,
    "presence_penalty": None,
    "frequency_penalty": None,
    "logit_bias": {},
    "logprobs": None,
    "top_logprobs": None,
}


def _drawing(
    request: ChatRequest, profile: ModelProfile, unsupported: Unsupported
) -> dict[str, Any]:
    effort = request.reasoning_effort
    if effort is None and request.reasoning_budget:
        effort = Effort.MEDIUM
    match profile.sampling:
        case "always":
            return {}
        case "without_reasoning" if not profile.reasons_at(effort):
            return {}
        case sampling:
            why = "" if sampling == "never" else "not while it reasons"
    for option in _DRAWING:
        unsupported.sampling(option, getattr(request, option), why)
    return dict(_DRAWING)


def _thinking(
    request: ChatRequest, profile: ModelProfile, unsupported: Unsupported
) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    effort, budget = request.reasoning_effort, request.reasoning_budget
    if profile.reasoning == "never":
        # Those who cannot think need not be told not to.
        effort = None if effort is Effort.NONE else effort
        unsupported.sampling("reasoning_effort", effort, "it does not reason")
        unsupported.sampling("reasoning_budget", budget or None, "it does not reason")
        return {"reasoning_effort": None, "reasoning_budget": None}
    if budget is not None and not profile.reasoning_budget:
        unsupported.sampling("reasoning_budget", budget)
        changes["reasoning_budget"] = None
    if effort is not None and effort not in profile.efforts:
        changes["reasoning_effort"] = _nearest(effort, request, profile, unsupported)
    return changes


def _nearest(
    effort: Effort,
    request: ChatRequest,
    profile: ModelProfile,
    unsupported: Unsupported,
) -> Effort | None:
    if not set(profile.efforts) - {Effort.NONE}:
        unsupported.sampling("reasoning_effort", effort)
        return None
    nearest = nearest_effort(effort, profile.efforts)
    if request.on_unsupported == "raise":
        unsupported.sampling(f"reasoning_effort={str(effort)!r}")
    elif request.on_unsupported != "ignore":
        unsupported.adjusted(
            f"reasoning_effort={str(effort)!r} was sent as {str(nearest)!r}, "
            "which is the nearest that the model takes."
        )
    return nearest


def _tools(
    request: ChatRequest, profile: ModelProfile, unsupported: Unsupported
) -> dict[str, Any]:
    if not profile.tools:
        unsupported.meaning("tools", request.tools)
        return {"tools": (), "tool_choice": None, "parallel_tool_calls": None}
    changes: dict[str, Any] = {}
    choice = request.tool_choice
    if (
        choice is not None
        and choice.mode == "required"
        and not profile.forced_tool_choice
    ):
        unsupported.meaning("tool_choice='required'", why="no tool can be forced")
        # To offer no others is the next best thing.
        changes["tool_choice"] = evolve(choice, mode="auto") if choice.names else None
    if not profile.parallel_tools:
        # Who calls one at a time need not be told to.
        wanted = request.parallel_tool_calls or None
        unsupported.sampling("parallel_tool_calls", wanted)
        changes["parallel_tool_calls"] = None
    return changes


def _form(
    request: ChatRequest, profile: ModelProfile, unsupported: Unsupported
) -> dict[str, Any]:
    wanted = request.response_format
    match wanted.type if wanted else "text":
        case "json" if not profile.json:
            unsupported.meaning("response_format='json'")
        case "json_schema" if not profile.json_schema:
            unsupported.meaning("a JSON Schema")
        case _:
            return {}
    return {"response_format": None}


_MEDIA: Final[Mapping[type, Modality]] = {
    ImagePart: Modality.IMAGE,
    AudioPart: Modality.AUDIO,
    DocumentPart: Modality.DOCUMENT,
}


def _check_messages(request: ChatRequest, profile: ModelProfile) -> None:
    """What cannot be left out: a picture that is talked about, half an answer."""
    refused: str | None = None
    if request.prefill and not profile.prefill:
        refused = "prefill"
    for number, message in enumerate(request.messages):
        results = [p for p in message.content if isinstance(p, ToolResultPart)]
        shown = [part for result in results for part in result.content]
        for part in (*message.content, *shown):
            modality = _MEDIA.get(type(part))
            if modality is not None and modality not in profile.inputs:
                refused = f"{modality} input (message {number})"
    if refused is not None:
        raise InvalidRequestError(
            f"{request.model_name} does not take {refused}, by its profile.",
            operation="chat",
            model=request.model_name or None,
        )
