"""Models by name."""

from __future__ import annotations

import subprocess
import sys

import pytest

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.auto import AutoModel
from agentkit.backends.base import Model
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.backends.ollama.model import OllamaModel
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.openai.profiles import SERVERS, known_server
from agentkit.backends.registry import get_model, require_keys
from agentkit.errors import ConfigError
from agentkit.messages import Message
from agentkit.settings.keys import PRESETS
from agentkit.settings.schema import ProviderSettings
from tests.backends.conftest import collected
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer

HI = [Message("user", "hi")]


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "DEEPSEEK_API_KEY", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)


async def ask(model: Model) -> None:
    await collected(model.stream(HI))
    await model.close()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ollama:qwen3:8b", OllamaModel),
        ("hf:Qwen/Qwen3-0.6B", HuggingFaceModel),
        ("gguf:smollm2", LlamaCppModel),
        ("lmstudio:qwen3-8b", OpenAIModel),
        ("llamacpp:any", OpenAIModel),
        ("vllm:Qwen/Qwen3-8B", OpenAIModel),
        ("extractive", ExtractiveModel),
        ("auto", AutoModel),
    ],
)
def test_a_name_gives_its_kind_of_model(name: str, kind: type[Model]) -> None:
    model = get_model(name, extractive=ExtractiveModel)
    assert isinstance(model, kind)
    assert model.name == name


@pytest.mark.parametrize("prefix", ["openai", "deepseek", "moonshot", "dashscope"])
async def test_the_first_request_without_a_key_names_the_variable(
    prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(f"{prefix.upper()}_API_KEY", raising=False)
    model = get_model(f"{prefix}:some")
    with pytest.raises(ConfigError, match=f"{prefix.upper()}_API_KEY"):
        await ask(model)
    with pytest.raises(ConfigError, match=f"{prefix.upper()}_API_KEY"):
        require_keys(["ollama:small", f"{prefix}:some"])


async def test_a_key_may_come_after_the_model(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.url.replace("127.0.0.1", "localhost"))
    model = get_model("openai:small")
    monkeypatch.setenv("OPENAI_API_KEY", "k-late")
    await ask(model)
    assert openai_server.keys == ["Bearer k-late"]


async def test_with_a_base_url_no_key_is_needed(openai_server: OpenAIServer) -> None:
    await ask(get_model("openai:small", base_url=openai_server.url))
    assert openai_server.keys == ["Bearer none"]


async def test_a_key_in_the_environment_is_sent(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-1")
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.url)
    await ask(get_model("openai:small"))
    assert openai_server.keys == ["Bearer k-1"]


async def test_a_provider_of_the_settings_is_a_prefix(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOX_KEY", "k-2")
    box = ProviderSettings(
        base_url=openai_server.url, api_key_env="BOX_KEY", extra_body={"top_k": 3}
    )
    model = get_model("box:small", {"box": box})
    await ask(model)
    assert model.name == "box:small"
    assert openai_server.keys == ["Bearer k-2"]
    assert openai_server.requests[0]["top_k"] == 3


async def test_settings_of_a_preset_are_completed_by_the_preset(
    ollama_server: OllamaServer,
) -> None:
    settings = ProviderSettings(base_url=ollama_server.url, max_context=4096)
    model = get_model("ollama:small", {"ollama": settings})
    assert isinstance(model, OllamaModel)
    assert await model.context_window() == 4096
    await model.close()


async def test_a_presets_key_is_not_sent_to_another_server(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    settings = ProviderSettings(base_url=openai_server.url)
    await ask(get_model("openai:small", {"openai": settings}))
    assert openai_server.keys == ["Bearer none"]


@pytest.mark.parametrize(
    ("name", "near"), [("olama:x", "ollama"), ("opena:x", "openai"), ("extractiv", "extractive")]
)
def test_an_unknown_provider_suggests_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"Did you mean '{near}'.*Known: auto, dashscope"):
        get_model(name)


def test_a_name_without_provider_is_an_error() -> None:
    with pytest.raises(ConfigError, match="write PROVIDER:MODEL"):
        get_model("gpt-5-mini")


def test_a_provider_without_model_is_an_error() -> None:
    with pytest.raises(ConfigError, match="ollama:MODEL"):
        get_model("ollama:")


def test_the_extractive_model_is_built_by_the_caller() -> None:
    own = ExtractiveModel()
    assert get_model("extractive", extractive=lambda: own) is own
    with pytest.raises(ConfigError, match="extractive=ExtractiveModel"):
        get_model("extractive")


def test_each_preset_of_a_server_has_a_profile() -> None:
    assert set(PRESETS) - {"hf", "gguf"} <= set(SERVERS)
    for name, preset in PRESETS.items():
        if preset.kind == "openai" and preset.base_url:
            assert known_server(name, preset.base_url) == name


@pytest.mark.slow
def test_naming_a_model_loads_no_heavy_library() -> None:
    code = (
        "import sys; from agentkit.backends.registry import get_model;"
        "[get_model(n) for n in ('auto', 'ollama:x', 'hf:x', 'lmstudio:x')];"
        "print([m for m in ('openai', 'httpx2', 'torch', 'transformers') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
