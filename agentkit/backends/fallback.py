"""Several models in order: where one is down, the next answers. A text that has begun is never
begun again by another model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import fields

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ConfigError, FaultKind, ModelError
from agentkit.events import ModelPart, Retried
from agentkit.messages import Message
from agentkit.tools.tool import Tool

MOVES_ON: frozenset[FaultKind] = frozenset({"down", "rate_limited", "timed_out", "too_long"})
"""Faults that another model may not have. A refused key or a bad request is the user's to mend,
and is raised at once."""


class FallbackModel(Model):
    """Asks the first model, at every request anew; the next one where it fails before its first
    part. A Retried says why it moved on, `Done.model` which model answered."""

    def __init__(self, models: Sequence[Model]) -> None:
        if not models:
            raise ConfigError("The list of models is empty: name one, such as ollama:qwen3:4b.")
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
        for model, follower in zip(self._models, [*self._models[1:], None], strict=True):
            started = False
            try:
                async with aclosing(model.stream(messages, tools, options)) as parts:
                    async for part in parts:
                        started = started or not isinstance(part, Retried)
                        yield part
                return
            except ModelError as error:
                if started or error.kind not in MOVES_ON:
                    raise
                failed.append(error)
            if follower:
                yield Retried(f"{failed[-1]} Now asking {follower.name}.", 0.0)
        raise _all_failed(failed, self.name)

    async def context_window(self) -> int | None:
        """The greatest of those that can be asked: what is too long for one goes to the next."""
        windows = [await _window(model) for model in self._models]
        return max((window for window in windows if window), default=None)

    def count_tokens(self, text: str) -> int:
        """The greatest count, so that what is said to fit does."""
        return max(model.count_tokens(text) for model in self._models)

    async def capabilities(self) -> Capabilities:
        """What all of those can do that can be asked, since any may answer."""
        known = [able for model in self._models if (able := await _abilities(model))]
        if not known:
            return Capabilities()
        names = [field.name for field in fields(Capabilities)]
        return Capabilities(**{name: all(getattr(able, name) for able in known) for name in names})

    async def close(self) -> None:
        for model in self._models:
            await model.close()


async def _window(model: Model) -> int | None:
    try:
        return await model.context_window()
    except ModelError:
        return None


async def _abilities(model: Model) -> Capabilities | None:
    try:
        return await model.capabilities()
    except ModelError:
        return None


def _all_failed(failed: Sequence[ModelError], name: str) -> ModelError:
    if len(failed) == 1:
        return failed[0]
    reasons = " ".join(f"({number}) {error}" for number, error in enumerate(failed, start=1))
    return ModelError(f"None of the {len(failed)} models answers. {reasons}", name, failed[-1].kind)
