"""Profiles of known OpenAI-compatible servers, chosen by address, provider name and model.

The values are from the servers' documentation and from public reports of their refusals. A server
that is not listed has the profile of `Profile()` and is learned (`learning.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from agentkit.addresses import without_credentials
from agentkit.settings.profile import Profile, ToolChoice

Changes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server: its hosts (with their subdomains), a pattern of provider names for other
    addresses, its profile, and what differs for models whose name matches a pattern. One that is
    a `gateway` serves models of many vendors."""

    title: str
    hosts: tuple[str, ...]
    provider: str
    profile: Profile
    models: tuple[tuple[str, Changes], ...] = ()
    gateway: bool = False


_REASONING = ("reasoning_content",)
_NO_TEMPERATURE: Changes = {
    "refused": frozenset({"temperature", "stop"}),
    "max_tokens_field": "max_completion_tokens",
}
_OPENAI_MODELS: tuple[tuple[str, Changes], ...] = (
    (r"(?:^|/)(?:o\d|gpt-5(?!.*chat))", _NO_TEMPERATURE),
    (r"(?:^|/)o1-(?:mini|preview)", {"system": "none", **_NO_TEMPERATURE}),
)
_SKIP_SIGNATURE: Changes = {
    "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}
}
"""What Gemini documents for calls that it did not make, such as a search before the first
request."""
_NINE_LETTERS = "[a-zA-Z0-9]{9}"
_MISTRAL_MODELS: tuple[tuple[str, Changes], ...] = (
    (
        r"(?i)mistral|mixtral|devstral|magistral",
        {"call_id": _NINE_LETTERS, "assistant_after_tool": True, "system": "first"},
    ),
)
_NONE: frozenset[ToolChoice] = frozenset(("none",))

SERVERS: Mapping[str, Server] = {
    "openai": Server(
        "OpenAI",
        ("api.openai.com",),
        r"$^",
        Profile(max_tokens_field="max_completion_tokens", call_id=".{1,40}"),
        _OPENAI_MODELS,
    ),
    "azure": Server(
        "Azure OpenAI",
        ("openai.azure.com", "cognitiveservices.azure.com", "ai.azure.com", "azure-api.net"),
        "azure",
        Profile(max_tokens_field="max_completion_tokens", call_id=".{1,40}", key_header="api-key"),
        _OPENAI_MODELS,
    ),
    "deepseek": Server(
        "DeepSeek",
        ("api.deepseek.com",),
        "deepseek",
        Profile(
            response_format="json_object",
            images="none",
            empty_content="",
            sent_back=_REASONING,
            message_fill={"reasoning_content": ""},
        ),
        (("reasoner|v4", {"tool_choices": _NONE}),),
    ),
    "moonshot": Server(
        "Moonshot",
        ("api.moonshot.cn", "api.moonshot.ai", "api.kimi.com"),
        "moonshot|kimi",
        Profile(
            response_format="json_object",
            schemas="inlined",
            tool_name="[a-zA-Z_][a-zA-Z0-9_-]{2,63}",
            tool_choices=_NONE,
            sent_back=_REASONING,
            call_message_fill={"reasoning_content": "."},
        ),
        (
            ("^moonshot-v1", {"call_message_fill": {}}),
            (r"kimi-k(?:2\.[5-9]|[3-9])|k2.*thinking", {"refused": frozenset({"temperature"})}),
        ),
    ),
    "dashscope": Server(
        "DashScope",
        ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
        "dashscope|aliyun|bailian|qwen",
        Profile(
            response_format="json_object",
            tool_choices=frozenset(("none", "named")),
            system="first",
            empty_content="",
            sent_back=_REASONING,
        ),
        (("qwq|qvq|thinking", {"tool_choices": _NONE}),),
    ),
    "mistral": Server(
        "Mistral",
        ("api.mistral.ai", "codestral.mistral.ai"),
        "mistral|codestral|devstral",
        Profile(
            refused=frozenset({"stream_options", "seed"}),
            call_id=_NINE_LETTERS,
            system="first",
            assistant_after_tool=True,
            empty_content="",
        ),
    ),
    "gemini": Server(
        "Gemini",
        ("generativelanguage.googleapis.com", "aiplatform.googleapis.com"),
        "gemini|google|vertex",
        Profile(
            refused=frozenset({"seed"}),
            schemas="simple",
            tool_name="[a-zA-Z_][a-zA-Z0-9_-]{0,62}",
            system="first",
            first_user=True,
            result_name=True,
            sent_back=("extra_content",),
            call_fill=dict(_SKIP_SIGNATURE),
        ),
    ),
    "openrouter": Server(
        "OpenRouter",
        ("openrouter.ai",),
        "openrouter",
        Profile(schemas="inlined", sent_back=("reasoning_details",)),
        (*_OPENAI_MODELS, *_MISTRAL_MODELS),
        gateway=True,
    ),
    "groq": Server(
        "Groq",
        ("api.groq.com",),
        "groq",
        Profile(
            max_tokens_field="max_completion_tokens", response_format="json_object", strict=False
        ),
        (("gpt-oss", {"response_format": "json_schema", "strict": True}),),
        gateway=True,
    ),
    "together": Server(
        "Together",
        ("api.together.xyz", "api.together.ai"),
        "together",
        Profile(schemas="inlined", system="first", empty_content=""),
        _MISTRAL_MODELS,
        gateway=True,
    ),
    "vllm": Server(
        "vLLM",
        (),
        "vllm",
        Profile(system="first", empty_content="", sent_back=("reasoning_content", "reasoning")),
        gateway=True,
    ),
    "sglang": Server(
        "SGLang",
        (),
        "sglang",
        Profile(system="first", empty_content="", sent_back=_REASONING),
        gateway=True,
    ),
    "llamacpp": Server(
        "llama.cpp",
        (),
        r"llama[._-]?cpp|llama-server",
        Profile(
            schemas="inlined",
            system="first",
            first_user=True,
            empty_content="",
            sent_back=_REASONING,
        ),
        gateway=True,
    ),
    "lmstudio": Server(
        "LM Studio",
        (),
        r"lm[._-]?studio",
        Profile(
            schemas="inlined",
            tool_choices=frozenset(("none", "required")),
            system="first",
            first_user=True,
            empty_content="",
        ),
        gateway=True,
    ),
    "tgi": Server(
        "TGI",
        (),
        r"tgi|text-generation",
        Profile(
            min_temperature=0.01,
            response_format="none",
            schemas="inlined",
            system="first",
            first_user=True,
            assistant_after_tool=True,
            empty_content="",
        ),
        gateway=True,
    ),
    "ollama": Server(
        "Ollama's /v1",
        (),
        "ollama",
        Profile(schemas="simple", tool_choices=_NONE, system="first", empty_content=""),
        gateway=True,
    ),
    "xai": Server(
        "xAI",
        ("api.x.ai",),
        r"(?:^|\W)x-?ai|grok",
        Profile(max_tokens_field="max_completion_tokens", schemas="inlined"),
        (("grok-(?:[4-9]|3-mini|code)", {"refused": frozenset({"stop"})}),),
    ),
    "zhipu": Server(
        "Zhipu",
        ("open.bigmodel.cn", "api.z.ai"),
        r"zhipu|bigmodel|glm|z\.?ai",
        Profile(
            refused=frozenset({"seed"}),
            min_temperature=0.01,
            tool_choices=frozenset(),
            response_format="json_object",
            schemas="inlined",
            system="first",
            first_user=True,
            empty_content="",
            sent_back=_REASONING,
        ),
    ),
    "minimax": Server(
        "MiniMax",
        ("api.minimax.io", "api.minimax.chat", "api.minimaxi.com"),
        "minimax",
        Profile(
            refused=frozenset({"seed"}),
            min_temperature=0.01,
            tool_choices=_NONE,
            response_format="none",
            schemas="inlined",
            system="first",
            first_user=True,
            empty_content="",
            images="none",
            sent_back=("reasoning_details",),
            body={"reasoning_split": True},
        ),
    ),
    "siliconflow": Server(
        "SiliconFlow",
        ("api.siliconflow.cn", "api.siliconflow.com"),
        "siliconflow|silicon",
        Profile(
            response_format="json_object",
            schemas="inlined",
            system="first",
            empty_content="",
            sent_back=_REASONING,
        ),
        gateway=True,
    ),
}


def known_server(provider: str, url: str) -> str:
    """Return the name of the server at an address, "" for an unknown one. The host decides, then
    the path and port of some, then the provider's name in the settings."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    for name, server in SERVERS.items():
        if any(host == each or host.endswith(f".{each}") for each in server.hosts):
            return name
    if "/openai/deployments/" in parts.path:
        return "azure"
    if parts.port == 11434:
        return "ollama"
    named = (
        name for name, server in SERVERS.items() if re.search(server.provider, provider.lower())
    )
    return next(named, "")


def profile_of(name: str, model: str, changes: Iterable[Changes] = ()) -> Profile:
    """Return the profile of a known server's model, with changes, the last of which wins. Models
    of an unknown server are OpenAI's where their name says so."""
    server = SERVERS.get(name)
    profile = server.profile if server else Profile()
    by_model = server.models if server else _OPENAI_MODELS
    own = [fields for pattern, fields in by_model if re.search(pattern, model)]
    fields: dict[str, Any] = {}
    for each in (*own, *changes):
        fields |= each
    return profile.model_copy(update=fields) if fields else profile


def provider_tag(name: str, model: str, url: str) -> str:
    """Return the key of a provider's data in messages. A gateway's models are providers of their
    own."""
    server = SERVERS.get(name)
    if server and not server.gateway:
        return name
    return f"{name or without_credentials(url)} {model}"


def changes_json(changes: Changes) -> dict[str, Any]:
    """Return changes as JSON, for `valid_changes`."""
    return Profile(**changes).model_dump(mode="json", include=set(changes))


def valid_changes(fields: Changes) -> dict[str, Any]:
    """Return fields of a profile that were stored or set, {} where they are invalid."""
    try:
        profile = Profile(**fields)
    except ValidationError:
        return {}
    return {key: getattr(profile, key) for key in profile.model_fields_set}
