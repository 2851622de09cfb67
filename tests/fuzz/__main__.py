"""Run the fuzzer; see `tests.fuzz`."""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

from .campaign import Finding, one_input, targets_for
from .check import Broken, check_answer
from .targets import TARGETS

#: Seconds that no input may take, by far; and after which it counts as endless.
_SLOW, _ENDLESS = 1.0, 60.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--target", action="append", choices=[*TARGETS], default=[])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--start", type=int, default=0, help="number of the first input"
    )
    parser.add_argument("--count", type=int, default=sys.maxsize)
    parser.add_argument(
        "--keep", type=Path, help="folder for inputs that break something"
    )
    parser.add_argument("--input", type=Path, help="read this, and nothing else")
    parser.add_argument(
        "--atheris", action="store_true", help="let coverage lead the way"
    )
    options, rest = parser.parse_known_args()
    names = options.target or [*TARGETS]
    if options.input:
        check_answer(TARGETS[names[0]], options.input.read_bytes())
        return 0
    if options.atheris:
        from .guided import run

        run(names, rest)
        return 0
    if rest:
        parser.error(f"unknown: {' '.join(rest)}")
    return _campaign(names, options)


def _campaign(names: list[str], options: argparse.Namespace) -> int:
    targets = targets_for(names)
    seen: Counter[str] = Counter()
    began = shown = time.monotonic()
    number = options.start
    try:
        while number < options.start + options.count:
            found = _timed(options.seed, number, targets)
            number += 1
            if found is not None:
                seen[found.kind] += 1
                if seen[found.kind] == 1:
                    _report(found, options.keep)
            now = time.monotonic()
            if now - shown > 30:
                shown = now
                _say(f"{number - options.start:,} inputs, {len(seen)} findings")
    except KeyboardInterrupt:
        pass
    count, seconds = number - options.start, time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    _say(
        f"{count:,} inputs in {seconds:.0f} s, {count / max(seconds, 0.001):,.0f}/s; "
        f"{memory} MiB at most; {len(seen)} findings"
    )
    for kind, times in seen.most_common():
        _say(f"{times:8} times {kind}")
    return 1 if seen else 0


def _timed(seed: int, number: int, targets: list[str]) -> Finding | None:
    faulthandler.dump_traceback_later(_ENDLESS, exit=True)
    began = time.perf_counter()
    found: Finding | None = one_input(seed, number, targets)
    took = time.perf_counter() - began
    if found is None and took > _SLOW:
        made = one_input(seed, number, targets, only_make=True)
        assert made is not None
        found = Finding(made.target, seed, number, made.data, Broken(f"slow: {took} s"))
    return found


def _report(found: Finding, folder: Path | None) -> None:
    _say(f"{found}")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{found.target}-{sha256(found.data).hexdigest()[:12]}"
        (folder / name).write_bytes(found.data)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
