"""
Somebody else answers: because the first is down, or because it is slow.

Run ``python examples/fallback_and_hedging.py``. The simulator is both providers, and fails
on purpose.
"""

from __future__ import annotations

import asyncio
import time

from aichat import Client
from aichat.middleware import fallback, hedge
from aichat.testing import ReceivedRequest, Simulator


async def main() -> None:
    """Live through an outage, and through a slow answer."""
    async with Simulator() as simulator:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_MODEL": "simulated",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "OPENAI_API_KEY": "none-needed",
            "ANTHROPIC_BASE_URL": simulator.base_url("anthropic"),
            "ANTHROPIC_API_KEY": "none-needed",
        }
        # A dead provider is left after one attempt, as there is another one to ask.
        async with Client.from_env(environ, max_retries=0) as client:
            simulator.fail("overloaded", when=is_openai)
            await survive_an_outage(client)
            simulator.heal()

            simulator.fail("slow_start", on=1, seconds=60)
            await overtake(client)


def is_openai(request: ReceivedRequest) -> bool:
    """Whether OpenAI was asked."""
    return request.dialect == "openai-chat"


async def survive_an_outage(client: Client) -> None:
    """Nobody falls back once something has been said: an answer has one author."""
    resilient = client.use(fallback("anthropic:simulated"))
    response = await resilient.complete("Who are you?")
    print(f"Answered by {response.provider}.")
    print(*response.warnings, sep="\n")


async def overtake(client: Client) -> None:
    """After a quarter of a second ask once more; whoever begins first may go on."""
    # In production rather `hedge("p95")`: it learns what is slow. It is paid twice, so it
    # has a budget: by default one call in ten.
    impatient = client.use(hedge(0.25, budget=1.0))
    began = time.perf_counter()
    async with impatient.stream("Are you there?") as stream:
        async for _ in stream.text():
            break
    print(f"First words after {time.perf_counter() - began:.1f} s instead of 60.")


if __name__ == "__main__":
    asyncio.run(main())
