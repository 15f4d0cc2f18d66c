"""Checks of models and model servers, against servers that answer like each kind."""

from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.responses import RedirectResponse
from starlette.routing import Route

from agentkit.backends.checks import (
    check_keys,
    check_local_servers,
    check_model,
    check_ollama,
    check_openai_model,
    known_flaws,
    request_json,
)
from agentkit.findings import Finding
from agentkit.settings.schema import ProviderSettings
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer
from tests.servers.running import refused_url, serving


def _levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


async def _model(name: str, environ: Any = None, **providers: Any) -> Finding:
    (finding,) = await check_model(name, providers, environ or {})
    return finding


async def test_an_ollama_server_is_listed_with_version_models_and_windows(
    ollama_server: OllamaServer,
) -> None:
    ollama_server.models = [{"name": name} for name in ("small", "b", "c", "d")]
    (finding,) = await check_ollama(ollama_server.url)
    assert finding.level == "ok"
    assert finding.message == (
        f"0.31.0 at {ollama_server.url}: small (131072 tokens), b (131072 tokens), "
        "c (131072 tokens) and 1 more"
    )


@pytest.mark.parametrize("version", ["0.5.4", "0.17.0", "0.5.4-ipexllm-20250407", "0.17"])
async def test_an_ollama_server_before_0_17_1_has_a_known_vulnerability(
    ollama_server: OllamaServer, version: str
) -> None:
    ollama_server.version = version
    _, finding = await check_ollama(ollama_server.url)
    assert finding.level == "warning"
    assert "CVE-2026-7482" in finding.message
    assert finding.next_step == "Upgrade it to 0.17.1 or newer."


@pytest.mark.parametrize(
    ("program", "version", "number"),
    [
        ("ollama", "0.17.1", 0),
        ("ollama", "v0.16.9", 1),
        ("ollama", "1.0", 0),
        ("ollama", "", 0),
        ("ollama", "dev", 0),
        ("vllm", "0.14.0", 1),
        ("vllm", "0.8.2", 0),
        ("vllm", "0.14.1", 0),
        ("other", "0.1", 0),
    ],
)
def test_only_the_numbers_of_a_version_count(program: str, version: str, number: int) -> None:
    assert len(known_flaws(program, version)) == number


async def test_an_ollama_server_without_chat_models_suggests_a_model_to_pull(
    ollama_server: OllamaServer,
) -> None:
    ollama_server.models = []
    (finding,) = await check_ollama(ollama_server.url)
    assert (finding.level, finding.next_step) == ("note", "ollama pull qwen3:4b")


async def test_a_missing_ollama_server_is_not_a_problem() -> None:
    assert _levels(await check_ollama(refused_url())) == ["ok"]


async def test_an_ollama_server_on_another_machine_is_not_queried() -> None:
    (finding,) = await check_ollama("http://ollama.example.com:11434")
    assert finding.level == "note"
    assert "not asked" in finding.message


@pytest.mark.parametrize("host", ["0.0.0.0", "http://0.0.0.0:11434", "[::]:11434"])
async def test_an_ollama_server_open_to_the_network_is_a_warning(
    ollama_server: OllamaServer, host: str
) -> None:
    findings = await check_ollama(ollama_server.url, host)
    assert _levels(findings) == ["ok", "warning"]
    assert "whole network" in findings[1].message


async def test_a_small_window_of_llama_cpp_is_a_warning_with_the_option_to_enlarge_it(
    openai_server: OpenAIServer,
) -> None:
    openai_server.pages["/props"] = {"default_generation_settings": {"n_ctx": 4096}}
    (finding,) = await check_local_servers({"llamacpp": openai_server.url})
    assert finding.level == "warning"
    assert "window of 4096 tokens" in finding.message
    assert "-c 16384" in finding.next_step


async def test_the_window_of_lm_studio_is_the_loaded_one(openai_server: OpenAIServer) -> None:
    openai_server.pages["/api/v0/models"] = {
        "data": [{"id": "small", "loaded_context_length": 16384, "max_context_length": 131072}]
    }
    (finding,) = await check_local_servers({"lmstudio": openai_server.url})
    assert finding.level == "ok"
    assert finding.message == f"small, large at {openai_server.url}, window 16384 tokens"


async def test_window_and_version_of_vllm_are_read(openai_server: OpenAIServer) -> None:
    openai_server.models = [{"id": "big", "max_model_len": 32768}]
    openai_server.pages["/version"] = {"version": "0.13.0"}
    found, flawed = await check_local_servers({"vllm": openai_server.url})
    assert found.message.endswith("window 32768 tokens")
    assert "CVE-2026-22778" in flawed.message


async def test_no_local_server_is_not_a_problem() -> None:
    (finding,) = await check_local_servers({"vllm": f"{refused_url()}/v1"})
    assert (finding.level, finding.message) == ("ok", "no vllm on this machine")


async def test_the_extractive_model_is_always_ok() -> None:
    assert (await _model("extractive")).level == "ok"


async def test_an_unknown_model_name_is_a_problem_with_a_suggestion() -> None:
    finding = await _model("olama:x")
    assert finding.level == "problem"
    assert "Did you mean 'ollama'?" in f"{finding.message} {finding.next_step}"


async def test_the_used_part_of_an_ollama_models_window_appears(
    ollama_server: OllamaServer,
) -> None:
    finding = await _model("ollama:small", {"OLLAMA_HOST": ollama_server.url})
    assert finding.level == "ok"
    assert finding.message.endswith("window 131072 tokens, of which agentkit uses up to 32768")


async def test_an_ollama_model_with_a_small_window_is_a_warning(
    ollama_server: OllamaServer,
) -> None:
    ollama_server.context_length = 2048
    finding = await _model("ollama:small", {"OLLAMA_HOST": ollama_server.url})
    assert finding.level == "warning"
    assert "window of 2048 tokens" in finding.message


async def test_a_missing_ollama_model_names_the_pull_command(ollama_server: OllamaServer) -> None:
    finding = await _model("ollama:qwen3:8b", {"OLLAMA_HOST": ollama_server.url})
    assert (finding.level, finding.next_step) == ("problem", "Run: ollama pull qwen3:8b")


async def test_an_ollama_server_that_is_down_names_the_start_command() -> None:
    finding = await _model("ollama:small", {"OLLAMA_HOST": refused_url()})
    assert (finding.level, finding.next_step) == ("problem", "Start it: ollama serve")


async def test_ollama_behind_openai_routes_is_a_warning(
    ollama_server: OllamaServer, openai_server: OpenAIServer
) -> None:
    openai_server.models = [{"id": "small"}]
    openai_server.pages["/api/tags"] = {"models": [{"name": "small"}]}
    finding = await _model("work:small", work=ProviderSettings(base_url=openai_server.url))
    assert finding.level == "warning"
    assert "silently cuts long prompts" in finding.message
    assert '"ollama:small"' in finding.next_step


async def test_a_refused_key_is_a_problem_and_stays_hidden(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    openai_server.wants = "k-right"
    monkeypatch.setenv("WORK_KEY", "k-wrong")
    work = ProviderSettings(base_url=openai_server.url, api_key_env="WORK_KEY")
    finding = await _model("work:small", work=work)
    assert finding.level == "problem"
    assert "refuses the key" in finding.message
    assert "k-wrong" not in repr(finding)
    monkeypatch.setenv("WORK_KEY", "k-right")
    assert (await _model("work:small", work=work)).level == "ok"


async def test_a_model_missing_on_a_server_suggests_the_nearest(
    openai_server: OpenAIServer,
) -> None:
    finding = await _model("work:smal", work=ProviderSettings(base_url=openai_server.url))
    assert (finding.level, finding.next_step) == ("problem", "Did you mean small?")


async def test_a_server_that_is_down_is_a_problem() -> None:
    work = ProviderSettings(base_url=f"{refused_url()}/v1")
    finding = await _model("work:small", work=work)
    assert finding.level == "problem"
    assert "no server answers" in finding.message


async def test_a_remote_service_without_base_url_is_not_queried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k-secret")
    finding = await _model("deepseek:deepseek-chat")
    assert finding.level == "ok"
    assert "was not asked" in finding.message


async def test_a_remote_preset_is_not_queried() -> None:
    away = ProviderSettings(base_url="https://llm.example.org/v1")
    (finding,) = await check_openai_model("work:x", away, is_configured=False)
    assert "was not asked" in finding.message


@pytest.mark.slow
async def test_a_missing_gguf_file_is_a_problem() -> None:
    finding = await _model("gguf:/no/such.gguf")
    assert finding.level == "problem"
    assert "/no/such.gguf" in finding.message
    assert finding.next_step.startswith("Give the path")


def test_keys_are_listed_by_place_and_never_by_value(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DEEPSEEK_API_KEY", "k-secret")
    work = ProviderSettings(api_key_file=str(tmp_path / "key"))
    (finding,) = check_keys({"work": work})
    assert "deepseek (env DEEPSEEK_API_KEY)" in finding.message
    assert f"work (file {tmp_path / 'key'})" in finding.message
    assert "k-secret" not in finding.message


async def test_a_redirect_is_not_followed(
    openai_server: OpenAIServer,
) -> None:
    async def away(request: Any) -> RedirectResponse:
        return RedirectResponse(f"{openai_server.url}/models")

    with serving(Starlette(routes=[Route("/models", away)])) as url:
        reply = await request_json(url, "/models", key="k-secret")
    assert (reply.status, reply.body) == (307, {})


async def test_a_response_that_is_too_large_is_dropped(openai_server: OpenAIServer) -> None:
    openai_server.pages["/huge"] = {"text": "x" * 3_000_000}
    assert (await request_json(openai_server.url.removesuffix("/v1"), "/huge")).body == {}


@pytest.mark.parametrize("url", ["", "no url", "http://[", "http://127.0.0.1:0"])
async def test_an_invalid_url_gives_no_reply(url: str) -> None:
    assert (await request_json(url, "/x")).status == 0
