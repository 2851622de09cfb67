"""What was agreed upon: so many requests and tokens per so many seconds. And what a call costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf
from typing import Any, Final, Literal, TypeAlias, TypedDict, Unpack

from attrs import Attribute, Factory, field, frozen

from ..errors import ConfigError
from ..types import ChatRequest, Usage, estimate_text_tokens, estimate_tokens
from ..types._values import is_number
from ._retry import check_number

__all__ = ["KINDS", "ONE_REQUEST", "Cost", "Kind", "RateLimit"]

#: What is counted. *tokens* are input and output together.
Kind: TypeAlias = Literal["requests", "tokens", "input_tokens", "output_tokens"]
KINDS: Final[tuple[Kind, ...]] = ("requests", "tokens", "input_tokens", "output_tokens")


@frozen(kw_only=True)
class Cost:
    """What one call takes from a `RateLimit`, as far as it is known before."""

    requests: float = field(default=1, validator=check_number)
    input_tokens: float = field(default=0, validator=check_number)
    output_tokens: float = field(default=0, validator=check_number)


ONE_REQUEST: Final = Cost()


class _Tokens(TypedDict, total=False):
    tokens: float | None
    input_tokens: float | None
    output_tokens: float | None
    expected_output: float
    count_cache_reads: bool


def _check_limit(limit: RateLimit, attribute: Attribute[Any], value: Any) -> None:
    if value is not None:
        check_number(limit, attribute, value)


@frozen
class RateLimit:
    """
    So many *requests* and tokens per so many seconds, evenly, after a burst at once.

    Tokens are counted together or apart, as the provider does it; a call waits until there
    is room for it in everything that is limited.

    >>> RateLimit.per_minute(600).rate
    10.0
    >>> RateLimit.per_minute(1000, input_tokens=450_000, output_tokens=90_000).per
    60.0
    >>> RateLimit(tokens=200_000).requests is None
    True
    """

    #: ``None`` where only tokens are limited.
    requests: float | None = field(default=None, validator=_check_limit)
    per: float = field(default=60.0, validator=check_number)
    #: How many requests may go at once after a pause; as many as *requests* unless said
    #: otherwise. Of tokens all of *per* may.
    burst: float = field(
        default=Factory(lambda limit: _burst(limit.requests), takes_self=True),
        validator=check_number,
    )
    #: Input and output together.
    tokens: float | None = field(default=None, kw_only=True, validator=_check_limit)
    input_tokens: float | None = field(
        default=None, kw_only=True, validator=_check_limit
    )
    output_tokens: float | None = field(
        default=None, kw_only=True, validator=_check_limit
    )
    #: Tokens that are reserved for an answer, or the request's *max_tokens* if that is less.
    #: Not *max_tokens* itself, which says how long an answer may be and is far from how long
    #: it will be. A provider that counts it in full (OpenAI does) wants this higher.
    expected_output: float = field(default=1000, kw_only=True, validator=check_number)
    #: False for providers that give what comes out of their cache for free (Anthropic).
    count_cache_reads: bool = field(default=True, kw_only=True)
    #: Of all that is limited, how much may go at once, and how much per second.
    sizes: Mapping[Kind, tuple[float, float]] = field(
        init=False, repr=False, eq=False, factory=dict
    )
    #: Whether anybody has to know how many tokens a call takes.
    counts_tokens: bool = field(init=False, repr=False, eq=False, default=False)

    def __attrs_post_init__(self) -> None:
        limits = [limit for kind in KINDS if (limit := getattr(self, kind)) is not None]
        if not limits:
            raise ConfigError(
                "This RateLimit limits nothing: set requests, tokens, input_tokens or "
                "output_tokens."
            )
        if not (min(limits) > 0 and self.per > 0 and self.burst >= 1):
            raise ConfigError(
                f"{self!r} would never let anything through: what is limited and per must "
                "be above 0, and burst at least 1."
            )
        # Looked at for every call.
        sizes = dict(self._sizes())
        object.__setattr__(self, "sizes", sizes)
        object.__setattr__(self, "counts_tokens", bool(sizes.keys() - {"requests"}))

    def _sizes(self) -> Iterator[tuple[Kind, tuple[float, float]]]:
        for kind in KINDS:
            limit: float | None = getattr(self, kind)
            if limit is not None:
                burst = self.burst if kind == "requests" else limit
                yield kind, (burst, limit / self.per)

    @classmethod
    def per_second(
        cls,
        requests: float | None = None,
        *,
        burst: float | None = None,
        **tokens: Unpack[_Tokens],
    ) -> RateLimit:
        """So many requests, and tokens, a second."""
        return cls._of(requests, 1.0, burst, tokens)

    @classmethod
    def per_minute(
        cls,
        requests: float | None = None,
        *,
        burst: float | None = None,
        **tokens: Unpack[_Tokens],
    ) -> RateLimit:
        """So many requests, and tokens, a minute."""
        return cls._of(requests, 60.0, burst, tokens)

    @classmethod
    def _of(
        cls, requests: float | None, per: float, burst: float | None, tokens: _Tokens
    ) -> RateLimit:
        if burst is None:
            return cls(requests, per, **tokens)
        return cls(requests, per, burst, **tokens)

    @property
    def rate(self) -> float:
        """Requests per second; infinite where only tokens are limited."""
        return inf if self.requests is None else self.requests / self.per

    def expect(self, request: ChatRequest) -> Cost:
        """Guess what *request* will cost. Looks at its text only if tokens are limited."""
        if not self.counts_tokens:
            return ONE_REQUEST
        output = self.expected_output
        if request.max_tokens is not None:
            output = min(output, request.max_tokens)
        return Cost(input_tokens=estimate_tokens(request), output_tokens=output)

    def expect_texts(self, texts: Iterable[str]) -> Cost:
        """Guess what it costs to read *texts*, with no answer in tokens."""
        if not self.counts_tokens:
            return ONE_REQUEST
        return Cost(input_tokens=sum(map(estimate_text_tokens, texts)))

    def used(self, cost: Cost, usage: Usage) -> Cost:
        """What a call has taken: *usage*, and *cost* where that says nothing."""
        read, written = usage.input_tokens, usage.output_tokens
        if read is not None and not self.count_cache_reads:
            read -= usage.cache_read_tokens or 0
        return Cost(
            requests=cost.requests,
            input_tokens=cost.input_tokens if read is None else _sane(read),
            output_tokens=cost.output_tokens if written is None else _sane(written),
        )

    def amounts(self, cost: Cost) -> dict[Kind, float]:
        """
        What *cost* takes of all that is limited; no more than may go at once of anything.

        Otherwise a request that is too large would wait for ever.
        """
        read, written = cost.input_tokens, cost.output_tokens
        asked: dict[Kind, float] = {
            "requests": cost.requests,
            "tokens": read + written,
            "input_tokens": read,
            "output_tokens": written,
        }
        return {kind: min(asked[kind], most) for kind, (most, _) in self.sizes.items()}


def _burst(requests: float | None) -> float:
    # Validators come later; they will say what is wrong with it.
    return max(requests, 1) if requests is not None and is_number(requests) else 1


def _sane(tokens: int) -> float:
    # A provider's nonsense is no reason to fail a call that has gone well.
    return min(max(tokens, 0), 1e12)
