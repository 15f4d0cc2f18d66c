"""What it takes to start: CPU seconds of a whole process, best of five, bytecode cached.

Run with the environment of the benchmarks, in which `llm` is installed: `make bench`. The answer is
the quoting reader's on the indexed demo; three questions, for the first ones asked cost the most.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from agentkit.project.demo import copy_demo

RUNS = 5
QUESTIONS = ("KV Cache 为什么能加快推理？", "什么是知识蒸馏？", "RLHF 分哪几步？")
AGENTKIT = (sys.executable, "-m", "agentkit")


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        demo = copy_demo(Path(place) / "demo")
        _run([*AGENTKIT, "index", "-C", str(demo)])
        bare = best([sys.executable, "-c", "pass"])
        print(f"python -c pass            {bare:.3f} s CPU, best of {RUNS}")
        for arguments in (["--help"], ["config", "show", "-C", str(demo)]):
            over = best([*AGENTKIT, *arguments]) - bare
            print(f"agentkit {arguments[0]:16} {over:.3f} s above that (at most 0.250)")
        if llm := shutil.which("llm", path=str(Path(sys.executable).parent)):
            print(f"llm --help               {best([llm, '--help']) - bare:.3f} s above that")
        for question in QUESTIONS:
            asked = [*AGENTKIT, "ask", question, "-m", "extractive", "-C", str(demo)]
            print(
                f"agentkit ask              {best(asked):.3f} s in all (at most 1.800): {question}"
            )


def best(command: Sequence[str]) -> float:
    """The least CPU seconds of some runs, after one that fills the caches."""
    _run(command)
    return min(_run(command) for _ in range(RUNS))


def _run(command: Sequence[str]) -> float:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, env=env, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
