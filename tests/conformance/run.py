"""The official conformance suite against what is shipped: `make conformance`.

It wants npm; Node and the suite itself, both pinned, go into build/conformance. A scenario counts
as passed where at least one of its own checks ran and none failed.
"""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "build" / "conformance"
PACKAGES = (
    "node@24.21.0",
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "conformance-stable@npm:@modelcontextprotocol/conformance@0.1.16",
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/client@2.4.0",
)
SUITE = "@modelcontextprotocol/conformance"
STABLE = "conformance-stable"
REVISIONS = ("2025-11-25", "2026-07-28")
EXPECTED_FAILURES: Mapping[str, str] = {}
"""Scenarios that may fail, each with the reason why. There is none."""

GENERIC = {
    "2025-11-25": (
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "completion-complete",
        "tools-list",
        "resources-list",
        "prompts-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
    ),
    "2026-07-28": (
        "completion-complete",
        "tools-list",
        "resources-list",
        "prompts-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "sep-2164-resource-not-found",
        "caching",
        "http-header-validation",
    ),
}
"""The scenarios that need no fixture: any server can be put to them. Those of calls are left out,
for they name tools that a server does not have."""


def main() -> int:
    install()
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder, "knowledge", "pets.md")
        notes.parent.mkdir()
        notes.write_text("# Cats\n\nCats purr.\n", encoding="utf-8")
        results = [
            *shipped("shipped", ["-m", "agentkit", "mcp", "serve", "-C", folder, "-m"], folder),
            *shipped("mounted", ["-m", "tests.conformance.shipped_server"], folder),
            *fixtures(),
            *client(),
        ]
    return 0 if all(results) else 1


def install() -> None:
    """Node and both releases of the suite, once."""
    wanted = "\n".join(PACKAGES)
    mark = PLACE / ".installed"
    if mark.is_file() and mark.read_text(encoding="utf-8") == wanted:
        return
    PLACE.mkdir(parents=True, exist_ok=True)
    command = ("npm", "install", "--silent", "--no-fund", "--no-audit", "--prefix", str(PLACE))
    subprocess.run([*command, *PACKAGES], check=True)
    mark.write_text(wanted, encoding="utf-8")


def shipped(name: str, command: Sequence[str], folder: str) -> Iterator[bool]:
    """The product's server, under the scenarios that apply to any."""
    port = free_port()
    last = ["extractive", "--http", str(port)] if name == "shipped" else [folder, str(port)]
    with serving([*command, *last], port) as url:
        for revision, scenarios in GENERIC.items():
            said = run(SUITE, "server", "--url", url, "--requirements", revision)
            yield count(f"{name} server, any server's scenarios, {revision}", said, scenarios)


def fixtures() -> Iterator[bool]:
    """Our HTTP stack with the suite's fixtures, under all that a revision requires."""
    port = free_port()
    with serving(["-m", "tests.conformance.fixtures_server", str(port)], port) as url:
        for revision in REVISIONS:
            said = run(SUITE, "server", "--url", url, "--requirements", revision)
            yield count(f"fixtures on our HTTP stack, required by {revision}", said)
        said = run(STABLE, "server", "--url", url)
        yield count("fixtures on our HTTP stack, suite 0.1.16", said)


def client() -> Iterator[bool]:
    """Our client, under all that a revision requires."""
    command = f"{sys.executable} -m tests.conformance.client"
    for revision in REVISIONS:
        said = run(SUITE, "client", "--command", command, "--requirements", revision)
        yield count(f"client, required by {revision}", said)


def count(what: str, said: str, only: Collection[str] = ()) -> bool:
    """Print how many scenarios passed, of `only` some or of all that the suite scores, and name
    those that did not."""
    summary = said.rpartition("SUMMARY ===")[2]
    scored, _, unscored = summary.partition("Not scored")
    aside = set(re.findall(r"^  [✓✗] (\S+) \(", unscored, re.MULTILINE))
    lines = re.findall(r"^([✓✗]) (\S+): (\d+) passed", scored, re.MULTILINE)
    passed = {name: mark == "✓" and int(checks) > 0 for mark, name, checks in lines}
    wanted = sorted(only or passed.keys() - aside)
    failed = [name for name in wanted if not passed.get(name) and name not in EXPECTED_FAILURES]
    print(f"{what}: {len(wanted) - len(failed)} of {len(wanted)}", *failed, flush=True)
    return bool(wanted) and not failed


def run(package: str, *arguments: str) -> str:
    """What the suite says; its exit code says less."""
    modules = PLACE / "node_modules"
    script = modules / package / "dist" / "index.js"
    done = subprocess.run(
        [modules / ".bin" / "node", script, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[str]:
    """A server as a child, until it can be reached and then until the end of the block."""
    child = subprocess.Popen([sys.executable, *command], cwd=ROOT, stderr=subprocess.PIPE)
    try:
        while child.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        child.terminate()
        child.communicate(timeout=30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
