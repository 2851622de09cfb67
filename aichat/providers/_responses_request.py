"""
A `ChatRequest` as the body of a Responses request.

See: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import define

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import ChatRequest, Effort, Role, Tool
from ._efforts import nearest_effort
from ._openai_content import all_texts, cache_lifetime
from ._openai_models import OpenAIModel, openai_model
from ._openai_schema import enforceable
from ._profiles import ModelProfile
from ._responses_input import InputEncoder
from ._unsupported import Unsupported

__all__ = ["encode_request"]

#: The name under which `provider_options` reach every server of this dialect.
DIALECT: Final = "openai"
#: Less is refused, for every model.
_LEAST_TOKENS: Final = 16
_ELSEWHERE: Final = "this API has no such option; the provider 'openai-chat' does"
_WHILE_REASONING: Final = "not while it reasons"

#: Options that go out as they are, under these names.
_PLAIN: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_logprobs": "top_logprobs",
    "max_tokens": "max_output_tokens",
    "user": "safety_identifier",
    "service_tier": "service_tier",
    "cache_key": "prompt_cache_key",
    "truncation": "truncation",
}
_NOT_WHILE_REASONING: Final = {"temperature", "top_p", "top_logprobs"}


def encode_request(
    request: ChatRequest,
    profile: ModelProfile | None = None,
    *,
    provider: str = "openai",
    title: str = "OpenAI",
) -> HTTPRequest:
    """
    Write *request* down for a server of this dialect.

    *profile* is what the user says of the model.

    ``provider_options["openai"]`` goes over the rest; its ``tools`` and its ``include``
    are added to ours. Raises `InvalidRequestError` for what cannot be expressed and must
    not be left out.
    """
    return _Encoding(request, profile, provider, title).encode()


@define(init=False)
class _Encoding:
    """One request on its way to the wire."""

    request: ChatRequest
    provider: str
    unsupported: Unsupported
    extras: dict[str, Any]
    #: What is known about the model, if anything is.
    facts: OpenAIModel | None
    #: Whether that model is known to reason.
    reasons: bool
    #: The same, or a guess.
    thinks: bool
    #: Whether it takes temperature and the like.
    samples: bool
    #: Whether the server keeps the conversation.
    stored: bool

    def __init__(
        self,
        request: ChatRequest,
        profile: ModelProfile | None,
        provider: str,
        title: str,
    ) -> None:
        self.request = request
        self.provider = provider
        self.extras = request.extras(DIALECT, provider)
        self.facts = openai_model(request.model_name, profile)
        effort = _inside(self.extras, "reasoning", "effort", request.reasoning_effort)
        if self.facts is not None:
            self.reasons = self.thinks = self.facts.reasons_at(effort)
        else:
            # Who asks for it will know.
            asks = effort or request.include_reasoning
            self.reasons, self.thinks = False, bool(asks) and effort != "none"
        self.samples = self.facts is None or self.facts.samples_at(effort)
        self.stored = bool(self.extras.get("store", request.store))
        who = f"{title}'s {request.model_name}" if self.facts else title
        self.unsupported = Unsupported(request, who)

    def encode(self) -> HTTPRequest:
        request = self.request
        instructions, items = self._input()
        body: dict[str, Any] = {
            "model": request.model_name,
            "instructions": instructions,
            "input": items,
            "stream": True,
            # Not to say so means true.
            "store": bool(request.store),
            **self._options(),
            **self._tools(),
            "text": self._text(),
            "reasoning": self._reasoning(),
            "include": self._include(),
        }
        body = {k: v for k, v in body.items() if v not in (None, {}) and v != []}
        return HTTPRequest(
            "/responses",
            _merged(body, self.extras),
            warnings=self.unsupported.warnings,
        )

    def _input(self) -> tuple[str | None, list[dict[str, Any]]]:
        request, facts = self.request, self.facts
        can_reason = facts is not None and facts.reasons != "never"
        marks = facts is not None and facts.cache_marks
        wants_json = _is_json(request)
        if wants_json and not any(
            "json" in t.lower() for t in all_texts(request.messages)
        ):
            raise InvalidRequestError(
                "response_format='json' needs the word JSON in one of the messages: "
                "OpenAI insists.",
                operation="chat",
                model=request.model_name or None,
            )
        marked = marks and any(
            getattr(part, "cache", None) is not None
            for message in request.messages
            if message.role is Role.SYSTEM
            for part in message.content
        )
        return InputEncoder(
            request,
            self.provider,
            self.unsupported,
            "developer" if can_reason else "system",
            marks,
            self.stored,
        ).encode(
            # The word JSON does not count in the instructions, and no mark fits there.
            apart=not (wants_json or marked)
        )

    # -- options ---------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        request, unsupported = self.request, self.unsupported
        limit = request.max_tokens
        if limit is not None and limit < _LEAST_TOKENS:
            raise InvalidRequestError(
                f"max_tokens={limit} is too little: the Responses API wants "
                f"{_LEAST_TOKENS} at least.",
                operation="chat",
                model=request.model_name or None,
            )
        body: dict[str, Any] = {}
        for option, name in _PLAIN.items():
            value = getattr(request, option)
            if not self.samples and option in _NOT_WHILE_REASONING:
                unsupported.sampling(option, value, _WHILE_REASONING)
            elif value is not None:
                body[name] = value
        unsupported.meaning("stop", request.stop, _ELSEWHERE)
        unsupported.sampling("seed", request.seed, _ELSEWHERE)
        for option in ("presence_penalty", "frequency_penalty", "logit_bias"):
            # 0 is what there is without it.
            unsupported.sampling(option, getattr(request, option) or None, _ELSEWHERE)
        unsupported.sampling("top_k", request.top_k)
        unsupported.sampling("reasoning_budget", request.reasoning_budget)
        if request.metadata:
            body["metadata"] = dict(request.metadata)
        if request.cache is not None and self.facts and self.facts.cache_marks:
            # It marks the end of the prompt by itself.
            body["prompt_cache_options"] = cache_lifetime(request.cache)
        return body

    def _include(self) -> list[str]:
        wanted: list[str] = []
        if self.thinks and not self.stored:
            # Otherwise nobody would remember what was thought.
            wanted.append("reasoning.encrypted_content")
        if self.request.logprobs or self.request.top_logprobs:
            if self.samples:
                wanted.append("message.output_text.logprobs")
            elif self.request.logprobs:
                self.unsupported.sampling("logprobs", why=_WHILE_REASONING)
        return wanted

    # -- tools -----------------------------------------------------------------------

    def _tools(self) -> dict[str, Any]:
        request = self.request
        if not request.tools and not self.extras.get("tools"):
            # A choice or a switch without tools is refused.
            return {}
        body: dict[str, Any] = {"tools": [_tool(tool) for tool in request.tools]}
        if (choice := self._choice()) is not None:
            body["tool_choice"] = choice
        parallel = request.parallel_tool_calls
        if parallel is not None:
            if self.facts is None or self.facts.parallel_switch:
                body["parallel_tool_calls"] = parallel
            else:
                self.unsupported.sampling("parallel_tool_calls")
        return body

    def _choice(self) -> str | dict[str, Any] | None:
        choice = self.request.tool_choice
        if choice is None:
            return None
        functions = [{"type": "function", "name": name} for name in choice.names]
        if choice.mode == "required" and len(functions) == 1:
            return functions[0]
        if functions:
            return {"type": "allowed_tools", "mode": choice.mode, "tools": functions}
        return choice.mode

    # -- form and thought ------------------------------------------------------------

    def _text(self) -> dict[str, Any]:
        wanted = self.request.response_format
        text: dict[str, Any] = {}
        if self.request.verbosity is not None:
            text["verbosity"] = self.request.verbosity
        if wanted is None or wanted.type == "text":
            return text
        if wanted.schema is None:
            return text | {"format": {"type": "json_object"}}
        schema: Any = wanted.schema
        if wanted.strict:
            schema = enforceable(schema, where="response_format")
        form: dict[str, Any] = {
            "type": "json_schema",
            "name": wanted.name,
            "schema": schema,
        }
        if wanted.description is not None:
            form["description"] = wanted.description
        if wanted.strict is not None:
            form["strict"] = wanted.strict
        return text | {"format": form}

    def _reasoning(self) -> dict[str, Any]:
        reasoning: dict[str, Any] = {}
        effort = self.request.reasoning_effort
        if effort is not None and (level := self._level(effort)) is not None:
            reasoning["effort"] = str(level)
        if self.request.include_reasoning and self.thinks:
            reasoning["summary"] = "auto"
        return reasoning

    def _level(self, effort: Effort) -> Effort | None:
        """The nearest level that is known here; ``None``, with a warning, if there is none."""
        known = self.facts.efforts if self.facts else tuple(Effort)
        if effort in known:
            return effort
        if not known:
            # Those who cannot think need not be told not to.
            if effort is not Effort.NONE:
                self.unsupported.sampling("reasoning_effort", effort)
            return None
        nearest = nearest_effort(effort, known)
        if self.request.on_unsupported == "raise":
            self.unsupported.sampling(f"reasoning_effort={str(effort)!r}")
        elif self.request.on_unsupported != "ignore":
            self.unsupported.adjusted(
                f"reasoning_effort={str(effort)!r} was sent as {str(nearest)!r}, "
                "which is the nearest that the model takes."
            )
        return nearest


def _tool(tool: Tool) -> dict[str, Any]:
    # OpenAI drops an object without properties.
    parameters = {"type": "object", "properties": {}, **tool.parameters}
    if tool.strict:
        parameters = enforceable(parameters, where=f"the tool {tool.name}")
    wire: dict[str, Any] = {"type": "function", "name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    # Not to say strict means true, more or less.
    return {**wire, "parameters": parameters, "strict": bool(tool.strict)}


def _is_json(request: ChatRequest) -> bool:
    wanted = request.response_format
    return wanted is not None and wanted.type == "json"


def _inside(holder: Mapping[str, Any], name: str, key: str, default: Any) -> Any:
    """What stands under *key* in the object *name*, or else *default*."""
    inner = holder.get(name)
    return inner.get(key, default) if isinstance(inner, Mapping) else default


def _merged(body: dict[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Put *extras* over *body*, one level deep; tools and inclusions are added."""
    merged = {**body, **extras}
    for key in body.keys() & extras.keys():
        match key, body[key], extras[key]:
            case "tools", list() as ours, list() as theirs:
                merged[key] = [*ours, *theirs]
            case "include", list() as ours, list() as theirs:
                merged[key] = list(dict.fromkeys([*ours, *theirs]))
            case (("text" | "reasoning"), dict() as ours, dict() as theirs):
                merged[key] = {**ours, **theirs}
            case _:
                pass
    return merged
