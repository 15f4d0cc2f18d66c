"""Examples, commands, settings and links of README.md and docs/ are current."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import agentkit
from agentkit.settings.sources import read_settings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (
    README,
    ROOT / "AGENTS.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
APPLICATIONS = sorted((ROOT / "docs" / "apps").glob("*.md"))
STARTS_PROCESSES = {"mcp.md"}


def _blocks(page: Path, language: str) -> list[str]:
    fence = rf"^```{language}\n(.*?)^```"
    return re.findall(fence, page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def _examples() -> Iterator[Any]:
    for page in PAGES:
        marks = [pytest.mark.slow] if page.name in STARTS_PROCESSES else []
        for number, block in enumerate(_blocks(page, "python"), 1):
            yield pytest.param(block, id=f"{page.name}-{number}", marks=marks)


@pytest.mark.parametrize("block", list(_examples()))
def test_python_example_runs_and_prints(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    output = capsys.readouterr()
    assert output.out.strip()
    assert output.err == ""


@pytest.mark.parametrize("page", APPLICATIONS, ids=lambda page: page.stem)
def test_code_of_an_application_page_stands_in_the_example_that_it_names(page: Path) -> None:
    names = re.findall(r"\]\(\.\./\.\./(examples/\w+\.py)\)", page.read_text("utf-8"))
    code = (ROOT / names[0]).read_text(encoding="utf-8")
    blocks = _blocks(page, "py")
    assert blocks
    assert [block for block in blocks if block not in code] == []


def test_every_public_name_is_documented() -> None:
    found = {name: getattr(agentkit, name) for name in agentkit.__all__}
    described = {n: o for n, o in found.items() if isinstance(o, type | FunctionType)}
    assert len(described) > 50
    made = tuple(f"{name}(" for name in described)  # by dataclass, where nothing is written
    assert [n for n, o in described.items() if not o.__doc__ or o.__doc__.startswith(made)] == []


@pytest.mark.slow
def test_the_site_is_built_and_its_reference_has_every_public_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run([*command, "--site-dir", tmp_path], cwd=ROOT, env=environment, check=True)
    reference = (tmp_path / "reference.html").read_text(encoding="utf-8")
    names = re.findall(r'<h3 id="agentkit\.[\w.]*?(\w+)"', reference)
    assert sorted(names) == sorted(agentkit.__all__)


def test_settings_example_of_the_readme_is_valid(tmp_path: Path) -> None:
    (example,) = _blocks(README, "toml")
    (tmp_path / "agentkit.toml").write_text(example, encoding="utf-8")
    assert read_settings(tmp_path).settings.providers["work"].api_key_env == "WORK_KEY"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_json_and_toml_examples_parse(page: Path) -> None:
    for block in _blocks(page, "json"):
        json.loads(block)
    for block in _blocks(page, "jsonl"):
        for line in block.splitlines():
            json.loads(line)
    for block in _blocks(page, "toml"):
        tomllib.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_and_names_lead_somewhere(page: Path) -> None:
    """Relative links, repository paths, dotted names and `python -m` arguments resolve."""
    text = page.read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", prose)
    assert [link for link in links if not (page.parent / link).exists()] == []
    paths = re.findall(r"`((?:agentkit|tests|docs|benchmarks|examples)/[\w/.-]*)`", text)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    names = re.findall(r"`(agentkit(?!\.toml)(?:\.[A-Za-z_]\w*)+)`", text)
    assert [name for name in names if not _resolves(name)] == []
    modules = re.findall(r"python -m ((?:agentkit|tests)[\w.]*)", text)
    assert [module for module in modules if find_spec(module) is None] == []


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("path", "function"),
    re.findall(r"^\| `([\w/]+\.py)` \| `([\w.]+)`", ARCHITECTURE, re.MULTILINE),
)
def test_function_of_an_architecture_walk_exists(path: str, function: str) -> None:
    module = "agentkit." + path.removesuffix(".py").replace("/", ".")
    assert _resolves(f"{module}.{function}")


def test_files_that_the_architecture_names_exist() -> None:
    paths = re.findall(r"`([a-z_][\w/]*(?:/|\.pyi?))`", ARCHITECTURE)
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / "agentkit" / path).exists()] == []


def _resolves(dotted: str) -> bool:
    parts = dotted.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_every_known_hole_names_a_test_that_exists() -> None:
    text = (ROOT / "SECURITY.md").read_text("utf-8")
    rows = re.findall(r"^\| .* \| .* \| (`tests/.*`) \|$", text, re.MULTILINE)
    assert len(rows) > 20
    named = [each for row in rows for each in re.findall(r"`([^`:]+)(?:::(\w+))?`", row)]
    for path, test in named:
        assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8"), test
        assert (ROOT / path).is_file()
