"""
One question, one answer.

Run ``python examples/basic.py``. Set AI_PROVIDER, AI_API_KEY and AI_MODEL for a real model.
"""

from __future__ import annotations

import asyncio

from _demo import demo_client


async def main() -> None:
    """Ask, and print what came back."""
    async with demo_client() as client:
        response = await client.complete("What is the capital of France?")
        print(response.text)
        print(f"[{response.finish_reason}, {response.usage.total_tokens} tokens]")


if __name__ == "__main__":
    asyncio.run(main())
