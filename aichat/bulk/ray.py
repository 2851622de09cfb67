"""
The same job over a cluster: a callable class for `ray.data`. Needs the extra ``ray``.

::

    import ray
    from aichat.bulk.ray import ask_dataset

    lines = ray.data.read_text("questions.jsonl")
    answers = ask_dataset(lines, {"provider": "openai"}, workers=8)
    answers.write_parquet("answers/")

Each worker has one client and one engine, that of `aichat.bulk.run`, for all its batches: it
finds out once how many calls the provider bears, and a slow answer of one batch does not keep
the next batch waiting. Quotas are one worker's own unless the configuration has a
``redis_url``: with it they are the cluster's.

A dataset of one column of texts holds lines as `run_file` takes them, and reading them with
``read_text`` is the main road: each is parsed by itself. In any other dataset a row is a
request and its columns are the fields of it. Arrow gives all rows the same fields, with nulls
where they have none, so that a null counts as not there.

What comes out, a row for each row and in a batch in its order:

=========================  ==============================================================
``id``                     as it came; null if there was none
``text``                   the text of the answer
``input_tokens``, …        ``output_tokens``, ``cache_read_tokens``, ``reasoning_tokens``
``cost``                   US dollars; null if nobody knows the price
``error``                  what went wrong, as JSON; null if nothing did
``line``                   what `run_file` would have written, to the output or the
                           failures: a row that failed can be asked again with it
=========================  ==============================================================

**When a worker dies** Ray gives its unfinished batches to another one, and all of each is
asked again, answers included that were there but not handed over: about twice *concurrency*
requests may be paid twice. A cache that the workers share, in the *client* that they make,
makes it fewer: what was answered completely comes from there.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Unpack, final

from .._client import Client
from ..errors import ClosedError, ConfigError
from ..types import RequestOptions
from ._desk import Desk
from ._ray_rows import COLUMNS, columns_of, lines_of, table_of

if TYPE_CHECKING:
    import pyarrow
    from ray.data import Dataset

    from ..middleware import Price

__all__ = ["Ask", "ask_dataset"]

#: Batches for each place: one is answered, and the next one is there for the places that
#: become free.
_AHEAD: Final = 2
#: A worker waits nearly all the time.
_CPUS: Final = 0.5


def ask_dataset(
    dataset: Dataset,
    config: Mapping[str, Any] | None = None,
    /,
    *,
    client: Callable[[], Client] | None = None,
    workers: int | tuple[int, int] = 2,
    concurrency: int = 64,
    batch_size: int | None = None,
    patience: int = 5,
    prices: Mapping[str, Price] | None = None,
    keep: Sequence[str] = (),
    finish: bool = False,
    remote: Mapping[str, Any] | None = None,
    **options: Unpack[RequestOptions],
) -> Dataset:
    """
    Answer every row of *dataset*, lazily, on *workers*: so many, or from so many to so many.

    *config* are fields of `ClientConfig` over the environment of each worker, which is where
    keys should come from. A key in *config* goes to the workers, through Ray's object store,
    and is shown nowhere. Or *client* makes the client, there: with middleware, providers of
    your own, and whatever closes with it.

    *concurrency* is the ceiling of one worker, and the *batch_size* unless you say another:
    with larger ones more is asked again when a worker dies, and of small ones Ray hands out
    ten to fifty in a second. *patience*, *prices* and *options* are as in `run_file`. Columns
    to *keep* go into the output as they are, and not into requests. *remote* goes to
    ``map_batches``; a worker has half a CPU unless it says otherwise.

    Errors are rows. What fails one request after the other, such as a wrong key, fails the
    job, and with it answers that were not handed over yet; a job that shall *finish* has it
    as the error of every row that is left, none of which is sent. Ids are not compared: who
    has an id twice has two answers. Raises `ConfigError`::

        answers = ask_dataset(ray.data.read_text("in.jsonl"), workers=8, max_tokens=500)
        failed = answers.filter(lambda row: row["error"] is not None)
        again = ask_dataset(failed.select_columns(["line"]), workers=2)
    """
    _numbers(concurrency=concurrency)
    size = concurrency if batch_size is None else batch_size
    _numbers(batch_size=size)
    fewest, most = (workers, workers) if isinstance(workers, int) else workers
    _numbers(workers=fewest)
    if most < fewest:
        raise ConfigError(f"workers: from {fewest} to {most} is no range.")
    if config is not None and "redis_url" in config:
        # So many share, also as long as Redis has not told them.
        config = {"redis_workers": most, **config}
    ask = Ask(
        None if config is None else _checked(config),
        client=client,
        concurrency=concurrency,
        patience=patience,
        prices=prices,
        keep=keep,
        finish=finish,
        options=dict(options),
    )
    strategy = _ray_data().ActorPoolStrategy
    calls = _AHEAD * -(-concurrency // size)
    # A block is what Ray hands out, and hands out again: of a file that is read there may be
    # one for everything.
    blocks = dataset.repartition(target_num_rows_per_block=size)
    return blocks.map_batches(
        Ask,
        fn_constructor_kwargs=ask._arguments(),
        compute=strategy(
            min_size=fewest,
            max_size=most,
            max_concurrent_calls_per_actor=calls,
        ),
        batch_size=size,
        batch_format="pyarrow",
        udf_modifying_row_count=False,
        **{"num_cpus": _CPUS, **(remote or {})},
    )


@final
class Ask:
    """
    What a worker does with a batch; for ``map_batches``, where `ask_dataset` does not fit::

        dataset.map_batches(
            Ask,
            fn_constructor_kwargs={"config": {"provider": "openai"}},
            batch_size=64,
            compute=ray.data.ActorPoolStrategy(size=8, max_concurrent_calls_per_actor=2),
        )

    The arguments are those of `ask_dataset`, but for secrets in *config*, which Ray would
    write into its logs as it writes all arguments. The client is made with the first batch, in a
    loop and a thread of its own. It is closed, and what is under way ended, when the worker
    ends or lets go of this. Used without Ray, `close` does it. Raises `ConfigError`.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Carried | None = None,
        *,
        client: Callable[[], Client] | None = None,
        concurrency: int = 64,
        patience: int = 5,
        prices: Mapping[str, Price] | None = None,
        keep: Sequence[str] = (),
        finish: bool = False,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if config is not None and client is not None:
            raise ConfigError("config and client: give one of them.")
        _numbers(concurrency=concurrency)
        _numbers(0, patience=patience)
        if isinstance(keep, str):
            raise ConfigError(f"keep must be a list of columns; got {keep!r}.")
        for name in options or ():
            if name not in RequestOptions.__annotations__:
                raise TypeError(f"There is no option {name!r}.")
        if taken := sorted({*keep} & {*COLUMNS}):
            raise ConfigError(f"keep: {', '.join(taken)} would be there twice.")
        if isinstance(config, Mapping) and {"api_key", "redis_url"} & {*config}:
            raise ConfigError(
                "api_key and redis_url in config would be in Ray's logs. Set them in the "
                "environment of the workers, or use ask_dataset."
            )
        self._config = config if isinstance(config, Carried) else _checked(config)
        self._client = client
        self._concurrency = concurrency
        self._patience = patience
        self._prices = prices
        self._keep = tuple(keep)
        self._finish = finish
        self._options = dict(options or {})
        self._lock = threading.Lock()
        self._desk: Desk | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    async def __call__(self, batch: Any) -> pyarrow.Table:
        """Answer a batch: a table, or columns by name. Raises what ends the job."""
        columns = columns_of(batch)
        if missing := [name for name in self._keep if name not in columns]:
            raise ConfigError(f"keep: there is no column {', '.join(missing)}.")
        asked = {k: column for k, column in columns.items() if k not in self._keep}
        if not asked:
            raise ConfigError("There are no columns with requests in them.")
        desk = self._opened()
        work = desk.answer(lines_of(asked))
        found = await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(work, desk.loop)
        )
        return table_of(found, {name: batch[name] for name in self._keep})

    def close(self) -> None:
        """End what is under way, close the client, and wait for it. Harmless when done twice."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()

    def _arguments(self) -> dict[str, Any]:
        return {
            "config": None if self._client else self._config,
            "client": self._client,
            "concurrency": self._concurrency,
            "patience": self._patience,
            "prices": self._prices,
            "keep": self._keep,
            "finish": self._finish,
            "options": self._options,
        }

    def _opened(self) -> Desk:
        # In the first batch, and not when it is made: there a mistake would end the worker,
        # and be lost with it.
        with self._lock:
            if self._desk is None:
                desk = Desk(
                    self._client or self._config.client,
                    self._concurrency,
                    self._patience,
                    self._prices,
                    self._finish,
                    self._options,
                )
                desk.open()
                self._desk = desk
                # Ray drops us when a worker ends well. Nothing helps when it is killed.
                self._finalizer = weakref.finalize(self, desk.close)
            elif self._finalizer is not None and not self._finalizer.alive:
                raise ClosedError("This is closed.")
            return self._desk


@final
class Carried:
    """
    A configuration on its way to the workers, with what is secret in it; shows its names only.

    No mapping, as Ray would take that apart to show it.
    """

    __slots__ = ("_values",)
    # Ray compares what it can hash by what that is, and this is another one over there.
    __hash__ = None  # type: ignore[assignment]  # as a dict

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __repr__(self) -> str:
        return f"<{', '.join(self._values)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Carried, (self._values,)

    def client(self) -> Client:
        """Make the client that is meant. Raises `ConfigError`."""
        from .._config import ClientConfig

        return Client.from_config(
            ClientConfig.load(mapping=self._values, environ=os.environ)
        )


def _checked(config: Mapping[str, Any] | None) -> Carried:
    from .._config import ClientConfig

    if isinstance(config, ClientConfig):
        raise ConfigError(
            "A ClientConfig holds a key, and stays here. Pass its fields as a mapping; keys "
            "come from the environment of the workers."
        )
    values = dict(config or {})
    # Theirs may say what is missing; what is wrong is wrong there, too.
    ClientConfig.from_mapping({"provider": "theirs", **values})
    return Carried(values)


def _numbers(least: int = 1, /, **values: Any) -> None:
    for name, value in values.items():
        if type(value) is not int or value < least:
            raise ConfigError(
                f"{name} must be a whole number, {least} or more; got {value!r}."
            )


def _ray_data() -> Any:
    try:
        import ray.data
    except ImportError:
        raise ConfigError(
            "A cluster needs the extra ray: pip install 'aichat[ray]'."
        ) from None
    return ray.data
