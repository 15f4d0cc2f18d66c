"""A newcomer's path, as the pages give it: the first screen of README.md from a fresh copy of the
repository, and the quickstarts in both languages."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MEETING = """# Meeting of 12 May

## Decisions

We decided to keep the index in SQLite and to rebuild Chroma from it.
The report is due in June; Ada writes it.
"""


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)


def _run(script: Any, cwd: Path, **environment: Any) -> CompletedProcess[str]:
    """What a shell of a new user prints, who has nothing of ours in the environment."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGENTKIT")}
    return subprocess.run(
        ["bash", "-eu", "-c", script], cwd=cwd, env={**env, **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that git knows or would take, as a clone has them."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("this is no checkout of git")
    copy = tmp_path_factory.mktemp("newcomer") / "agentkit"
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy / name)
    return copy


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_first_screen_leads_from_a_clone_to_a_cited_answer_of_ones_own(
    clone: Path, tmp_path: Path
) -> None:
    screen = "\n".join(README.splitlines()[:40])
    (steps, *_), (answer, *_) = _blocks(screen, "sh"), _blocks(screen, "text")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "meeting.md").write_text(MEETING, encoding="utf-8")
    done = _run(steps, clone, HOME=str(tmp_path), PYTHON=sys.executable, LANG="C.UTF-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(answer)


@pytest.mark.parametrize(
    ("page", "answer"),
    [
        ("quickstart.md", "takes about 4.2 GB of it. [1]"),
        ("quickstart.zh.md", "约占 4.2 GB。 [1]"),
    ],
)
def test_a_quickstart_runs_as_it_stands(page: str, answer: str, tmp_path: Path) -> None:
    script = "".join(_blocks((ROOT / "docs" / page).read_text(encoding="utf-8"), "sh"))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = _run(script, tmp_path, HOME=str(tmp_path), PATH=path, LANG="C.UTF-8")
    assert done.returncode == 0, done.stderr
    assert answer in done.stdout
    assert "[1] standard input" in done.stdout
    assert json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))["citations"]
