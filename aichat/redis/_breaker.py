"""A circuit breaker whose circuits all processes share (L5, B1)."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, final

from attrs import define, field, frozen

from ..errors import ClosedError, ConfigError
from ..transport._breaker import (
    AnyPassage,
    Circuit,
    CircuitBreaker,
    is_down,
    note_opening,
)
from ._link import Argument, Away, Script
from ._state import RedisState, check_name

__all__ = ["RedisBreaker"]

_SCRIPT: Final = Script(Path(__file__).with_name("breaker.lua").read_text("utf-8"))
#: Seconds for which what was heard of a circuit is taken for true. Then somebody asks; and
#: nobody waits for that, unless the circuit is open and might be closed again.
_FRESH: Final = 0.25
#: Seconds that a probe may take at least, before another one may.
_PROBE: Final = 30.0
#: Seconds for which a row of failures is remembered at least.
_KEEP: Final = 3600.0

#: Of all that is sent, by all breakers: answers may overtake each other.
_turns: Final = count(1)

_Said: TypeAlias = Literal["look", "probe", "failed", "well", "left"]


@final
class RedisBreaker:
    """
    A `CircuitBreaker` that all processes share: what one of them has found out, all know.

    Failures in a row are counted over all processes, and the cool-down is by the clock of
    Redis. One call in all of them may probe; if its process dies, another one may after 30
    seconds, or a *cooldown* if that is longer. Breakers with the same *name* and namespace
    share; give them the same numbers.

    A call waits for Redis only where a circuit is open and somebody has to probe. What others
    have found out is known a quarter of a second later. While Redis is away each process goes
    by what it has seen itself.
    """

    def __init__(
        self,
        state: RedisState,
        threshold: int = 5,
        cooldown: float = 30.0,
        *,
        name: str = "circuits",
        clock: Callable[[], float] = time.monotonic,
        server_clock: Callable[[], float] | None = None,
    ) -> None:
        """Raises `ConfigError`. The clocks are for tests."""
        # Holds what is known of the shared circuits, and is counted with the others.
        self._local = CircuitBreaker(threshold, cooldown, clock=clock)
        self._state = state
        self._name = check_name("RedisBreaker", name)
        self._clock = clock
        self._server_clock = server_clock
        #: What makes asking senseless, such as a wrong password, as long as it does.
        self._wrong: ConfigError | None = None

    def __repr__(self) -> str:
        return f"<RedisBreaker {self._name!r} in {self._state!r}>"

    def is_open(self, key: str = "") -> bool:
        """Whether a call of *key* would be refused now, by what is known here."""
        circuit = self._circuit(key)
        with self._local._lock:
            return circuit.opened_at is not None and self._refuses(circuit)

    async def admit(self, key: str = "") -> AnyPassage:
        """
        Ask to call *key*, an origin. Raises `CircuitOpenError`.

        Raises `ConfigError` if Redis does not let us in, and `ClosedError` if the state is
        closed.
        """
        circuit = self._circuit(key)
        if not self._state.away:
            if self._asks_first(circuit):
                answer = await self._ask_to_probe(circuit)
                if answer is not None:
                    return answer
            elif self._is_due(circuit, circuit.asked):
                circuit.asked = self._clock()
                _ = self._state.link().spawn(self._say(circuit, "look"))
        if self._wrong is not None:
            raise ConfigError(self._wrong.message)
        return self._pass(circuit)

    def _circuit(self, key: str) -> _SharedCircuit:
        circuits = self._local._circuits
        circuit = circuits.get(key)
        if circuit is None:
            with self._local._lock:
                circuit = circuits.setdefault(key, _SharedCircuit(key))
        return cast(_SharedCircuit, circuit)

    # -- by what is known here --------------------------------------------------------------

    def _left(self, circuit: _SharedCircuit) -> float:
        """Seconds until *circuit*, an open one, may be probed."""
        opened_at = circuit.opened_at
        return 0.0 if opened_at is None else opened_at + self._cooldown - self._clock()

    def _is_probed(self, circuit: _SharedCircuit) -> bool:
        """Whether somebody probes, who may have died meanwhile."""
        return circuit.probing and self._clock() < circuit.probed_until

    def _refuses(self, circuit: _SharedCircuit) -> bool:
        return self._left(circuit) > 0 or self._is_probed(circuit)

    def _asks_first(self, circuit: _SharedCircuit) -> bool:
        """Whether it is time to probe, for all that is known."""
        if circuit.opened_at is None or self._left(circuit) > 0:
            return False
        fresh = circuit.seen + _FRESH > self._clock()
        return not (fresh and self._is_probed(circuit))

    def _is_due(self, circuit: _SharedCircuit, last: float) -> bool:
        """Whether to say something that was said *last* then, to hear how things are."""
        return max(circuit.seen, last) + _FRESH <= self._clock()

    def _pass(self, circuit: _SharedCircuit) -> AnyPassage:
        with self._local._lock:
            probe = circuit.opened_at is not None
            if probe:
                if self._refuses(circuit):
                    raise circuit.refusal(self._left(circuit))
                circuit.probing, circuit.probed_until = True, math.inf
        return _Passage(self, circuit, probe)

    def well(self, circuit: _SharedCircuit, token: str, *, probe: bool) -> None:
        """Count an answer."""
        with self._local._lock:
            if circuit.opened_at is not None and not probe:
                # To a call from before the circuit opened: not enough.
                return
            # Others may have failed meanwhile: then this ends their row.
            news = (
                probe or circuit.failures > 0 or self._is_due(circuit, circuit.praised)
            )
            circuit.close()
        if news:
            circuit.praised = self._clock()
            self._report(circuit, "well", token)

    def failed(
        self, circuit: _SharedCircuit, token: str, error: str, *, probe: bool
    ) -> None:
        """Count a failure; as the others will, so that whoever tries again knows at once."""
        with self._local._lock:
            circuit.failures += 1
            circuit.last_error = error
            opens = circuit.opened_at is None
            opens = probe or (opens and circuit.failures >= self._local.threshold)
            if probe:
                circuit.probing = False
            if opens:
                circuit.opened_at = self._clock()
        reported = self._report(circuit, "failed", token, error, opens=opens)
        if opens and not reported:
            note_opening(circuit.key)

    def left(self, circuit: _SharedCircuit, token: str) -> None:
        """Let another call probe: this one says nothing."""
        with self._local._lock:
            circuit.probing = False
        if token:
            self._report(circuit, "left", token)

    # -- by what all know -------------------------------------------------------------------

    async def _ask_to_probe(self, circuit: _SharedCircuit) -> AnyPassage | None:
        """Return ``None`` if Redis is away. Raises `CircuitOpenError`."""
        token = f"{self._state.worker}-{next(_turns)}"

        def give_back(asked: asyncio.Task[_Answer]) -> None:
            # It may be granted all the same: it is for the next one then.
            if asked.cancelled() or asked.exception() or not asked.result().granted:
                return
            self.left(circuit, token)

        asking = self._say(circuit, "probe", token)
        try:
            answer = await self._state.link().ask(asking, left=give_back)
        except Away:
            return None
        if answer.left is None:
            return _Passage(self, circuit, False)
        if answer.granted:
            return _Passage(self, circuit, True, token)
        raise circuit.refusal(answer.left)

    def _report(
        self,
        circuit: _SharedCircuit,
        said: _Said,
        token: str = "",
        error: str = "",
        *,
        opens: bool = False,
    ) -> bool:
        """Tell the others, in the background; False if that is not possible now."""
        if self._state.away:
            return False
        # A finaliser may come where no loop runs, and after the end.
        with suppress(RuntimeError, ClosedError):
            link = self._state.link()
            _ = link.spawn(self._say(circuit, said, token, error, opens=opens))
            return True
        return False

    def _say(
        self,
        circuit: _SharedCircuit,
        said: _Said,
        token: str = "",
        error: str = "",
        *,
        opens: bool = False,
    ) -> Coroutine[Any, Any, _Answer]:
        """Say it, and learn how things are. Raises `Away`."""
        turn = next(_turns)
        if said in ("failed", "well"):
            # What was asked before does not know of it.
            circuit.told = turn
        return self._exchange(circuit, turn, said, token, error, opens)

    async def _exchange(
        self,
        circuit: _SharedCircuit,
        turn: int,
        said: _Said,
        token: str,
        error: str,
        opens: bool,
    ) -> _Answer:
        cooldown = self._cooldown
        key = self._state.key("circuit", f"{self._name} {circuit.key}")
        now = "" if self._server_clock is None else repr(self._server_clock())
        lease, keep = max(_PROBE, cooldown), max(_KEEP, 10 * cooldown)
        threshold = self._local.threshold
        words: list[Argument] = [
            now,
            said,
            token,
            error,
            threshold,
            cooldown,
            lease,
            keep,
        ]
        try:
            answer = _Answer.read(await self._state.run(_SCRIPT, [key], words))
        except Away:
            if opens:
                # For this process it has.
                note_opening(circuit.key)
            raise
        except ConfigError as wrong:
            self._wrong = wrong
            raise
        self._wrong = None
        if answer.opens:
            note_opening(circuit.key)
        self._learn(circuit, turn, answer)
        return answer

    def _learn(self, circuit: _SharedCircuit, turn: int, answer: _Answer) -> None:
        now = self._clock()
        with self._local._lock:
            if turn < max(circuit.told, circuit.learned):
                return
            circuit.learned, circuit.seen = turn, now
            circuit.failures = answer.failures
            circuit.last_error = answer.last_error
            circuit.probing = answer.probing > 0
            circuit.probed_until = now + answer.probing
            circuit.opened_at = (
                None if answer.left is None else now + answer.left - self._cooldown
            )

    @property
    def _cooldown(self) -> float:
        return self._local.cooldown


@frozen
class _Answer:
    """How things are."""

    granted: bool
    failures: int
    #: Seconds until somebody may probe; ``None``: the circuit is closed.
    left: float | None
    #: Seconds that somebody else may go on probing.
    probing: float
    #: Whether the circuit has opened by what was said.
    opens: bool
    last_error: str

    @classmethod
    def read(cls, said: list[Any]) -> _Answer:
        granted, failures, left, probing, opens, last = said
        return cls(
            bool(granted),
            failures,
            float(left) if left else None,
            float(probing),
            bool(opens),
            last.decode(),
        )


@define(eq=False)
class _SharedCircuit(Circuit):
    """What one process knows of a circuit."""

    #: By the clock of this process: when to take a prober for dead.
    probed_until: float = 0.0
    #: When it was last heard of, asked for, and said to be well.
    seen: float = -math.inf
    asked: float = -math.inf
    praised: float = -math.inf
    #: The last turn that was heard, and the last one in which we have said something new.
    learned: int = 0
    told: int = 0


@final
@define(eq=False)
class _Passage:
    """One call's way through a `RedisBreaker`."""

    _breaker: RedisBreaker
    _circuit: _SharedCircuit
    _probe: bool
    #: By which Redis knows the probe, if it has granted it.
    _token: str = ""
    _begun: bool = field(default=False, init=False)
    _over: bool = field(default=False, init=False)

    def began(self) -> None:
        """Say that the answer has begun: the provider is there."""
        self._begun = True
        if self._probe:
            token, self._probe, self._token = self._token, False, ""
            self._breaker.well(self._circuit, token, probe=True)

    def ended(self, error: BaseException | None = None) -> None:
        """Say how it ended. Only the first time counts."""
        if self._over:
            return
        self._over = True
        down = is_down(error, begun=self._begun)
        circuit, token, probe = self._circuit, self._token, self._probe
        match down:
            case True:
                name = type(error).__name__
                self._breaker.failed(circuit, token, name, probe=probe)
            case False:
                self._breaker.well(circuit, token, probe=probe)
            case None if probe:
                self._breaker.left(circuit, token)
            case None:
                pass
