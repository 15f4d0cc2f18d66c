"""The built-in tools of a project, by the groups that `tools.builtin` names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from agentkit.errors import ConfigError
from agentkit.tools.tool import Tool

BUILTIN_TOOLS = ("calculator", "date", "files", "fetch", "python")


def builtin_tools(
    names: Iterable[str] = ("calculator", "date"),
    *,
    roots: Sequence[Path] = (),
    allow_private: bool = False,
    python_unconfined: bool = False,
) -> list[Tool]:
    """Return the built-in tools of some groups. Raises ConfigError for unknown names."""
    tools: list[Tool] = []
    for name in dict.fromkeys(names):
        match name:
            case "calculator":
                from agentkit.tools.builtin.calculator import calculator

                tools.append(calculator)
            case "date":
                from agentkit.tools.builtin.clock import DATE_TOOLS

                tools += DATE_TOOLS
            case "files":
                tools += _file_tools(roots)
            case "fetch":
                from agentkit.knowledge.loaders.web import fetch_tool

                tools.append(fetch_tool(allow_private))
            case "python":
                from agentkit.tools.builtin.python import python_tool

                tools.append(python_tool(unconfined=python_unconfined))
            case _:
                near = get_close_matches(name, BUILTIN_TOOLS, 1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ConfigError(
                    f"Unknown built-in tool {name!r} in tools.builtin.{hint} "
                    f"Available: {', '.join(BUILTIN_TOOLS)}."
                )
    return tools


def _file_tools(roots: Sequence[Path]) -> tuple[Tool, ...]:
    from agentkit.knowledge.loaders.files import load
    from agentkit.knowledge.loaders.text import decoded
    from agentkit.tools.builtin.files import file_tools

    if not roots:
        raise ConfigError("The built-in tool 'files' needs a folder. Name it in tools.roots.")
    return file_tools(
        roots,
        text_of=lambda content, name: load(content, name).document.text,
        plain_text=lambda content, name: decoded(content),
    )
