"""The search benchmark runs on the lecture notes alone."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_search_benchmark_runs_without_texts_of_its_own() -> None:
    command = [sys.executable, "benchmarks/search.py", "--sizes", "60", "--questions", "40"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    ways = [line.split("|")[2].strip() for line in result.stdout.splitlines()[2:]]
    assert ways == ["agentkit", "Chroma", "FTS5"]
