"""The lecture notes as tests read them: sections, tables and matrices by their headings."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from agentkit.tools.loading import load_tools
from tests.conftest import text_of

ROOT = Path(__file__).parents[2]
LOADED = load_tools(ROOT / "tools")
TOOLS = {tool.name: tool for tool in LOADED.tools}


async def result(name: str, **arguments: Any) -> Any:
    """What a tool of the demo says, read from its JSON."""
    return json.loads(text_of((await TOOLS[name].run(arguments)).content))


def headings(file: str) -> list[str]:
    return re.findall(r"^###? (.+)$", _text(file), re.MULTILINE)


def section(file: str, heading: str) -> str:
    """The text under a heading. Fails where there is none."""
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", _text(file), re.M | re.S)
    assert found is not None, heading
    return found[1]


def matrices(text: str) -> list[list[list[float]]]:
    """The matrices of a text, in order."""
    bodies = re.findall(r"\\begin\{bmatrix\}(.*?)\\end\{bmatrix\}", text, re.S)
    return [
        [[float(cell) for cell in row.split("&")] for row in body.split(r"\\")] for body in bodies
    ]


def table(text: str) -> list[list[str]]:
    """The rows of a section's table, its header left out."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def _text(file: str) -> str:
    return (ROOT / "knowledge" / file).read_text(encoding="utf-8")
