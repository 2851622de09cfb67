"""
What a chunk costs, in calls and not in seconds: the same on every machine.

Where a ceiling is passed somebody has added a call to what is done for every token. That may
be right; then the ceiling goes up in the same commit, and ``poe bench`` says what it costs
in time. Where the numbers have come down, bring the ceiling down.
"""

from __future__ import annotations

from typing import Final

import pytest

from benchmarks._counting import calls_per_chunk, kept_per_chunk

#: Calls per chunk, from the bytes of a scripted connection to the reader of `Client.stream`:
#: with one event in each network read, and with twenty. What is done once per request is in
#: it, divided by a hundred or so; Python 3.11 to 3.13 differ by one for google.
_CALLS: Final = {
    "openai-chat": (29.1, 12.9),
    "openai": (35.1, 18.9),
    "anthropic": (33.1, 16.9),
    "google": (42.1, 21.1),
    "ollama": (38.1, 18.1),
}
#: Its text, and what holds it.
_OBJECTS_PER_CHUNK: Final = 2


@pytest.mark.parametrize("dialect", _CALLS)
def test_a_chunk_that_comes_alone(dialect: str) -> None:
    """
    One event per network read, as slow models answer: reading is paid for each time.
    """
    alone, _ = _CALLS[dialect]
    assert 0 < calls_per_chunk(dialect, per_read=1) <= alone


@pytest.mark.parametrize("dialect", _CALLS)
def test_chunks_that_come_together(dialect: str) -> None:
    """
    Many events per network read: what is left is what each of them needs.
    """
    _, together = _CALLS[dialect]
    assert 0 < calls_per_chunk(dialect, per_read=20) <= together


@pytest.mark.parametrize("dialect", _CALLS)
def test_what_a_stream_keeps(dialect: str) -> None:
    """
    A stream keeps the chunks for its `response()`, and nothing else of what it read.
    """
    assert kept_per_chunk(dialect) <= _OBJECTS_PER_CHUNK + 0.1


def test_the_same_number_twice() -> None:
    """
    The count is no measurement: it is the same the next time.
    """
    assert calls_per_chunk("openai-chat", 1) == calls_per_chunk("openai-chat", 1)
