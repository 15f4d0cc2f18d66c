"""Fallback to the next model: which errors fall back, and no repeated text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from agentkit import Agent
from agentkit.backends.base import Capabilities, Options
from agentkit.backends.ollama.model import OllamaModel
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.registry import FallbackModel, get_model
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, FaultKind, ModelError
from agentkit.events import Done, ModelPart, Retried, TextDelta
from agentkit.messages import Message
from agentkit.project.project import Project
from agentkit.settings.sources import read_settings
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer, Reply, error
from tests.servers.running import refused_url

HI = [Message("user", "hi")]


def failing(kind: FaultKind, name: str = "first") -> ScriptedModel:
    return ScriptedModel([ModelError(f"{name} is {kind}.", name, kind)], name)


@pytest.mark.parametrize("kind", ["down", "rate_limited", "timed_out", "too_long"])
async def test_an_error_that_another_model_may_not_have_falls_back(kind: FaultKind) -> None:
    model = FallbackModel([failing(kind), ScriptedModel(["yes"], "second")])
    parts = await collected(model.stream(HI))
    assert parts[0] == Retried(f"first is {kind}. Now asking second.", 0.0)
    assert TextDelta("yes") in parts
    assert parts[-1] == Done("stop", "second")


@pytest.mark.parametrize("kind", ["refused_key", "bad_request", "other"])
async def test_an_error_that_the_user_must_fix_is_raised_at_once(kind: FaultKind) -> None:
    second = ScriptedModel(["yes"], "second")
    with pytest.raises(ModelError, match=f"first is {kind}"):
        await collected(FallbackModel([failing(kind), second]).stream(HI))
    assert second.requests == []


class Interrupted(ScriptedModel):
    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        yield TextDelta("One two")
        raise ModelError("interrupted", self.name, "down")


async def test_an_answer_that_has_begun_does_not_fall_back() -> None:
    second = ScriptedModel(["One two three"], "second")
    answer = FallbackModel([Interrupted([]), second]).stream(HI)
    assert await anext(answer) == TextDelta("One two")
    with pytest.raises(ModelError, match="interrupted"):
        await anext(answer)
    assert second.requests == []


async def test_where_all_models_fail_the_error_has_every_reason() -> None:
    model = FallbackModel([failing("down"), failing("too_long", "second")])
    with pytest.raises(
        ModelError, match=r"None of the 2 models.*first is down.*second is too"
    ) as caught:
        await collected(model.stream(HI))
    assert caught.value.model == "first, second"


class WithCapabilities(ScriptedModel):
    """Reports these capabilities, or fails to."""

    def __init__(self, window: int | None, capabilities: Capabilities | None) -> None:
        super().__init__([])
        self._window = window
        self._capabilities = capabilities

    async def context_window(self) -> int | None:
        return self._window

    async def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            raise ModelError("It is down.", self.name, "down")
        return self._capabilities


async def test_the_window_is_the_largest_and_capabilities_are_common_to_all() -> None:
    small = WithCapabilities(4096, Capabilities(json_schema=True, images=True))
    large = WithCapabilities(32768, Capabilities(json_schema=True))
    model = FallbackModel([small, large, WithCapabilities(None, None)])
    assert await model.context_window() == 32768
    assert await model.capabilities() == Capabilities(json_schema=True)
    assert await FallbackModel([WithCapabilities(None, None)]).capabilities() == Capabilities()


async def test_an_answer_names_the_model_that_gave_it() -> None:
    answer = await Agent(FallbackModel([failing("down"), ScriptedModel(["yes"], "second")])).run(
        "hi"
    )
    assert (answer.text, answer.model) == ("yes", "second")


async def test_an_unreachable_server_falls_back_to_a_running_one(
    openai_server: OpenAIServer, ollama_server: OllamaServer
) -> None:
    models = [
        OllamaModel("small", base_url=refused_url()),
        OpenAIModel("small", base_url=refused_url() + "/v1", max_retries=0),
        OpenAIModel("small", provider="box", base_url=openai_server.url),
    ]
    model = FallbackModel(models)
    parts = await collected(model.stream(HI))
    reasons = [part.reason for part in parts if isinstance(part, Retried)]
    assert "ollama serve" in reasons[0]
    assert "No server answers" in reasons[1]
    assert parts[-1] == Done("stop", "box:small")
    await model.close()


TOO_LONG = error("maximum context length is 10", code="context_length_exceeded")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(raw=error("wait"), status=429, headers={"retry-after": "0"}), "rate_limited"),
        (Reply(raw=error("no quota", code="insufficient_quota"), status=429), "rate_limited"),
        (Reply(raw=error("busy"), status=503, headers={"retry-after": "0"}), "down"),
        (Reply(raw=error("late"), status=504, headers={"retry-after": "0"}), "timed_out"),
        (Reply(raw=TOO_LONG, status=400), "too_long"),
        (Reply(raw=error("bad key"), status=401), "refused_key"),
        (Reply(raw=error("no such option"), status=400), "bad_request"),
        (Reply(raw=error("nothing here"), status=404), "bad_request"),
    ],
)
async def test_errors_of_an_openai_server_have_a_kind(
    openai_server: OpenAIServer, openai_model: OpenAIModel, reply: Reply, kind: FaultKind
) -> None:
    openai_server.replies(reply)
    with pytest.raises(ModelError) as caught:
        await collected(openai_model.stream(HI))
    assert caught.value.kind == kind


async def test_a_silent_server_times_out(openai_server: OpenAIServer) -> None:
    openai_server.replies(Reply(deltas=[], stalls=True))
    slow = OpenAIModel("small", base_url=openai_server.url, read_timeout=0.2)
    second = ScriptedModel(["yes"], "second")
    parts = await collected(FallbackModel([slow, second]).stream(HI))
    assert parts[-1] == Done("stop", "second")
    await slow.close()
    await asyncio.to_thread(openai_server.left.wait, 5)


async def test_errors_of_an_ollama_server_have_a_kind(ollama_server: OllamaServer) -> None:
    missing = OllamaModel("none", base_url=ollama_server.url)
    with pytest.raises(ModelError) as caught:
        await collected(missing.stream(HI))
    assert caught.value.kind == "bad_request"
    long = OllamaModel("small", base_url=ollama_server.url, max_context=100)
    with pytest.raises(ModelError) as caught:
        await collected(long.stream([Message("user", "word " * 200)]))
    assert caught.value.kind == "too_long"
    await missing.close()
    await long.close()


def test_a_list_of_names_gives_a_fallback_model() -> None:
    assert get_model(["ollama:a", "lmstudio:b"]).name == "ollama:a, lmstudio:b"
    assert get_model(["ollama:a"]).name == "ollama:a"
    assert Agent(["ollama:a", "extractive"]).model.name == "ollama:a, extractive"


def test_an_empty_list_is_an_error() -> None:
    with pytest.raises(ConfigError, match="list of models is empty"):
        get_model([])


def test_a_base_url_for_several_models_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"providers\.NAME"):
        get_model(["ollama:a", "lmstudio:b"], base_url="http://127.0.0.1:1")


async def test_the_settings_may_list_several_models(tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").write_text('model = ["ollama:a", "extractive"]\n')
    assert read_settings(tmp_path).settings.model == ["ollama:a", "extractive"]
    async with Project.open(tmp_path, trust=True) as project:
        assert project.agent.model.name == "ollama:a, extractive"
