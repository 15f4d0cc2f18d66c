"""A conversation of twelve requests and more, in two processes, for a strict server.

Documents, two calls at once of which one fails, an image from a tool, a tool with a Chinese name, a
run that reaches its limit of turns, follow-ups that are rewritten, a call without a result, and
structured output.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from agentkit import Agent, Document, KnowledgeBase, Limits, tool
from agentkit.agent.session_store import SessionStore
from agentkit.backends.openai.model import OpenAIModel
from agentkit.messages import ImagePart, Message, ToolCall
from tests.conftest import TermEmbedder

PNG = b"\x89PNG\r\n\x1a\n"


class City(BaseModel):
    name: str
    people: int
    note: str = "none"


@tool
def weather(city: str, days: int | None = None) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


@tool
def broken(options: dict[str, Any] | None = None) -> str:
    """Fails always."""
    raise ValueError("out of order")


@tool
def picture(city: str) -> list[ImagePart | str]:
    """A picture of a city."""
    return [ImagePart(PNG), f"a picture of {city}"]


@tool
def now() -> str:
    """The time."""
    return "12:00"


@tool(name="计算")
def calculate(x: float) -> float:
    """算一个数。"""
    return x


async def first_part(model: OpenAIModel, folder: Path) -> list[str]:
    """The texts of the answers of three turns, the last of which has one turn for tools."""
    knowledge = KnowledgeBase.open(folder / "index", TermEmbedder())
    text = "# Rome\n\nRome has 2.8 million people.\n\n# Oslo\n\nOslo has 700 000 people."
    await knowledge.add([Document(source="cities.md", text=text)])
    agent = Agent(model, [weather, broken, picture, now, calculate], knowledge=knowledge)
    session = SessionStore(folder / "sessions.sqlite").create("cities")
    asked = "How many people live in Rome, what is the weather there, a picture, and 42?"
    texts = [(await agent.run(asked, session)).text]
    texts.append((await agent.run("And in the other one?", session)).text)
    limited = Agent(model, [weather, now], limits=Limits(turns=2))
    texts.append((await limited.run("What is the weather in Rome now?", session)).text)
    call = ToolCall("call-of-another-program/1", "weather", {"city": "Oslo"})
    session.add([Message("user", "And tomorrow?"), Message("assistant", "", (call,))])
    session.close()
    return texts


async def second_part(model: OpenAIModel, folder: Path) -> tuple[list[str], City]:
    """The stored session goes on: a follow-up, and structured output."""
    knowledge = KnowledgeBase.open(folder / "index", TermEmbedder())
    agent = Agent(model, [weather, broken, picture, now, calculate], knowledge=knowledge)
    session = SessionStore(folder / "sessions.sqlite").open("cities")
    texts = [(await agent.run("What is the weather there today?", session)).text]
    answer = await agent.run("And its inhabitants as JSON?", session, output=City)
    return texts, answer.output


async def _main(provider: str, name: str, url: str, key: str, folder: str) -> None:
    model = OpenAIModel(name, provider=provider, base_url=url, api_key=key, max_retries=0)
    texts, city = await second_part(model, Path(folder))
    print(*texts, city.model_dump_json(), sep="\n")


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
