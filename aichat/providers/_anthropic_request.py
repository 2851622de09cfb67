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
from ..types import ChatRequest, Tool, ToolChoice
from ._anthropic_messages import CacheMarks, Conversation, cache_control
from ._anthropic_models import Claude, claude
from ._anthropic_schema import enforceable
from ._anthropic_thinking import Thinking, encode_thinking
from ._profiles import ModelProfile
from ._unsupported import Unsupported

__all__ = ["encode_request"]

#: How many blocks one request may mark for the cache.
_MARKS: Final = 4
#: While it thinks, a model of the older kind takes this top_p and more.
_THINKING_TOP_P: Final = 0.95


def encode_request(
    request: ChatRequest, profile: ModelProfile | None = None
) -> HTTPRequest:
    """
    Say *request* in Anthropic's words.

    ``max_tokens`` is required there: if it is not given, it is the most that the model
    generates, or less where that could overflow its window (`_anthropic_models`).

    ``provider_options["anthropic"]`` goes over the rest; its ``tools`` are added to ours,
    and its ``betas`` become the header ``anthropic-beta``. *profile* is what the user says of
    the model.
    """
    return _Encoder(request, profile).encode()


@define
class _Encoder:
    _request: ChatRequest
    _profile: ModelProfile | None
    _model: Claude = field(init=False)
    _unsupported: Unsupported = field(init=False)
    _marks: CacheMarks = field(factory=CacheMarks, init=False)

    def __attrs_post_init__(self) -> None:
        name = self._request.model_name
        self._model = claude(name, self._profile)
        self._unsupported = Unsupported(self._request, f"Anthropic's {name}")

    def encode(self) -> HTTPRequest:
        request = self._request
        extras = request.extras("anthropic")
        betas = extras.pop("betas", ())
        thinking = encode_thinking(request, self._model, self._unsupported)
        effort = {} if thinking.effort is None else {"effort": thinking.effort}
        # Marks for the cache count in this order: tools, system, messages.
        tools = [self._tool(tool) for tool in self._chosen_tools()]
        conversation = Conversation(
            request, self._model, self._unsupported, self._marks
        )
        messages = conversation.encode()
        form = self._format()
        if conversation.prefilled and (thinking.asked or form):
            what = "thinking" if thinking.asked else "a response_format"
            _refuse(f"prefill and {what} exclude each other.")
        has_tools = bool(tools or extras.get("tools"))
        body: dict[str, Any] = {
            "model": request.model_name,
            "max_tokens": thinking.max_tokens,
            "stream": True,
            **messages,
            **self._sampling(thinking),
            "stop_sequences": self._stop_sequences(),
            "tools": tools,
            "tool_choice": self._tool_choice(thinking) if has_tools else None,
            "thinking": thinking.mode,
            "output_config": {**effort, **form},
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

    # -- drawing ---------------------------------------------------------------------

    def _sampling(self, thinking: Thinking) -> dict[str, Any]:
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
        elif thinking.asked and not model.samples_thinking:
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

    def _stop_sequences(self) -> list[str]:
        stop = self._request.stop
        blank = tuple(text for text in stop if text.isspace())
        self._unsupported.sampling("a stop text of nothing but white space", blank)
        return [text for text in stop if text not in blank]

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

    def _tool_choice(self, thinking: Thinking) -> dict[str, Any] | None:
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

    def _forced(self, choice: ToolChoice, thinking: Thinking) -> dict[str, Any] | None:
        why = None
        if not self._model.forced_choice:
            why = "no tool can be forced; ask for it in the prompt"
        elif thinking.has_budget:
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
