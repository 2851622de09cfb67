"""What a recording must not hold: keys, wherever they occur, and what identifies an account."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from attrs import evolve

from ..errors import ConfigError, InvalidRequestError
from ..transport import HTTPRequest
from ..transport._address import origin_of, secrets_of
from ..types import dumps, loads
from ._tape import Answered, Asked, Exchange, Read
from ._tape_echoes import scattered

__all__ = ["Censor", "asked", "kept_headers"]

#: What a client reads: waits, limits, and what to quote to the provider's support.
_KEPT: Final = frozenset({
    "apim-request-id",
    "cf-ray",
    "content-type",
    "location",
    "mistral-correlation-id",
    "request-id",
    "retry-after",
    "retry-after-ms",
    "x-litellm-call-id",
    "x-ms-request-id",
    "x-request-id",
    "x-should-retry",
})
#: Parameters of a URL that are as good as a key.
_KEYS: Final = frozenset({"access_token", "api-key", "api_key", "apikey", "key", "sig"})
_IN_URL: Final = rb"[?&](?:api[_-]?)?key=([^&\s\"']+)"
_GONE: Final = "***"


def asked(request: HTTPRequest) -> Asked:
    """What a tape keeps of *request*, before it is censored. Raises `InvalidRequestError`."""
    return Asked(
        method=request.method,
        path=request.path,
        query={k: _GONE if k in _KEYS else v for k, v in request.query.items()},
        body=_body(request),
        host=origin_of(request.base_url),
    )


def _body(request: HTTPRequest) -> Any:
    body = request.body
    if isinstance(body, bytes):
        # It is made up anew for each form.
        kind = {n.lower(): v for n, v in request.headers.items()}.get(
            "content-type", ""
        )
        boundary = re.search(r'boundary="?([^";]+)', kind)
        return body.replace(boundary[1].encode(), b"boundary") if boundary else body
    try:
        # A copy, as the other side reads it.
        return loads(dumps(body))
    except (TypeError, ValueError) as error:
        problem = str(error)[:200]
    raise InvalidRequestError(f"The request cannot be sent: {problem}.")


def kept_headers(headers: Mapping[str, str], also: frozenset[str]) -> dict[str, str]:
    """Those of an answer's *headers* that a tape keeps, in lower case."""
    kept: dict[str, str] = {}
    for name, value in headers.items():
        name = name.lower()
        if name in _KEPT or "ratelimit" in name or name in also:
            kept[name] = value
    if "location" in kept:
        # Its query may be a signature.
        kept["location"] = urlsplit(kept["location"])._replace(query="").geturl()
    return kept


class Censor:
    """Cuts out what it has been told, in any of the forms that it may take in a text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self._pattern = re.compile(_IN_URL, re.IGNORECASE)
        if "" in (secrets := tuple(secrets)):
            raise ConfigError("A secret may not be empty.")
        self._learn(secrets)

    def learn(self, request: HTTPRequest) -> None:
        """Take note of the credentials in *request*."""
        keys = {f"key-{k}": v for k, v in request.query.items() if k in _KEYS}
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower() != "idempotency-key"  # it opens no door
        }
        self._learn(secrets_of(headers | keys))

    def _learn(self, secrets: Iterable[str]) -> None:
        new = set(secrets) - self._secrets
        if not new:
            return
        self._secrets |= new
        forms: set[str] = set()
        for secret in self._secrets:
            escaped = json.dumps(secret)[1:-1]
            forms |= {
                secret,
                quote(secret, safe=""),
                escaped,
                json.dumps(escaped)[1:-1],
            }
        longest_first = sorted(forms, key=len, reverse=True)
        patterns = [re.escape(form.encode()) for form in longest_first]
        self._pattern = re.compile(b"|".join([*patterns, _IN_URL]), re.IGNORECASE)

    def exchange(self, exchange: Exchange) -> Exchange:
        """*exchange* without secrets."""
        answered, ending = exchange.answered, exchange.ending
        return Exchange(
            self.asked(exchange.asked),
            answered and self._answered(answered),
            evolve(ending, message=self._text(ending.message)),
        )

    def asked(self, asked: Asked) -> Asked:
        """*asked* without secrets."""
        return evolve(
            asked,
            path=self._text(asked.path),
            query={name: self._text(value) for name, value in asked.query.items()},
            body=self._value(asked.body),
        )

    def _answered(self, answered: Answered) -> Answered:
        headers = {n: self._text(value) for n, value in answered.headers.items()}
        reads: list[Read] = []
        late = 0.0
        censored = self._pieces([read.data for read in answered.reads])
        for read, data in zip(answered.reads, censored, strict=True):
            if data:
                reads.append(Read(read.ms + late, data))
            # Nothing at all would be the end of the body.
            late = 0.0 if data else late + read.ms
        return evolve(answered, headers=headers, reads=tuple(reads))

    def _pieces(self, pieces: Sequence[bytes]) -> list[bytes]:
        """*pieces* without secrets, also those of which each piece has only a part."""
        whole = b"".join(pieces)
        spans = self._spans(whole)
        if not spans:
            return list(pieces)
        censored: list[bytes] = []
        start = 0
        for piece in pieces:
            end, at, said = start + len(piece), start, b""
            for begin, stop, instead in spans:
                if stop > at and begin < end:
                    said += whole[at : max(begin, at)]
                    said += instead if begin >= start else b""
                    at = min(stop, end)
            censored.append(said + whole[at:end])
            start = end
        return censored

    def _spans(self, whole: bytes) -> list[tuple[int, int, bytes]]:
        """What is to go, from where to where, and what to say instead."""
        gone = _GONE.encode()
        spans = [
            # The group is what comes after ``key=``.
            (*found.span(found.lastindex or 0), gone)
            for found in self._pattern.finditer(whole)
        ]
        for first, *others in scattered(whole, self._secrets):
            spans += [(*first, gone), *((*other, b"") for other in others)]
        return sorted(spans)

    def _text(self, text: str) -> str:
        return b"".join(self._pieces([text.encode(errors="replace")])).decode()

    def _value(self, value: Any) -> Any:
        match value:
            case str():
                return self._text(value)
            case bytes():
                return self._pieces([value])[0]
            case dict():
                return {self._text(k): self._value(v) for k, v in value.items()}
            case list():
                return [self._value(each) for each in value]
            case _:
                return value
