"""
What a recording is: requests with their answers, byte for byte and with their timing.

A tape is a JSON file that can be read and edited::

    {
      "aichat_tape": 1,
      "exchanges": [
        {
          "request": {"method": "POST", "host": "https://…", "path": "/responses", "json": {…}},
          "response": {
            "ms": 412, "status": 200, "headers": {"content-type": "text/event-stream"},
            "body": [{"ms": 0, "text": "data: …"}, {"ms": 31, "base64": "…"}]
          },
          "end": {"ms": 2, "kind": "eof"}
        }
      ]
    }

Each ``ms`` counts from what was before it. Bytes are ``text`` where they are UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from attrs import field, frozen

from ..errors import ConfigError
from ..transport import Phase

__all__ = [
    "Answered",
    "Asked",
    "Ending",
    "Exchange",
    "Read",
    "TapeError",
    "load_tape",
    "save_tape",
]

_VERSION: Final = 1
#: What stands on one line of the file, if it is not longer.
_LINE: Final = 100

EndingKind: TypeAlias = Literal[
    "eof",  # the body ended as HTTP wants it
    "error",  # the connection broke, or there was none
    "silence",  # nothing came until nobody wanted it any more
    "left",  # whoever asked left before the end: nobody knows what came then
]
_ENDINGS: Final = get_args(EndingKind)
_PHASES: Final = get_args(Phase)


class TapeError(AssertionError):
    """
    A test asked for something else than what was recorded.

    As an `AssertionError` it is neither retried nor answered by a fallback.
    """


@frozen
class Asked:
    """A request, without its headers and without any key."""

    method: str
    #: Relative to the base URL, of which *host* is all that is kept, for the reader.
    path: str
    query: Mapping[str, str] = field(factory=dict)
    #: JSON, or bytes; ``None`` for no body.
    body: Any = field(default=None, repr=False)
    host: str = ""


@frozen
class Read:
    """What arrived at once, so many milliseconds after what was before it."""

    ms: float
    data: bytes = field(repr=False)


@frozen
class Answered:
    """An answer, so many milliseconds after its request."""

    ms: float
    status: int
    headers: Mapping[str, str]
    reads: tuple[Read, ...]


@frozen
class Ending:
    """How an exchange ended, so many milliseconds after the last that arrived."""

    ms: float
    kind: EndingKind
    #: Of an ``error``: the name of its class in `aichat.errors`, and what it said.
    error: str = ""
    message: str = ""
    retryable: bool = False
    #: Where there was no answer: how far the request had got.
    phase: Phase = "first_byte"


@frozen
class Exchange:
    """A request and what became of it; without an answer if there was none."""

    asked: Asked
    answered: Answered | None
    ending: Ending


# -- files -----------------------------------------------------------------------------


def save_tape(path: Path, exchanges: tuple[Exchange, ...]) -> None:
    """Write a tape, or nothing: a reader never sees half of it."""
    value = {"aichat_tape": _VERSION, "exchanges": [_written(e) for e in exchanges]}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(_layout(value) + "\n", encoding="utf-8", newline="\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def load_tape(path: Path) -> tuple[Exchange, ...]:
    """Read a tape. Raises `ConfigError` if there is none, or it makes no sense."""
    if not path.is_file():
        raise ConfigError(
            f"There is no recording {str(path)!r}: make it once with aichat.testing.record."
        )
    bad = None
    try:
        value = json.loads(path.read_bytes())
        version = value["aichat_tape"]
        if version == _VERSION:
            return tuple(map(_exchange, value["exchanges"]))
        bad = f"it has version {version!r}, and this aichat reads version {_VERSION}"
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
        bad = f"{type(error).__name__}: {str(error)[:100]}"
    raise ConfigError(f"{str(path)!r} is no recording of aichat's: {bad}.")


def _written(exchange: Exchange) -> dict[str, Any]:
    asked, answered, ending = exchange.asked, exchange.answered, exchange.ending
    request: dict[str, Any] = {"method": asked.method, "host": asked.host}
    request["path"] = asked.path
    if asked.query:
        request["query"] = dict(asked.query)
    if isinstance(asked.body, bytes):
        request |= _spelled(asked.body)
    elif asked.body is not None:
        request["json"] = asked.body
    response = answered and {
        "ms": answered.ms,
        "status": answered.status,
        "headers": dict(answered.headers),
        "body": [{"ms": read.ms, **_spelled(read.data)} for read in answered.reads],
    }
    end: dict[str, Any] = {"ms": ending.ms, "kind": ending.kind}
    if ending.kind == "error":
        end |= {
            "error": ending.error,
            "message": ending.message,
            "retryable": ending.retryable,
        }
    if answered is None:
        end["phase"] = ending.phase
    return {"request": request, "response": response, "end": end}


def _exchange(value: Any) -> Exchange:
    request, response, end = value["request"], value["response"], value["end"]
    body = request.get("json")
    if "json" not in request and ("text" in request or "base64" in request):
        body = _bytes(request)
    return Exchange(
        Asked(
            method=str(request["method"]),
            path=str(request["path"]),
            query=dict(request.get("query", {})),
            body=body,
            host=str(request.get("host", "")),
        ),
        response
        and Answered(
            ms=_ms(response),
            status=int(response["status"]),
            headers=dict(response["headers"]),
            reads=tuple(Read(_ms(read), _bytes(read)) for read in response["body"]),
        ),
        Ending(
            ms=_ms(end),
            kind=_one_of(_ENDINGS, end["kind"]),
            error=str(end.get("error", "")),
            message=str(end.get("message", "")),
            retryable=bool(end.get("retryable")),
            phase=_one_of(_PHASES, end.get("phase", "first_byte")),
        ),
    )


def _ms(value: Mapping[str, Any]) -> float:
    ms = float(value["ms"])
    if not 0 <= ms < float("inf"):
        raise ValueError(f"{ms} is no number of milliseconds")
    return ms


def _one_of(names: tuple[Any, ...], name: Any) -> Any:
    if name not in names:
        raise ValueError(f"{name!r} is none of {', '.join(names)}")
    return name


def _spelled(data: bytes) -> dict[str, str]:
    try:
        return {"text": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _bytes(value: Mapping[str, Any]) -> bytes:
    if "text" in value:
        return str(value["text"]).encode()
    return base64.b64decode(value["base64"], validate=True)


def _layout(value: Any, depth: int = 0) -> str:
    """Lay *value* out as JSON: one line for what is short or flat, one per item for the rest."""
    line = json.dumps(value, ensure_ascii=False)
    nested = isinstance(value, (dict, list)) and any(
        isinstance(each, (dict, list))
        for each in (value.values() if isinstance(value, dict) else value)
    )
    if not nested or len(line) <= _LINE:
        return line
    inner, outer = "\n" + "  " * (depth + 1), "\n" + "  " * depth
    if isinstance(value, dict):
        items = [
            f"{json.dumps(name, ensure_ascii=False)}: {_layout(each, depth + 1)}"
            for name, each in value.items()
        ]
        return "{" + inner + f",{inner}".join(items) + outer + "}"
    items = [_layout(each, depth + 1) for each in value]
    return "[" + inner + f",{inner}".join(items) + outer + "]"
