"""
A chat request to the body of ``POST /v1/messages``.

See: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NoReturn

from attrs import define, field

from ..errors import InvalidRequestError
from ..transport import HTTPRequest
from ..types import ChatRequest, Effort, Tool, ToolChoice
from ._anthropic_messages import CacheMarks, Conversation, cache_control
from ._anthropic_models import Claude, claude
from ._anthropic_schema import enforceable
from ._unsupported import Unsupported

__all__ = ["encode_request"]

#: The least that a budget for thinking may be, and what we leave for the answer.
_LEAST_BUDGET: Final = 1_024
#: What an effort is worth to a model that wants a budget.
_BUDGETS: Final[Mapping[Effort, int]] = {
    Effort.MINIMAL: _LEAST_BUDGET,
    Effort.LOW: 2_048,
    Effort.MEDIUM: 10_000,
    Effort.HIGH: 16_384,
    Effort.XHIGH: 32_768,
    Effort.MAX: 32_768,
}
#: How many blocks one request may mark for the cache.
_MARKS: Final = 4
#: While it thinks, a model of the older kind takes this top_p and more.
_THINKING_TOP_P: Final = 0.95


def encode_request(request: ChatRequest) -> HTTPRequest:
    """
    Say *request* in Anthropic's words.

    ``max_tokens`` is required there: if it is not given, it is the most that the model
    generates, or less where that could overflow its window (`_anthropic_models`).

    ``provider_options["anthropic"]`` goes over the rest; its ``tools`` are added to ours,
    and its ``betas`` become the header ``anthropic-beta``.
    """
    return _Encoder(request).encode()


@define
class _Encoder:
    _request: ChatRequest
    _model: Claude = field(init=False)
    _unsupported: Unsupported = field(init=False)
    _marks: CacheMarks = field(factory=CacheMarks, init=False)
    _max_tokens: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        name = self._request.model_name
        self._model = claude(name)
        self._unsupported = Unsupported(self._request, f"Anthropic's {name}")
        self._max_tokens = self._request.max_tokens or self._model.max_tokens

    def encode(self) -> HTTPRequest:
        request = self._request
        extras = request.extras("anthropic")
        betas = extras.pop("betas", ())
        thinking, effort = self._thinking()
        # Marks for the cache count in this order: tools, system, messages.
        tools = [self._tool(tool) for tool in self._chosen_tools()]
        conversation = Conversation(
            request, self._model, self._unsupported, self._marks
        ).encode()
        output_config = {**effort, **self._format()}
        self._check_prefill(conversation, bool(thinking), "format" in output_config)
        has_tools = bool(tools or extras.get("tools"))
        body: dict[str, Any] = {
            "model": request.model_name,
            "max_tokens": self._max_tokens,
            "stream": True,
            **conversation,
            **self._sampling(bool(thinking)),
            "stop_sequences": list(request.stop),
            "tools": tools,
            "tool_choice": self._tool_choice(thinking) if has_tools else None,
            "thinking": thinking,
            "output_config": output_config,
            "metadata": {} if request.user is None else {"user_id": request.user},
            "service_tier": self._service_tier(),
            "cache_control": self._whole_prompt(),
        }
        self._refuse_others()
        body = {
            key: value for key, value in body.items() if value not in (None, [], {})
        }
        return HTTPRequest(
            "/v1/messages",
            _merged(body, extras),
            headers={"anthropic-beta": _comma_list(betas)} if betas else {},
            warnings=self._unsupported.warnings,
        )

    # -- thinking --------------------------------------------------------------------

    def _thinking(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The field of that name, and the effort in ``output_config``."""
        request, model = self._request, self._model
        effort, budget = request.reasoning_effort, request.reasoning_budget
        if effort is Effort.NONE or budget == 0:
            if budget or effort not in (None, Effort.NONE):
                _refuse("reasoning_effort and reasoning_budget contradict each other.")
            return self._not_thinking()
        if model.thinking == "never":
            for option in ("reasoning_effort", "reasoning_budget", "include_reasoning"):
                value = getattr(request, option) or None
                self._unsupported.sampling(option, value, "it does not think")
            return {}, {}
        if effort is None and budget is None:
            return self._as_usual(), {}
        level = model.efforts.get(effort) if effort else None
        thinking = {**self._mode(effort, budget), **self._display()}
        return thinking, {} if level is None else {"effort": level}

    def _not_thinking(self) -> tuple[dict[str, Any], dict[str, str]]:
        match self._model.off:
            case "omit":
                return {}, {}
            case None:
                self._unsupported.adjusted(
                    "This model cannot be kept from thinking: it was asked for the least."
                )
                return {}, {"effort": self._model.efforts[Effort.LOW]}
            case mode:
                if mode == "between_tools":
                    self._unsupported.adjusted(
                        "This model cannot be kept from thinking between tool calls."
                    )
                return {"type": mode}, {}

    def _as_usual(self) -> dict[str, Any]:
        """Think or not, as the model does when nothing is said about it."""
        display = self._display()
        if self._model.thinks:
            return {"type": "adaptive", **display} if display else {}
        if self._request.include_reasoning:
            self._unsupported.adjusted(
                "include_reasoning shows nothing: this model thinks when it is asked to, "
                "with reasoning_effort."
            )
        return {}

    def _mode(self, effort: Effort | None, budget: int | None) -> dict[str, Any]:
        mode = self._model.thinking
        if mode == "budget" or (mode == "either" and budget is not None):
            return {"type": "enabled", "budget_tokens": self._budget(effort, budget)}
        self._unsupported.sampling(
            "reasoning_budget", budget, "it decides itself; use reasoning_effort"
        )
        return {"type": "adaptive"}

    def _budget(self, effort: Effort | None, budget: int | None) -> int:
        """Tokens to think with; fewer than max_tokens, which includes them."""
        given = self._request.max_tokens
        if given is not None and given <= _LEAST_BUDGET:
            _refuse(
                f"max_tokens={given} leaves no room to think: that takes more than "
                f"{_LEAST_BUDGET}."
            )
        if budget is None:
            assert effort is not None
            room = self._max_tokens - _LEAST_BUDGET
            return max(_LEAST_BUDGET, min(_BUDGETS[effort], room))
        if budget < _LEAST_BUDGET:
            _refuse(f"reasoning_budget must be {_LEAST_BUDGET} or more, got {budget}.")
        if given is None:
            self._max_tokens = max(self._max_tokens, budget + _LEAST_BUDGET)
        elif budget >= given:
            budget = given - 1
            self._unsupported.adjusted(
                f"reasoning_budget became {budget}: it has to be less than max_tokens."
            )
        return budget

    def _display(self) -> dict[str, str]:
        match self._request.include_reasoning:
            case True if self._model.hides_thinking:
                return {"display": "summarized"}
            case False if not self._model.hides_thinking:
                return {"display": "omitted"}
            case _:
                return {}

    # -- drawing ---------------------------------------------------------------------

    def _sampling(self, thinks: bool) -> dict[str, Any]:
        request, model = self._request, self._model
        # 1 is what is there without them.
        temperature = None if request.temperature == 1 else request.temperature
        top_p = None if request.top_p == 1 else request.top_p
        top_k = request.top_k
        highest, why = model.temperature, ""
        if highest is None:
            why = "there is no such choice any more"
            refused = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        elif temperature is not None and temperature > highest:
            _refuse(
                f"temperature must be 0 to {highest:g} for this model, got {temperature}."
            )
        elif thinks:
            why = "not while it thinks"
            refused = {"temperature": temperature, "top_k": top_k}
            if top_p is not None and top_p < _THINKING_TOP_P:
                refused["top_p"] = top_p
        elif temperature is not None and not model.mixes_sampling:
            why = "not together with temperature"
            refused = {"top_p": top_p}
        else:
            refused = {}
        for option, value in refused.items():
            self._unsupported.sampling(option, value, why)
        wanted = {"temperature": temperature, "top_p": top_p, "top_k": top_k}
        return {name: value for name, value in wanted.items() if name not in refused}

    # -- tools and form --------------------------------------------------------------

    def _chosen_tools(self) -> tuple[Tool, ...]:
        tools, choice = self._request.tools, self._request.tool_choice
        if choice is None or not choice.names or _names_one(choice):
            return tools
        chosen = tuple(tool for tool in tools if tool.name in choice.names)
        if len(chosen) < len(tools):
            self._unsupported.adjusted(
                "Of the tools only those that tool_choice names were sent."
            )
        return chosen

    def _tool(self, tool: Tool) -> dict[str, Any]:
        schema = {"type": "object", **tool.parameters}
        wire: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            wire["description"] = tool.description
        wire["input_schema"] = schema
        if tool.strict and not self._model.structured:
            self._unsupported.sampling("strict tools")
        elif tool.strict:
            wire["input_schema"] = enforceable(schema, where=f"the tool {tool.name}")
            wire["strict"] = True
        return self._marks.put(wire, tool.cache)

    def _tool_choice(self, thinking: Mapping[str, Any]) -> dict[str, Any] | None:
        choice = self._request.tool_choice
        wire: dict[str, Any] | None = None
        if choice is not None and choice.mode == "none":
            return {"type": "none"}
        if choice is not None and choice.mode == "auto":
            wire = {"type": "auto"}
        elif choice is not None:
            wire = self._forced(choice, thinking)
        if self._request.parallel_tool_calls is False:
            wire = {**(wire or {"type": "auto"}), "disable_parallel_tool_use": True}
        return wire

    def _forced(
        self, choice: ToolChoice, thinking: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        why = None
        if not self._model.forced_choice:
            why = "no tool can be forced; ask for it in the prompt"
        elif thinking.get("type") == "enabled":
            why = "no tool can be forced while it thinks with a budget"
        if why is not None:
            self._unsupported.meaning("tool_choice='required'", why=why)
            return None
        if _names_one(choice):
            return {"type": "tool", "name": choice.names[0]}
        return {"type": "any"}

    def _format(self) -> dict[str, Any]:
        wanted = self._request.response_format
        if wanted is None or wanted.type == "text":
            return {}
        if wanted.schema is None:
            why = "it knows JSON only after a schema: pass one"
            self._unsupported.meaning("response_format='json'", why=why)
            return {}
        if not self._model.structured:
            why = "it is older than structured output"
            self._unsupported.meaning("response_format with a schema", why=why)
            return {}
        schema = enforceable(wanted.schema, where="response_format")
        if wanted.description is not None:
            schema.setdefault("description", wanted.description)
        return {"format": {"type": "json_schema", "schema": schema}}

    def _check_prefill(
        self, conversation: Mapping[str, Any], thinks: bool, formats: bool
    ) -> None:
        if not self._model.prefill or not (thinks or formats):
            return
        if conversation["messages"][-1]["role"] == "assistant":
            what = "thinking" if thinks else "a response_format"
            _refuse(f"prefill and {what} exclude each other.")

    # -- the books -------------------------------------------------------------------

    def _service_tier(self) -> str | None:
        tier = self._request.service_tier
        if tier in (None, "auto", "standard_only"):
            return tier
        why = "it knows 'auto' and 'standard_only'"
        self._unsupported.sampling(f"service_tier={tier!r}", why=why)
        return None

    def _whole_prompt(self) -> dict[str, str] | None:
        """The mark that the provider places itself, which is one of those allowed."""
        cache = self._request.cache
        marks = _MARKS if cache is None else _MARKS - 1
        if self._marks.keep_last(marks):
            self._unsupported.adjusted(f"Only the last {marks} cache hints were sent.")
        return None if cache is None else cache_control(cache)

    def _refuse_others(self) -> None:
        request, unsupported = self._request, self._unsupported
        unsupported.sampling("seed", request.seed)
        for option in (
            "presence_penalty",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "top_logprobs",
            "verbosity",
            "metadata",
            "store",
        ):
            # What is zero, false or empty is what there is without it.
            unsupported.sampling(option, getattr(request, option) or None)
        if request.truncation == "auto":
            unsupported.sampling("truncation='auto'")


def _names_one(choice: ToolChoice) -> bool:
    return choice.mode == "required" and len(choice.names) == 1


def _comma_list(betas: str | Iterable[str]) -> str:
    return betas if isinstance(betas, str) else ",".join(betas)


def _merged(body: dict[str, Any], extras: Mapping[str, Any]) -> dict[str, Any]:
    """Put *extras* over *body*, one level deep; tools are added."""
    merged = {**body, **extras}
    for key in body.keys() & extras.keys():
        ours, theirs = body[key], extras[key]
        if key == "tools":
            merged[key] = [*ours, *theirs]
        elif isinstance(ours, dict) and isinstance(theirs, Mapping):
            merged[key] = {**ours, **theirs}
    return merged


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
