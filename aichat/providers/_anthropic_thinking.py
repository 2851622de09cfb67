"""
Whether, how hard and how visibly to think, in the way that each generation wants it said.

See: https://platform.claude.com/docs/en/build-with-claude/thinking
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from attrs import define, field, frozen

from ..errors import InvalidRequestError
from ..types import ChatRequest, Effort
from ._anthropic_models import Claude
from ._unsupported import Unsupported

__all__ = ["Thinking", "encode_thinking"]

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


@frozen(kw_only=True)
class Thinking:
    """What a request says about thinking."""

    #: ``thinking``; empty if nothing is to be said.
    mode: Mapping[str, Any] = field(factory=dict, hash=False)
    #: For ``output_config``.
    effort: str | None = None
    #: Thoughts count in it, so a budget may need more of it.
    max_tokens: int

    @property
    def asked(self) -> bool:
        """Whether the model was asked to think: older ones refuse much while they do."""
        return self.mode.get("type") in ("enabled", "adaptive")

    @property
    def has_budget(self) -> bool:
        """Whether it is asked for in the older way."""
        return self.mode.get("type") == "enabled"


def encode_thinking(
    request: ChatRequest, model: Claude, unsupported: Unsupported
) -> Thinking:
    """Choose from the options of *request* what *model* understands."""
    return _Choice(request, model, unsupported).make()


@define
class _Choice:
    _request: ChatRequest
    _model: Claude
    _unsupported: Unsupported
    _max_tokens: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._max_tokens = self._request.max_tokens or self._model.max_tokens

    def make(self) -> Thinking:
        mode, effort = self._choose()
        return Thinking(mode=mode, effort=effort, max_tokens=self._max_tokens)

    def _choose(self) -> tuple[dict[str, Any], str | None]:
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
            return {}, None
        if effort is None and budget is None:
            return self._as_usual(), None
        level = model.efforts.get(effort) if effort else None
        return {**self._mode(effort, budget), **self._display()}, level

    def _not_thinking(self) -> tuple[dict[str, Any], str | None]:
        match self._model.off:
            case "omit":
                return {}, None
            case None:
                self._unsupported.adjusted(
                    "This model cannot be kept from thinking: it was asked for the least."
                )
                return {}, self._model.efforts[Effort.LOW]
            case mode:
                if mode == "between_tools":
                    self._unsupported.adjusted(
                        "This model cannot be kept from thinking between tool calls."
                    )
                return {"type": mode}, None

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


def _refuse(message: str) -> NoReturn:
    raise InvalidRequestError(message, operation="chat")
