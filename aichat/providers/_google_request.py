"""
A chat request to the body of ``streamGenerateContent``.

See: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from attrs import define, field

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import ChatRequest, Effort, Tool
from ._google_contents import Conversation
from ._google_decoder import PROVIDER
from ._google_models import Gemini, gemini
from ._google_schema import understood
from ._profiles import ModelProfile
from ._unsupported import Unsupported

__all__ = ["encode_request"]

#: What an effort is worth to a model that wants a budget; beyond these, all that it takes.
_BUDGETS: Final[Mapping[Effort, int]] = {
    Effort.MINIMAL: 512,
    Effort.LOW: 2_048,
    Effort.MEDIUM: 8_192,
    Effort.HIGH: 24_576,
}
_LEVELS: Final = (Effort.MINIMAL, Effort.LOW, Effort.MEDIUM, Effort.HIGH)
_MOST_STOPS: Final = 5
_TIERS: Final = ("flex", "standard", "priority")
#: What a cached content holds already; saying it again is refused.
_CACHED: Final = ("systemInstruction", "tools", "toolConfig")


def encode_request(
    request: ChatRequest,
    profile: ModelProfile | None = None,
    *,
    provider: str = PROVIDER,
) -> HTTPRequest:
    """
    Say *request* in Gemini's words.

    ``provider_options["google"]`` goes over the body, however deep: what is an object in
    both is merged, so ``{"generationConfig": {"mediaResolution": …}}`` leaves the rest of it
    alone. Its ``tools`` are added to ours. With a ``cachedContent`` go neither system
    messages nor tools: it holds them. Vertex AI takes ``provider_options["vertex"]`` too.
    *profile* is what the user says of the model.
    """
    return _Encoder(request, profile, provider).encode()


@define
class _Encoder:
    _request: ChatRequest
    _profile: ModelProfile | None
    _provider: str
    _model: Gemini = field(init=False)
    _unsupported: Unsupported = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self._request.model_name
        if not name:
            _refuse("There is no model: it is part of Google's URLs.")
        self._model = gemini(name, self._profile)
        self._unsupported = Unsupported(self._request, f"Google's {name}")

    def encode(self) -> HTTPRequest:
        request = self._request
        extras = request.extras(*dict.fromkeys((PROVIDER, self._provider)))
        conversation = Conversation(
            request, self._model, self._unsupported, self._provider
        ).encode()
        tools = [self._tool(tool) for tool in self._chosen_tools()]
        config = {
            **self._sampling(),
            **self._format(bool(tools)),
            "thinkingConfig": self._thinking(),
        }
        body = {
            **conversation,
            "tools": [{"functionDeclarations": tools}] if tools else None,
            "toolConfig": self._tool_config() if tools else None,
            "generationConfig": _given(config),
            "labels": dict(request.metadata),
            "serviceTier": self._service_tier(),
            "store": self._store(),
        }
        self._refuse_others()
        body = _merged(_given(body), extras)
        if "cachedContent" in body:
            body = self._without_cached(body)
        name = request.model_name
        path = f"/{name}" if "/" in name else f"/models/{name}"
        return HTTPRequest(
            f"{path}:streamGenerateContent",
            body,
            query={"alt": "sse"},
            warnings=self._unsupported.warnings,
        )

    # -- thinking --------------------------------------------------------------------

    def _thinking(self) -> dict[str, Any]:
        request, model = self._request, self._model
        effort, budget = request.reasoning_effort, request.reasoning_budget
        if effort is Effort.NONE and budget:
            _refuse(
                "reasoning_effort='none' and a reasoning_budget contradict each other."
            )
        off = effort is Effort.NONE or budget == 0
        if off and effort not in (None, Effort.NONE):
            _refuse(f"reasoning_budget=0 contradicts reasoning_effort={effort!s}.")
        if model.thinking == "never":
            wanted: dict[str, Any] = {
                "include_reasoning": request.include_reasoning or None
            }
            if not off:
                wanted |= {"reasoning_effort": effort, "reasoning_budget": budget}
            for option, value in wanted.items():
                self._unsupported.sampling(option, value, "it does not think")
            return {}
        shown = {"includeThoughts": True} if request.include_reasoning else {}
        if effort is None and budget is None:
            return shown
        if off:
            return {**shown, **self._not_thinking()}
        if model.thinking == "budget":
            return {**shown, "thinkingBudget": self._budget(effort, budget)}
        why = "it takes a level; use reasoning_effort"
        self._unsupported.sampling("reasoning_budget", budget, why)
        return (
            shown if effort is None else {**shown, "thinkingLevel": self._level(effort)}
        )

    def _not_thinking(self) -> dict[str, Any]:
        if self._model.off:
            return {"thinkingBudget": 0}
        self._unsupported.adjusted(
            "This model cannot be kept from thinking: it was asked for the least."
        )
        if self._model.thinking == "budget":
            return {"thinkingBudget": self._model.budget[0]}
        return {"thinkingLevel": self._model.levels[0].upper()}

    def _budget(self, effort: Effort | None, budget: int | None) -> int:
        least, most = self._model.budget
        if budget is None:
            return max(least, min(_BUDGETS.get(effort or Effort.MAX, most), most))
        allowed = max(least, min(budget, most))
        if allowed != budget:
            self._unsupported.adjusted(
                f"reasoning_budget became {allowed}: it has to be {least} to {most}."
            )
        return allowed

    def _level(self, effort: Effort) -> str:
        """The nearest level that the model has; the higher one of two."""
        wanted = _LEVELS.index(effort) if effort in _LEVELS else len(_LEVELS)
        ranks = [(_LEVELS.index(level), level) for level in self._model.levels]
        return min(ranks, key=lambda rank: (abs(rank[0] - wanted), -rank[0]))[1].upper()

    # -- drawing ---------------------------------------------------------------------

    def _sampling(self) -> dict[str, Any]:
        request = self._request
        stop = list(request.stop)
        if len(stop) > _MOST_STOPS:
            why = f"{_MOST_STOPS} at most"
            self._unsupported.meaning(f"{len(stop)} stop sequences", why=why)
        wants_logprobs = request.logprobs or request.top_logprobs is not None
        return {
            "temperature": request.temperature,
            "topP": request.top_p,
            "topK": request.top_k,
            "seed": request.seed,
            "maxOutputTokens": request.max_tokens,
            "stopSequences": stop[:_MOST_STOPS] or None,
            "presencePenalty": request.presence_penalty,
            "frequencyPenalty": request.frequency_penalty,
            "responseLogprobs": True if wants_logprobs else None,
            "logprobs": request.top_logprobs,
        }

    # -- tools and form --------------------------------------------------------------

    def _chosen_tools(self) -> tuple[Tool, ...]:
        tools, choice = self._request.tools, self._request.tool_choice
        names = choice.names if choice and choice.mode == "auto" else ()
        if not names or self._model.validates:
            return tools
        # There is no other way to say: these, or none.
        chosen = tuple(tool for tool in tools if tool.name in names)
        if len(chosen) < len(tools):
            self._unsupported.adjusted(
                "Of the tools only those that tool_choice names were sent."
            )
        return chosen

    def _tool(self, tool: Tool) -> dict[str, Any]:
        wire: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            wire["description"] = tool.description
        schema = understood({"type": "object", **tool.parameters})
        # Older models refuse an object without properties.
        if schema.get("properties") or schema.keys() - {"type", "properties"}:
            wire["parametersJsonSchema"] = schema
        return wire

    def _tool_config(self) -> dict[str, Any] | None:
        request = self._request
        if request.parallel_tool_calls is False:
            self._unsupported.sampling("parallel_tool_calls=False")
        strict = any(tool.strict for tool in request.tools)
        if strict and not self._model.validates:
            self._unsupported.sampling("strict tools")
            strict = False
        choice = request.tool_choice
        names = list(choice.names) if choice else []
        match choice.mode if choice else None:
            case "none":
                mode = "NONE"
            case "required":
                mode = "ANY"
            case _ if strict or (names and self._model.validates):
                mode = "VALIDATED"
            case "auto":
                mode, names = "AUTO", []
            case _:
                return None
        calling = {"mode": mode} | ({"allowedFunctionNames": names} if names else {})
        return {"functionCallingConfig": calling}

    def _format(self, with_tools: bool) -> dict[str, Any]:
        wanted = self._request.response_format
        if wanted is None or wanted.type == "text":
            return {}
        if with_tools and not self._model.formats_with_tools:
            why = "not together with tools, before Gemini 3"
            self._unsupported.meaning("response_format", wanted.type, why)
            return {}
        if wanted.schema is None:
            return {"responseMimeType": "application/json"}
        schema = understood(wanted.schema)
        if wanted.description is not None:
            schema.setdefault("description", wanted.description)
        return {"responseMimeType": "application/json", "responseJsonSchema": schema}

    # -- the books -------------------------------------------------------------------

    def _service_tier(self) -> str | None:
        tier = self._request.service_tier
        if tier in _TIERS:
            return tier
        if tier not in (None, "auto"):
            why = f"it knows {', '.join(map(repr, _TIERS))}"
            self._unsupported.sampling(f"service_tier={tier!r}", why=why)
        return None

    def _store(self) -> bool | None:
        store = self._request.store
        if self._provider == PROVIDER:
            return store
        # Vertex AI keeps nothing.
        self._unsupported.sampling("store", store or None)
        return None

    def _without_cached(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.keys() & set(_CACHED):
            self._unsupported.adjusted(
                "System messages and tools were left to the cachedContent, which has its own."
            )
        return {key: value for key, value in body.items() if key not in _CACHED}

    def _refuse_others(self) -> None:
        request, unsupported = self._request, self._unsupported
        # What is false or empty is what there is without it.
        for option in ("logit_bias", "user", "verbosity"):
            unsupported.sampling(option, getattr(request, option) or None)
        if request.truncation == "auto":
            unsupported.sampling("truncation='auto'")


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None and item != {}}


def _merged(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    """Put *theirs* over *ours*, however deep; tools are added."""
    merged = {**ours, **theirs}
    for key in ours.keys() & theirs.keys():
        mine, yours = ours[key], theirs[key]
        if key == "tools":
            merged[key] = _all_tools(mine, yours)
        elif isinstance(mine, Mapping) and isinstance(yours, Mapping):
            merged[key] = _merged(mine, yours)
    return merged


def _all_tools(ours: list[Any], theirs: Any) -> list[Any]:
    """All of them, with the functions in one list: older models refuse two."""
    functions = [*ours[0]["functionDeclarations"]]
    others: list[Any] = []
    for tool in theirs:
        if isinstance(tool, Mapping) and "functionDeclarations" in tool:
            functions += tool["functionDeclarations"]
            tool = {k: v for k, v in tool.items() if k != "functionDeclarations"}
        if tool:
            others.append(tool)
    return [{"functionDeclarations": functions}, *others]


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
