"""What this program lets servers ask for: the user's input (elicitation), the model (sampling) and
the directories they work in (roots).

Features that are not given are not offered to servers. No call times out while the user is asked.
For sampling a server gets text only: no tools, nothing of the conversation, at most `max_tokens`.
The policy or the user approves each request; the user sees what the model would read, and may
change it.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.agent.approval import Approve, Policy
from agentkit.agent.hooks import call_with
from agentkit.backends.base import Model, Options
from agentkit.errors import AgentkitError, ToolError
from agentkit.events import Done, TextDelta
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.results import content_part, plain_text, truncate
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.text.hidden import visible
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp_types import CreateMessageRequestParams, SamplingMessage

MAX_QUESTION = 4000
MAX_TOKENS = 2048
MAX_CHARACTERS = 100_000
MAX_REQUESTS = 100
"""Most sampling requests of one server, a limit for one that is always allowed."""

_MAX_SHOWN = 2000
_USER_REJECTED = -1
"""The error code that the protocol suggests where the user rejected a sampling request."""


@dataclass(frozen=True, slots=True)
class ElicitationRequest:
    """What a server asks the user: to fill the fields of `schema`, or to visit `url`. The message
    is the server's: display it as such."""

    server: str
    message: str
    schema: Mapping[str, Any] = field(default_factory=dict)
    url: str = ""


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """What a server asks the model."""

    server: str
    messages: tuple[Message, ...]
    system: str = ""
    max_tokens: int = 1024
    temperature: float | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SamplingResult:
    """The model's text and name; `is_cut` where it reached the token limit."""

    text: str
    model: str
    is_cut: bool = False


Elicit = Callable[[ElicitationRequest], Awaitable[Mapping[str, Any] | None]]
"""Returns the user's answers, {} for a visited URL; None where they decline."""

Sample = Callable[[SamplingRequest], Awaitable[SamplingResult | None]]
"""Returns the model's text; None where the user does not allow it."""


@dataclass(slots=True)
class OpenQuestions:
    """How many questions of a server the user is answering: no call times out meanwhile."""

    count: int = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one more within the block; blocks may overlap."""
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


@dataclass(frozen=True, slots=True)
class ClientFeatures:
    """What servers may ask for. Local servers get `folder` as a root, and the directories that
    their command line names; `sample` is available only to servers whose entry says so."""

    folder: Path | None = None
    elicit: Elicit | None = None
    sample: Sample | None = None

    def callbacks(self, config: ServerConfig, questions: OpenQuestions) -> dict[str, Any]:
        """The callbacks of the SDK's client, one for each feature that this server gets."""
        callbacks = _Callbacks(self, config, questions)
        found: dict[str, Any] = {}
        if self.folder is not None and config.transport == "stdio":
            found["list_roots_callback"] = callbacks.list_roots
        if self.elicit is not None:
            found["elicitation_callback"] = callbacks.elicit
        if self.sample is not None and config.sampling == "ask":
            found["sampling_callback"] = callbacks.sample
        return found


class _Callbacks:
    """Answers the requests of one server; the user is asked one question at a time."""

    def __init__(
        self, features: ClientFeatures, config: ServerConfig, questions: OpenQuestions
    ) -> None:
        self._features = features
        self._config, self._server = config, config.name
        self._questions = questions
        self._lock = asyncio.Lock()

    async def list_roots(self, context: Any) -> Any:
        from mcp_types import ListRootsResult, Root
        from pydantic import FileUrl

        assert self._features.folder is not None
        folder, words = self._features.folder, (arg.rpartition("=")[2] for arg in self._config.args)
        # A file server replaces the directories of its command line by the client's roots.
        named = ((self._config.cwd or folder) / os.path.expanduser(each) for each in words if each)
        folders = {path.resolve(): None for path in (folder, *named) if os.path.isdir(path)}
        return ListRootsResult(
            roots=[Root(uri=FileUrl(each.as_uri()), name=each.name) for each in folders]
        )

    async def elicit(self, context: Any, params: Any) -> Any:
        from mcp_types import ElicitResult

        assert self._features.elicit is not None
        schema = dict(getattr(params, "requested_schema", None) or {})
        message = visible(params.message[:MAX_QUESTION])[:MAX_QUESTION]
        url = str(getattr(params, "url", None) or "")
        with self._questions.one():
            async with self._lock:
                request = ElicitationRequest(self._server, message, schema, url)
                answers = await self._features.elicit(request)
        if answers is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=None if url else dict(answers))

    async def sample(self, context: Any, params: CreateMessageRequestParams) -> Any:
        from mcp_types import INTERNAL_ERROR, CreateMessageResult, ErrorData, TextContent

        assert self._features.sample is not None
        request = SamplingRequest(
            server=self._server,
            messages=tuple(map(_convert_message, params.messages)),
            system=params.system_prompt or "",
            max_tokens=params.max_tokens,
            temperature=params.temperature,
            stop=tuple(params.stop_sequences or ()),
        )
        with self._questions.one():
            async with self._lock:
                try:
                    result = await self._features.sample(request)
                except AgentkitError:  # details of the model's failure are not for servers
                    return ErrorData(code=INTERNAL_ERROR, message="The model cannot answer.")
        if result is None:
            return ErrorData(code=_USER_REJECTED, message="The user did not allow it.")
        return CreateMessageResult(
            role="assistant",
            content=TextContent(type="text", text=result.text),
            model=result.model,
            stop_reason="maxTokens" if result.is_cut else "endTurn",
        )


def sampler(
    model: Callable[[], Model],
    approve: Approve,
    policy: Policy = Policy(),
    max_tokens: int = MAX_TOKENS,
) -> Sample:
    """Sample from the current model. The policy knows each request as `server__sampling`; unless
    it decides, `approve` does."""
    requests: dict[str, int] = {}

    async def sample(request: SamplingRequest) -> SamplingResult | None:
        requests[request.server] = requests.get(request.server, 0) + 1
        _check_limits(request, requests[request.server])
        tool, call = _approval_question(request)
        decision = policy.decide(tool)
        if decision == "ask":
            verdict = await call_with(approve, tool, call)
            decision = "allow" if verdict.allowed else "deny"
            request = _apply_changes(request, verdict.arguments)
        return None if decision == "deny" else await _generate(model(), request, max_tokens)

    return sample


async def _generate(model: Model, request: SamplingRequest, max_tokens: int) -> SamplingResult:
    options = Options(
        temperature=request.temperature,
        max_tokens=max(1, min(request.max_tokens, max_tokens)),
        stop=request.stop,
    )
    system = [Message("system", request.system)] if request.system else []
    text, name, is_cut = "", model.name, False
    async for part in model.stream([*system, *request.messages], (), options):
        if isinstance(part, TextDelta):
            text += part.text
        elif isinstance(part, Done):
            name, is_cut = part.model or name, part.stop_reason == "length"
    return SamplingResult(text, name, is_cut)


def _check_limits(request: SamplingRequest, count: int) -> None:
    if count > MAX_REQUESTS:
        raise ToolError(f"{request.server!r} made more than {MAX_REQUESTS} sampling requests.")
    if len(request.system) + sum(len(each.text) for each in request.messages) > MAX_CHARACTERS:
        raise ToolError(f"A sampling request of {request.server!r} is too long.")


def _approval_question(request: SamplingRequest) -> tuple[Tool, ToolCall]:
    """The request as a tool and its call, which is what policies and users approve."""
    name = f"{request.server}__sampling"
    tool = Tool(
        name=name,
        description=f"The MCP server {request.server!r} asks the model to generate text for it.",
        parameters={"type": "object"},
        function=sampler,
        needs_approval=True,
    )
    messages = "\n".join(f"{each.role}: {plain_text(each.content)}" for each in request.messages)
    arguments = {
        "system": truncate(request.system, _MAX_SHOWN),
        "messages": truncate(messages, _MAX_SHOWN),
        "max_tokens": request.max_tokens,
    }
    return tool, ToolCall("sampling", name, arguments)


def _apply_changes(request: SamplingRequest, changed: Mapping[str, Any] | None) -> SamplingRequest:
    """Replace the request's texts by those that the user edited."""
    if not changed:
        return request
    tokens = changed.get("max_tokens")
    return replace(
        request,
        system=str(changed.get("system") or ""),
        messages=(Message("user", str(changed.get("messages") or "")),),
        max_tokens=tokens if isinstance(tokens, int) else request.max_tokens,
    )


def _convert_message(message: SamplingMessage) -> Message:
    content = message.content
    parts = list(map(content_part, content if isinstance(content, list) else [content]))
    if not any(isinstance(each, ImagePart) for each in parts):
        return Message(message.role, "\n".join(each for each in parts if isinstance(each, str)))
    typed = tuple(TextPart(each) if isinstance(each, str) else each for each in parts)
    return Message(message.role, typed)
