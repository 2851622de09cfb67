"""Batches of Ray's as lines of requests, and results as tables of Arrow's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigError, InvalidRequestError
from ..types import dumps
from ._desk import Outcome
from ._lines import BadLine, as_failure, as_output, error_facts, name_of

if TYPE_CHECKING:
    import pyarrow

__all__ = ["COLUMNS", "columns_of", "lines_of", "table_of"]

_TOKENS: Final = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "reasoning_tokens",
)
#: What comes out.
COLUMNS: Final = ("id", "text", *_TOKENS, "cost", "error", "line")
#: Who has a single column of this name has rows, and forgot the rest.
_FIELDS: Final = frozenset({"id", "custom_id", "prompt", "messages", "body"})


def columns_of(batch: Any) -> dict[str, Sequence[Any]]:
    """The columns of a table of Arrow's, or of arrays by name, as plain values."""
    if isinstance(batch, Mapping):
        return {str(name): column.tolist() for name, column in batch.items()}
    if hasattr(batch, "to_pydict"):
        found: dict[str, Sequence[Any]] = batch.to_pydict()
        return found
    raise ConfigError('Ask takes batches in the batch_format "pyarrow" or "numpy".')


def lines_of(columns: Mapping[str, Sequence[Any]]) -> list[bytes | BadLine]:
    """A line for each row: a single column of texts has them, else the row is written as one."""
    if len(columns) == 1:
        [(name, column)] = columns.items()
        if name not in _FIELDS and all(isinstance(v, str | bytes) for v in column):
            return [v.encode() if isinstance(v, str) else v for v in column]
    names = tuple(columns)
    return [
        _written(dict(zip(names, row, strict=True)))
        for row in zip(*columns.values(), strict=True)
    ]


def table_of(outcomes: Sequence[Outcome], kept: Mapping[str, Any]) -> pyarrow.Table:
    """A row for each outcome, with the columns that were *kept* beside it."""
    import pyarrow

    rows = [_row(outcome) for outcome in outcomes]
    table = pyarrow.Table.from_pylist(rows, schema=_schema())
    for name, column in kept.items():
        if not isinstance(column, pyarrow.ChunkedArray):
            column = pyarrow.array(column.tolist())
        table = table.append_column(name, column)
    return table


@cache
def _schema() -> pyarrow.Schema:
    """Always the same, whatever is null in a batch."""
    import pyarrow

    text, number = pyarrow.string(), pyarrow.int64()
    kinds = dict.fromkeys(COLUMNS, text) | dict.fromkeys(_TOKENS, number)
    kinds["cost"] = pyarrow.float64()
    return pyarrow.schema(list(kinds.items()))


def _written(row: Mapping[str, Any]) -> bytes | BadLine:
    """The line of JSON that a row stands for."""
    good: dict[str, Any] = {}
    wrong: list[str] = []
    for name, value in row.items():
        try:
            plain = _plain(value)
            dumps(plain)
        except (TypeError, ValueError) as error:
            wrong.append(f"column {name!r}: {error}")
        else:
            if plain is not None:
                good[name] = plain
    if not wrong:
        return dumps(good)
    said = InvalidRequestError(f"{'; '.join(wrong)}.", operation="bulk")
    return BadLine(0, dumps(good), said)


def _plain(value: Any) -> Any:
    """JSON of what Arrow, numpy and pandas hold, without nulls in objects."""
    match value:
        case None | str() | bool() | int():
            return value
        case float():
            # So pandas says that there is nothing.
            return None if value != value else value
        case Mapping():
            pairs = ((str(key), _plain(each)) for key, each in value.items())
            return {key: each for key, each in pairs if each is not None}
        case list() | tuple():
            return [_plain(each) for each in value]
        case _ if hasattr(value, "tolist"):
            return _plain(value.tolist())
        case _:
            # A text that looks like a date has become one, on the way here.
            kind = type(value).__name__
            raise TypeError(
                f"a {kind} has no form in JSON; read lines with ray.data.read_text"
            )


def _row(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, BadLine):
        name = name_of(outcome.raw)
        return _failed(name and name[0], outcome.raw, outcome.error)
    line, response = outcome.asked.line, outcome.response
    if response is None:
        assert outcome.error is not None
        return _failed(line.id, line.raw, outcome.error)
    written = as_output(
        line.id, line.form, response, outcome.cost, model=line.request.model
    )
    return {
        "id": line.id,
        "text": response.text,
        **{name: getattr(response.usage, name) for name in _TOKENS},
        "cost": None if outcome.cost is None else float(outcome.cost.total),
        "line": written.rstrip().decode(),
    }


def _failed(id: str | None, raw: bytes, error: Exception) -> dict[str, Any]:
    facts = error_facts(error)
    return {
        "id": id,
        "error": dumps(facts).decode(),
        "line": as_failure(raw, facts).rstrip().decode(),
    }
