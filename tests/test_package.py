"""The package as a whole: its public names, what importing it loads, and the length of its files.

The layers and the absence of import cycles are import-linter contracts (`make lint`).
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import agentkit

PACKAGE = Path(agentkit.__file__).parent
HEAVY = ("torch", "chromadb", "mcp", "openai", "transformers", "onnxruntime", "numpy")
MOST_LINES = 500


def test_importing_the_package_loads_nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] in ("agentkit", *HEAVY)]:
        monkeypatch.delitem(sys.modules, name)
    importlib.import_module("agentkit")
    assert [name for name in HEAVY if name in sys.modules] == []


def test_every_public_name_can_be_imported() -> None:
    assert all(getattr(agentkit, name) is not None for name in agentkit.__all__)


def test_no_file_is_longer_than_the_limit() -> None:
    lines = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {path.name: n for path, n in lines.items() if n > MOST_LINES} == {}


@pytest.mark.slow
def test_a_type_checker_rejects_an_unknown_public_name(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text("from agentkit import Agent, NoSuchName\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--follow-imports=silent", str(program)],
        capture_output=True,
        text=True,
    )
    assert 'has no attribute "NoSuchName"' in done.stdout
    assert done.stdout.count("error:") == 1


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("agentkit.backends.huggingface", "HuggingFaceModel"),
        ("agentkit.backends.llamacpp", "LlamaCppModel"),
        ("agentkit.backends.ollama", "OllamaModel"),
        ("agentkit.backends.openai", "OpenAIModel"),
        ("agentkit.integrations.langchain", "LangChainModel"),
        ("agentkit.mcp.client", "McpServers"),
        ("agentkit.mcp.server", "build_server"),
        ("agentkit.settings", "Settings"),
        ("agentkit.text", "terms"),
    ],
)
def test_a_package_offers_its_public_names(module: str, name: str) -> None:
    if module == "agentkit.integrations.langchain":
        pytest.importorskip("langchain_core")
    assert hasattr(import_module(module), name)
