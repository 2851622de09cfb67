"""What the simulator does wrong on request: one small value per misfortune."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, TypedDict, get_args

from attrs import evolve, field, frozen

from ..errors import ConfigError
from ..types import dumps
from ._sim_brain import Answer, Call, count_tokens, pieces
from ._sim_dialect import Refused, Visit

__all__ = ["FAULT_HEADER", "Fault", "FaultFacts", "FaultKind", "perform_or_fail"]

FAULT_HEADER: Final = "x-aichat-fault"

FaultKind: TypeAlias = Literal[
    # Instead of an answer:
    "status",  # an error
    "rate_limit",  # 429, with the seconds to wait
    "quota",  # the account is empty, in the dialect's own words
    "overloaded",  # 503 or 529
    "context_length",  # the prompt is too long, in the dialect's own words
    "drop",  # the connection closes without a word
    "html",  # somebody else's web page, with status 200
    "empty",  # no body at all, with status 200
    # Within an answer:
    "error_event",  # an error within the stream
    "hang_up",  # the connection closes without the end of the body
    "truncate",  # the body ends properly, the answer does not
    "stall",  # nothing more comes, and the connection stays
    "garbage",  # an event that is no JSON, and on it goes
    "huge_line",  # an event of so many bytes
    # Around a good answer:
    "slow_start",  # it begins late
    "slow",  # each word takes its time
    # In what is said:
    "length",  # as if the tokens had been used up
    "bad_arguments",  # half of the arguments of each tool call
]
_KINDS: Final = get_args(FaultKind)
#: More than a client's ceilings, which a line of 10 MiB has to pass.
_HUGE: Final = 33 * 2**20


@frozen
class _Refusal:
    """An error, as a dialect has it."""

    status: int
    message: str | None = None
    code: str | None = None


_BUSY: Final = "The model is overloaded. Please try again later."
_TOO_LONG: Final = (
    "Your input exceeds the context window of this model. Please adjust your input and "
    "try again."
)
_EMPTY: Final = (
    "You exceeded your current quota, please check your plan and billing details."
)

#: By kind and dialect; ``""`` speaks for those that are not there.
_REFUSALS: Final[Mapping[str, Mapping[str, _Refusal]]] = {
    "status": {"": _Refusal(503)},
    "rate_limit": {"": _Refusal(429)},
    "quota": {
        "": _Refusal(429, _EMPTY, "insufficient_quota"),
        "anthropic": _Refusal(
            400,
            "Your credit balance is too low to access the Anthropic API. Please go to "
            "Plans & Billing to upgrade or purchase credits.",
        ),
        "google": _Refusal(
            429, _EMPTY, "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
        ),
        "ollama": _Refusal(
            402, "you have reached your usage limit, upgrade to continue"
        ),
    },
    "overloaded": {
        "": _Refusal(503, _BUSY),
        "anthropic": _Refusal(529, "Overloaded"),
        "ollama": _Refusal(
            503, "server busy, please try again.  maximum pending requests exceeded"
        ),
    },
    "context_length": {
        "": _Refusal(400, _TOO_LONG, "context_length_exceeded"),
        "anthropic": _Refusal(
            400, "prompt is too long: 214031 tokens > 200000 maximum"
        ),
        "google": _Refusal(
            400,
            "The input token count (1200000) exceeds the maximum number of tokens "
            "allowed (1048576).",
        ),
        "ollama": _Refusal(400, "the input length exceeds the context length"),
    },
}


#: Of an ``error_event``: there is no status within a stream, and Anthropic has no type for 503.
_WITHIN: Final[Mapping[str, _Refusal]] = {"": _Refusal(503), "anthropic": _Refusal(529)}


def _to_headers(value: Mapping[str, str] | None) -> Mapping[str, str]:
    return dict(value or {})


class FaultFacts(TypedDict, total=False):
    """The fields of a `Fault`, as keyword arguments."""

    after: int
    seconds: float
    size: int
    status: int | None
    code: str | None
    message: str | None
    headers: Mapping[str, str]


@frozen
class Fault:
    """
    Something that goes wrong with one request.

    >>> Fault.parse("hang_up; after=3") == Fault("hang_up", after=3)
    True
    """

    kind: FaultKind = "status"
    #: How many words are said before; a document that is no stream has two.
    after: int = field(default=0, kw_only=True)
    #: Of a ``slow_start`` or a ``slow`` word, and what a ``rate_limit`` says to wait.
    seconds: float = field(default=1.0, kw_only=True)
    #: Bytes of a ``huge_line``.
    size: int = field(default=_HUGE, kw_only=True)
    #: Of an error, if it shall not be the usual one: 503 unless the kind says another.
    status: int | None = field(default=None, kw_only=True)
    #: The provider's word for it, if it shall not be the usual one.
    code: str | None = field(default=None, kw_only=True)
    message: str | None = field(default=None, kw_only=True)
    #: What the answer carries besides, such as ``retry-after``.
    headers: Mapping[str, str] = field(
        default=None, kw_only=True, converter=_to_headers, hash=False
    )

    def __attrs_post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise ConfigError(
                f"There is no fault {self.kind!r}. There are: {', '.join(_KINDS)}."
            )
        if self.status is not None and not 200 <= self.status <= 599:
            raise ConfigError(f"A fault's status is 200 to 599, not {self.status}.")
        for name in ("after", "seconds", "size"):
            if not getattr(self, name) >= 0:
                raise ConfigError(
                    f"A fault's {name} is 0 or more, not {getattr(self, name)}."
                )

    @property
    def refuses(self) -> bool:
        """Whether there is an error instead of an answer."""
        return self.kind in _REFUSALS

    def refused(self, dialect: str = "") -> Refused:
        """The error that it stands for, as *dialect* says it."""
        by_dialect = _REFUSALS.get(self.kind, _WITHIN)
        usual = by_dialect.get(dialect, by_dialect[""])
        status = self.status or usual.status
        headers = dict(self.headers)
        if self.kind == "rate_limit":
            headers.setdefault("retry-after", f"{self.seconds:g}")
        return Refused(
            self.message
            or usual.message
            or f"The simulator was told to fail with {status}.",
            status=status,
            code=self.code or usual.code,
            headers=headers,
        )

    def twist(self, answer: Answer) -> Answer:
        """What becomes of *answer* before it is said."""
        match self.kind:
            case "length":
                return _shortened(answer, self.after)
            case "bad_arguments":
                calls = tuple(map(_halved, answer.calls))
                return evolve(answer, calls=calls)
            case _:
                return answer

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Read the header ``x-aichat-fault``: ``kind; after=3; status=429; code=x``."""
        kind, *rest = (item.strip() for item in text.split(";"))
        facts: dict[str, Any] = {}
        for item in rest:
            name, _, value = (part.strip() for part in item.partition("="))
            match name:
                case "after" | "status" | "size" if _is_number(value, r"\d+"):
                    facts[name] = int(value)
                case "seconds" if _is_number(value, r"\d+(\.\d+)?"):
                    facts[name] = float(value)
                case "code" | "message":
                    facts[name] = value
                case "retry-after" | "retry-after-ms":
                    facts.setdefault("headers", {})[name] = value
                case _:
                    raise ConfigError(f"A fault has no {item!r}.")
        return cls(kind, **facts)  # type: ignore[arg-type]  # which it checks


def _is_number(text: str, form: str) -> bool:
    return bool(re.fullmatch(form, text, re.ASCII))


def _halved(call: Call) -> Call:
    return evolve(call, arguments=call.arguments[: max(1, len(call.arguments) // 2)])


def _shortened(answer: Answer, words: int) -> Answer:
    """The first *words* of *answer*, as if there were no tokens for more."""
    reasoning, words = _first(answer.reasoning, words)
    text, words = _first(answer.text, words)
    calls: list[Call] = []
    for call in answer.calls if words else ():
        arguments, words = _first(call.arguments, words)
        calls.append(evolve(call, arguments=arguments))
        if not words:
            break
    said = (text, *(part for call in calls for part in (call.name, call.arguments)))
    thought = count_tokens(reasoning)
    return evolve(
        answer,
        reasoning=reasoning,
        text=text,
        calls=tuple(calls),
        finish="length",
        stop_sequence=None,
        output_tokens=thought + sum(map(count_tokens, said)),
        reasoning_tokens=thought,
    )


def _first(text: str, words: int) -> tuple[str, int]:
    said = pieces(text)[:words]
    return "".join(said), words - len(said)


def perform_or_fail(visit: Visit, path: str, body: Any) -> dict[str, Any]:
    """
    Answer a request of a batch. Raises `Refused`.

    It has no headers, but may ask for a fault with the same words anywhere in it:
    ``x-aichat-fault: status; status=429``.
    """
    found = re.search(rf'{FAULT_HEADER}: ([^"\\]+)', dumps(body).decode())
    if found is not None:
        try:
            raise Fault.parse(found[1]).refused()
        except ConfigError as error:
            raise Refused(f"{FAULT_HEADER}: {error}") from None
    return visit.perform(path, body)
