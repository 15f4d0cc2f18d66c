"""Child processes: what runs in them is bounded, imports nothing of the current folder, and is gone
with everything it has started when it ends, is ended, or loses its parent."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from agentkit._child import Bounds, ChildFailed
from agentkit._child.pool import Pool
from agentkit._child.process import Child, call_in_child

pytestmark = pytest.mark.slow

WILD = """
import ctypes, os, signal, subprocess, sys, time

def answer(content, report, **arguments):
    report("half", 0.5)
    return {"content": content.decode(), "arguments": arguments, "pid": os.getpid()}

def spin(content, report):
    while True: pass

def sleep(content, report):
    time.sleep(1000)

def sleep_in_grandchild(content, report, mark):
    code = f"import os, time; os.setsid(); time.sleep(99) # {mark}"
    subprocess.Popen([sys.executable, "-c", code])
    time.sleep(1000)

def take(content, report):
    held = []
    while True: held.append(bytearray(b"x" * 10_000_000))

def take_at_once(content, report):
    return len(bytearray(40_000_000_000))

def die(content, report, number):
    os.kill(os.getpid(), number)

def leave(content, report):
    print("the last words", file=sys.stderr)
    os._exit(3)

def write_much(content, report):
    return "x" * 5_000_000

def fail(content, report):
    raise RuntimeError("Error finding id")

def print_much(content, report):
    print("no frame" * 1_000_000)
    os.write(1, b"no frame")
    return sys.stdin.read()

def forge(content, report):
    for number in range(3, 20):
        try: os.write(number, b"\\0\\0\\0\\x02\\0\\0\\0\\0[[")
        except OSError: pass
    os._exit(0)

def find(content, report, names):
    import importlib.util
    found = {name: importlib.util.find_spec(name) for name in names}
    return {name: spec and spec.origin for name, spec in found.items()}

def variables(content, report):
    return dict(os.environ)
"""
BOUNDS = Bounds(seconds=60, memory_mb=300, result_bytes=1_000_000)


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Child]:
    folder = tmp_path / "importable"
    folder.mkdir()
    (folder / "wild_functions.py").write_text(WILD)
    monkeypatch.syspath_prepend(folder)
    started = Child()
    yield started
    started.close()


def _call(child: Child, name: str, bounds: Bounds = BOUNDS, **arguments: Any) -> Any:
    return child.call(f"wild_functions:{name}", arguments, b"bytes", bounds=bounds)


def test_values_and_progress_cross_and_a_child_is_called_again(child: Child) -> None:
    messages: list[tuple[str, float | None]] = []
    arguments = {"text": "漢\ud800", "numbers": [1, None]}
    first = child.call(
        "wild_functions:answer",
        arguments,
        b"bytes",
        bounds=BOUNDS,
        report=lambda *message: messages.append(message),
    )
    assert (first["content"], first["arguments"]) == ("bytes", arguments)
    assert messages == [("half", 0.5)]
    assert _call(child, "answer")["pid"] == first["pid"] != os.getpid()


@pytest.mark.parametrize(
    ("name", "arguments", "bounds", "kind", "reason"),
    [
        ("spin", {}, Bounds(cpu_seconds=1), "cpu", "stopped after 1 s of CPU time"),
        ("sleep", {}, Bounds(seconds=0.5), "time", "stopped after 0.5 s"),
        ("take", {}, BOUNDS, "memory", "killed at 300 MB of memory"),
        ("take_at_once", {}, BOUNDS, "memory", "killed at 300 MB of memory"),
        ("die", {"number": signal.SIGSEGV}, BOUNDS, "ended", "ended by signal SIGSEGV"),
        ("die", {"number": signal.SIGKILL}, BOUNDS, "ended", "ended by signal SIGKILL"),
        ("leave", {}, BOUNDS, "ended", "ended with code 3: the last words"),
        ("write_much", {}, BOUNDS, "output", "its result is larger than 1 MB"),
        ("fail", {}, BOUNDS, "raised", "RuntimeError: Error finding id"),
        ("missing", {}, BOUNDS, "raised", "has no attribute 'missing'"),
        ("forge", {}, BOUNDS, "ended", "ended"),
    ],
)
def test_whatever_a_child_does_its_parent_learns_why_it_failed(
    child: Child, name: str, arguments: Any, bounds: Bounds, kind: str, reason: str
) -> None:
    with pytest.raises(ChildFailed, match=reason) as caught:
        _call(child, name, bounds, **arguments)
    assert caught.value.kind == kind


def test_what_a_child_prints_and_reads_is_not_its_protocol(child: Child) -> None:
    assert _call(child, "print_much") == ""


def test_a_child_has_no_keys_and_imports_nothing_of_the_current_folder(
    child: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    names = ["psutil", "json", "docx", "sitecustomize", "only_here"]
    for name in names:
        (here / f"{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(here)]))
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    for entry in ("", ".", str(here), f"{here}/../here"):
        monkeypatch.syspath_prepend(entry)
    with Pool(1) as pool:
        arguments = {"names": names}
        found = pool.call("wild_functions:find", arguments, b"", BOUNDS)
        variables = pool.call("wild_functions:variables", {}, b"", BOUNDS)
    # Another library may have put its own copy before it.
    assert found["psutil"].endswith(os.path.join("psutil", "__init__.py"))
    assert not any(origin and Path(origin).parent == here for origin in found.values())
    assert not {"OPENAI_API_KEY", "PYTHONPATH"} & set(variables)


def _gone(mark: str, seconds: float = 5) -> bool:
    """Whether no process has the mark in its command, waited for."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        alive = False
        for process in psutil.process_iter(["cmdline", "status"]):
            command = process.info["cmdline"] or []
            is_marked = any(mark in part for part in command)
            alive |= is_marked and process.info["status"] != psutil.STATUS_ZOMBIE
        if not alive:
            return True
        time.sleep(0.05)
    return False


def test_a_call_that_is_ended_leaves_no_process(child: Child) -> None:
    with pytest.raises(ChildFailed, match="stopped after 2 s"):
        _call(child, "sleep_in_grandchild", Bounds(seconds=2), mark="ended-with-call")
    assert _gone("ended-with-call")
    assert not psutil.pid_exists(child.pid)


@pytest.mark.usefixtures("child")
async def test_a_cancelled_call_leaves_no_process() -> None:
    arguments = {"mark": "cancelled-call"}
    call = call_in_child("wild_functions:sleep_in_grandchild", arguments, bounds=BOUNDS)
    task = asyncio.ensure_future(call)
    while _gone("cancelled-call", 0.1):  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _gone("cancelled-call")


PARENT = """
import sys, threading, time
sys.path.insert(0, {folder!r})
from agentkit._child.process import Bounds, Child
child = Child()
call = lambda: child.call("wild_functions:{function}", {{}}, bounds=Bounds())
threading.Thread(target=call, daemon=True).start()
print(child.pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it uses POSIX signals")
@pytest.mark.parametrize("function", ["sleep", "spin"])
@pytest.mark.usefixtures("child")
def test_a_child_dies_with_a_parent_that_is_killed(function: str, tmp_path: Path) -> None:
    code = PARENT.format(folder=str(tmp_path / "importable"), function=function)
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 5
    while psutil.pid_exists(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not psutil.pid_exists(pid)


def test_a_pool_keeps_children_warm_and_replaces_only_the_one_that_failed(child: Child) -> None:
    before = {each.pid for each in psutil.Process().children()}
    with Pool(2) as pool:
        first = pool.call("wild_functions:answer", {}, b"", BOUNDS)["pid"]
        assert pool.call("wild_functions:answer", {}, b"", BOUNDS)["pid"] == first
        with pytest.raises(ChildFailed):
            pool.call("wild_functions:die", {"number": signal.SIGKILL}, b"", BOUNDS)
        assert pool.call("wild_functions:answer", {}, b"", BOUNDS)["pid"] != first
    with pytest.raises(ChildFailed, match="stopped"):
        pool.call("wild_functions:answer", {}, b"", BOUNDS)
    assert {each.pid for each in psutil.Process().children()} <= before


def _ways_to_start(folder: Path) -> dict[str, tuple[list[str], dict[str, str]]]:
    """Commands that run the user's script, each in another way, and their extra variables."""
    script = folder / "script_of_a_user.py"
    script.write_text(USER)
    archive = folder / "program.pyz"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.write(script, "__main__.py")
    frozen = folder / "frozen"
    frozen.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -c "{FROZEN}" "$@"\n')
    frozen.chmod(0o755)
    python = sys.executable
    return {
        "script": ([python, str(script)], {}),
        "code": ([python, "-c", USER], {}),
        "module": ([python, "-m", script.stem], {}),
        "archive": ([python, str(archive)], {}),
        "isolated": ([python, "-I", "-c", USER], {}),
        "path of variables": ([python, "-c", USER], {"PYTHONPATH": "."}),
        "frozen": ([str(frozen)], {}),
    }


USER = textwrap.dedent("""
    print("runs")
    from agentkit.knowledge.loaders.files import Parsers
    with Parsers() as parsers:
        print(parsers.load(b"<p>parsed in a child</p>", "a.html").document.text)
""")
FROZEN = (
    "import os, sys; sys.frozen, sys.executable = True, os.path.abspath('frozen');"
    " import agentkit; exec(open('script_of_a_user.py').read())"
)


@pytest.mark.skipif(sys.platform == "win32", reason="it uses a shell script")
@pytest.mark.parametrize(
    "way", ["script", "code", "module", "archive", "isolated", "path of variables", "frozen"]
)
def test_a_child_starts_however_its_parent_was_started(way: str, tmp_path: Path) -> None:
    (tmp_path / "lxml.py").write_text("raise SystemExit('imported')")
    command, variables = _ways_to_start(tmp_path)[way]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split("\n"), done.stderr) == (["runs", "parsed in a child", ""], "")
