"""The same with coverage in the lead: libFuzzer, by way of atheris."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

__all__ = ["run"]


def run(names: Sequence[str], arguments: Sequence[str]) -> None:
    """Fuzz the first of *names*; *arguments* are libFuzzer's. Does not return."""
    atheris: Any = importlib.import_module("atheris")
    for module in [name for name in sys.modules if name.startswith("aichat")]:
        del sys.modules[module]
    for module in [name for name in sys.modules if name.startswith("tests.fuzz.")]:
        if not module.endswith((".guided", ".__main__")):
            del sys.modules[module]
    with atheris.instrument_imports(include=["aichat"]):
        from .check import check_answer
        from .mutate import cut, mutated, scrambled
        from .targets import TARGETS

    target = TARGETS[names[0]]
    folder = Path(mkdtemp(prefix="aichat-fuzz-"))
    for number, seed in enumerate(target.seeds):
        raw = b"".join(piece.raw for piece in seed.pieces)
        (folder / str(number)).write_bytes(raw)

    def one(data: bytes) -> None:
        rand = Random(len(data))
        check_answer(target, data, cut(rand, data), thorough=True)

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        rand = Random(seed)
        match rand.randrange(4):
            case 0:
                made = mutated(rand, target.seeds)
            case 1:
                made = scrambled(rand, data)
            case _:
                made = atheris.Mutate(data, longest)
        return bytes(made)[:longest]

    atheris.Setup(
        [sys.argv[0], str(folder), "-max_len=16384", *arguments],
        one,
        custom_mutator=mutate,
    )
    atheris.Fuzz()
