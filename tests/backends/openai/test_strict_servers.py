"""An agent's whole conversation with a strict server of each kind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.openai.profiles import SERVERS
from tests.backends.openai import strict_conversation
from tests.backends.openai.strict_conversation import City, first_part, second_part
from tests.servers.running import serving
from tests.servers.strict_hosted import HOSTED
from tests.servers.strict_local import LOCAL
from tests.servers.strict_server import StrictServer

STRICT = {**HOSTED, **LOCAL}
OSLO = City(name="Oslo", people=700000)
LEARNED = {"llamacpp": 2}
"""Refusals that a model's own template causes, which no profile can know."""


def _address(kind: str, url: str) -> str:
    strict = STRICT[kind]
    query = f"?{strict.query}" if strict.query else ""
    return url + strict.path.removesuffix("/chat/completions") + query


def _key(kind: str) -> str:
    return STRICT[kind].headers.get("api-key", "key")


def _model(kind: str, url: str, provider: str) -> OpenAIModel:
    return OpenAIModel(
        STRICT[kind].model,
        provider=provider,
        base_url=_address(kind, url),
        api_key=_key(kind),
        max_retries=0,
    )


def _check(kind: str, texts: list[str]) -> None:
    assert "2.8 million" in texts[0]
    assert "There is no picture" not in texts[0]
    assert all(texts)


def test_each_kind_of_server_has_a_strict_one() -> None:
    assert set(STRICT) == set(SERVERS)


@pytest.mark.parametrize("kind", STRICT)
async def test_a_conversation_of_twelve_requests_is_not_refused(kind: str, tmp_path: Path) -> None:
    server = StrictServer(STRICT[kind])
    with serving(server.app) as url:
        model = _model(kind, url, kind)
        texts = await first_part(model, tmp_path)
        await model.close()
        model = _model(kind, url, kind)
        more, city = await second_part(model, tmp_path)
        await model.close()
    _check(kind, [*texts, *more])
    assert city == OSLO
    assert len(server.requests) >= 12
    assert len(server.refusals) <= LEARNED.get(kind, 0), server.refusals


@pytest.mark.slow
@pytest.mark.parametrize("kind", STRICT)
async def test_a_session_goes_on_in_another_process(kind: str, tmp_path: Path) -> None:
    server = StrictServer(STRICT[kind])
    with serving(server.app) as url:
        model = _model(kind, url, kind)
        texts = await first_part(model, tmp_path)
        await model.close()
        arguments = [kind, STRICT[kind].model, _address(kind, url), _key(kind), str(tmp_path)]
        script = [sys.executable, "-m", strict_conversation.__name__, *arguments]
        ran = await asyncio.to_thread(
            subprocess.run, script, capture_output=True, text=True, timeout=120
        )
    assert ran.returncode == 0, ran.stderr
    *more, city = ran.stdout.splitlines()
    _check(kind, [*texts, *more])
    assert City.model_validate_json(city) == OSLO
    assert len(server.refusals) <= LEARNED.get(kind, 0), server.refusals


@pytest.mark.parametrize("kind", STRICT)
async def test_an_unknown_server_is_learned_and_remembered(kind: str, tmp_path: Path) -> None:
    server = StrictServer(STRICT[kind])
    with serving(server.app) as url:
        model = _model(kind, url, "unknown")
        texts = await first_part(model, tmp_path)
        await model.close()
        learned = len(server.refusals)
        model = _model(kind, url, "unknown")
        more, city = await second_part(model, tmp_path)
        await model.close()
    _check(kind, [*texts, *more])
    assert city == OSLO
    assert learned <= 8, server.refusals
    assert len(server.refusals) <= learned + 2, server.refusals
