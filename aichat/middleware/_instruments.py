"""
Everything that is measured, in one table; and the instruments that are made of it.

Names, units and buckets that begin with ``gen_ai.`` are OpenTelemetry's, of the conventions
for generative AI as last published in version 1.41; the others are ours, for what those have
no name for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, final
from weakref import WeakKeyDictionary

from attrs import frozen

from .._version import __version__
from ..redis._state import let_through_alone, round_trips, states_away
from ..transport._breaker import circuits_open, circuits_opened

if TYPE_CHECKING:
    from opentelemetry.metrics import (
        CallbackOptions,
        Counter,
        Histogram,
        Meter,
        MeterProvider,
        Observation,
        UpDownCounter,
    )

__all__ = ["INSTRUMENTS", "Instrument", "Instruments", "Labels", "instruments_of"]

#: The published version whose names these are.
SCHEMA: Final = "https://opentelemetry.io/schemas/1.41.0"

Kind: TypeAlias = Literal[
    "histogram",
    "counter",
    "up-down counter",
    "observable counter",
    "observable up-down counter",
]
Labels: TypeAlias = dict[str, str | int]

#: As the conventions have them: seconds, and tokens.
_SECONDS: Final = tuple(0.01 * 2**n for n in range(14))
_TOKENS: Final = tuple(4**n for n in range(14))

_CALL: Final = (
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
)
_ANSWER: Final = (
    *_CALL,
    "gen_ai.response.model",
    "server.address",
    "server.port",
)


@frozen
class Instrument:
    """One row: what is measured, how, and by which labels it can be told apart."""

    #: The attribute of `Instruments`.
    key: str
    name: str
    kind: Kind
    unit: str
    description: str
    labels: tuple[str, ...]
    buckets: tuple[float, ...] = ()


INSTRUMENTS: Final = (
    Instrument(
        "duration",
        "gen_ai.client.operation.duration",
        "histogram",
        "s",
        "GenAI operation duration.",
        (*_ANSWER, "error.type"),
        _SECONDS,
    ),
    Instrument(
        "tokens",
        "gen_ai.client.token.usage",
        "histogram",
        "{token}",
        "Number of input and output tokens used.",
        (*_ANSWER, "gen_ai.token.type"),
        _TOKENS,
    ),
    Instrument(
        "first_chunk",
        "gen_ai.client.operation.time_to_first_chunk",
        "histogram",
        "s",
        "Time from the request to the first chunk of output.",
        _ANSWER,
        _SECONDS,
    ),
    Instrument(
        "per_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "histogram",
        "s",
        "Time per chunk of output after the first: the mean of each answer.",
        _ANSWER,
        _SECONDS,
    ),
    Instrument(
        "details",
        "aichat.client.token.details",
        "counter",
        "{token}",
        "Tokens among those of the usage: read from or written to a cache, or reasoned with.",
        (*_ANSWER, "aichat.token.detail"),
    ),
    Instrument(
        "cost",
        "aichat.client.cost",
        "counter",
        "{USD}",
        "What answers cost in US dollars, for those who pass prices to telemetry.",
        (*_ANSWER, "aichat.cost.estimated"),
    ),
    Instrument(
        "active",
        "aichat.client.active_requests",
        "up-down counter",
        "{request}",
        "Calls under way.",
        _CALL,
    ),
    Instrument(
        "requests",
        "aichat.client.requests",
        "counter",
        "{request}",
        "Calls that are over, by how they ended.",
        (*_CALL, "aichat.outcome"),
    ),
    Instrument(
        "errors",
        "aichat.client.errors",
        "counter",
        "{error}",
        "Calls that failed, by the code of the error.",
        (*_CALL, "error.type"),
    ),
    Instrument(
        "retries",
        "aichat.client.retries",
        "counter",
        "{retry}",
        "Further attempts, by the code of the error before them.",
        ("gen_ai.provider.name", "error.type"),
    ),
    Instrument(
        "waits",
        "aichat.client.wait.duration",
        "histogram",
        "s",
        "Waits for a limit or before a retry, as long as they were expected to take.",
        ("gen_ai.provider.name", "aichat.wait.reason"),
        _SECONDS,
    ),
    Instrument(
        "reroutes",
        "aichat.client.reroutes",
        "counter",
        "{reroute}",
        "Calls that went on to another model, by who was asked then.",
        ("gen_ai.provider.name", "error.type"),
    ),
    Instrument(
        "hedges",
        "aichat.client.hedges",
        "counter",
        "{request}",
        "Second attempts beside slow first ones, by who was asked.",
        ("gen_ai.provider.name",),
    ),
    Instrument(
        "cache",
        "aichat.client.cache",
        "counter",
        "{request}",
        "What the cache knew: hit, miss, or shared with another call.",
        ("gen_ai.provider.name", "aichat.cache.result"),
    ),
    Instrument(
        "circuits_open",
        "aichat.client.circuits.open",
        "observable up-down counter",
        "{circuit}",
        "Circuits that are open; 0 for one that is closed.",
        ("aichat.circuit",),
    ),
    Instrument(
        "circuits_opened",
        "aichat.client.circuits.opened",
        "observable counter",
        "{opening}",
        "How often circuits have opened.",
        ("aichat.circuit",),
    ),
    Instrument(
        "redis_trips",
        "aichat.client.redis.round_trips",
        "observable counter",
        "{round_trip}",
        "How often Redis was asked for what processes share: ok or failed.",
        ("aichat.redis.result",),
    ),
    Instrument(
        "redis_away",
        "aichat.client.redis.away",
        "observable up-down counter",
        "{state}",
        "States whose Redis is away; 0 where all is well.",
        ("aichat.redis.namespace",),
    ),
    Instrument(
        "redis_alone",
        "aichat.client.redis.alone",
        "observable counter",
        "{request}",
        "Calls let through by this process's share of a limit, while Redis was away.",
        ("aichat.redis.namespace",),
    ),
)


@final
class Vocabulary:
    """
    Words that may be labels: the first so many that come, and ``other`` for the rest.

    Whoever lets users choose the model would otherwise let them choose how much memory the
    metrics take.
    """

    __slots__ = ("_known", "_lock", "_most")

    def __init__(self, most: int) -> None:
        self._most = most
        self._known = set[str]()
        self._lock = Lock()

    def label(self, word: str) -> str:
        """Return *word*, or ``other``."""
        if word in self._known:
            return word
        with self._lock:
            if len(word) > 100 or len(self._known) >= self._most:
                return "other"
            self._known.add(word)
        return word


@final
class Instruments:
    """The instruments of one meter provider, for all clients that use it."""

    duration: Histogram
    tokens: Histogram
    first_chunk: Histogram
    per_chunk: Histogram
    details: Counter
    cost: Counter
    active: UpDownCounter
    requests: Counter
    errors: Counter
    retries: Counter
    waits: Histogram
    reroutes: Counter
    hedges: Counter
    cache: Counter

    def __init__(self, meter: Meter) -> None:
        for row in INSTRUMENTS:
            setattr(self, row.key, _made(meter, row))
        self.models = Vocabulary(100)
        self.providers = Vocabulary(50)
        self.servers = Vocabulary(50)


_OBSERVED: Final[Mapping[str, Callable[[], Mapping[str, int]]]] = {
    "circuits_open": circuits_open,
    "circuits_opened": circuits_opened,
    "redis_trips": round_trips,
    "redis_away": states_away,
    "redis_alone": let_through_alone,
}


def _made(meter: Meter, row: Instrument) -> object:
    say: dict[str, Any] = {"unit": row.unit, "description": row.description}
    match row.kind:
        case "histogram":
            buckets = list(row.buckets)
            return meter.create_histogram(
                row.name, explicit_bucket_boundaries_advisory=buckets, **say
            )
        case "counter":
            return meter.create_counter(row.name, **say)
        case "up-down counter":
            return meter.create_up_down_counter(row.name, **say)
        case "observable up-down counter":
            return meter.create_observable_up_down_counter(
                row.name, [_observing(row)], **say
            )
        case "observable counter":
            return meter.create_observable_counter(row.name, [_observing(row)], **say)


def _observing(row: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
    from opentelemetry.metrics import Observation

    (label,) = row.labels
    look = _OBSERVED[row.key]

    def observe(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(count, {label: key}) for key, count in look().items()]

    return observe


_made_for: Final = WeakKeyDictionary["MeterProvider", Instruments]()
_lock: Final = Lock()


def instruments_of(provider: MeterProvider) -> Instruments:
    """The instruments of *provider*: made once, as it would warn of a second time."""
    with _lock:
        made = _made_for.get(provider)
        if made is None:
            meter = provider.get_meter("aichat", __version__, schema_url=SCHEMA)
            made = _made_for[provider] = Instruments(meter)
        return made
