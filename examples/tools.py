"""
A model that calls our functions.

Run ``python examples/tools.py``. Arguments arrive as the types that the functions declare;
what does not fit is never executed, and the model is told why.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from _demo import demo_client
from attrs import frozen

from aichat import TextDelta
from aichat.tools import Deny, PendingCall, ToolFinished, Verdict, tool


@frozen
class Weather:
    """What it is like outside."""

    city: str
    degrees: float
    sky: Literal["clear", "cloudy", "rain"]


async def get_weather(
    city: Annotated[str, "Its name, without the country."],
) -> Weather:
    """Tell the weather in a city."""
    return Weather(city, 18.5, "clear")


async def ask_first(pending: PendingCall) -> Verdict:
    """Say whether a call may be made: a real one would show it to somebody."""
    return Deny(f"Nobody goes to {pending.arguments['destination']} today.")


@tool(timeout=5, approve=ask_first)
def book_train(destination: str, seats: int = 1) -> str:
    """Book seats on a train."""
    return f"{seats} to {destination}"  # a plain function may block: it has a thread


async def main() -> None:
    """Let the model call what it wants, and then watch it do so."""
    async with demo_client() as client:
        result = await client.run("Is the weather in Paris good?", tools=[get_weather])
        print(result.text)
        print(f"[{result.rounds} rounds, {result.usage.total_tokens} tokens]")

        run = client.run_stream(
            "Book a train to Rome if the weather is good.",
            tools=[get_weather, book_train],
        )
        async with run:
            async for event in run:
                match event:
                    case TextDelta(text):
                        print(text, end="", flush=True)
                    case ToolFinished(call, result=came):
                        print(f"\n[{call.name}: {came.text}]")
                    case _:
                        pass
        print()


if __name__ == "__main__":
    asyncio.run(main())
