"""Programs of applications under mypy --strict and pyright in strict mode.

Both find an error in each line marked `# error`, and in no other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

HEAD = """\
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from pydantic import BaseModel
from typing_extensions import assert_type

import agentkit
from agentkit import Agent, Answer, Event, Finished, RunContext, Tool, ToolContext, tool


class City(BaseModel):
    name: str


class Row(TypedDict):
    name: str


@dataclass
class Point:
    x: int


class Database:
    def find(self, number: int) -> str:
        return str(number)


agent = Agent("extractive")
shop = Agent[Database]("extractive")

"""

PROGRAMS = {
    "the output has the type that was asked for": """
async def main() -> None:
    assert_type(await agent.run("?"), Answer[None])
    assert_type(await agent.run("?", output=City), Answer[City])
    assert_type((await agent.run("?", output=list[City])).output, list[City])
    assert_type((await agent.run("?", output=City | None)).output, City | None)
    assert_type((await agent.run("?", output=City | Point)).output, City | Point)
    assert_type((await agent.run("?", output=Literal["a", "b"])).output, Literal["a", "b"])
    assert_type((await agent.run("?", output=Row)).output, Row)
    assert_type((await agent.run("?", output=Point)).output, Point)
    assert_type((await agent.run("?", output=dict[str, int])).output, dict[str, int])
    assert_type((await agent.run("?", output=int)).output, int)
    assert_type((await agent.run("?", output=str)).output, str)
    assert_type(await agent.run("?", output={"type": "object"}), Answer[Any])
    assert_type(agent.run_sync("?", output=City), Answer[City])
    assert_type(agent.run_sync("?").output, None)


def read(answer: Answer[City]) -> None:
    print(answer.output.name)
    print(answer.output.no_such_field)  # error
""",
    "the last event of a stream has the output": """
async def main() -> None:
    async for event in agent.stream("?", output=City):
        if isinstance(event, Finished):
            assert_type(event.answer, Answer[City])
        show(event)


async def untyped() -> None:
    async for event in agent.stream("?"):
        match event:
            case Finished(answer):
                assert_type(answer.output, None)
            case agentkit.TextDelta(text):
                assert_type(text, str)
            case _:
                pass


def show(event: Event) -> None:
    if isinstance(event, Finished):
        event.answer.output.name  # error


def keep(answer: Answer) -> str:
    return answer.text


keep(agent.run_sync("?", output=City))
""",
    "a tool is called like its function": """
@tool
def add(a: int, b: int = 1) -> int:
    "Add."
    return a + b


@tool(name="look_up", needs_approval=True)
async def find(number: int) -> str:
    "Find."
    return str(number)


async def main() -> None:
    assert_type(add(1, b=2), int)
    assert_type(await find(1), str)
    add("1")  # error
    add(1, c=2)  # error


shouting = tool(str.upper, name="shout")
assert_type(shouting("a"), str)
tools = [add, find]
listed: list[Tool] = [add, find]
Agent("extractive", tools)
Agent("extractive", [*listed, add, str.upper])
""",
    "the context of a tool has the deps of the run": """
@tool
def order(context: ToolContext[Database], number: int) -> str:
    "Find an order."
    print(context.call.name, context.usage.total_tokens, context.messages, context.session_id)
    context.deps.no_such_method()  # error
    return context.deps.find(number)


def note(context: RunContext) -> str:
    return context.prompt


@tool
def noted(context: ToolContext[Database]) -> str:
    "Note."
    return note(context)


async def main() -> None:
    await Agent[Database]("extractive", [order, noted]).run("?", deps=Database())
    await shop.run("?", deps="a text")  # error
""",
    "instructions may be a function of the run": """
def greeting(context: RunContext[Database]) -> str:
    return context.deps.find(1)


async def anyone(context: RunContext) -> str:
    return context.prompt


assert_type(Agent("extractive", instructions=greeting), Agent[Database])
Agent[Database]("extractive", instructions=anyone)
Agent[int]("extractive", instructions=greeting)  # error
""",
    "each run may replace values of the agent": """
async def main() -> None:
    await shop.run(
        "?",
        deps=Database(),
        model=["openai:gpt-5", agentkit.ScriptedModel(["Yes."]).name],
        instructions="Be brief.",
        tools=[],
        limits=agentkit.Limits(turns=2),
        retrieval=agentkit.Retrieval(filters=agentkit.Filters(metadata={"tenant": "a"})),
        options=agentkit.Options(temperature=0.0),
    )
    shop.run_sync("?", modle="extractive")  # error
    with shop.override(model=agentkit.ScriptedModel(["Yes."]), deps=Database()):
        shop.run_sync("?")
    with shop.override(limits=2):  # error
        pass
""",
    "a hook that lets everything pass may return nothing": """
def watch(call: agentkit.ToolCall, info: agentkit.RunInfo) -> None:
    print(call.name, info.id)


async def guard(prompt: str) -> str | None:
    return None if prompt else "Ask something."


def count(call: agentkit.ToolCall) -> int:
    return 1


Agent("extractive", hooks=agentkit.Hooks(before_tool=watch, guard_input=guard))
agentkit.Hooks(before_tool=count)  # error
""",
    "a wrapper can pass the keywords on": """
from typing_extensions import Unpack


async def ask(question: str, **overrides: Unpack[agentkit.Overrides[Database]]) -> str:
    return (await shop.run(question, **overrides)).text


async def main() -> None:
    await ask("?", deps=Database())
    await ask("?", deps=1)  # error
""",
    "a paused run is resumed to its output": """
async def main(session: agentkit.Session) -> None:
    verdicts = {call.id: agentkit.ALLOWED for call in session.waiting}
    assert_type(await agent.resume(session, verdicts, output=City), Answer[City])
    assert_type(agent.resume_sync(session, verdicts), Answer[None])
    async for event in agent.stream_resume(session, verdicts, output=City):
        if isinstance(event, Finished):
            assert_type(event.answer.output, City)
""",
    "what can be closed is a context manager": """
async def main() -> None:
    async with Agent("extractive") as opened:
        assert_type(opened, Agent[None])
    with Agent[Database]("extractive") as opened_too:
        assert_type(opened_too, Agent[Database])
""",
    "a model is written as a class": """
from collections.abc import AsyncGenerator, Sequence

from agentkit import Message, Model, ModelPart, Options


class Echo(Model):
    @property
    def name(self) -> str:
        return "echo"

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        yield agentkit.TextDelta(messages[-1].text)
        yield agentkit.Done("stop", self.name)


Agent(Echo())
""",
}
NAMES = {f"program_{number}": title for number, title in enumerate(PROGRAMS)}


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    for name, title in NAMES.items():
        (folder / f"{name}.py").write_text(HEAD + PROGRAMS[title], encoding="utf-8")
    settings = {"typeCheckingMode": "strict", "reportUnusedImport": False}
    settings["reportUnusedExpression"] = False
    (folder / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def _run(folder: Path, *command: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True, check=False
    )
    assert ran.returncode < 2, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def mypy_errors(programs: Path) -> Mapping[str, dict[int, str]]:
    output = _run(programs, "mypy", "--strict", "--no-error-summary", "--config-file=", ".")
    found: dict[str, dict[int, str]] = {name: {} for name in NAMES}
    for line in output.splitlines():
        path, number, kind, message = line.split(":", 3)
        if kind.strip() == "error":
            found[Path(path).stem][int(number)] = message
    return found


@pytest.fixture(scope="module")
def pyright_errors(programs: Path) -> Mapping[str, dict[int, str]]:
    output = _run(programs, "pyright", "--outputjson", "--pythonpath", sys.executable)
    found: dict[str, dict[int, str]] = {name: {} for name in NAMES}
    for each in json.loads(output)["generalDiagnostics"]:
        line = each["range"]["start"]["line"] + 1
        found[Path(each["file"]).stem][line] = each["message"]
    return found


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
@pytest.mark.parametrize("name", NAMES, ids=NAMES.get)
def test_type_checkers_accept_a_program_except_for_its_marked_lines(
    name: str, checker: str, request: pytest.FixtureRequest
) -> None:
    found = request.getfixturevalue(f"{checker}_errors")[name]
    lines = (HEAD + PROGRAMS[NAMES[name]]).splitlines()
    marked = {at for at, line in enumerate(lines, 1) if line.endswith("# error")}
    assert {at: message for at, message in found.items() if at not in marked} == {}
    assert marked == found.keys()
