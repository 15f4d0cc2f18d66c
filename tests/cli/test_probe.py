"""`agentkit probe` and what it keeps; `agentkit models pull` where nobody looks on."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import pytest

from agentkit.backends.base import Capabilities
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.probe.checks import CHECKS
from agentkit.backends.probe.memory import cached_capabilities, save_capabilities
from agentkit.cli.main import command_line
from tests.servers.obedient import ObedientOllama, ObedientOpenAI
from tests.servers.running import refused_url, serving

LAYER = "pulling 2af3b81862c6"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObedientOllama]:
    server = ObedientOllama()
    with serving(server.app) as url:
        monkeypatch.setenv("OLLAMA_HOST", url)
        yield server


class Ran(NamedTuple):
    exit_code: int
    stdout: str
    stderr: str
    output: str
    exception: Exception | None


def run(*arguments: str) -> Ran:
    """The command line in this process, and what it printed."""
    out, log = io.StringIO(), io.StringIO()
    code, error = 1, None
    with redirect_stdout(out), redirect_stderr(log):
        try:
            code = command_line()(list(arguments), standalone_mode=False)
        except Exception as raised:
            error = raised
    return Ran(code, out.getvalue(), log.getvalue(), out.getvalue() + log.getvalue(), error)


def test_a_probe_prints_every_check_and_keeps_what_it_found() -> None:
    with serving(ObedientOpenAI().app) as url:
        done = run("probe", "lmstudio:small", "--base-url", f"{url}/v1")
    assert done.exit_code == 0, done.output
    assert all(check in done.stdout for check in CHECKS)
    assert "0 failed" in done.stdout
    found = cached_capabilities("lmstudio:small", f"{url}/v1")
    assert found == Capabilities(True, True, True, True)
    assert cached_capabilities("lmstudio:small", "http://elsewhere") is None


async def test_a_backend_that_cannot_know_believes_the_probe() -> None:
    model = OpenAIModel("small", provider="box", base_url="http://127.0.0.1:9/v1")
    assert await model.capabilities() == Capabilities()
    found = Capabilities(forced_tools=True, json_schema=True)
    save_capabilities("box:small", "http://127.0.0.1:9/v1", found)
    assert await model.capabilities() == found


def test_a_probe_of_nothing_ends_with_the_servers_own_line() -> None:
    done = run("probe", "lmstudio:small", "--base-url", f"{refused_url()}/v1")
    assert "No server answers" in str(done.exception)


def test_a_damaged_probe_is_as_good_as_none(tmp_path: Path) -> None:
    save_capabilities("a:b", "", Capabilities())
    [file] = (tmp_path / "cache" / "agentkit" / "probes").iterdir()
    file.write_text("{", encoding="utf-8")
    assert cached_capabilities("a:b") is None


def test_a_pull_that_is_piped_says_each_step_once(ollama: ObedientOllama) -> None:
    steps = [{"status": LAYER, "total": 10, "completed": done} for done in (0, 4, 10)]
    ollama.pulls = [{"status": "pulling manifest"}, *steps, {"status": "success"}]
    done = run("models", "pull", "ollama:tiny:1b")
    assert ollama.pulled == ["tiny:1b"]
    assert done.stderr.splitlines() == ["pulling manifest", LAYER, "success"]
    assert done.stdout == "Ready: --model ollama:tiny:1b\n"


def test_a_pull_of_an_unknown_package_is_reported() -> None:
    done = run("models", "pull", "gguf:foo")
    assert "No package carries the GGUF model 'foo'" in str(done.exception)
