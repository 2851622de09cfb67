"""
Thousands of requests: from a file, through crashes, or as they come.

::

    from aichat import Client, bulk

    async with Client.from_env() as client:
        summary = await bulk.run_file(client, "questions.jsonl", "answers.jsonl")

A line is a `ChatRequest` as JSON, with an id, or one of OpenAI's batch format as it is::

    {"id": "1", "prompt": "Name three rivers.", "model": "openai:gpt-4.1-mini"}
    {"custom_id": "2", "method": "POST", "url": "/v1/chat/completions", "body": {…}}

On the command line: ``aichat bulk run questions.jsonl -o answers.jsonl``.
"""

from __future__ import annotations

from ._brake import Brake as Brake
from ._estimate import Estimate as Estimate, estimate_file as estimate_file
from ._file import Stopped as Stopped, Summary as Summary, run_file as run_file
from ._progress import Progress as Progress
from ._provider_batch import (
    Unsure as Unsure,
    run_file_as_batches as run_file_as_batches,
)
from ._run import BulkResult as BulkResult, run as run

__all__ = [
    "Brake",
    "BulkResult",
    "Estimate",
    "Progress",
    "Stopped",
    "Summary",
    "Unsure",
    "estimate_file",
    "run",
    "run_file",
    "run_file_as_batches",
]
