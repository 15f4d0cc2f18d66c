"""Which profile a server has, and the page that lists them."""

from __future__ import annotations

import pytest

from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.openai.profiles import SERVERS, ModelProfile, known_profile, known_server
from agentkit.errors import ConfigError
from tests.backends_page import PAGE, page

LOCAL = "http://127.0.0.1:9/v1"


def test_the_page_of_servers_is_up_to_date() -> None:
    step = "Run: python -m tests.backends_page"
    assert PAGE.read_text(encoding="utf-8") == page(), step
    assert len(SERVERS) == 20


@pytest.mark.parametrize(
    ("provider", "url", "kind"),
    [
        ("work", "https://api.openai.com/v1", "openai"),
        ("work", "https://eu.api.openai.com/v1", "openai"),
        ("work", "https://it.openai.azure.com/openai/v1", "azure"),
        ("work", "https://gateway.example.org/openai/deployments/gpt-4o", "azure"),
        ("work", "https://api.deepseek.com", "deepseek"),
        ("work", "https://api.moonshot.ai/v1", "moonshot"),
        ("work", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "dashscope"),
        ("work", "https://europe-aiplatform.googleapis.com/v1/x/openapi", ""),
        ("work", "https://europe.aiplatform.googleapis.com/v1/x/openapi", "gemini"),
        ("work", "http://127.0.0.1:11434/v1", "ollama"),
        ("kimi-k2-thinking", LOCAL, "moonshot"),
        ("vllm-lab", LOCAL, "vllm"),
        ("my_lm_studio", LOCAL, "lmstudio"),
        ("llama.cpp", LOCAL, "llamacpp"),
        ("z.ai", LOCAL, "zhipu"),
        ("openai", LOCAL, ""),
        ("work", "https://notapi.openai.com.example.org/v1", ""),
        ("deepseek", "https://openrouter.ai/api/v1", "openrouter"),
    ],
)
def test_a_server_is_known_by_its_host_then_by_its_name(provider: str, url: str, kind: str) -> None:
    assert known_server(provider, url) == kind


@pytest.mark.parametrize(
    ("kind", "model", "refused"),
    [
        ("openai", "gpt-5-mini", ("temperature", "stop")),
        ("openai", "gpt-5-chat-latest", ()),
        ("openai", "gpt-4o", ()),
        ("openai", "o4-mini", ("temperature", "stop")),
        ("openrouter", "openai/o3", ("temperature", "stop")),
        ("", "gpt-5.2", ("temperature", "stop")),
        ("", "gpt-oss-120b", ()),
        ("xai", "grok-4-fast", ("stop",)),
        ("moonshot", "kimi-k2.6", ("temperature",)),
        ("moonshot", "kimi-k2-0905-preview", ()),
    ],
)
def test_a_models_name_decides_what_its_server_refuses(
    kind: str, model: str, refused: tuple[str, ...]
) -> None:
    assert known_profile(kind, model).refused == refused


def test_settings_win_over_the_profile_and_over_what_was_learned() -> None:
    profile = ModelProfile("mistral", "m", LOCAL, {"refused": ["seed"]})
    profile.learn({"refused": ("stop",), "first_user": True})
    again = ModelProfile("mistral", "m", LOCAL, {"refused": ["seed"]}).current
    assert (again.refused, again.first_user) == (("seed",), True)
    assert again.call_id == "[a-zA-Z0-9]{9}"


@pytest.mark.parametrize(
    ("field", "value"),
    [("system", "last"), ("tool_name", "[a-z"), ("call_id_length", 1), ("colour", "red")],
)
async def test_a_profile_that_cannot_be_read_is_an_error(field: str, value: object) -> None:
    model = OpenAIModel("m", base_url=LOCAL, profile={field: value})
    with pytest.raises(ConfigError, match=f"Invalid profile of openai: {field}"):
        await anext(model.stream([]))
