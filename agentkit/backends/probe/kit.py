"""What the checks of a model are made of: the model and what is known of it, a question put to it,
and the ways in which a check ends early.

What `agentkit probe` found out, kept in the user's cache folder by model and server.

A file that cannot be read or written is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

FEW_TOKENS = 6
"""What an answer may have where a check says nothing else."""


class Failed(Exception):
    """What a model must do and did not."""


class Unsupported(Exception):
    """What a model need not do and does not."""


@dataclass(frozen=True, slots=True)
class Heard:
    """The parts of one answer."""

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
        need(len(found) == 1, f"{len(found)} Usage parts in place of one")
        return found[0]

    @property
    def done(self) -> Done:
        """Raises Failed where the answer does not end with the one Done."""
        found = [part for part in self.parts if isinstance(part, Done)]
        need(len(found) == 1, f"{len(found)} Done parts in place of one")
        need(self.parts[-1] is found[0], "Done is not the last part")
        return found[0]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model under test. `claims` is what it says it can do: only that must hold. `unknown` is a
    model of the same server that is not there; `longest` bounds the prompts sent, in tokens;
    `extra` goes into every request."""

    model: Model
    claims: Capabilities
    unknown: Model | None = None
    longest: int = 32768
    extra: Mapping[str, Any] = field(default_factory=dict)

    async def ask(
        self,
        *messages: Message,
        tools: Sequence[Tool] = (),
        max_tokens: int = FEW_TOKENS,
        **options: Any,
    ) -> Heard:
        """One whole answer, its order checked."""
        asked = Options(max_tokens=max_tokens, extra=self.extra, **options)
        parts = [part async for part in self.model.stream(messages, tools, asked)]
        begun = next((at for at, p in enumerate(parts) if not isinstance(p, Retried)), 0)
        need(not any(isinstance(p, Retried) for p in parts[begun:]), "Retried after other parts")
        heard = Heard(tuple(parts))
        _ = heard.done
        return heard


def user(text: str) -> Message:
    return Message("user", text)


def need(condition: bool, reason: str) -> None:
    """Raises Failed where the condition does not hold."""
    if not condition:
        raise Failed(reason)


def promised(condition: bool, claimed: bool, reason: str) -> None:
    """Raises where the condition does not hold: Failed for what the model claims to do, else
    Unsupported."""
    if not condition:
        raise Failed(reason) if claimed else Unsupported(reason)


@contextmanager
def may_refuse(claimed: bool = False) -> Iterator[None]:
    """A model may refuse what it does not claim to do, in one line."""
    try:
        yield
    except ModelError as error:
        one_line(error)
        promised(False, claimed, str(error))


def one_line(error: ModelError) -> None:
    """An error for people is one line that says something."""
    need(bool(str(error).strip()), "the error says nothing")
    need("\n" not in str(error), f"the error has several lines: {str(error)[:200]!r}")


def is_about_length(error: ModelError) -> bool:
    pattern = r"too long|does not fit|context|window|too many tokens"
    return bool(re.search(pattern, str(error), re.IGNORECASE))


def cached_capabilities(name: str, server: str = "") -> Capabilities | None:
    """What the last probe of the model found; None where there was none."""
    try:
        found = json.loads(_path(name, server).read_text(encoding="utf-8"))
        return Capabilities(**{key: bool(value) for key, value in found["capabilities"].items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def keep_capabilities(
    name: str, server: str, found: Capabilities, checks: Sequence[dict[str, Any]] = ()
) -> None:
    """Write what a probe found, whole or not at all, if that can be done."""
    path = _path(name, server)
    body = {"model": name, "server": server, "capabilities": asdict(found), "checks": list(checks)}
    part = path.with_name(f"{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(body, ensure_ascii=False, indent=2), encoding="utf-8")
        part.replace(path)


def _path(name: str, server: str) -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    digest = hashlib.sha256(f"{name}\n{server}".encode()).hexdigest()[:32]
    return Path(base) / "agentkit" / "probes" / f"{digest}.json"
