"""Processes that create the catalog of one folder at the same time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

OPEN = """
import sys, time
from pathlib import Path
from agentkit.knowledge.index.catalog import Catalog
for number in range(40):
    time.sleep(max(0.0, float(sys.argv[2]) + number / 20 - time.time()))
    Catalog(Path(sys.argv[1], str(number), "catalog.sqlite")).close()
"""


@pytest.mark.slow
def test_processes_that_create_a_catalog_at_once_all_open_it(tmp_path: Path) -> None:
    start = time.time() + 2
    opened = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path), str(start)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(6)
    ]
    errors = [process.communicate(timeout=60)[1] for process in opened]
    assert not any(errors), "\n".join(errors)
