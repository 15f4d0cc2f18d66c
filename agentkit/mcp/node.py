"""Node's packages in a folder of ours, for what is published for Node alone.

npm puts them there, pinned, with a Node of their own where the system's is too old. Nothing is
installed but by `install`, which its caller asks the user about.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from agentkit.errors import McpError

NODE = "node@24.21.0"
OLDEST_NODE = 22
INSTALL_SECONDS = 600


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """A folder that holds, or will hold, these packages in its node_modules."""

    place: Path
    packages: tuple[str, ...]

    @property
    def modules(self) -> Path:
        return self.place / "node_modules"

    @property
    def node(self) -> str:
        """The Node that runs them."""
        own = self.modules / ".bin" / "node"
        return str(own) if own.exists() else shutil.which("node") or "node"

    @property
    def is_ready(self) -> bool:
        """Whether all of them were installed, in just these releases."""
        try:
            return self._mark.read_text(encoding="utf-8") == self._wanted
        except OSError:
            return False

    def install(self) -> None:
        """Have npm install what is not there. Raises McpError that says what is wanted."""
        if self.is_ready:
            return
        npm = shutil.which("npm")
        if npm is None:
            raise McpError(f"npm is not found. Install Node {OLDEST_NODE} or newer, which has it.")
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            with FileLock(self.place / ".lock", timeout=INSTALL_SECONDS):
                if not self.is_ready:
                    self._install(npm)
        except OSError as error:
            raise McpError(f"{self.place} cannot be written: {error}.") from error

    def _install(self, npm: str) -> None:
        node = () if system_node() >= OLDEST_NODE else (NODE,)
        quiet = ("--no-fund", "--no-audit", "--loglevel=error", "--fetch-retries=1")
        wanted = dict.fromkeys((*node, *self.packages))
        command = [npm, "install", *quiet, "--prefix", str(self.place), *wanted]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise McpError(f"npm did not end within {INSTALL_SECONDS} s. Try again.") from error
        if done.returncode != 0:
            raise McpError(
                f"npm could not install {', '.join(self.packages)}: {_said(done.stderr)}"
            )
        self._mark.write_text(self._wanted, encoding="utf-8")

    @property
    def _mark(self) -> Path:
        return self.place / ".installed"

    @property
    def _wanted(self) -> str:
        return "\n".join((NODE, *self.packages))


def cache_folder() -> Path:
    """Where packages for the user's own use are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "agentkit" / "node"


def system_node() -> int:
    """The major version of the system's Node, 0 where there is none."""
    node = shutil.which("node")
    if node is None:
        return 0
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0


def _said(errors: str) -> str:
    """The first lines of npm's complaint, as one."""
    lines = [line.removeprefix("npm error ") for line in errors.splitlines() if line.strip()]
    return " ".join(lines[:3])[:500] or "it did not say why"
