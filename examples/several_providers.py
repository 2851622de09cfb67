"""
The same question to two providers at the same time.

Run ``python examples/several_providers.py``. Here both are the simulator, in OpenAI's and in
Anthropic's protocol. With real keys in the environment, ``Client.from_env()`` is all it takes.
"""

from __future__ import annotations

import asyncio

from aichat import AIChatError, ChatResponse, Client
from aichat.testing import Simulator

MODELS = ("openai-chat:simulated", "anthropic:simulated")


async def main() -> None:
    """Ask both, and print whatever comes back."""
    async with Simulator() as simulator:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
            "OPENAI_API_KEY": "none-needed",
            "ANTHROPIC_BASE_URL": simulator.base_url("anthropic"),
            "ANTHROPIC_API_KEY": "none-needed",
        }
        async with Client.from_env(environ) as client:
            answers = await asyncio.gather(*(ask(client, model) for model in MODELS))
    for model, answer in zip(MODELS, answers, strict=True):
        match answer:
            case AIChatError():
                print(f"{model}: {answer.code}: {answer}")
            case ChatResponse():
                print(f"{model}: {answer.text.splitlines()[0]}")


async def ask(client: Client, model: str) -> ChatResponse | AIChatError:
    """Errors are answers as well here: one provider's is not the other's."""
    try:
        return await client.complete("Who are you?", model=model)
    except AIChatError as error:
        return error


if __name__ == "__main__":
    asyncio.run(main())
