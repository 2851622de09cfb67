"""A `ChatRequest` as the body of a Chat Completions request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import ChatRequest, Effort, Tool
from ._efforts import nearest_effort
from ._openai_chat_messages import MessageEncoder
from ._openai_chat_quirks import Quirks
from ._openai_content import all_texts
from ._openai_models import OpenAIModel, openai_model
from ._openai_schema import enforceable
from ._profiles import ModelProfile
from ._unsupported import Unsupported

__all__ = ["encode_request"]

#: The name under which `provider_options` reach every server of this dialect.
DIALECT = "openai-chat"

# Options that go out as they are, under these names.
_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "logit_bias": "logit_bias",
    "logprobs": "logprobs",
    "top_logprobs": "top_logprobs",
    "verbosity": "verbosity",
    "service_tier": "service_tier",
    "store": "store",
    "cache_key": "prompt_cache_key",
}
# What OpenAI's models refuse while they reason.
_NOT_WHILE_REASONING = {
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
}


def encode_request(
    request: ChatRequest,
    profile: ModelProfile | None = None,
    *,
    provider: str,
    title: str,
    quirks: Quirks,
) -> HTTPRequest:
    """
    Write *request* down for a server with these *quirks*.

    *profile* is what the user says of the model.

    Raises `InvalidRequestError` for what it cannot express and must not leave out.
    """
    return _Encoding(request, profile, provider, title, quirks).encode()


@define(init=False)
class _Encoding:
    """One request on its way to the wire."""

    request: ChatRequest
    provider: str
    quirks: Quirks
    unsupported: Unsupported
    extras: dict[str, Any]
    #: What is known about the model, if it is one of OpenAI's.
    facts: OpenAIModel | None
    #: Whether that model will reason.
    reasons: bool
    #: Whether it takes temperature and the like.
    samples: bool

    def __init__(
        self,
        request: ChatRequest,
        profile: ModelProfile | None,
        provider: str,
        title: str,
        quirks: Quirks,
    ) -> None:
        self.request = request
        self.provider = provider
        self.quirks = quirks
        self.extras = request.extras(DIALECT, provider)
        name = request.model_name
        self.facts = openai_model(name, profile) if quirks.openai_models else None
        effort = self.extras.get("reasoning_effort", request.reasoning_effort)
        self.reasons = self.facts is not None and self.facts.reasons_at(effort)
        self.samples = self.facts is None or self.facts.samples_at(effort)
        who = f"{title}'s {request.model_name}" if self.facts else title
        self.unsupported = Unsupported(request, who)

    def encode(self) -> HTTPRequest:
        self._check_tools_while_reasoning()
        body: dict[str, Any] = {
            "model": self.request.model_name,
            "messages": self._messages(),
            "stream": True,
        }
        if self.quirks.stream_options:
            # Usage comes only when asked for.
            body["stream_options"] = {"include_usage": True}
        body |= self._options()
        body |= self._tools()
        body |= self._format()
        body |= self._effort()
        body |= self._shown_reasoning()
        self._merge_extras(body)
        return HTTPRequest(
            "/chat/completions", body, warnings=self.unsupported.warnings
        )

    def _merge_extras(self, body: dict[str, Any]) -> None:
        """Let `provider_options` have the last word; tools are added to ours."""
        for name, value in self.extras.items():
            match body.get(name), value:
                case list() as ours, list() if name == "tools":
                    body[name] = [*ours, *value]
                case dict() as ours, dict() if name == "stream_options":
                    body[name] = ours | value
                case _:
                    body[name] = value

    def _messages(self) -> list[dict[str, Any]]:
        can_reason = self.facts is not None and self.facts.reasons != "never"
        return MessageEncoder(
            self.request,
            self.quirks,
            self.provider,
            self.unsupported,
            system="developer" if can_reason else "system",
            marks=self.facts.cache_marks
            if self.facts
            else not self.quirks.openai_models,
        ).encode()

    # -- options ---------------------------------------------------------------------

    def _options(self) -> dict[str, Any]:
        request, quirks = self.request, self.quirks
        body: dict[str, Any] = {}
        if request.max_tokens is not None:
            body[quirks.token_limit] = request.max_tokens
        for option, name in _SAMPLING.items():
            value = getattr(request, option)
            if value is None or value == {}:
                continue
            if why := self._refusal(option, value):
                self.unsupported.sampling(option, value, why)
            elif why is None:
                body[name] = value
        if request.seed is not None and self._takes("seed", request.seed):
            body[quirks.seed] = request.seed
        if request.user is not None and self._takes("user", request.user):
            body[quirks.user] = request.user
        body |= self._metadata()
        body |= self._stop()
        if request.truncation == "auto":
            self.unsupported.meaning(
                "truncation='auto'", why="a long prompt is an error"
            )
        return body

    def _refusal(self, option: str, value: Any) -> str | None:
        """Why *option* cannot be sent; ``""`` to leave it out in silence, ``None`` if it can."""
        if option == "store" and value is False and option in self.quirks.refuses:
            return ""  # who does not store needs not be told so
        if option in self.quirks.refuses:
            return "it is no option of this API"
        if not self.samples and option in _NOT_WHILE_REASONING:
            return "not while it reasons"
        return None

    def _takes(self, option: str, value: Any) -> bool:
        if option in self.quirks.refuses:
            self.unsupported.sampling(option, value)
            return False
        return True

    def _metadata(self) -> dict[str, Any]:
        metadata = self.request.metadata
        if not metadata or not self._takes("metadata", metadata):
            return {}
        if self.quirks.openai_models and not self.request.store:
            self.unsupported.sampling("metadata", why="it belongs to store=True")
            return {}
        return {"metadata": dict(metadata)}

    def _stop(self) -> dict[str, Any]:
        stop = self.request.stop
        if not stop:
            return {}
        if "stop" in self.quirks.refuses:
            self.unsupported.meaning("stop")
            return {}
        if self.reasons and self.facts and not self.facts.stop_while_reasoning:
            self.unsupported.meaning("stop", why="not while it reasons")
            return {}
        if len(stop) > 4:
            self.unsupported.meaning(f"{len(stop)} stop sequences", why="four at most")
        return {"stop": list(stop[:4])}

    # -- tools -----------------------------------------------------------------------

    def _check_tools_while_reasoning(self) -> None:
        facts = self.facts
        if not self.request.tools or facts is None or facts.tools_while_reasoning:
            return
        if self.reasons:
            cure = "use the provider 'openai', which speaks the Responses API"
            if Effort.NONE in facts.efforts:
                cure = f"pass reasoning_effort='none', or {cure}"
            raise InvalidRequestError(
                f"{self.request.model_name} cannot call functions while it reasons, over "
                f"Chat Completions: {cure}.",
                operation="chat",
                model=self.request.model_name or None,
            )

    def _tools(self) -> dict[str, Any]:
        tools = self.request.tools
        if not tools:
            # A choice or a switch without tools is refused.
            return {}
        if not self.quirks.tools:
            self.unsupported.meaning("tools")
            return {}
        tools, choice = self._choice(tools)
        body: dict[str, Any] = {"tools": [self._tool(tool) for tool in tools]}
        if choice is not None:
            body["tool_choice"] = choice
        parallel = self.request.parallel_tool_calls
        if parallel is not None:
            takes = self.facts is None or self.facts.parallel_switch
            if takes and "parallel_tool_calls" not in self.quirks.refuses:
                body["parallel_tool_calls"] = parallel
            else:
                self.unsupported.sampling("parallel_tool_calls")
        return body

    def _tool(self, tool: Tool) -> dict[str, Any]:
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        # OpenAI drops an object without properties.
        parameters = {"type": "object", "properties": {}, **tool.parameters}
        function["parameters"] = self._strict(
            parameters, tool.strict, where=f"the tool {tool.name}"
        )
        if tool.strict is not None:
            if self.quirks.strict_tools:
                function["strict"] = tool.strict
            else:
                self.unsupported.sampling("strict tools")
        return {"type": "function", "function": function}

    def _strict(
        self, schema: Mapping[str, Any], strict: bool | None, *, where: str
    ) -> Mapping[str, Any]:
        """*schema* as OpenAI enforces it; others have rules of their own, or none."""
        if strict and self.quirks.openai_models:
            return enforceable(schema, where=where)
        return schema

    def _choice(
        self, tools: tuple[Tool, ...]
    ) -> tuple[tuple[Tool, ...], str | dict[str, Any] | None]:
        """The tools to offer, and the ``tool_choice``."""
        choice, quirks = self.request.tool_choice, self.quirks
        if choice is None:
            return tools, None
        names = choice.names
        if choice.mode == "required" and len(names) == 1 and quirks.named_choice:
            return tools, {"type": "function", "function": {"name": names[0]}}
        mode: str | None = choice.mode
        if mode == "required":
            mode = quirks.required
            if mode is None:
                self.unsupported.meaning("tool_choice 'required'")
        if names and quirks.allowed_tools:
            allowed = [{"type": "function", "function": {"name": n}} for n in names]
            group = {"mode": mode, "tools": allowed}
            return tools, {"type": "allowed_tools", "allowed_tools": group}
        # What is not offered is not chosen.
        return tuple(t for t in tools if not names or t.name in names), mode

    # -- form and thought ------------------------------------------------------------

    def _format(self) -> dict[str, Any]:
        wanted = self.request.response_format
        if wanted is None or wanted.type == "text":
            return {}
        schema = wanted.schema
        if wanted.type == "json":
            if self.quirks.json_object:
                self._check_json_is_mentioned()
                return {"response_format": {"type": "json_object"}}
            # Any JSON, in the words of those who know only schemas.
            schema = {"type": "object"}
        if not self.quirks.json_schema:
            self.unsupported.meaning(
                "a JSON Schema",
                why="ask for response_format='json' and describe it in the prompt",
            )
            return {}
        if self.request.tools and not self.quirks.schema_with_tools:
            self.unsupported.adjusted(
                "It keeps all that the model says to the response_format, so that no tools "
                "are called. With schema_via='prompt' the schema is said in words."
            )
        schema = self._strict(schema or {}, wanted.strict, where="response_format")
        form: dict[str, Any] = {"name": wanted.name, "schema": schema}
        if wanted.description is not None:
            form["description"] = wanted.description
        if wanted.strict is not None:
            form["strict"] = wanted.strict
        return {"response_format": {"type": "json_schema", "json_schema": form}}

    def _check_json_is_mentioned(self) -> None:
        """OpenAI refuses JSON without a schema where nobody speaks of it."""
        texts = all_texts(self.request.messages)
        if self.quirks.openai_models and not any("json" in t.lower() for t in texts):
            raise InvalidRequestError(
                "response_format='json' needs the word JSON in one of the messages: "
                "OpenAI insists.",
                operation="chat",
                model=self.request.model_name or None,
            )

    def _effort(self) -> dict[str, Any]:
        effort, budget = self.request.reasoning_effort, self.request.reasoning_budget
        if self.quirks.reasoning not in ("reasoning", "enable_thinking"):
            self.unsupported.sampling("reasoning_budget", budget)
            budget = None
        if effort is None and budget is None:
            return self._silence() | self._exclude({})
        if self.quirks.reasoning is None:
            self.unsupported.sampling("reasoning_effort", effort)
            return {}
        level = self._level(effort) if effort is not None else None
        thinks = level is not Effort.NONE
        match self.quirks.reasoning:
            case "reasoning_effort":
                return {"reasoning_effort": str(level)} if level else {}
            case "reasoning":
                # The two exclude each other, and the number says more.
                how = (
                    {"effort": str(level)} if budget is None else {"max_tokens": budget}
                )
                return self._exclude(how)
            case "reasoning.enabled":
                return {"reasoning": {"enabled": thinks}}
            case "thinking":
                return {"thinking": {"type": "enabled" if thinks else "disabled"}}
            case "enable_thinking":
                return {"enable_thinking": thinks} | (
                    {} if budget is None else {"thinking_budget": budget}
                )

    def _exclude(self, reasoning: dict[str, Any]) -> dict[str, Any]:
        """Whether OpenRouter shall show the thoughts stands beside how many it shall have."""
        wanted = self.request.include_reasoning
        if self.quirks.shows_reasoning == "exclude" and wanted is not None:
            reasoning = {**reasoning, "exclude": not wanted}
        return {"reasoning": reasoning} if reasoning else {}

    def _silence(self) -> dict[str, Any]:
        """Say ``none`` to models that may otherwise refuse tools."""
        facts = self.facts
        if self.request.tools and facts and not facts.tools_while_reasoning:
            return {"reasoning_effort": "none"}
        return {}

    def _level(self, effort: Effort) -> Effort | None:
        """The nearest level that is known here; ``None``, with a warning, if there is none."""
        known = self.facts.efforts if self.facts else self.quirks.efforts
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

    def _shown_reasoning(self) -> dict[str, Any]:
        wanted = self.request.include_reasoning
        match self.quirks.shows_reasoning, wanted:
            case "include_reasoning", bool():
                return {"include_reasoning": wanted}
            case ("always", False) | ("never", True):
                self.unsupported.sampling("include_reasoning", wanted)
            case _:
                pass
        return {}
