"""A simulator for each test, and a plain client that knows nothing of dialects."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from aichat.testing import Simulator


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as simulator:
        yield simulator


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield session
