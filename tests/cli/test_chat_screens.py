"""Every screen of the chat as text, at 80 and 50 columns, plain and coloured.

Where a change is meant, look at what it does to tests/cli/screens/ and run once with
AGENTKIT_WRITE_SCREENS=1.
"""

import io
import os
import re
from functools import partial
from pathlib import Path

import pyte
import pytest
from rich.console import Console

from agentkit.backends.scripted import ScriptedModel
from agentkit.cli.chat.allowed import Allowed
from agentkit.cli.chat.approvals import Approvals
from agentkit.cli.chat.command import run
from agentkit.cli.chat.commands import COMMANDS
from agentkit.cli.chat.conversation import Chat
from agentkit.errors import ModelError
from agentkit.events import Done, ReasoningDelta, Retried, TextDelta
from agentkit.messages import ToolCall, Usage
from agentkit.project.project import Project
from agentkit.project.trust import trust

SCREENS = Path(__file__).parent / "screens"
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


class Typed:
    """A Keyboard whose lines are given, and seen on the screen."""

    def __init__(self, console, lines):
        self._console = console
        self._lines = iter(lines)

    async def line(self, default=""):
        return self._next(f"› {default}")

    async def ask(self, question, default=""):
        return self._next(question)

    def _next(self, prompt):
        line = next(self._lines, None)
        if line is None:
            raise EOFError
        self._console.print(f"{prompt}{line}", markup=False)
        return line


def _said(*pieces):
    return [*map(TextDelta, pieces), Usage(900, 50), Done("stop", "small")]


def _answers(script):
    """The turns one after another; a question that shall be rewritten is left as it is."""
    turns = iter(script)
    return lambda messages: "" if messages[0].text.startswith("Rewrite") else next(turns)


def _calls(name, **arguments):
    return ToolCall("call_1", name, arguments)


SCENES = {
    "help": (["/help", "/help open", "/hlep"], []),
    "markdown": (["珠穆朗玛峰有多高？"], [_said(MARKDOWN)]),
    "reasoning": (
        ["Think", "/think", "/think on", "Think again"],
        [
            [ReasoningDelta("First this, then that."), *_said("Done [1].")],
            [ReasoningDelta("Once more."), *_said("Done again [1].")],
        ],
    ),
    "tools": (
        ["Break it", "/last"],
        [_calls("broken", of="everything in the whole wide world and more"), _said("It broke.")],
    ),
    "approval": (
        ["Send it", "x", "n too early", "Send it", "y", "/approve send", "/approve"],
        [
            _calls("send", to="Ann", body="good\u202e day"),
            _said("Not sent."),
            _calls("send", to="Ann", body="hello"),
            _said("Sent."),
        ],
    ),
    "passages": (
        ["How high?", "/sources", "/open 1", "/search K2", "/open a", "/open notes.md",
         "/open 9", "/kb"],
        [_said("Mount Everest is 8849 metres high [1].")],
    ),
    "sessions": (
        ["Hello", "/rename first", "/fork second", "/save third", "/resume first", "/undo",
         "/undo", "/clear", "/rename x", "/export"],
        [_said("Hello.")],
    ),
    "machine": (
        ["/model", "/model nope:x", "/tools", "/tools send", "/set", "/set temprature 1",
         "/set temperature hot", "/set temperature 0.5", "/system", "/system Be brief.", "/mcp",
         "/prompts", "/json", "/think maybe", "/approve forget send"],
        [],
    ),
    "errors": (
        ["Hello", "/retry", "@nothing.png here"],
        [
            ModelError("The server at 127.0.0.1:9 does not answer. Start it."),
            [Retried("the server is busy", 0.2), *_said("Back.")],
            _said("No file."),
        ],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A project, trusted and indexed once."""
    folder = tmp_path_factory.mktemp("home") / "heights"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "notes.md").write_text(NOTES, encoding="utf-8")
    (folder / "tools").mkdir()
    (folder / "tools" / "mine.py").write_text(TOOLS, encoding="utf-8")
    return folder


@pytest.mark.parametrize("columns", [80, 50])
@pytest.mark.parametrize("look", ["plain", "colour"])
async def test_every_screen_looks_as_it_did_when_it_was_last_looked_at(
    home, columns, look, monkeypatch
):
    monkeypatch.chdir(home.parent)
    folder = Path(home.name)
    trust(folder)
    (folder / ".agentkit" / "sessions.sqlite").unlink(missing_ok=True)
    told = []
    approvals = Approvals(Allowed(folder / ".agentkit" / "approvals.json"))
    async with Project.open(folder, model="extractive", approve=approvals.approve) as project:
        for name, (lines, script) in SCENES.items():
            screen = await _scene(project, approvals, columns, look, lines, script)
            told.append(f"=== {name}\n{screen}\n")
    file = SCREENS / f"chat-{columns}-{look}.txt"
    if os.environ.get("AGENTKIT_WRITE_SCREENS"):
        file.write_text("\n".join(told), encoding="utf-8")
    assert "\n".join(told) == file.read_text(encoding="utf-8")


async def _scene(project, approvals, columns, look, lines, script):
    """What a terminal shows after these lines."""
    written = io.StringIO()
    console = Console(
        file=written, force_terminal=True, width=columns, height=200, highlight=False, emoji=False,
        color_system="standard", no_color=look == "plain", legacy_windows=False,
    )  # fmt: skip
    project.agent.model = ScriptedModel(_answers(script), name="small")
    chat = Chat(
        project, console, console, store=project.sessions, session=project.sessions.create(),
        allowed=approvals.allowed, live=True,
    )  # fmt: skip
    approvals.chat = chat
    await chat.run(Typed(console, lines), partial(run, COMMANDS))
    chat.close_session()
    return _drawn(written.getvalue(), columns, look)


def _drawn(written, columns, look):
    screen = pyte.Screen(columns, 200)
    pyte.Stream(screen).feed(written.replace("\n", "\r\n"))
    rows = (
        screen.display if look == "plain" else [_row(screen.buffer[y], columns) for y in range(200)]
    )
    text = "\n".join(row.rstrip() for row in rows).rstrip()
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "2026-01-01 12:00", text)
    return re.sub(r"(?<=\) )\d\.\d|\b\d+\.\d+(?= s\b)", "0.0", text)


def _row(cells, columns):
    """A row with its looks in braces, such as {bold,red}."""
    found, before = [], ""
    for x in range(columns):
        cell = cells[x]
        marks = {"bold": cell.bold, "underline": cell.underscore, "italic": cell.italics,
                 cell.fg: cell.fg != "default", f"on {cell.bg}": cell.bg != "default"}  # fmt: skip
        now = ",".join(mark for mark, is_set in marks.items() if is_set)
        if now != before and cell.data.strip():
            found.append(f"{{{now}}}")
            before = now
        found.append(cell.data)
    return "".join(found)
