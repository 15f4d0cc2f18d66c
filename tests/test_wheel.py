"""The wheel: the demo is inside, and a user's own folders of the same names are left alone."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.cli.process import run_agentkit

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an install lays it out, made from the sources as they are."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_nothing_but_the_package_is_importable_after_an_install(unpacked: Path) -> None:
    names = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert names == {"agentkit"}


def test_no_cache_and_no_index_goes_into_the_wheel(unpacked: Path) -> None:
    inside = {part for path in unpacked.rglob("*") for part in path.relative_to(unpacked).parts}
    assert not inside & {"__pycache__", ".agentkit"}


def test_a_project_is_made_by_the_wheel(unpacked: Path, tmp_path: Path) -> None:
    done = run_agentkit("init", "app", cwd=tmp_path, env={"PYTHONPATH": str(unpacked)})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "app" / "tools" / "split_bill.py").is_file()


def test_the_demo_runs_beside_a_users_own_tools_and_knowledge(
    unpacked: Path, tmp_path: Path
) -> None:
    (tmp_path / "tools.py").write_text("raise SystemExit('the user's own')", encoding="utf-8")
    (tmp_path / "knowledge").mkdir()
    done = run_agentkit("demo", cwd=tmp_path, env={"PYTHONPATH": str(unpacked)})
    assert done.returncode == 0, done.stderr
    assert len(re.findall("quotes? checked against the files", done.stderr)) == 5
    assert list((tmp_path / "knowledge").iterdir()) == []
    assert (tmp_path / "agentkit-demo" / "knowledge" / "lecture_notes").is_dir()
