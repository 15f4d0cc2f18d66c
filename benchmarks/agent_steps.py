"""The processor time that a framework adds to each step of an agent, beside its peers', in one run.

    python benchmarks/agent_steps.py [--steps 10 60 200 400] [--rounds 5]

A step is a model call and a tool call; the model is a fake in the same process and the tool adds
two numbers, so that all time is the framework's. Each framework runs in a process of its own, by
its synchronous entry; they take turns, and the best of the rounds counts. Tracing to services is
off. A framework that is not installed is left out.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from peers.setting import setting
from peers.silence import silence

_NAMES = {
    "agentkit_off": "agentkit",
    "agentkit_on": "agentkit, with session and trace",
    "pydantic_ai_agent": "pydantic-ai",
    "openai_agents": "openai-agents",
    "smolagents_agent": "smolagents",
    "langchain_agent": "LangChain create_agent",
    "llm_chain": "llm",
}
_PACKAGES = (
    "agentkit-rag",
    "pydantic-ai-slim",
    "openai-agents",
    "smolagents",
    "langchain",
    "langgraph",
    "llm",
)
_READY = "ready"


def main() -> None:
    silence()
    options = _options()
    if options.serve:
        _serve(options.serve)
        return
    print(f"{setting(_PACKAGES)}\n", flush=True)
    with _started(options.only) as running:
        spent = _measured(running, options.steps, options.rounds)
    print(*_table(spent, options.steps), sep="\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 60, 200, 400])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=_NAMES, default=list(_NAMES))
    parser.add_argument("--serve", choices=_NAMES, help="measure in this process, as stdin asks")
    return parser.parse_args()


@contextmanager
def _started(modules: Iterable[str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """A process for each framework that is installed, warm."""
    running = {}
    try:
        for module in modules:
            child = subprocess.Popen(
                [sys.executable, __file__, "--serve", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            running[module] = child
            if _read_line(child) != _READY:
                print(f"{_NAMES[module]} is left out: it is not installed.", file=sys.stderr)
                running.pop(module).wait()
        yield running
    finally:
        for child in running.values():
            child.communicate()


def _measured(
    running: dict[str, subprocess.Popen[str]], steps: list[int], rounds: int
) -> dict[tuple[str, int], float]:
    """Seconds of the best round, the frameworks in turn."""
    best: dict[tuple[str, int], float] = {}
    for _ in range(rounds):
        for count in steps:
            for module, child in running.items():
                assert child.stdin is not None
                print(count, file=child.stdin, flush=True)
                seconds = float(_read_line(child))
                best[module, count] = min(seconds, best.get((module, count), seconds))
    return best


def _read_line(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def _table(spent: dict[tuple[str, int], float], steps: list[int]) -> Iterator[str]:
    last = f"{steps[-1]} steps / {steps[-2]} steps" if len(steps) > 1 else "growth"
    yield f"| framework, ms per step | {' | '.join(f'{n} steps' for n in steps)} | {last} |"
    yield f"|{'---|' * (len(steps) + 2)}"
    for module in dict.fromkeys(module for module, _ in spent):
        cells = [f"{1000 * spent[module, n] / n:.3f}" for n in steps]
        growth = spent[module, steps[-1]] / spent[module, steps[-2]] if len(steps) > 1 else 1.0
        yield f"| {_NAMES[module]} | {' | '.join(cells)} | {growth:.2f} times |"


def _serve(module: str) -> None:
    """Run as many steps as each line of stdin says, and tell the seconds of processor time."""
    try:
        adapter = importlib.import_module(f"peers.steps.{module}")
    except ImportError as error:
        print(error, file=sys.stderr)
        return
    _spent(adapter, 3)
    print(_READY, flush=True)
    for line in sys.stdin:
        print(_spent(adapter, int(line)), flush=True)


def _spent(adapter: object, steps: int) -> float:
    from peers.steps.tool import DONE, made

    made.clear()
    run = adapter.prepare(steps)  # type: ignore[attr-defined]
    gc.collect()
    began = time.process_time()
    output = run()
    seconds = time.process_time() - began
    if output != DONE or made != list(range(1, steps + 1)):
        raise SystemExit(f"{len(made)} of {steps} calls were made, and the answer was {output!r}.")
    return seconds


if __name__ == "__main__":
    main()
