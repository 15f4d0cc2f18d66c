"""The house stands: imports point downward, and the package's own face costs nothing."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import agentkit

PACKAGE = Path(agentkit.__file__).parent
FLOORS = {
    "documents": 1, "errors": 1, "text": 1, "_sync": 1, "addresses": 1, "findings": 1,
    "messages": 2, "answers": 2, "settings": 2, "passages": 2, "_fetch": 2,
    "tools": 3, "events": 3,
    "knowledge": 4, "backends": 4, "answering": 4, "tracing": 4,
    "agent": 5, "mcp": 5, "integrations": 5,
    "project": 6, "server": 6, "evaluation": 6,
    "cli": 7,
}  # fmt: skip
SIDEWAYS = {
    ("knowledge", "backends"),
    ("tracing", "backends"),
    ("mcp", "agent"),
    ("answering", "backends"),
    ("backends", "answering"),
    ("backends", "knowledge"),
}
HEAVY = ("torch", "chromadb", "mcp", "openai", "ollama", "transformers", "onnxruntime", "numpy")


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("agentkit.") and "__" not in name}


MODULES = {
    _module(path): _imports(path)
    for path in PACKAGE.rglob("*.py")
    if "demo" not in path.relative_to(PACKAGE).parts[:1]
}


PACKAGES = {_module(path) for path in PACKAGE.rglob("__init__.py")}


def _floor(name: str) -> str:
    return name.split(".")[1]


def test_every_module_has_a_floor() -> None:
    rooms = {_floor(name) for name in MODULES if "." in name} - {"__main__"}
    assert rooms <= FLOORS.keys()


def test_no_import_points_upward() -> None:
    upward = [
        (name, target)
        for name, targets in MODULES.items()
        if "." in name and _floor(name) != "__main__"
        for target in targets
        if FLOORS[_floor(target)] > FLOORS[_floor(name)]
    ]
    assert upward == []


def test_on_one_floor_only_the_known_arrows_lead_sideways() -> None:
    sideways = {
        (_floor(name), _floor(target))
        for name, targets in MODULES.items()
        if "." in name and _floor(name) != "__main__"
        for target in targets
        if FLOORS[_floor(target)] == FLOORS[_floor(name)] >= 3 and _floor(target) != _floor(name)
    }
    assert sideways - {("events", "tools"), ("tools", "events")} <= SIDEWAYS


def test_no_circle_of_files() -> None:
    graph = {
        name: {target for target in targets if target in MODULES and target not in PACKAGES}
        for name, targets in MODULES.items()
        if name not in PACKAGES
    }
    assert len(tuple(TopologicalSorter(graph).static_order())) >= len(graph)


def test_no_file_is_longer_than_five_hundred_lines() -> None:
    sizes = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in PACKAGE.rglob("*.py")}
    assert {p.name: n for p, n in sizes.items() if n > 500} == {}


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import agentkit, sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there() -> None:
    assert all(getattr(agentkit, name) is not None for name in agentkit.__all__)


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
