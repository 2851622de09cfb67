"""Reads the requests of a file for one client."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any, Final, final

import anyio.lowlevel
from attrs import evolve, frozen

from .._client import Client
from ..errors import ConfigError, InvalidRequestError
from ._index import IdIndex
from ._lines import BadLine, Form, Head, Line, name_of, raw_lines, read_line

__all__ = ["Reader", "Survey"]

#: Lines that are looked at before the event loop gets its turn.
_AT_ONCE: Final = 256
#: Mistakes that an error lists.
_MOST: Final = 20


@final
@frozen(kw_only=True)
class Survey:
    """What there is to do."""

    #: Those that hold something.
    lines: int
    #: Of them: those whose result the output has.
    done: int


@final
class Reader:
    """The lines of *path* as requests of *client*, with *options* over all of them."""

    def __init__(self, client: Client, path: Path, options: Mapping[str, Any]) -> None:
        # Whoever misspells an option hears of it now.
        client._request("?", {"model": "any:any", **options})
        self._client = client
        self._options = dict(options)
        self.path = path

    async def survey(self, index: IdIndex, *, strict: bool, any_model: bool) -> Survey:
        """
        Read all of it once, and note in *index* what is to be done.

        Raises `InvalidRequestError` for an id that occurs twice, and when *strict* for every
        line that is no good request; and `ConfigError` for answers of another model than the
        one that is asked now, unless *any_model* will do.
        """
        lines = done = 0
        others = Counter[tuple[str, str]]()
        twice: list[str] = []
        bad: list[str] = []
        async for number, raw in self._raw():
            lines += 1
            name = name_of(raw)
            if name is not None:
                before = index.add(name.id, number, name.form.value)
                if before == -1:
                    done += 1
                    was, now = index.model_of(name.id), self._model(name)
                    if was not in (None, now):
                        others[f"{was}", now] += 1
                elif before > 0:
                    twice.append(
                        f"line {number} has the id {name.id!r} of line {before}"
                    )
            if strict and isinstance(found := self.read(number, raw), BadLine):
                bad.append(found.error.message)
            if len(twice) + len(bad) > _MOST:
                break
        if twice:
            _refuse("An id may occur once", twice)
        if bad:
            _refuse("Not all lines are requests", bad)
        if others and not any_model:
            raise _of_others(others)
        return Survey(lines=lines, done=done)

    async def todo(self, index: IdIndex) -> AsyncGenerator[Line | BadLine, None]:
        """Yield what is still to be done."""
        async for number, raw in self._raw():
            name = name_of(raw)
            if name is not None and (line := index.line_of(name.id)) != number:
                if line is not None:
                    raise ConfigError(
                        f"{self.path} has changed since the run began.",
                        operation="bulk",
                    )
                continue
            yield self.read(number, raw)

    def read(self, number: int, raw: bytes) -> Line | BadLine:
        """Read one line."""
        line = read_line(number, raw, self._address)
        if isinstance(line, BadLine):
            return line
        try:
            request = self._client._request(line.request, dict(self._options))
            name = request.provider_name or ""
            if name not in self._client._providers:
                self._client._provider(name)  # which says what there is
        except InvalidRequestError as error:
            error = InvalidRequestError(
                f"Line {number}: {error.message}", operation="bulk"
            )
            return BadLine(number, raw, error)
        return line if request is line.request else evolve(line, request=request)

    def _model(self, line: Head) -> str:
        """The model that a line asks, as `read` finds it."""
        client = self._client
        ours = line.form is Form.OURS and ":" in line.model
        model = line.model if ours else self._address(line.model)
        model = self._options.get("model") or model or client._model or ""
        return client._address(model)

    async def _raw(self) -> AsyncGenerator[tuple[int, bytes], None]:
        for seen, (number, raw) in enumerate(raw_lines(self.path)):
            if seen % _AT_ONCE == _AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
            yield number, raw

    def _address(self, model: str) -> str:
        """
        Complete the name of a model.

        OpenAI's names of tuned models have colons in them: what stands before one counts
        only if it is a provider.
        """
        client = self._client
        if not model:
            return ""
        prefix, colon, _ = model.partition(":")
        if colon and prefix in client._providers:
            return model
        return f"{client._default_provider}:{model}"


def _of_others(others: Counter[tuple[str, str]]) -> ConfigError:
    (was, now), _ = others.most_common(1)[0]
    lines = others.total()
    return ConfigError(
        f"The output has answers of {was} to {lines:,} line{'s' if lines > 1 else ''} that "
        f"would be asked of {now or 'no model'} now: they would stay as they are. Ask the "
        "same model as before, or name another output. If these answers will do, pass "
        "any_model=True (--any-model).",
        operation="bulk",
    )


def _refuse(what: str, mistakes: list[str]) -> None:
    shown = "; ".join(mistake.rstrip(".") for mistake in mistakes[:_MOST])
    more = "; and more" if len(mistakes) > _MOST else ""
    raise InvalidRequestError(f"{what}: {shown}{more}.", operation="bulk")
