"""
An answer that is printed while it arrives, and left early.

Run ``python examples/streaming.py``.
"""

from __future__ import annotations

import asyncio

from _demo import demo_client

from aichat import TextDelta


async def main() -> None:
    """Print a whole answer, then the beginning of another one."""
    async with demo_client() as client:
        async for text in client.stream("Tell me a short story.").text():
            print(text, end="", flush=True)
        print()

        words = 0
        async with client.stream("And a long one.") as stream:
            async for chunk in stream:
                if isinstance(chunk, TextDelta):
                    words += 1
                    print(chunk.text, end="", flush=True)
                if words >= 5:
                    break  # the connection is closed: nobody pays for the rest
        print("…")
        print(f"[left after {len(stream.partial().text)} characters]")


if __name__ == "__main__":
    asyncio.run(main())
