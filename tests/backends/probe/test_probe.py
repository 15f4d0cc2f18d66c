"""The checks of `agentkit probe`, run against every backend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from agentkit.backends.base import Capabilities, Model
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.backends.ollama.model import OllamaModel
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.probe.checks import CHECKS
from agentkit.backends.probe.runner import CheckResult, Subject, capabilities_from, run_check
from agentkit.backends.scripted import ScriptedModel
from tests.backends.conftest import REAL, RUNNER_MAY_HANG, end_runner
from tests.servers.obedient import WORDS, ObedientOllama, ObedientOpenAI
from tests.servers.running import serving

LONGEST = 128
"""Tokens of a long prompt here: one thread reads about fifty of them in a second."""

SEEDED = {"seed": 3}


REAL_OLLAMA = "ollama, real server"
_NO_IMAGES = "SmolLM2 reads text alone"

UNSUPPORTED: Mapping[str, Mapping[str, str]] = {
    "openai, llama.cpp server": {
        "forced_tool": "the server does not enforce tool_choice, and does not claim to",
        "named_tool": "the server does not enforce tool_choice, and does not claim to",
        "image": _NO_IMAGES,
        "unknown_model": "the server serves its one model under any name",
    },
    "hugging face": {"image": _NO_IMAGES},
    "gguf": {"image": _NO_IMAGES},
    "openai, in-repo server": {},
    "ollama, in-repo server": {},
    REAL_OLLAMA: {},
    "scripted": {
        "unicode_written": "a script is held by no schema",
        "json_schema": "a script is held by no schema",
        "forced_tool": "a script cannot be forced to call",
        "named_tool": "a script cannot be forced to call",
        "usage": "a script has no tokenizer: tokens are estimated",
        "window_known": "a script has no window",
        "long_prompt": "a script has no window",
        "too_long_a_prompt": "a script has no window",
        "unknown_model": "there is one script only",
    },
}

NOT_ASKED: Mapping[str, Mapping[str, str]] = {
    "scripted": {
        "stop_string": "a script reads no options",
        "max_tokens": "a script reads no options",
    }
}
"""Checks that make no sense for a backend."""


@dataclass(frozen=True)
class Candidate:
    """A backend under test; `light` where closing it costs nothing."""

    model: Model
    unknown: Model | None = None
    light: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


Request = pytest.FixtureRequest


def llamacpp_server(request: Request) -> Iterator[Candidate]:
    url = request.getfixturevalue("llamacpp_url")
    at = {"provider": "llamacpp", "base_url": url}
    yield Candidate(OpenAIModel("smollm2", **at), OpenAIModel("nobody", **at), extra=SEEDED)


def hugging_face(request: Request) -> Iterator[Candidate]:
    folder = str(request.getfixturevalue("smollm2_folder"))
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    model = HuggingFaceModel(folder)
    yield Candidate(model, HuggingFaceModel("/no/such/folder"), light=False)
    asyncio.run(model.close())


def gguf(request: Request) -> Iterator[Candidate]:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    path = str(request.getfixturevalue("smollm2_gguf"))
    model = LlamaCppModel(path, max_context=1024, threads=1)
    yield Candidate(model, LlamaCppModel("/no/such.gguf"), light=False)
    asyncio.run(model.close())


def openai_in_repo(request: Request) -> Iterator[Candidate]:
    with serving(ObedientOpenAI().app) as url:
        at: dict[str, Any] = {"provider": "test", "base_url": f"{url}/v1", "max_retries": 0}
        yield Candidate(OpenAIModel("small", **at), OpenAIModel("nobody", **at))


def ollama_in_repo(request: Request) -> Iterator[Candidate]:
    server = ObedientOllama()
    server.capabilities = ["completion", "tools", "vision"]
    with serving(server.app) as url:
        yield Candidate(OllamaModel("small", base_url=url), OllamaModel("nobody", base_url=url))


def ollama_real(request: Request) -> Iterator[Candidate]:
    if not REAL:
        pytest.skip("AGENTKIT_TEST_OLLAMA names no server")
    at: dict[str, Any] = {"base_url": REAL, "max_context": 2048}
    extra = {"num_thread": 1}
    yield Candidate(
        OllamaModel("smollm2", read_timeout=60, **at),
        OllamaModel("no-such-model", **at),
        extra=extra,
    )


def scripted(request: Request) -> Iterator[Candidate]:
    yield Candidate(ScriptedModel(lambda messages: " ".join(WORDS)))


BACKENDS: dict[str, Callable[[Request], Iterator[Candidate]]] = {
    "openai, llama.cpp server": llamacpp_server,
    "hugging face": hugging_face,
    "gguf": gguf,
    "openai, in-repo server": openai_in_repo,
    "ollama, in-repo server": ollama_in_repo,
    REAL_OLLAMA: ollama_real,
    "scripted": scripted,
}
SLOW = ("openai, llama.cpp server", "hugging face", "gguf", REAL_OLLAMA)


def _marks(backend: str) -> list[pytest.MarkDecorator]:
    slow = [pytest.mark.slow] if backend in SLOW else []
    return [*slow, RUNNER_MAY_HANG] if backend == REAL_OLLAMA else slow


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[tuple[str, Candidate]]:
    name: str = request.param
    opened = BACKENDS[name](request)
    for tested in opened:
        yield name, tested


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize(
    "backend",
    [pytest.param(name, marks=_marks(name)) for name in BACKENDS],
    indirect=True,
)
async def test_a_backend_passes_every_check_it_supports(
    backend: tuple[str, Candidate], check: str
) -> None:
    name, tested = backend
    if name == REAL_OLLAMA:
        end_runner()
    if why := NOT_ASKED.get(name, {}).get(check):
        pytest.skip(why)
    claims = await tested.model.capabilities()
    subject = Subject(tested.model, claims, tested.unknown, LONGEST, tested.extra)
    outcome = await run_check(CHECKS[check], subject)
    if tested.light:
        await tested.model.close()
    known = UNSUPPORTED[name].get(check)
    expected = "passed" if known is None else "unsupported"
    assert outcome.status == expected, outcome.reason or f"the table says: {known}"


def test_the_tables_name_existing_backends_and_checks() -> None:
    assert UNSUPPORTED.keys() == BACKENDS.keys()
    assert {check for checks in UNSUPPORTED.values() for check in checks} <= CHECKS.keys()
    assert all(why for checks in UNSUPPORTED.values() for why in checks.values())


def test_every_check_says_what_it_shows() -> None:
    assert len(CHECKS) >= 25
    assert all(check.__doc__ for check in CHECKS.values())


async def _outcome(check: str, script: Any, **claims: bool) -> CheckResult:
    subject = Subject(ScriptedModel(script), Capabilities(**claims))
    return await run_check(CHECKS[check], subject, seconds=60.0)


@pytest.mark.parametrize(
    ("check", "script", "reason"),
    [
        ("text", lambda messages: "", "the answer is empty"),
        ("streaming", lambda messages: "one", "it came in 1 part"),
        ("max_tokens", lambda messages: "one two", "it ended as 'stop'"),
        ("text", lambda messages: RuntimeError("broken"), "RuntimeError: broken"),
        ("stop_string", lambda messages: "one two three", "went on past"),
    ],
)
async def test_a_check_of_required_behaviour_fails(check: str, script: Any, reason: str) -> None:
    outcome = await _outcome(check, script)
    assert outcome.status == "failed"
    assert reason in outcome.reason


async def test_a_claimed_capability_fails_and_an_unclaimed_one_is_unsupported() -> None:
    claimed = await _outcome("json_schema", lambda messages: "blue", json_schema=True)
    assert (claimed.status, claimed.reason) == ("failed", "it wrote 'blue'")
    assert (await _outcome("json_schema", lambda messages: "blue")).status == "unsupported"


def test_capabilities_follow_from_the_results() -> None:
    passed = ["tool_offered", "tool_result", "forced_tool", "json_schema"]
    outcomes = [CheckResult(check, "passed") for check in passed]
    found = capabilities_from(
        [*outcomes, CheckResult("named_tool", "failed")], Capabilities(reasoning=True)
    )
    assert found == Capabilities(True, False, True, False, True)
