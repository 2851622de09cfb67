"""
A cluster of Ray's with two CPUs, in a process of its own: jobs go in as lines, results come out.

Not in the process of the tests, where Ray would leave its threads, its signal handlers and
the warnings of the libraries that it brings.

    python -m tests.bulk.ray_jobs FOLDER
"""

from __future__ import annotations

import json
import logging
import os
import sys
from functools import partial
from typing import Any

from aichat import Client
from aichat.bulk.ray import ask_dataset


def marked(base_url: str) -> Client:
    """A client that says in which process it is."""
    return Client.from_env(base_url=base_url, headers={"x-worker": str(os.getpid())})


def main() -> None:
    """Do what stdin says until it ends."""
    # What somebody prints must not be taken for a result.
    out, sys.stdout = sys.stdout, sys.stderr
    import ray
    import ray.data

    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.WARNING,
        _temp_dir=sys.argv[1],
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    print(json.dumps({"ray": ray.__version__}), file=out, flush=True)
    for line in sys.stdin:
        result = _done(json.loads(line))
        print(json.dumps(result), file=out, flush=True)
    ray.shutdown()


def _done(job: dict[str, Any]) -> dict[str, Any]:
    import ray.data

    lines = ray.data.read_text(job["input"])
    client = partial(marked, job["marked"]) if "marked" in job else None
    options = {k: v for k, v in job.items() if k not in {"input", "config", "marked"}}
    try:
        answers = ask_dataset(lines, job.get("config"), client=client, **options)
        return {"rows": answers.take_all()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    main()
