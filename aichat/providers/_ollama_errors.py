"""
Ollama's errors within an answer.

They are sentences without a code. Before the first line a status stands beside them; later
there is none, so it is told from the sentence which one would have been there (S5).
"""

from __future__ import annotations

import re
from typing import Any, Final

from ..errors import ProviderError, StreamError
from ..transport import provider_error

__all__ = ["line_error"]

_STATUS: Final = (
    (re.compile(r"server busy|maximum pending requests"), 503),
    (re.compile(r"^unauthorized$"), 401),
    (
        # The process that runs the model, what it runs on, and what it was asked.
        re.compile(
            r"runner|running the model|load(ing)? (the )?model|system memory"
            r"|timed out waiting|cuda|ggml|failed to parse grammar|invalid format"
            r"|must be of type"
        ),
        500,
    ),
)


def line_error(line: dict[str, Any]) -> ProviderError:
    """Make the error that *line* speaks of, as if it had come with its status."""
    error = provider_error(line)
    # Any other class was clear from the words.
    if type(error) is StreamError:
        words = error.message.lower()
        for pattern, status in _STATUS:
            if pattern.search(words):
                error = provider_error(line, status=status)
                error.status = None  # none arrived
                break
    return error
