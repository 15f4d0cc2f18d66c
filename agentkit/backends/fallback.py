"""Fall back to the next model where one fails. An answer that has begun is never begun again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import fields
from typing import TypeVar

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ConfigError, FaultKind, ModelError
from agentkit.events import ModelPart, Retried
from agentkit.messages import Message
from agentkit.tools.tool import Tool

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
