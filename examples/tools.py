"""
A model that asks us to look something up.

Run ``python examples/tools.py``.
"""

from __future__ import annotations

import asyncio

from _demo import demo_client

from aichat import Tool, tool_result, user

WEATHER = Tool(
    "get_weather",
    "Tells the weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)


def get_weather(city: str) -> str:
    """Know the weather everywhere."""
    return f"18 °C and sunny in {city}"


async def main() -> None:
    """Answer the model's calls until it has what it needs."""
    async with demo_client() as client:
        messages = [user("What is the weather in Paris?")]
        for _ in range(5):
            response = await client.complete(messages, tools=[WEATHER])
            messages.append(response.message)
            for call in response.tool_calls:
                arguments = call.parse()
                print(f"{call.name}({arguments})")
                messages.append(tool_result(call, get_weather(**arguments)))
            messages += [
                tool_result(call, f"Not executed: {call.invalid}", is_error=True)
                for call in response.invalid_tool_calls
            ]
            if not response.message.tool_calls:
                print(response.text)
                return


if __name__ == "__main__":
    asyncio.run(main())
