"""
The same question to two providers at the same time.

Run ``python examples/several_providers.py``. Here both are the simulator's, in OpenAI's and in
Anthropic's protocol; with ``Client.from_env()`` and both key variables set they are real.
"""

from __future__ import annotations

import asyncio

from aichat import AIChatError, Client, ClientConfig, ProviderSpec, Registry, connect
from aichat.testing import Simulator
from aichat.transport import Pool

MODELS = ("openai-chat:simulated", "anthropic:simulated")


async def main() -> None:
    """Bundle two providers by hand, and ask both."""
    async with Simulator() as simulator, Pool() as pool:
        providers = {}
        for name in ("openai-chat", "anthropic"):
            spec = Registry()[name]
            assert isinstance(spec, ProviderSpec)
            config = ClientConfig(
                provider=name, api_key="none", base_url=simulator.base_url(name)
            )
            providers[name] = connect(config, spec, pool=pool, environ={})
        async with Client(providers) as client:
            answers = await asyncio.gather(
                *(client.complete("Who are you?", model=m) for m in MODELS),
                return_exceptions=True,
            )
            for model, answer in zip(MODELS, answers, strict=True):
                if isinstance(answer, AIChatError):
                    print(f"{model}: {answer.code}: {answer}")
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    print(f"{model}: {answer.text}")


if __name__ == "__main__":
    asyncio.run(main())
