"""Run clients of other projects against our server, each with its own library in an environment of
its own: they list the tools, call each right and wrong, read a resource and cite from it.

`python -m tests.conformance.clients [NAME...]`. One that does not install within a minute is left
out. The drivers are in benchmarks/peers/mcp.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.node import FOLDER, NODE, PATH, ROOT, NodeFolder

DRIVERS = ROOT / "benchmarks" / "peers" / "mcp"
ENVIRONMENTS = ROOT / "build" / "clients"
INSTALL_SECONDS, RUN_SECONDS = 60, 300
NOTES = "# Cats\n\nCats purr when they are content.\n\n# Dogs\n\nDogs bark at strangers.\n"
INSPECTOR = NodeFolder(ENVIRONMENTS / "inspector", (NODE, "@modelcontextprotocol/inspector@0.15.0"))


@dataclass(frozen=True, slots=True)
class PythonClient:
    """A client with a library from the Python package index."""

    name: str
    driver: str
    requirements: tuple[str, ...]

    def install(self) -> str:
        """Return the interpreter of its environment. Raises OSError, subprocess.SubprocessError."""
        folder = ENVIRONMENTS / self.name
        python, stamp = folder / "bin" / "python", folder / ".installed"
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != self._stamp:
            uv = str(Path(sys.executable).with_name("uv"))
            _check([uv, "venv", "--quiet", "--clear", str(folder)])
            _check([uv, "pip", "install", "--quiet", "--python", str(python), *self.requirements])
            stamp.write_text(self._stamp, encoding="utf-8")
        return str(python)

    @property
    def environment(self) -> Mapping[str, str]:
        return {}

    @property
    def _stamp(self) -> str:
        return "\n".join(self.requirements)


@dataclass(frozen=True, slots=True)
class NodeClient:
    """A client with packages of npm, driven from Python."""

    name: str
    driver: str
    folder: NodeFolder

    def install(self) -> str:
        """Return this interpreter. Raises RuntimeError where npm fails."""
        self.folder.install()
        return sys.executable

    @property
    def environment(self) -> Mapping[str, str]:
        return {
            "MCP_NODE_MODULES": str(self.folder.modules),
            "MCP_INSPECTOR": str(self.folder.modules / ".bin" / "mcp-inspector"),
        }


CLIENTS: tuple[PythonClient | NodeClient, ...] = (
    NodeClient("inspector", "inspector", INSPECTOR),
    NodeClient("typescript-sdk", "typescript_sdk", FOLDER),
    PythonClient("python-sdk", "python_sdk", ("mcp==2.3.0",)),
    PythonClient("openai-agents", "openai_agents", ("openai-agents==0.24.0",)),
    PythonClient("pydantic-ai", "pydantic_ai_client", ("pydantic-ai-slim[mcp]==2.68.0",)),
    PythonClient("fastmcp", "fastmcp_client", ("fastmcp==4.2.3",)),
    PythonClient("langchain", "langchain_adapters", ("langchain-mcp-adapters==0.3.2",)),
    PythonClient("smolagents", "smolagents_client", ("smolagents[mcp]==1.26.0", "mcp[ws]<2")),
)


def run_clients(folder: Path, names: Sequence[str] = ()) -> bool:
    """Run the named clients, or all, against a server of `folder`, and print what each did. Returns
    whether all that were installed found everything as expected."""
    (folder / "knowledge").mkdir(parents=True, exist_ok=True)
    (folder / "knowledge" / "pets.md").write_text(NOTES, encoding="utf-8")
    outcomes = [_run(client, folder) for client in CLIENTS if not names or client.name in names]
    return all(outcomes)


def _run(client: PythonClient | NodeClient, folder: Path) -> bool:
    try:
        python = client.install()
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"{client.name:16}not installed: {' '.join(str(error).split())[:200]}", flush=True)
        return True
    report = _report([python, str(DRIVERS / f"{client.driver}.py"), *_server(folder)], client)
    print(f"{client.name:16}{_summary(report)}", flush=True)
    for fault in report["faults"]:
        print(f"  {fault}", flush=True)
    return not report["faults"]


def _report(command: Sequence[str], client: PythonClient | NodeClient) -> dict[str, Any]:
    variables = {**os.environ, **PATH, **client.environment}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_SECONDS, env=variables, check=False
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = done.stderr.strip().splitlines()[-3:]
        return {"tools": 0, "calls": 0, "resource": "not read", "citation": "", "faults": last}
    return dict(json.loads(lines[-1]))


def _summary(report: Mapping[str, Any]) -> str:
    return "; ".join(_parts(report))


def _parts(report: Mapping[str, Any]) -> Iterator[str]:
    yield f"{report['tools']} tools, {report['calls']} calls"
    yield f"resource {report['resource']}"
    yield f"cites {report['citation']!r}"
    yield f"{len(report['faults'])} faults"


def _server(folder: Path) -> list[str]:
    return [sys.executable, "-m", "agentkit", "mcp", "serve", "-C", str(folder), "-m", "extractive"]


def _check(command: Sequence[str]) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS)


if __name__ == "__main__":
    app = ENVIRONMENTS / "app"
    shutil.rmtree(app, ignore_errors=True)
    FOLDER.install()
    sys.exit(0 if run_clients(app, sys.argv[1:]) else 1)
