"""Run the checks of a probe on a model."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import AgentkitError, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

Status = Literal["passed", "failed", "unsupported"]
DEFAULT_MAX_TOKENS = 6


class Failed(Exception):
    """The model does not do what every model must do, or what it claims to do."""


class Unsupported(Exception):
    """The model does not do something that is optional and that it does not claim to do."""


@dataclass(frozen=True, slots=True)
class Response:
    """The parts of one whole answer."""

    parts: tuple[ModelPart, ...]

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, TextDelta))

    @property
    def deltas(self) -> list[str]:
        """The pieces of text and of thinking."""
        kinds = (TextDelta, ReasoningDelta)
        return [part.text for part in self.parts if isinstance(part, kinds) and part.text]

    @property
    def calls(self) -> list[ToolCall]:
        return [part for part in self.parts if isinstance(part, ToolCall)]

    @property
    def usage(self) -> Usage:
        """Raises Failed where there is not exactly one."""
        found = [part for part in self.parts if isinstance(part, Usage)]
        require(len(found) == 1, f"{len(found)} Usage parts in place of one")
        return found[0]

    @property
    def done(self) -> Done:
        """Raises Failed where the answer does not end with its only Done."""
        found = [part for part in self.parts if isinstance(part, Done)]
        require(len(found) == 1, f"{len(found)} Done parts in place of one")
        require(self.parts[-1] is found[0], "Done is not the last part")
        return found[0]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under test. `claims` is what it says it can do: only that must hold.
    `missing_model` is a model of the same server that does not exist; `max_prompt` bounds the
    prompts sent, in tokens; `extra` goes into every request."""

    model: Model
    claims: Capabilities
    missing_model: Model | None = None
    max_prompt: int = 32768
    extra: Mapping[str, Any] = field(default_factory=dict)

    async def ask(
        self,
        *messages: Message,
        tools: Sequence[Tool] = (),
        max_tokens: int = DEFAULT_MAX_TOKENS,
        claimed: bool | None = None,
        **options: Any,
    ) -> Response:
        """Return one whole answer, after checking the order of its parts. Raises Failed, and
        ModelError; with `claimed`, a refusal in one line raises Failed or Unsupported instead."""
        request = Options(max_tokens=max_tokens, extra=self.extra, **options)
        try:
            parts = [part async for part in self.model.stream(messages, tools, request)]
        except ModelError as error:
            if claimed is None:
                raise
            require_one_line(error)
            raise (Failed if claimed else Unsupported)(str(error)) from error
        begun = next((at for at, p in enumerate(parts) if not isinstance(p, Retried)), 0)
        require(not any(isinstance(p, Retried) for p in parts[begun:]), "Retried after other parts")
        response = Response(tuple(parts))
        _ = response.done
        return response


Check = Callable[[Subject], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a check ended, and why where it did not pass."""

    check: str
    status: Status
    reason: str = ""
    seconds: float = 0.0


async def run_check(check: Check, subject: Subject, seconds: float = 90.0) -> CheckResult:
    """Run one check, for at most `seconds`."""
    begun = time.perf_counter()
    status, reason = await _run(check, subject, seconds)
    took = time.perf_counter() - begun
    return CheckResult(check.__name__, status, " ".join(reason.split()), took)


async def _run(check: Check, subject: Subject, seconds: float) -> tuple[Status, str]:
    try:
        async with asyncio.timeout(seconds):
            await check(subject)
    except Unsupported as reason:
        return "unsupported", str(reason)
    except (Failed, AgentkitError) as reason:
        return "failed", str(reason)
    except TimeoutError:
        return "failed", f"it took longer than {seconds:g} s"
    except Exception as error:
        return "failed", f"{type(error).__name__}: {error}"
    return "passed", ""


def capabilities_from(results: Collection[CheckResult], claims: Capabilities) -> Capabilities:
    """Return what the results show; what no check shows is as claimed."""
    passed = {result.check for result in results if result.status == "passed"}
    return replace(
        claims,
        tools={"tool_offered", "tool_result"} <= passed,
        forced_tools={"forced_tool", "named_tool"} <= passed,
        json_schema="json_schema" in passed,
        images="image" in passed,
    )


def user(text: str) -> Message:
    return Message("user", text)


def require(condition: bool, reason: str) -> None:
    """Raise Failed where the condition does not hold."""
    if not condition:
        raise Failed(reason)


def require_if_claimed(condition: bool, claimed: bool, reason: str) -> None:
    """Where the condition does not hold, raise Failed for what the model claims to do, else
    Unsupported."""
    if not condition:
        raise Failed(reason) if claimed else Unsupported(reason)


def require_one_line(error: ModelError) -> None:
    require(bool(str(error).strip()), "the error has no text")
    require("\n" not in str(error), f"the error has several lines: {str(error)[:200]!r}")


def is_about_length(error: ModelError) -> bool:
    pattern = r"too long|does not fit|context|window|too many tokens"
    return bool(re.search(pattern, str(error), re.IGNORECASE))
