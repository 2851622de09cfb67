"""
Answers that are values of your own types, and that grow while they arrive.

Run ``python examples/typed_answers.py``. An attrs class, a dataclass, a TypedDict, a pydantic
model or a JSON Schema will do; the provider enforces the schema, and we check the answer.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from _demo import demo_client
from attrs import frozen

from aichat.structured import StructuredOutputError


@frozen
class Ticket:
    """What a customer wants."""

    subject: Annotated[str, "In a few words."]
    mood: Literal["calm", "annoyed", "furious"]
    #: Where there are several, the first comes first.
    steps: list[str]


async def main() -> None:
    """Read a ticket, and watch another one grow."""
    async with demo_client() as client:
        try:
            response = await client.complete(
                'The "Printer" is on fire, and nobody answers at the "Hotline".',
                response_type=Ticket,
                repair=1,  # an answer that does not fit may be mended once
            )
        except StructuredOutputError as error:
            print(f"No ticket: {error}")
            return
        ticket = response.parsed
        print(f"{ticket.subject} ({ticket.mood})", *ticket.steps, sep="\n- ")

        async with client.stream_object(
            'My "Scanner" hums.', response_type=Ticket
        ) as stream:
            async for growing in stream:
                print(growing)
            print(await stream.parsed())


if __name__ == "__main__":
    asyncio.run(main())
