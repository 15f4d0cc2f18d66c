"""Build a model from its name: "openai:gpt-5-mini", "ollama:qwen3:8b", "hf:Qwen/Qwen3-0.6B",
"gguf:PATH", "extractive", "auto", or "PROVIDER:MODEL" for a provider of the settings.

Of several names, the next model answers where one fails.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import fields
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ConfigError, FaultKind, ModelError
from agentkit.events import ModelPart, Retried
from agentkit.messages import Message
from agentkit.settings.keys import key_for, known_providers, server_url
from agentkit.settings.schema import ProviderSettings
from agentkit.tools.tool import Tool

_WITHOUT_PROVIDER = ("auto", "extractive")


def get_model(
    name: str | Sequence[str],
    providers: Mapping[str, ProviderSettings] = {},
    *,
    base_url: str | None = None,
    extractive: Callable[[], Model] | None = None,
) -> Model:
    """Return the model of that name, without loading or asking anything yet.

    Of several names, the first answers and the others are its fallbacks. `base_url` overrides the
    provider's. `extractive` builds the model for "extractive", and for "auto" where no model
    server answers. Raises ConfigError; a missing API key is reported by the first request, or by
    `require_keys`.
    """
    if not isinstance(name, str):
        if base_url and len(name) > 1:
            raise ConfigError(
                "A base URL goes with one model, and there are several. Give each its own base_url "
                "under [providers.NAME] in agentkit.toml."
            )
        models = [
            get_model(each, providers, base_url=base_url, extractive=extractive) for each in name
        ]
        return models[0] if len(models) == 1 else FallbackModel(models)
    if name == "auto":
        from agentkit.backends.auto import AutoModel

        return AutoModel(extractive)
    if name == "extractive":
        if extractive is None:
            raise ConfigError("Call get_model('extractive', extractive=ExtractiveModel).")
        return extractive()
    prefix, colon, model = name.partition(":")
    known = known_providers(providers)
    if not colon or prefix not in known:
        raise _unknown(name, prefix, sorted({*known, *_WITHOUT_PROVIDER}))
    if not model:
        raise ConfigError(f"{name!r} has no model name: write it as {prefix}:MODEL.")
    settings = known[prefix]
    match settings.kind:
        case "ollama":
            return _ollama(model, settings, base_url)
        case "hf" | "gguf":
            return _in_process(model, settings)
    return _openai(prefix, model, settings, base_url)


def require_keys(
    name: str | Sequence[str],
    providers: Mapping[str, ProviderSettings] = {},
    *,
    base_url: str | None = None,
) -> None:
    """Raise ConfigError where a model of these names needs an API key and there is none."""
    known = known_providers(providers)
    for each in [name] if isinstance(name, str) else name:
        prefix = each.partition(":")[0]
        if prefix in known and base_url is None:
            key_for(prefix, known[prefix], server_url(prefix, known[prefix]))


def _openai(prefix: str, model: str, settings: ProviderSettings, base_url: str | None) -> Model:
    from agentkit.backends.openai.model import OpenAIModel

    url = base_url or server_url(prefix, settings)
    return OpenAIModel(
        model,
        provider=prefix,
        base_url=url,
        api_key=partial(key_for, prefix, settings, url, needed=base_url is None),
        api_key_env=settings.api_key_env,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_retries=settings.max_retries,
        extra_body=settings.extra_body,
        profile=settings.profile.model_dump(exclude_unset=True),
        max_context=settings.max_context,
    )


def _ollama(model: str, settings: ProviderSettings, base_url: str | None) -> Model:
    from agentkit.backends.ollama.model import OllamaModel

    return OllamaModel(
        model,
        base_url=base_url or settings.base_url,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_context=settings.max_context or 32768,
        extra_body=settings.extra_body,
    )


def _in_process(model: str, settings: ProviderSettings) -> Model:
    if settings.kind == "gguf":
        from agentkit.backends.llamacpp import LlamaCppModel

        window = settings.max_context or 8192
        return LlamaCppModel(model, max_context=window, threads=settings.threads)
    from agentkit.backends.huggingface.load import Placement
    from agentkit.backends.huggingface.model import HuggingFaceModel

    return HuggingFaceModel(
        model,
        placement=Placement(
            **{each.name: getattr(settings, each.name) for each in fields(Placement)}
        ),
        trust_remote_code=settings.trust_remote_code,
        max_context=settings.max_context,
        max_batch=settings.max_batch,
        kept_tokens=settings.kept_tokens,
    )


def _unknown(name: str, prefix: str, known: list[str]) -> ConfigError:
    near = get_close_matches(prefix, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(
        f"Unknown model {name!r}: write PROVIDER:MODEL.{hint} Known: {', '.join(known)}; "
        "add others as [providers.NAME] in agentkit.toml."
    )


_T = TypeVar("_T")

FALLBACK_KINDS: frozenset[FaultKind] = frozenset({"down", "rate_limited", "timed_out", "too_long"})
"""Errors that another model may not have. A refused key or a bad request is raised at once, since
the user must fix it."""


class FallbackModel(Model):
    """Asks the first model in each request, and the next one where it fails before its first part.
    A Retried tells why, and `Done.model` which model answered."""

    def __init__(self, models: Sequence[Model]) -> None:
        if not models:
            raise ConfigError("The list of models is empty: give one, such as ollama:qwen3:4b.")
        self._models = tuple(models)

    @property
    def name(self) -> str:
        return ", ".join(model.name for model in self._models)

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        failed: list[ModelError] = []
        for model, following in zip(self._models, [*self._models[1:], None], strict=True):
            started = False
            try:
                async with aclosing(model.stream(messages, tools, options)) as parts:
                    async for part in parts:
                        started = started or not isinstance(part, Retried)
                        yield part
                return
            except ModelError as error:
                if started or error.kind not in FALLBACK_KINDS:
                    raise
                failed.append(error)
            if following:
                yield Retried(f"{failed[-1]} Now asking {following.name}.", 0.0)
        raise _combined_error(failed, self.name)

    async def context_window(self) -> int | None:
        """The largest of the available models: what is too long for one goes to the next."""
        windows = [await _or_none(model.context_window()) for model in self._models]
        return max((window for window in windows if window), default=None)

    def count_tokens(self, text: str) -> int:
        """The largest count, so that a prompt fits every model."""
        return max(model.count_tokens(text) for model in self._models)

    async def capabilities(self) -> Capabilities:
        """What all available models can do, since any may answer."""
        each = [await _or_none(model.capabilities()) for model in self._models]
        known = [capabilities for capabilities in each if capabilities]
        if not known:
            return Capabilities()
        names = [field.name for field in fields(Capabilities)]
        return Capabilities(**{name: all(getattr(one, name) for one in known) for name in names})

    async def close(self) -> None:
        for model in self._models:
            await model.close()


async def _or_none(value: Awaitable[_T]) -> _T | None:
    try:
        return await value
    except ModelError:
        return None


def _combined_error(failed: Sequence[ModelError], name: str) -> ModelError:
    if len(failed) == 1:
        return failed[0]
    reasons = " ".join(f"({number}) {error}" for number, error in enumerate(failed, start=1))
    return ModelError(
        f"None of the {len(failed)} models answered. {reasons}", name, failed[-1].kind
    )
