"""Node packages that the tests use, pinned: `python -m tests.node` installs them into build/node.

Where npm is not installed or cannot reach its registry, the tests that need them are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[1]
NODE = "node@24.21.0"
OLDEST_NODE = 22
INSTALL_SECONDS = 600


@dataclass(frozen=True, slots=True)
class NodeFolder:
    """A directory with these packages, installed or to be installed, in its node_modules."""

    path: Path
    packages: tuple[str, ...]

    @property
    def modules(self) -> Path:
        return self.path / "node_modules"

    @property
    def node(self) -> str:
        """The Node executable that runs them."""
        own = self.modules / ".bin" / "node"
        return str(own) if own.exists() else shutil.which("node") or "node"

    @property
    def is_ready(self) -> bool:
        """Whether all packages are installed in exactly these releases."""
        try:
            return self._stamp.read_text(encoding="utf-8") == self._stamp_text
        except OSError:
            return False

    def install(self) -> None:
        """Install the missing packages with npm. Raises RuntimeError with the next step."""
        if self.is_ready:
            return
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError(f"npm is not installed. Install Node {OLDEST_NODE} or newer.")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path / ".lock", timeout=INSTALL_SECONDS):
                if not self.is_ready:
                    self._install(npm)
        except OSError as error:
            raise RuntimeError(f"Cannot write {self.path}: {error}.") from error

    def _install(self, npm: str) -> None:
        node = () if system_node() >= OLDEST_NODE else (NODE,)
        quiet = ("--no-fund", "--no-audit", "--loglevel=error", "--fetch-retries=1")
        wanted = dict.fromkeys((*node, *self.packages))
        command = [npm, "install", *quiet, "--prefix", str(self.path), *wanted]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(
                f"npm did not finish within {INSTALL_SECONDS} s. Try again."
            ) from error
        if done.returncode != 0:
            raise RuntimeError(
                f"npm could not install {', '.join(self.packages)}: {_first_errors(done.stderr)}"
            )
        self._stamp.write_text(self._stamp_text, encoding="utf-8")

    @property
    def _stamp(self) -> Path:
        return self.path / ".installed"

    @property
    def _stamp_text(self) -> str:
        return "\n".join((NODE, *self.packages))


def system_node() -> int:
    """The major version of the system's Node, 0 where there is none."""
    node = shutil.which("node")
    if node is None:
        return 0
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"v(\d+)\.", done.stdout)
    return int(found[1]) if found else 0


def _first_errors(errors: str) -> str:
    """The first three lines of npm's error output, joined."""
    lines = [line.removeprefix("npm error ") for line in errors.splitlines() if line.strip()]
    return " ".join(lines[:3])[:500] or "no error message"


PACKAGES = (
    NODE,
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/client@2.4.0",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
    "axe-core@4.14.1",
    "openai@7.59.0",
)
FOLDER = NodeFolder(ROOT / "build" / "node", PACKAGES)
BIN = FOLDER.modules / ".bin"
PATH = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
"""The environment in which the packages' commands find Node."""

with_node = pytest.mark.skipif(
    not FOLDER.is_ready, reason="Node packages are not installed: python -m tests.node"
)


def main() -> None:
    try:
        FOLDER.install()
    except RuntimeError as error:
        print(f"The tests that need Node packages are skipped: {error}")


if __name__ == "__main__":
    main()
