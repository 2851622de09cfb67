"""The client of the examples: yours, or the built-in simulator's where none is configured."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aichat import Client
from aichat.testing import Simulator


@asynccontextmanager
async def demo_client() -> AsyncIterator[Client]:
    """Use ``AI_PROVIDER`` and its friends if they are set, else a simulator."""
    if os.environ.get("AI_PROVIDER"):
        async with Client.from_env() as client:
            yield client
        return
    print("(No AI_PROVIDER is set: the simulator answers.)", file=sys.stderr)
    async with Simulator() as simulator:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "none-needed",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "AI_MODEL": "simulated",
        }
        async with Client.from_env(environ) as client:
            yield client
