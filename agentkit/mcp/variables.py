"""What stands for `${...}` in a server's entry, and the lines of a file of variables.

`${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${input:ID}`, `${workspaceFolder}`, `${userHome}` and
`${agentkit:python}` are known; what comes out is not expanded again.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.errors import McpError

_LARGEST_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of one server's entry; `lenient` leaves unknown ones as they are. `inputs`
    are defaults by id: another program asks for them, here the environment gives them."""

    place: str
    server: str
    project: Path
    lenient: bool
    inputs: Mapping[str, str | None] = field(default_factory=dict)

    def expanded(self, key: str, text: str) -> str:
        """The text with every variable replaced. Raises McpError for one that is not set."""
        return re.sub(r"\$\{([^}]*)\}", lambda match: self._value(key, match[1]), text)

    def all_expanded(self, key: str, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self.expanded(f"{key}.{name}", text) for name, text in texts.items()}

    def of_file(self, key: str, path: str) -> dict[str, str]:
        """The variables that a file sets; none where no file is named. Raises McpError."""
        if not path:
            return {}
        found = self.project / self.expanded(key, path)
        try:
            if found.stat().st_size > _LARGEST_FILE:
                raise McpError(f"{self.place}: {key}: {found} is too large.", self.server)
            return parsed(found.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            if self.lenient:
                return {}
            said = getattr(error, "strerror", None) or error
            raise McpError(
                f"{self.place}: {key}: {found} cannot be read: {said}.", self.server
            ) from error

    def _value(self, key: str, written: str) -> str:
        if (known := self._known().get(written)) is not None:
            return known
        name, separator, default = written.removeprefix("env:").partition(":-")
        is_input = name.startswith("input:")
        value = self._input(name.removeprefix("input:")) if is_input else os.environ.get(name)
        if separator:
            return value or default
        if value is not None:
            return value
        if self.lenient:
            return f"${{{written}}}"
        asked = _input_variable(name.removeprefix("input:")) if is_input else name
        raise McpError(
            f"{self.place}: {key}: the variable {asked} is not set. "
            f"Set it, or write ${{{asked}:-default}}.",
            self.server,
        )

    def _known(self) -> dict[str, str]:
        return {
            "agentkit:python": sys.executable,
            "workspaceFolder": str(self.project),
            "workspaceFolderBasename": self.project.name,
            "userHome": str(Path.home()),
        }

    def _input(self, name: str) -> str | None:
        return os.environ.get(_input_variable(name), self.inputs.get(name))


def parsed(text: str) -> dict[str, str]:
    """The variables of `NAME=value` lines; quotes around a value go, comments and other lines are
    passed over."""
    found = {}
    for line in text.splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()


def _input_variable(name: str) -> str:
    return "AGENTKIT_INPUT_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()
