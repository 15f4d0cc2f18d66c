"""Profiles of known OpenAI-compatible servers, chosen by address, provider name and model.

The values are from the servers' documentation and from public reports of their refusals. A server
that is not listed has the profile of `Profile()` and is learned (`learning.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from agentkit.backends.openai.provider_fields import THINKING_PART
from agentkit.backends.probe.memory import learned_fields, save_learned
from agentkit.errors import ConfigError
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
_NONE: tuple[ToolChoice, ...] = ("none",)
_NINE_LETTERS = "[a-zA-Z0-9]{9}"
_OPENAI = Profile(max_tokens_field="max_completion_tokens", call_id=".{1,40}", max_description=1024)
_TEMPLATE = Profile(system="first", empty_content="")
"""Of servers that render the chat templates of many models."""
_STRICT = _TEMPLATE.model_copy(update={"schemas": "inlined", "first_user": True})

_NO_TEMPERATURE: Changes = {
    "refused": ("temperature", "stop"),
    "max_tokens_field": "max_completion_tokens",
}
_OPENAI_MODELS: tuple[tuple[str, Changes], ...] = (
    (r"(?:^|/)(?:o\d|gpt-5(?!.*chat))", _NO_TEMPERATURE),
)
_MISTRAL: Changes = {"call_id": _NINE_LETTERS, "assistant_after_tool": True, "system": "first"}
_MISTRAL_MODELS: tuple[tuple[str, Changes], ...] = (
    (r"(?i)mistral|mixtral|devstral|magistral", _MISTRAL),
)
_SKIP_SIGNATURE: Changes = {
    "extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}
}
"""What Gemini documents for calls that it did not make, such as a search before the first
request."""


def _of(base: Profile = Profile(), **changes: Any) -> Profile:
    """A profile that differs from another one."""
    return Profile(**{**base.model_dump(exclude_unset=True), **changes})


SERVERS: Mapping[str, Server] = {
    "openai": Server("OpenAI", ("api.openai.com",), r"$^", _OPENAI, _OPENAI_MODELS),
    "azure": Server("Azure OpenAI",
        ("openai.azure.com", "cognitiveservices.azure.com", "ai.azure.com", "azure-api.net"),
        "azure", _of(_OPENAI, key_header="api-key"), _OPENAI_MODELS),
    "deepseek": Server("DeepSeek", ("api.deepseek.com",), "deepseek",
        _of(images="none", empty_content="", response_format="json_object", sent_back=_REASONING,
            message_fill={"reasoning_content": ""}), (("reasoner|v4", {"tool_choices": _NONE}),)),
    "moonshot": Server("Moonshot", ("api.moonshot.cn", "api.moonshot.ai", "api.kimi.com"),
        "moonshot|kimi", _of(response_format="json_object", schemas="inlined", tool_choices=_NONE,
            tool_name="[a-zA-Z_][a-zA-Z0-9_-]{2,63}", sent_back=_REASONING,
            call_message_fill={"reasoning_content": "."}), (
            ("^moonshot-v1", {"call_message_fill": {}}),
            (r"kimi-k(?:2\.[5-9]|[3-9])|k2.*thinking", {"refused": ("temperature",)}))),
    "dashscope": Server("DashScope",
        ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com", "dashscope-us.aliyuncs.com"),
        "dashscope|aliyun|bailian",
        _of(_TEMPLATE, response_format="json_object", tool_choices=("none", "named"),
            sent_back=_REASONING), (("qwq|qvq|thinking", {"tool_choices": _NONE}),)),
    "mistral": Server("Mistral", ("api.mistral.ai", "codestral.mistral.ai"),
        "mistral|codestral|devstral",
        _of(_TEMPLATE, refused=("stream_options", "seed"), sent_back=(THINKING_PART,), **_MISTRAL)),
    "gemini": Server("Gemini", ("generativelanguage.googleapis.com", "aiplatform.googleapis.com"),
        "gemini|google|vertex",
        _of(refused=("seed",), schemas="simple", system="first", first_user=True, result_name=True,
            tool_name="[a-zA-Z_][a-zA-Z0-9_-]{0,62}", sent_back=("extra_content",),
            call_fill=_SKIP_SIGNATURE)),
    "openrouter": Server("OpenRouter", ("openrouter.ai",), "openrouter",
        _of(schemas="inlined", call_id="[a-zA-Z0-9_-]{1,40}", sent_back=("reasoning_details",)),
        (*_OPENAI_MODELS, *_MISTRAL_MODELS), gateway=True),
    "groq": Server("Groq", ("api.groq.com",), "groq",
        _of(max_tokens_field="max_completion_tokens", response_format="json_object", strict=False,
            images="none"), (
            ("gpt-oss", {"response_format": "json_schema", "strict": True}),
            ("llama-4|vision|-vl", {"images": "user"})), gateway=True),
    "together": Server("Together", ("api.together.xyz", "api.together.ai"), "together",
        _of(_TEMPLATE, schemas="inlined"), _MISTRAL_MODELS, gateway=True),
    "vllm": Server("vLLM", (), "vllm",
        _of(_TEMPLATE, sent_back=("reasoning_content", "reasoning")), gateway=True),
    "sglang": Server("SGLang", (), "sglang", _of(_TEMPLATE, sent_back=_REASONING), gateway=True),
    "llamacpp": Server("llama.cpp", (), r"llama[._-]?cpp|llama-server",
        _of(_STRICT, sent_back=_REASONING), gateway=True),
    "lmstudio": Server("LM Studio", (), r"lm[._-]?studio",
        _of(_STRICT, tool_choices=("none", "required")), gateway=True),
    "tgi": Server("TGI", (), r"tgi|text-generation",
        _of(_STRICT, min_temperature=0.01, response_format="none", assistant_after_tool=True),
        gateway=True),
    "ollama": Server("Ollama's /v1", (), "ollama",
        _of(_TEMPLATE, schemas="simple", tool_choices=_NONE), gateway=True),
    "xai": Server("xAI", ("api.x.ai",), r"(?:^|\W)x-?ai|grok",
        _of(max_tokens_field="max_completion_tokens", schemas="inlined"),
        (("grok-(?:[4-9]|3-mini|code)", {"refused": ("stop",)}),)),
    "zhipu": Server("Zhipu", ("open.bigmodel.cn", "api.z.ai"), r"zhipu|bigmodel|glm|z\.?ai",
        _of(_STRICT, refused=("seed",), min_temperature=0.01, tool_choices=(),
            response_format="json_object", sent_back=_REASONING)),
    "minimax": Server("MiniMax", ("api.minimax.io", "api.minimax.chat", "api.minimaxi.com"),
        "minimax", _of(_STRICT, refused=("seed",), min_temperature=0.01, tool_choices=_NONE,
            response_format="none", images="none", sent_back=("reasoning_details",),
            body={"reasoning_split": True})),
    "siliconflow": Server("SiliconFlow", ("api.siliconflow.cn", "api.siliconflow.com"),
        "siliconflow|silicon",
        _of(_TEMPLATE, response_format="json_object", schemas="inlined", sent_back=_REASONING),
        gateway=True),
}  # fmt: skip


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


class ModelProfile:
    """The profile of one model at an address: that of the kind of server (`kind`, "" for an unknown
    one) and of the model, then what refusals taught, then the `settings`, which win.

    `tag` is the key of the provider's data in messages. A gateway's models are providers of their
    own, since each vendor reads its own data alone. Raises ConfigError for invalid settings.
    """

    def __init__(self, provider: str, model: str, url: str, settings: Changes) -> None:
        self.kind = known_server(provider, url)
        self._key = (f"{provider}:{model}", url)
        try:
            self._settings = _validated(settings)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            at = ".".join(map(str, fault["loc"]))
            raise ConfigError(f"Invalid profile of {provider}: {at}: {fault['msg']}") from None
        self._learned: dict[str, Any] = {}
        with suppress(ValidationError):
            self._learned = _validated(learned_fields(*self._key))
        server = SERVERS.get(self.kind)
        is_vendor = server is not None and not server.gateway
        self.tag = self.kind if is_vendor else f"{self.kind or url} {model}"
        self._base = known_profile(self.kind, model)

    @property
    def current(self) -> Profile:
        return self._base.model_copy(update={**self._learned, **self._settings})

    def free(self, changes: Changes | None) -> Changes | None:
        """Return those of the changes that the settings do not decide."""
        return {k: v for k, v in (changes or {}).items() if k not in self._settings} or None

    def learn(self, changes: Changes) -> None:
        """Keep changes for all later requests, also of other processes."""
        self._learned |= changes
        fields = Profile(**self._learned).model_dump(mode="json", include=set(self._learned))
        save_learned(*self._key, fields)


def known_profile(kind: str, model: str) -> Profile:
    """Return the profile of a kind of server for a model. Models of an unknown server are OpenAI's
    where their name says so."""
    server = SERVERS.get(kind)
    profile = server.profile if server else Profile()
    changes: dict[str, Any] = {}
    for pattern, fields in server.models if server else _OPENAI_MODELS:
        if re.search(pattern, model):
            changes |= fields
    return profile.model_copy(update=changes)


def _validated(fields: Changes) -> dict[str, Any]:
    """Return fields of a profile as their types. Raises ValidationError."""
    profile = Profile(**fields)
    return {key: getattr(profile, key) for key in profile.model_fields_set}
