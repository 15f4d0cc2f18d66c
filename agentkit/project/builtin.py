"""The tools that come with the package, by the names that agentkit.toml gives them.

They meet here, above tools and knowledge, because reading a document or a URL is knowledge's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path

from agentkit.errors import ConfigError
from agentkit.tools.tool import Tool

DEFAULT = ("calculator", "date")
"""The tools that need neither a file nor a network nor a question."""


def builtin_tools(
    names: Iterable[str] = DEFAULT, *, roots: Sequence[Path] = (), allow_private: bool = False
) -> tuple[Tool, ...]:
    """The tools of some groups: calculator, date, files, fetch, python. `roots` are the folders of
    `files`; `allow_private` is `fetch`'s. Raises ConfigError for a name that is none of them."""
    groups: Mapping[str, Callable[[], tuple[Tool, ...]]] = {
        "calculator": _calculator,
        "date": _date,
        "files": lambda: _files(roots),
        "fetch": lambda: _fetch(allow_private),
        "python": _python,
    }
    found: list[Tool] = []
    for name in dict.fromkeys(names):
        if name not in groups:
            near = get_close_matches(name, groups, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(groups)}."
            raise ConfigError(f"tools.builtin names {name!r}, which is no built-in tool: {hint}")
        found += groups[name]()
    return tuple(found)


def _calculator() -> tuple[Tool, ...]:
    from agentkit.tools.builtin.calculator import calculator

    return (calculator,)


def _date() -> tuple[Tool, ...]:
    from agentkit.tools.builtin.clock import date_tools

    return date_tools()


def _files(roots: Sequence[Path]) -> tuple[Tool, ...]:
    from agentkit.knowledge.loaders.files import load
    from agentkit.knowledge.loaders.text import decoded
    from agentkit.tools.builtin.files import file_tools

    if not roots:
        raise ConfigError("The built-in tool 'files' has no folder. Name one it may read.")
    return file_tools(
        roots,
        text_of=lambda content, name: load(content, name).document.text,
        plain_text=lambda content, name: decoded(content),
    )


def _fetch(allow_private: bool) -> tuple[Tool, ...]:
    from agentkit.knowledge.tools import fetch_tool

    return (fetch_tool(allow_private),)


def _python() -> tuple[Tool, ...]:
    from agentkit.tools.builtin.python import python_tool

    return (python_tool(),)
