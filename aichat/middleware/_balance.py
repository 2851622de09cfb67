"""Several models share the requests (B3)."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping
from math import inf, isfinite
from threading import Lock
from typing import Literal, TypeAlias

from attrs import define, evolve, field

from ..errors import AIChatError, CircuitOpenError, ConfigError
from ..types import ChatRequest, StreamChunk
from ..types._values import is_number
from ._compose import Handler, Middleware
from ._detour import Detour, begin, turned_to
from ._fallback import check_models
from ._remaining import Remaining

__all__ = ["balance"]

Way: TypeAlias = Literal["weight", "round_robin", "least_busy"]
_WAYS = ("weight", "round_robin", "least_busy")


def balance(
    models: Mapping[str, float] | Iterable[str],
    *,
    by: Way = "weight",
    of: str | None = None,
    rand: Callable[[], float] = random.random,
) -> Middleware:
    """
    Let one of *models* answer each request, by their weights; names alone weigh the same.

    - ``"weight"`` draws lots: the shares are right in the long run, and processes that know
      nothing of each other do not march in step.
    - ``"round_robin"`` takes turns: the shares are exact, and evenly spread, with no bursts.
    - ``"least_busy"`` asks the one with the fewest streams under way for its weight; they
      take turns where that is equal.

    With *of*, an address that need not exist, only requests for it are meant; all others
    pass untouched::

        balance({"azure:gpt-5.1": 3, "openai:gpt-5.1": 1}, of="pool:fast")

    One whose circuit is open is skipped, and `ChatResponse.warnings` says so. When all are
    open, the `CircuitOpenError` with the shortest wait comes out. Any other error is the
    answer: for those there is `fallback`, further out. A weight of 0 gets nothing.

    Raises `ConfigError` at once for models, weights or names that make no sense.
    """
    if by not in _WAYS:
        raise ConfigError(f"balance goes by {', '.join(_WAYS)}; got {by!r}.")
    check_of("balance", of)
    scales = _Scales(check_weights("balance", models), by, rand)

    async def middleware(
        request: ChatRequest, call_next: Handler
    ) -> AsyncGenerator[StreamChunk, None]:
        if of is not None and request.model != of:
            async for chunk in call_next(request):
                yield chunk
            return
        detour, remaining = Detour(), Remaining(request)
        candidates = list(scales.weights)
        refusals: list[CircuitOpenError] = []
        model = scales.take(candidates)
        try:
            if model != request.model:
                turned_to(model)
            while candidates:
                asked = remaining.of(evolve(request, model=model))
                try:
                    first, chunks = await begin(call_next, asked)
                except CircuitOpenError as error:
                    refusals.append(error)
                    detour.add(model, error)
                    candidates.remove(model)
                    if candidates:
                        scales.give_back(model)
                        model = scales.take(candidates)
                        turned_to(model, error)
                    continue
                for chunk in detour.introduce(first, model, request.model):
                    yield chunk
                async for chunk in chunks:
                    yield chunk
                return
            raise _soonest(refusals, detour)
        except AIChatError as error:
            if candidates:
                detour.blame(error, "balance")
            raise
        finally:
            refusals.clear()  # or an error would hold the frame that holds it
            scales.give_back(model)

    return middleware


def check_of(who: str, of: str | None) -> None:
    """Refuse, for *who*, an address that no request will ever have."""
    if of is not None and not all(of.partition(":")):
        raise ConfigError(
            f"{who}: of={of!r} will not do. The client completes bare names, so it takes "
            "a whole address, such as of='pool:fast'."
        )


def check_weights(
    who: str, models: Mapping[str, float] | Iterable[str]
) -> dict[str, float]:
    """Return the weights of those of *models* that have one above 0."""
    if isinstance(models, str):
        raise ConfigError(f"{who} takes several models; got the text {models!r}.")
    if isinstance(models, Mapping):
        weights = dict(models)
        check_models(who, tuple(weights))
    else:
        names = tuple(models)
        check_models(who, names)
        weights = dict.fromkeys(names, 1.0)
    for model, weight in weights.items():
        if not (is_number(weight) and isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"{who}: the weight of {model} must be a number, 0 or more; "
                f"got {weight!r}."
            )
    positive = {model: weight for model, weight in weights.items() if weight}
    if not positive:
        raise ConfigError(f"{who}: at least one weight must be above 0.")
    return positive


def _soonest(refusals: list[CircuitOpenError], detour: Detour) -> CircuitOpenError:
    """The one of *refusals* that is over first, for all of them."""
    error = min(refusals, key=lambda e: inf if e.retry_after is None else e.retry_after)
    error.attempts = detour.attempts
    error.context["balance"] = tuple(detour.failed)
    models = ", ".join(model for model, _ in detour.failed)
    return error.suggest(f"There is nobody else to ask: {models}.")


@define(eq=False)
class _Scales:
    """Chooses, and knows who is busy; for all loops and threads."""

    weights: Mapping[str, float]
    _by: Way
    _rand: Callable[[], float]
    #: Streams under way.
    _busy: dict[str, int] = field(init=False)
    #: How much each one is due its turn; they sum up to nothing.
    _due: dict[str, float] = field(init=False)
    _lock: Lock = field(factory=Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._busy = dict.fromkeys(self.weights, 0)
        self._due = dict.fromkeys(self.weights, 0.0)

    def take(self, among: Collection[str]) -> str:
        """Choose one of *among*; it is to be given back."""
        with self._lock:
            if self._by == "weight":
                model = self._draw(among)
            elif self._by == "round_robin":
                model = self._turn(among)
            else:
                load = {m: self._busy[m] / self.weights[m] for m in among}
                least = min(load.values())
                model = self._turn([m for m in among if load[m] == least])
            self._busy[model] += 1
            return model

    def give_back(self, model: str) -> None:
        """Say that a stream of *model* is over."""
        with self._lock:
            self._busy[model] -= 1

    def _draw(self, among: Collection[str]) -> str:
        return draw({model: self.weights[model] for model in among}, self._rand())

    def _turn(self, among: Collection[str]) -> str:
        # Smooth weighted round robin, as in nginx: all gain their weight, the one that is
        # most due goes, and pays for all of them.
        for model in among:
            self._due[model] += self.weights[model]
        model = max(among, key=self._due.__getitem__)
        self._due[model] -= sum(self.weights[m] for m in among)
        return model


def draw(weights: Mapping[str, float], point: float) -> str:
    """The one of *weights*, laid end to end, that lies at *point* of their length, in [0, 1)."""
    left = point * sum(weights.values())
    *before, (last, _) = weights.items()
    for model, weight in before:
        if left < weight:
            return model
        left -= weight
    return last
