"""Get an answer as a pydantic object, from any model.

A model with JSON Schema support gets the schema; another gets it in the prompt. An answer that
does not validate is returned to the model with the error, as the first response below.
"""

import asyncio
from typing import Literal

from pydantic import BaseModel, Field

from agentkit import Agent, ScriptedModel


class Ticket(BaseModel):
    """A support request."""

    summary: str = Field(max_length=80)
    product: str
    urgency: Literal["low", "normal", "high"]


MAIL = "Since this morning the X200 prints only black pages, and our invoices go out at noon!"


async def main() -> None:
    model = ScriptedModel(
        [
            '{"summary": "X200 prints black pages", "product": "X200", "urgency": "very high"}',
            '{"summary": "X200 prints black pages", "product": "X200", "urgency": "high"}',
        ]
    )
    answer = await Agent(model).run(f"Extract a ticket from this mail:\n\n{MAIL}", output=Ticket)
    ticket = answer.output
    print(ticket)
    print(ticket.urgency, answer.usage)


if __name__ == "__main__":
    asyncio.run(main())
