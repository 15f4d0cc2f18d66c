"""Run `agentkit` in a process of its own, as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

AGENTKIT = (sys.executable, "-m", "agentkit")
SECONDS = 200
"""How long a command may take on a busy machine."""


def run_agentkit(
    *arguments: object,
    stdin: str = "",
    cwd: Path | None = None,
    env: Mapping[str, str] = {},
) -> subprocess.CompletedProcess[str]:
    source: dict[str, Any] = {"input": stdin} if stdin else {"stdin": subprocess.DEVNULL}
    return subprocess.run(
        [*AGENTKIT, *map(str, arguments)],
        **source,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=SECONDS,
        cwd=cwd,
        check=False,
        env={**os.environ, **env},
    )
