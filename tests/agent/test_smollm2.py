"""A real small model under grammar: every call that it must make parses and validates. Which tool
it picks is not judged.

Ten questions by default; AGENTKIT_SMOLLM2_QUESTIONS=50 asks all.
"""

import os
from enum import Enum
from pathlib import Path

import pytest

from agentkit import tool
from agentkit.backends.base import Options
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.messages import Message, ToolCall
from agentkit.tools.repair import fit_arguments

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")

pytestmark = pytest.mark.slow
NUMBER = int(os.environ.get("AGENTKIT_SMOLLM2_QUESTIONS", "10"))


class Unit(Enum):
    C = "C"
    F = "F"


@tool
def weather(city: str, unit: Unit) -> str:
    """Weather of a city."""
    return f"{city} {unit}"


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def light(on: bool) -> str:
    """Switch the light."""
    return str(on)


@tool
def remind(text: str, minutes: int) -> str:
    """Remind of something."""
    return f"{text} {minutes}"


TOOLS = [weather, add, light, remind]
QUESTIONS = [
    *(f"Weather in {city}?" for city in ("Paris", "Rome", "Oslo", "Lima", "Cairo")),
    *(f"How warm is it in {city}?" for city in ("Bonn", "Delhi", "Quito", "Kyiv", "Seoul")),
    *(f"Is it cold in {city} now?" for city in ("Turin", "Perth", "Hanoi", "Accra", "Riga")),
    *(f"What is {n} plus {n + 7}?" for n in range(1, 11)),
    *(f"Add {n} and {2 * n}." for n in range(5, 10)),
    *("Light on!", "Light off!", "It is dark.", "Good night.", "Switch the lamp on, please."),
    *(f"Remind me to {what} in {n} minutes." for n, what in enumerate(("eat", "run", "read"), 5)),
    *(f"In {n} minutes tell me to {what}." for n, what in enumerate(("rest", "call", "pay"), 9)),
    *("Tea in 4 minutes.", "Wake me in an hour.", "Bake for 30 minutes.", "Stop in 10."),
    *("Paris?", "7 + 8", "lamp", "the bus leaves in 12 minutes", "你好"),
]


def test_there_are_fifty_questions() -> None:
    assert len(QUESTIONS) == len(set(QUESTIONS)) == 50


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_every_forced_call_parses_and_validates(smollm2_gguf: Path) -> None:
    model = LlamaCppModel(str(smollm2_gguf), max_context=1024, threads=1)
    options = Options(temperature=0.0, max_tokens=64, tool_choice="required")
    called = 0
    step = max(1, len(QUESTIONS) // NUMBER)
    try:
        for question in QUESTIONS[::step]:
            asked = [Message("user", question)]
            parts = [part async for part in model.stream(asked, TOOLS, options)]
            [made] = [part for part in parts if isinstance(part, ToolCall)]
            own = next(one for one in TOOLS if one.name == made.name)
            assert not isinstance(made.arguments, str), question
            await own.run(fit_arguments(made.arguments, own.parameters))
            called += 1
    finally:
        await model.close()
    assert called == len(QUESTIONS[::step])
