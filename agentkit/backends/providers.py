"""Which providers are known without settings, and how a user's settings complete them."""

from __future__ import annotations

import os
from collections.abc import Mapping

from agentkit.settings import ProviderSettings

PRESETS: Mapping[str, ProviderSettings] = {
    "openai": ProviderSettings(api_key_env="OPENAI_API_KEY"),
    "ollama": ProviderSettings(kind="ollama"),
    "hf": ProviderSettings(kind="hf"),
    "gguf": ProviderSettings(kind="gguf"),
    "deepseek": ProviderSettings(
        base_url="https://api.deepseek.com/v1", api_key_env="DEEPSEEK_API_KEY"
    ),
    "moonshot": ProviderSettings(
        base_url="https://api.moonshot.cn/v1", api_key_env="MOONSHOT_API_KEY"
    ),
    "dashscope": ProviderSettings(
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        api_key_env="DASHSCOPE_API_KEY",
    ),
    "lmstudio": ProviderSettings(base_url="http://127.0.0.1:1234/v1"),
    "llamacpp": ProviderSettings(base_url="http://127.0.0.1:8080/v1"),
    "vllm": ProviderSettings(base_url="http://127.0.0.1:8000/v1"),
}


def known_providers(providers: Mapping[str, ProviderSettings]) -> dict[str, ProviderSettings]:
    """The presets and the user's own."""
    return {**PRESETS, **{key: _completed(key, value) for key, value in providers.items()}}


def server_url(provider: str, settings: ProviderSettings) -> str | None:
    """Where a provider's server is, if anything says it."""
    if settings.base_url is None and provider == "openai":
        return os.environ.get("OPENAI_BASE_URL") or None
    return settings.base_url


def _completed(name: str, settings: ProviderSettings) -> ProviderSettings:
    """The settings of a known provider where the user left them out; its key only where the
    address is left out too, since a key must not reach another server."""
    preset = PRESETS.get(name)
    if preset is None:
        return settings
    given = {key: getattr(settings, key) for key in settings.model_fields_set}
    if settings.base_url is not None:
        preset = preset.model_copy(update={"api_key_env": None})
    return preset.model_copy(update=given)
