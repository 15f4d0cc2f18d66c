"""What a server may ask of the program that uses it: the user's word, the model, the folder.

What is not given here is not offered to servers. While a person is asked, no call times out.

A server's requests to the agent's model, each allowed by the policy or by the user first.

The server gets text: no tools, nothing of the conversation, and at most `most_tokens`. The user
sees what the model would read, and may change it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.agent.approval import Approve, Policy
from agentkit.backends.base import Model, Options
from agentkit.errors import AgentkitError, ToolError
from agentkit.events import Done, TextDelta
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.results import cut, plain_text, visible
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp_types import CreateMessageRequestParams, SamplingMessage

LONGEST_QUESTION = 4000
_CODE_REFUSED = -1
"""What the protocol suggests for a user who said no."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a server wants to know from the user: the fields of `schema`, or that they visit `url`
    and come back. Its words are the server's: show them as such."""

    server: str
    message: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a server wants the model to write."""

    server: str
    messages: tuple[Message, ...]
    system: str = ""
    max_tokens: int = 1024
    temperature: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """What the model wrote, and which model it was; `is_cut` where it had no room for more."""

    text: str
    model: str
    is_cut: bool = False


Elicit = Callable[[Question], Awaitable[Mapping[str, Any] | None]]
"""The user's answers, {} for a visited URL; None where they decline."""

Sample = Callable[[Sampling], Awaitable[Sampled | None]]
"""The model's words; None where the user does not allow it."""


@dataclass(frozen=True, slots=True)
class Host:
    """The program that uses servers. `folder` is told to local servers as their root; `sample` is
    there for those alone whose entry says so."""

    folder: Path | None = None
    elicit: Elicit | None = None
    sample: Sample | None = None


class Patience:
    """A clock that stands still while somebody is asked."""

    def __init__(self) -> None:
        self._asking = 0
        self._since = 0.0
        self._asked = 0.0

    def now(self) -> float:
        """Seconds, those of questions left out."""
        running = time.monotonic() - self._since if self._asking else 0.0
        return time.monotonic() - self._asked - running

    @contextmanager
    def asking(self) -> Iterator[None]:
        """The clock stands still within."""
        if not self._asking:
            self._since = time.monotonic()
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1
            if not self._asking:
                self._asked += time.monotonic() - self._since


def callbacks(host: Host, config: ServerConfig, patience: Patience) -> dict[str, Any]:
    """The host as the SDK's client takes it: one callback for each thing that it offers."""
    found: dict[str, Any] = {}
    one_at_a_time = asyncio.Lock()
    if host.folder is not None and config.transport == "stdio":
        found["list_roots_callback"] = _roots(host.folder)
    if host.elicit is not None:
        found["elicitation_callback"] = _elicitation(host.elicit, config, patience, one_at_a_time)
    if host.sample is not None and config.sampling == "ask":
        found["sampling_callback"] = _sampling(host.sample, config, patience, one_at_a_time)
    return found


def _roots(folder: Path) -> Callable[[Any], Awaitable[Any]]:
    async def listed(context: Any) -> Any:
        from mcp_types import ListRootsResult, Root
        from pydantic import FileUrl

        path = folder.resolve()
        return ListRootsResult(roots=[Root(uri=FileUrl(path.as_uri()), name=path.name)])

    return listed


def _elicitation(
    elicit: Elicit, config: ServerConfig, patience: Patience, lock: asyncio.Lock
) -> Callable[[Any, Any], Awaitable[Any]]:
    async def asked(context: Any, params: Any) -> Any:
        from mcp_types import ElicitResult

        schema = dict(getattr(params, "requested_schema", None) or {})
        message = visible(params.message)[:LONGEST_QUESTION]
        url = str(getattr(params, "url", None) or "")
        with patience.asking():
            async with lock:
                answers = await elicit(Question(config.name, message, schema, url))
        if answers is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=None if url else dict(answers))

    return asked


def _sampling(
    sample: Sample, config: ServerConfig, patience: Patience, lock: asyncio.Lock
) -> Callable[[Any, Any], Awaitable[Any]]:
    async def asked(context: Any, params: CreateMessageRequestParams) -> Any:
        from mcp_types import INTERNAL_ERROR, CreateMessageResult, ErrorData, TextContent

        with patience.asking():
            async with lock:
                try:
                    written = await sample(_request(config, params))
                except AgentkitError:  # what went wrong at the model is no server's business
                    return ErrorData(code=INTERNAL_ERROR, message="The model cannot answer.")
        if written is None:
            return ErrorData(code=_CODE_REFUSED, message="The user did not allow it.")
        text = TextContent(type="text", text=written.text)
        reason = "maxTokens" if written.is_cut else "endTurn"
        return CreateMessageResult(
            role="assistant", content=text, model=written.model, stop_reason=reason
        )

    return asked


def _request(config: ServerConfig, params: CreateMessageRequestParams) -> Sampling:
    return Sampling(
        server=config.name,
        messages=tuple(map(_message, params.messages)),
        system=params.system_prompt or "",
        max_tokens=params.max_tokens,
        temperature=params.temperature,
        stop=tuple(params.stop_sequences or ()),
    )


def _message(message: SamplingMessage) -> Message:
    from agentkit.mcp.results import part

    content = message.content
    blocks = content if isinstance(content, list) else [content]
    parts = [part(block) for block in blocks]
    if not any(isinstance(each, ImagePart) for each in parts):
        return Message(message.role, "\n".join(each for each in parts if isinstance(each, str)))
    typed = tuple(TextPart(each) if isinstance(each, str) else each for each in parts)
    return Message(message.role, typed)


MOST_TOKENS = 2048
MOST_CHARACTERS = 100_000
MOST_REQUESTS = 100
"""Most requests of one server, so that one which is always allowed cannot spend without end."""

_SHOWN = 2000


def sampler(
    model: Callable[[], Model],
    approve: Approve,
    policy: Policy = Policy(),
    most_tokens: int = MOST_TOKENS,
) -> Sample:
    """Sampling by the model of the moment. The policy knows each request as `server__sampling`;
    unless it decides, `approve` does."""
    requests: dict[str, int] = {}

    async def sample(wanted: Sampling) -> Sampled | None:
        requests[wanted.server] = requests.get(wanted.server, 0) + 1
        _check(wanted, requests[wanted.server])
        tool, call = _as_tool(wanted), _as_call(wanted)
        decision = policy.decide(tool)
        if decision == "ask":
            verdict = await approve(tool, call)
            decision = "allow" if verdict.allowed else "deny"
            wanted = _as_changed(wanted, verdict.arguments)
        return None if decision == "deny" else await _written(model(), wanted, most_tokens)

    return sample


async def _written(model: Model, wanted: Sampling, most_tokens: int) -> Sampled:
    options = Options(
        temperature=wanted.temperature,
        max_tokens=max(1, min(wanted.max_tokens, most_tokens)),
        stop=wanted.stop,
    )
    system = [Message("system", wanted.system)] if wanted.system else []
    text, name, is_cut = "", model.name, False
    async for part in model.stream([*system, *wanted.messages], (), options):
        if isinstance(part, TextDelta):
            text += part.text
        elif isinstance(part, Done):
            name, is_cut = part.model or name, part.stop_reason == "length"
    return Sampled(text, name, is_cut)


def _check(wanted: Sampling, count: int) -> None:
    if count > MOST_REQUESTS:
        raise ToolError(f"{wanted.server!r} asked the model more than {MOST_REQUESTS} times.")
    if len(wanted.system) + sum(len(each.text) for each in wanted.messages) > MOST_CHARACTERS:
        raise ToolError(f"{wanted.server!r} asks the model with too long a text.")


def _as_tool(wanted: Sampling) -> Tool:
    """What the user is asked about, in the form that every other question has."""
    return Tool(
        name=f"{wanted.server}__sampling",
        description=f"The MCP server {wanted.server!r} wants the model to write for it.",
        parameters={"type": "object"},
        function=sampler,
        needs_approval=True,
    )


def _as_call(wanted: Sampling) -> ToolCall:
    shown = "\n".join(f"{each.role}: {plain_text(each.content)}" for each in wanted.messages)
    arguments = {
        "system": cut(visible(wanted.system), _SHOWN),
        "messages": cut(visible(shown), _SHOWN),
        "max_tokens": wanted.max_tokens,
    }
    return ToolCall("sampling", f"{wanted.server}__sampling", arguments)


def _as_changed(wanted: Sampling, changed: Mapping[str, Any] | None) -> Sampling:
    """The request as the user would have it: one message that holds what stood there."""
    if not changed:
        return wanted
    tokens = changed.get("max_tokens")
    return replace(
        wanted,
        system=str(changed.get("system") or ""),
        messages=(Message("user", str(changed.get("messages") or "")),),
        max_tokens=tokens if isinstance(tokens, int) else wanted.max_tokens,
    )
