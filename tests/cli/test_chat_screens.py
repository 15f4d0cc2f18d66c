"""Every screen of the chat as text, at 80 and 50 columns, plain and coloured, and as it is for who
listens to it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from agentkit.agent.query_rewriting import is_rewriting
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.cli.chat.approval import AllowedTools, ChatApproval
from agentkit.cli.chat.commands.table import COMMANDS, run_command
from agentkit.cli.chat.conversation import Chat, Keyboard
from agentkit.cli.console import open_consoles
from agentkit.cli.view import View
from agentkit.errors import ModelError
from agentkit.events import (
    Compacted,
    Done,
    Event,
    ModelPart,
    Nested,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.messages import Message, ToolCall, ToolResult, Usage
from agentkit.project.project import Project
from agentkit.project.trust import trust
from tests.cli.screens import (
    check,
    console,
    in_every_look,
    is_writing,
    read_golden,
    render_console,
    render_screen,
    steady,
)
from tests.cli.terminals import Terminal

NOTES = """# Heights

## Mountains

Mount Everest is 8849 metres high. K2 is 8611 metres high.

## 山

珠穆朗玛峰高八千八百四十九米。乔戈里峰高八千六百一十一米。
"""
TOOLS = '''
from agentkit import tool

@tool(needs_approval=True)
def send(to: str, body: str) -> str:
    """Send a message."""
    return f"sent to {to}"

@tool
def broken(of: str) -> str:
    """Fail."""
    raise ValueError(f"{of} is broken")
'''
MARKDOWN = """# 山有多高

**珠穆朗玛峰**高八千八百四十九米 [2]。Mount Everest is `8849` metres high [1], and the \
moon is made of green cheese [1]. 这是一段很长的中文文字，用来检查换行的位置是否正确，\
以及标点符号是否会出现在行首。

- one item that is long enough to be broken into two rows on any of the screens that are tried
  1. inner
- two

| mountain | metres |
| --- | --- |
| Everest 珠穆朗玛峰 | 8849 |
| K2 | 8611 |

```python
print("x[1]")  # 中文
```

> A quotation, and a link to [the page](https://example.org/page).

<b>kept as it is</b>
"""


class Typed(Keyboard):
    """A Keyboard whose lines are given, and seen on the screen."""

    def __init__(self, console: Console, lines: list[str]) -> None:
        self._console = console
        self._lines = iter(lines)

    async def read_line(self, default: str = "") -> str:
        return self._next(f"› {default}")

    async def ask(self, question: Any, default: str = "") -> str:
        return self._next(question)

    def _next(self, prompt: str) -> str:
        line = next(self._lines, None)
        if line is None:
            raise EOFError
        self._console.print(f"{prompt}{line}", markup=False)
        return line


def _text(*pieces: str) -> list[ModelPart]:
    return [*map(TextDelta, pieces), Usage(900, 50), Done("stop", "small")]


def _answers(script: Any) -> Callable[[Sequence[Message]], Turn]:
    """The turns one after another; a question that shall be rewritten is left as it is."""
    turns = iter(script)
    return lambda messages: "" if is_rewriting(messages) else next(turns)


def _calls(name: str, **arguments: Any) -> ToolCall:
    return ToolCall("call_1", name, arguments)


SCENES = {
    "help": (["/help", "/help open", "/hlep"], []),
    "markdown": (["珠穆朗玛峰有多高？"], [_text(MARKDOWN)]),
    "reasoning": (
        ["Think", "/think", "/think on", "Think again"],
        [
            [ReasoningDelta("First this, then that."), *_text("Done [1].")],
            [ReasoningDelta("Once more."), *_text("Done again [1].")],
        ],
    ),
    "tools": (
        ["Break it", "/last", "/trace"],
        [_calls("broken", of="everything in the whole wide world and more"), _text("It broke.")],
    ),
    "approval": (
        ["Send it", "x", "n too early", "Send it", "y", "/approve send", "/approve"],
        [
            _calls("send", to="Ann", body="good\u202e day"),
            _text("Not sent."),
            _calls("send", to="Ann", body="hello"),
            _text("Sent."),
        ],
    ),
    "passages": (
        ["How high?", "/sources", "/open 1", "/search K2", "/open a", "/open notes.md",
         "/open 9", "/kb"],
        [_text("Mount Everest is 8849 metres high [1].")],
    ),
    "sessions": (
        ["Hello", "/rename first", "/fork second", "/save third", "/sessions", "/resume first",
         "/undo", "/undo", "/clear", "/rename x", "/export"],
        [_text("Hello.")],
    ),
    "machine": (
        ["/status", "/model", "/model nope:x", "/tools", "/tools send", "/set", "/set temprature 1",
         "/set temperature hot", "/set temperature 0.5", "/set k 8", "/set k",
         "/system", "/system Be brief.", "/mcp",
         "/prompts", "/json", "/think maybe", "/approve forget send"],
        [],
    ),
    "errors": (
        ["Hello", "/retry", "@nothing.png here"],
        [
            ModelError("The server at 127.0.0.1:9 does not answer. Start it."),
            [Retried("the server is busy", 0.2), *_text("Back.")],
            _text("No file."),
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project, trusted and indexed once."""
    folder = tmp_path_factory.mktemp("home") / "heights"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "notes.md").write_text(NOTES, encoding="utf-8")
    (folder / "tools").mkdir()
    (folder / "tools" / "mine.py").write_text(TOOLS, encoding="utf-8")
    return folder


@pytest.mark.slow
@in_every_look
async def test_every_screen_looks_as_it_did_when_it_was_last_looked_at(
    home: Path, columns: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    async with _opened(home, monkeypatch) as (project, approvals):
        for name, (lines, script) in SCENES.items():
            out = console(columns, look)
            await _talk(project, approvals, out, lines, script)
            found[name] = render_console(out, look)
    check(f"chat-{columns}-{look}", found)


async def test_a_terminal_of_twenty_columns_shows_it_all(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with _opened(home, monkeypatch) as (project, approvals):
        for lines, script in SCENES.values():
            out = console(20)
            await _talk(project, approvals, out, lines, script)
            assert max(map(cell_len, render_console(out, "plain").splitlines())) <= 20


@pytest.mark.slow
async def test_who_listens_to_the_screen_hears_each_line_once(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTKIT_SCREEN_READER", "1")
    found = {}
    async with _opened(home, monkeypatch) as (project, approvals):
        for name in ("markdown", "reasoning", "tools", "approval", "passages", "errors"):
            lines, script = SCENES[name]
            out, _ = open_consoles()
            await _talk(project, approvals, out, lines, script, live=False)
            found[name] = capsys.readouterr().out.rstrip()
    assert not [output for output in found.values() if "\x1b" in output or "─" in output]
    check("chat-screen-reader", found)


@asynccontextmanager
async def _opened(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Project, ChatApproval]]:
    """The project, with no conversations, and who approves."""
    monkeypatch.chdir(home.parent)
    folder = Path(home.name)
    trust(folder)
    (folder / ".agentkit" / "sessions.sqlite").unlink(missing_ok=True)
    approvals = ChatApproval(AllowedTools(folder / ".agentkit" / "approvals.json"))
    async with Project.open(folder, model="extractive", approve=approvals.approve) as project:
        yield project, approvals


async def _talk(
    project: Any, approvals: Any, out: Console, lines: list[str], script: Any, live: bool = True
) -> None:
    """Enter these lines in a chat."""
    agent = project.agent
    agent.model = ScriptedModel(_answers(script), name="small")
    chat = Chat(
        project, out, out, approvals.allowed,
        store=project.sessions, session=project.sessions.create(), is_live=live,
    )  # fmt: skip
    before = agent.options, agent.limits, agent.retrieval, agent.instructions, agent.tools
    approvals.chat = chat
    await chat.run(Typed(out, lines), partial(run_command, COMMANDS))
    chat.close_session()
    agent.options, agent.limits, agent.retrieval, agent.instructions, agent.tools = before


SLOW = ToolCall("call_1", "fetch_page", {"url": "https://example.org/a/long/path/to/a/page.html"})
ASKED = ToolCall("call_2", "researcher", {"question": "Which is higher?", "depth": 2})
INNER = ToolCall("call_3", "search_knowledge", {"query": "山有多高，哪一座更高？"})
UNDER_WAY = {
    "a tool that runs": [ToolStarted(SLOW), ToolProgress(SLOW, "reading the page", 0.4)],
    "agents inside": [
        ToolStarted(ASKED), Nested(ASKED, ToolStarted(INNER)),
        Nested(ASKED, ToolFinished(INNER, ToolResult("two\npassages"), 0.2)),
        Nested(ASKED, ToolStarted(SLOW)), Nested(ASKED, ToolDenied(SLOW, "not today")),
    ],
    "thoughts": [ReasoningDelta("First this, 然后那个。")],
    "trouble": [Retried("the server is busy", 2.0), Compacted(9000, 3000), ToolStarted(SLOW),
                ToolFinished(SLOW, ToolResult("Error: the page\nis gone"), 1.5, failed=True)],
    "half an answer": [TextDelta(MARKDOWN[: MARKDOWN.index("K2")])],
}  # fmt: skip


@in_every_look
async def test_a_run_that_is_under_way_looks_as_it_did(columns: Any, look: Any) -> None:
    found = {}
    for name, events in UNDER_WAY.items():
        out = console(columns, look)
        view = View(out)
        until = asyncio.Event()

        async def run_to_here(
            events: Any = events, view: View = view, until: asyncio.Event = until
        ) -> AsyncGenerator[Event, None]:
            for event in events:
                yield event
            view.draw()
            until.set()
            await asyncio.Event().wait()

        shown_run = asyncio.create_task(view.show(run_to_here()))
        await until.wait()
        found[name] = render_console(out, look)
        shown_run.cancel()
        await asyncio.wait([shown_run])
    check(f"under-way-{columns}-{look}", found)


@pytest.mark.slow
@pytest.mark.timeout(300)
@in_every_look
def test_a_terminal_with_its_prompt_bar_and_menus_looks_as_it_did(
    home: Path, columns: Any, look: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    folder = Path(home.name)
    trust(folder)
    for kept_file in ("sessions.sqlite", "history"):
        (folder / ".agentkit" / kept_file).unlink(missing_ok=True)
    more: dict[str, Any] = {"NO_COLOR": "1"} if look == "plain" else {}
    talk = Terminal("chat", "-C", folder, "-m", "extractive", columns=columns, **more)
    name, found = f"terminal-{columns}-{look}", {}
    before = {} if is_writing() else read_golden(name)

    def look_at(title: str) -> None:
        if is_writing():
            talk.still()
        else:
            talk.until(
                lambda: steady(render_screen(talk.screen, look)) == before[title], f"{title!r}"
            )
        found[title] = render_screen(talk.screen, look)

    try:
        talk.ready()
        talk.expect("extractive · ")
        look_at("welcome")
        talk.tell("How high is K2?")
        talk.expect("extractive · How high is K2?")
        look_at("an answer")
        talk.child.send("/se")
        talk.expect("list conv")
        look_at("commands")
        talk.press("ctrl-c")
        talk.ready()
        talk.child.send("see @no")
        talk.until(lambda: "\n" + " " * 9 + " notes.md" in talk.text, "the menu")
        look_at("documents")
        talk.press("ctrl-c")
        talk.ready()
        talk.type("one")
        talk.press("alt-enter")
        talk.until(lambda: talk.line == "", "a new line")
        talk.child.send("two")
        talk.expect("  two")
        look_at("lines")
        talk.press("ctrl-c")
        talk.ready()
        talk.press("ctrl-c")
        talk.expect("once more leaves")
        look_at("leaving")
        talk.press("ctrl-c")
        assert talk.close() == 0
        look_at("left")
    finally:
        talk.kill()
    check(name, found)
