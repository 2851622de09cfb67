"""
A chat request to the body of ``POST /api/chat``.

See: https://docs.ollama.com/api/chat
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from attrs import define, field

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import ChatRequest, Effort, Tool
from ._ollama_messages import Conversation
from ._ollama_models import Thinker, thinker
from ._ollama_schema import without_references
from ._profiles import ModelProfile
from ._unsupported import Unsupported

__all__ = ["encode_request"]

#: What belongs into ``options``. The server ignores it elsewhere, without a word.
_OPTIONS: Final = frozenset({
    "frequency_penalty", "main_gpu", "min_p", "mirostat", "mirostat_eta", "mirostat_tau",
    "num_batch", "num_ctx", "num_gpu", "num_keep", "num_predict", "num_thread",
    "presence_penalty", "repeat_last_n", "repeat_penalty", "seed", "stop", "temperature",
    "top_k", "top_p", "typical_p", "use_mmap",
})  # fmt: skip


def encode_request(
    request: ChatRequest, profile: ModelProfile | None = None
) -> HTTPRequest:
    """
    Say *request* in Ollama's words.

    Pictures lose their place in the text: the model sees them before it.

    ``provider_options["ollama"]`` goes over the rest. Its ``options`` are merged with ours,
    and what is one of them may also stand outside of them, as in ``{"num_ctx": 16384}``;
    its ``tools`` are added to ours; ``None`` takes a field out. *profile* is what the user
    says of the model.
    """
    return _Encoder(request, profile).encode()


@define
class _Encoder:
    _request: ChatRequest
    _profile: ModelProfile | None
    _thinker: Thinker = field(init=False)
    _unsupported: Unsupported = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self._request.model_name
        if not name:
            _refuse("There is no model. Name one that is installed: `ollama list`.")
        self._thinker = thinker(name, self._profile)
        self._unsupported = Unsupported(self._request, f"Ollama's {name}")

    def encode(self) -> HTTPRequest:
        request = self._request
        wants_logprobs = request.logprobs or request.top_logprobs is not None
        tools = [self._tool(tool) for tool in self._chosen_tools()]
        body = {
            "model": request.model_name,
            # It streams unless it is told not to, and that might change.
            "stream": True,
            "messages": Conversation(request, self._unsupported).encode(),
            "tools": tools or None,
            "format": self._format(with_tools=bool(tools)),
            "think": self._think(),
            "options": _given(self._options()) or None,
            "truncate": self._truncate(),
            "logprobs": True if wants_logprobs else None,
            "top_logprobs": request.top_logprobs,
        }
        self._refuse_others()
        return HTTPRequest(
            "/api/chat",
            _merged(_given(body), request.extras("ollama")),
            warnings=self._unsupported.warnings,
        )

    def _options(self) -> dict[str, Any]:
        request = self._request
        return {
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "seed": request.seed,
            "stop": list(request.stop) or None,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
        }

    def _truncate(self) -> bool | None:
        """Whether the oldest messages are dropped when there are too many: by default yes."""
        truncation = self._request.truncation
        return None if truncation is None else truncation == "auto"

    # -- thinking --------------------------------------------------------------------

    def _think(self) -> str | bool | None:
        effort, budget = self._request.reasoning_effort, self._request.reasoning_budget
        if effort is Effort.NONE or budget == 0:
            if budget or effort not in (None, Effort.NONE):
                _refuse("reasoning_effort and reasoning_budget contradict each other.")
            return self._not_thinking()
        why = "it does not count them; use reasoning_effort"
        self._unsupported.sampling("reasoning_budget", budget, why)
        if self._request.include_reasoning is False:
            why = "what is thought is always shown; reasoning_effort='none' keeps most from it"
            self._unsupported.sampling("include_reasoning=False", why=why)
        if effort is None:
            # With a budget it is asked for all the same.
            return None if budget is None else self._thinker.efforts[Effort.MEDIUM]
        return self._thinker.efforts[effort]

    def _not_thinking(self) -> str | bool:
        if self._thinker.off:
            return False
        self._unsupported.adjusted(
            "This model cannot be kept from thinking: it was asked for the least."
        )
        return self._thinker.efforts[Effort.LOW]

    # -- tools and form --------------------------------------------------------------

    def _chosen_tools(self) -> tuple[Tool, ...]:
        tools, choice = self._request.tools, self._request.tool_choice
        # There is no other way to say "none".
        if not tools or (choice is not None and choice.mode == "none"):
            return ()
        if self._request.parallel_tool_calls is False:
            self._unsupported.sampling("parallel_tool_calls=False")
        if choice is None:
            return tools
        if choice.mode == "required" and not choice.names:
            why = "no call can be forced; ask for it in the prompt"
            self._unsupported.meaning("tool_choice='required'", why=why)
        elif choice.mode == "required":
            # The next best thing, and often enough.
            why = "no call can be forced, but it was offered no other tool"
            self._unsupported.sampling("a forced tool_choice", why=why)
        chosen = tuple(t for t in tools if not choice.names or t.name in choice.names)
        if len(chosen) < len(tools) and choice.mode == "auto":
            self._unsupported.adjusted(
                "Of the tools only those that tool_choice names were sent."
            )
        return chosen

    def _tool(self, tool: Tool) -> dict[str, Any]:
        if tool.strict:
            self._unsupported.sampling("strict tools")
        schema = without_references({"type": "object", **tool.parameters})
        function: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        return {"type": "function", "function": {**function, "parameters": schema}}

    def _format(self, *, with_tools: bool) -> str | Mapping[str, Any] | None:
        wanted = self._request.response_format
        if wanted is None or wanted.type == "text":
            return None
        if with_tools:
            self._unsupported.adjusted(
                "Ollama keeps all that the model says to the response_format: most models "
                "then call no tools. With schema_via='prompt' the schema is said in words."
            )
        return "json" if wanted.schema is None else wanted.schema

    # -- the books -------------------------------------------------------------------

    def _refuse_others(self) -> None:
        request, unsupported = self._request, self._unsupported
        for option in ("logit_bias", "user", "verbosity", "metadata", "store"):
            # What is false or empty is what there is without it.
            unsupported.sampling(option, getattr(request, option) or None)
        if request.service_tier not in (None, "auto"):
            unsupported.sampling("service_tier", request.service_tier)


def _given(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not None}


def _merged(body: dict[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Put *extras* over *body*, with options where they belong and tools added."""
    outside = {key: extras[key] for key in _OPTIONS & extras.keys()}
    merged = {**body, **{k: v for k, v in extras.items() if k not in _OPTIONS}}
    if "tools" in body and extras.get("tools"):
        merged["tools"] = [*body["tools"], *extras["tools"]]
    theirs = extras.get("options") or {}
    if not isinstance(theirs, Mapping):
        _refuse(f"provider_options['ollama']['options'] is no mapping: {theirs!r}.")
    # A null among them would be an error; here it takes ours out.
    options = _given({**body.get("options", {}), **outside, **theirs})
    return _given({**merged, "options": options or None})


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
