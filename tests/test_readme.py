"""What README.md and docs/ show runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [
    pytest.param(block, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE), 1
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_python_example_of_the_pages_runs(block: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", block]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert done.stderr == ""


def test_every_command_that_the_readme_names_is_there() -> None:
    named = set(re.findall(r"(?:`|^)agentkit ([a-z]+)", README, re.MULTILINE))
    helped = subprocess.run(
        [sys.executable, "-m", "agentkit", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert len(named) >= 8
    assert named <= set(re.findall(r"^  ([a-z]+)", helped, re.MULTILINE))


def test_the_settings_example_is_valid(tmp_path: Path) -> None:
    from agentkit.settings.sources import read_settings

    (example,) = re.findall(r"^```toml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    (tmp_path / "agentkit.toml").write_text(example, encoding="utf-8")
    assert read_settings(tmp_path).settings.providers["work"].api_key_env == "WORK_KEY"
