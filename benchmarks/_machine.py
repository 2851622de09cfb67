"""The machine that is measured on: its cores, its limits, and what to say about it."""

from __future__ import annotations

import gc
import os
import platform
import sys
from contextlib import suppress
from typing import Literal

__all__ = [
    "allow_files",
    "begin_peak",
    "describe",
    "peak_memory",
    "pin",
    "resident_memory",
]


def pin(role: Literal["server", "contestant"]) -> None:
    """Give the server the last core and everybody else the first, where there are two."""
    if not hasattr(os, "sched_getaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1] if role == "server" else cores[0]})


def allow_files() -> int:
    """Allow as many open files as the system lets us, and return how many that is."""
    if sys.platform == "win32":
        return 512
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (65_536, hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
            break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def resident_memory() -> int:
    """Bytes of this process in memory, after a collection."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def begin_peak() -> int:
    """Begin to look for the peak here; return `resident_memory`."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")
    return resident_memory()


def peak_memory() -> int:
    """The most bytes that this process has had in memory since `begin_peak`."""
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def describe() -> dict[str, object]:
    """What a number without it would be worth nothing."""
    model = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration), open("/proc/cpuinfo", encoding="utf-8") as f:
        model = next(line for line in f if "model name" in line).partition(": ")[2]
    return {
        "cpu": model.strip(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    }
