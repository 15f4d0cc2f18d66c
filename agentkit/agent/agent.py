"""The agent: answers prompts with a model, tools and a knowledge base; can be a tool itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Generic, Self, TypeAlias, overload

from typing_extensions import TypeForm, TypeVar, Unpack

from agentkit._sync import run_sync
from agentkit.agent.approval import Verdict
from agentkit.agent.channel import Emitter, NoReader, stream_events
from agentkit.agent.limits import Spent
from agentkit.agent.pending import PausedResult
from agentkit.agent.run import Run, enclosing
from agentkit.agent.session import Session, pause_session, resume_session
from agentkit.agent.setup import Deps, Overrides, Setup
from agentkit.agent.structured import output_schema
from agentkit.agent.tool_runner import CallContext
from agentkit.answers import Answer
from agentkit.errors import ConfigError, ToolError
from agentkit.events import Event, Finished
from agentkit.knowledge.citations.markers import markers, numbers_in
from agentkit.messages import Content, Message
from agentkit.tools.context import ToolContext
from agentkit.tools.repair import join_surrogates
from agentkit.tools.tool import Tool, tool

T = TypeVar("T", default=None)

Prompt: TypeAlias = Content | Message
"""A question: text, parts with images, or a user's message with passages to cite."""

_INCOMPLETE = {
    "limit": "\n(A limit of this agent was reached: its answer may be incomplete.)",
    "length": "\n(This answer was cut off at its greatest length.)",
}

_overridden = ContextVar[Mapping[Any, Mapping[str, Any]]](
    "overridden", default=MappingProxyType({})
)
"""What `Agent.override` replaces, by agent."""


class Agent(Setup[Deps], Generic[Deps]):
    """Answers prompts with a model, tools and a knowledge base.

    `model` is a Model or a string such as "ollama:qwen3:8b", "openai:gpt-5-mini" or "auto"; of
    several strings each is the fallback of those before it. `tools` are Tools or plain functions.
    `instructions` are a text, or a function of the run's context that writes it; `preamble`
    replaces the built-in text before them. `approve` decides on calls for which `policy` or the
    tool itself requires approval; by default they are denied. `hooks` are called before and after
    requests and tool calls. `on_tool_error` decides what a failure of a tool leads to.
    `output_check` may reject an output, or the text of an answer, and have the model try again.
    `open_model` opens a model by its name.
    `Agent[Database](...)` names the type of the `deps` of its runs. Raises ConfigError.

    Each method that runs the agent takes the keywords of `Overrides`, which replace the agent's
    own values for that run, and `output`, the type of `Answer.output`: a pydantic model, a
    dataclass, `list[City]`, `City | None`, a TypedDict, `int`, or a JSON Schema. `run_sync` and
    `resume_sync` are `run` and `resume` for synchronous code.
    """

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        run_sync(self.close())

    async def close(self) -> None:
        """Close the models that the agent opened by their names. It cannot run afterwards."""
        self._closed = True
        for model in self._opened.values():
            await model.close()

    @overload
    async def run(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: TypeForm[T] = ...,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[T]: ...

    @overload
    async def run(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: Mapping[str, Any],
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]: ...

    async def run(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: Any = None,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]:
        """Answer a prompt. Raises ModelError, and ConfigError for an `output` without a schema.

        The session gets each turn as soon as it is complete. However the run ends, it keeps the
        complete turns and the text that was being written.
        """
        return await self._run(session, output, overrides)(NoReader()).respond(_message(prompt))

    @overload
    def run_sync(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: TypeForm[T] = ...,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[T]: ...

    @overload
    def run_sync(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: Mapping[str, Any],
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]: ...

    def run_sync(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: Any = None,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]:
        """`run`, for synchronous code."""
        return run_sync(self.run(prompt, session, output=output, **overrides))

    @overload
    def stream(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: TypeForm[T] = ...,
        **overrides: Unpack[Overrides[Deps]],
    ) -> AsyncGenerator[Event[T], None]: ...

    @overload
    def stream(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: Mapping[str, Any],
        **overrides: Unpack[Overrides[Deps]],
    ) -> AsyncGenerator[Event[Any], None]: ...

    def stream(
        self,
        prompt: Prompt,
        session: Session | None = None,
        *,
        output: Any = None,
        **overrides: Unpack[Overrides[Deps]],
    ) -> AsyncGenerator[Event[Any], None]:
        """Answer a prompt, event by event; the last one is Finished, with the answer. A Retried
        stands between an answer that does not fit `output` and the next. Raises as `run` does."""
        run = self._run(session, output, overrides)
        return stream_events(lambda emitter: run(emitter).respond(_message(prompt)))

    @overload
    async def resume(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: TypeForm[T] = ...,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[T]: ...

    @overload
    async def resume(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: Mapping[str, Any],
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]: ...

    async def resume(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: Any = None,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]:
        """Continue a paused run with decisions on the calls of `session.waiting`, by their ids. A
        call without a decision is asked for again. Limits, usage and cost go on where they were; a
        run that was asked for an `output` is resumed with it. Raises AlreadyDecided for a call
        that does not wait, and as `run` does."""
        return await self._run(session, output, overrides)(NoReader()).resume(verdicts)

    @overload
    def resume_sync(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: TypeForm[T] = ...,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[T]: ...

    @overload
    def resume_sync(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: Mapping[str, Any],
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]: ...

    def resume_sync(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: Any = None,
        **overrides: Unpack[Overrides[Deps]],
    ) -> Answer[Any]:
        """`resume`, for synchronous code."""
        return run_sync(self.resume(session, verdicts, output=output, **overrides))

    @overload
    def stream_resume(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: TypeForm[T] = ...,
        **overrides: Unpack[Overrides[Deps]],
    ) -> AsyncGenerator[Event[T], None]: ...

    @overload
    def stream_resume(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: Mapping[str, Any],
        **overrides: Unpack[Overrides[Deps]],
    ) -> AsyncGenerator[Event[Any], None]: ...

    def stream_resume(
        self,
        session: Session,
        verdicts: Mapping[str, Verdict],
        *,
        output: Any = None,
        **overrides: Unpack[Overrides[Deps]],
    ) -> AsyncGenerator[Event[Any], None]:
        """`resume`, event by event; the last one is Finished, with the answer."""
        run = self._run(session, output, overrides)
        return stream_events(lambda emitter: run(emitter).resume(verdicts))

    @contextmanager
    def override(self, **overrides: Unpack[Overrides[Deps]]) -> Iterator[None]:
        """Replace values of the agent in the runs that start within the block, such as the model
        in a test, even where a run is given its own. Other tasks and threads are not affected."""
        self.replaced(overrides)
        outer = _overridden.get()
        token = _overridden.set({**outer, self: {**outer.get(self, {}), **overrides}})
        try:
            yield
        finally:
            _overridden.reset(token)

    def as_tool(self, name: str, description: str) -> Tool:
        """This agent as a tool of another: it answers a question within its own limits, its events
        are nested in the other's, and its tokens count towards the other's. Its runs get the deps
        of the other's, and see no document that the other's `retrieval` excludes."""
        return agent_tool(self, name, description)

    def _run(
        self, session: Session | None, output: Any, overrides: Mapping[str, Any]
    ) -> Callable[[Emitter], Run]:
        """Prepare a run with the values of this moment. Raises ConfigError and TypeError."""
        self._check_open()
        if session is not None and not isinstance(session, Session):
            raise TypeError(
                f"A run continues a Session, not a value of type {type(session).__name__}. Open "
                "one by its id: SessionStore.session(id)."
            )
        setup = self.replaced({**overrides, **_overridden.get().get(self, {})})
        schema = None if output is None else output_schema(output)
        return lambda emitter: Run(
            setup, Session() if session is None else session, emitter, schema
        )

    def _check_open(self) -> None:
        if self._closed:
            raise ConfigError(
                "This agent is closed: run it before close() and within its `with` block."
            )


def _message(prompt: Prompt) -> Message:
    """A prompt as a message; plain text without lone surrogates."""
    if isinstance(prompt, Message):
        return prompt
    return Message("user", join_surrogates(prompt) if isinstance(prompt, str) else prompt)


def agent_tool(agent: Agent[Any], name: str, description: str) -> Tool:
    """A tool that asks the agent. Passages that it cites get markers of the calling run."""

    @tool(name=name)
    async def ask(question: str, context: ToolContext) -> str | PausedResult:
        """Ask.

        Args:
            question: What to find out, with all that is needed to understand it.
        """
        answer: Answer | None = None
        overrides: Overrides[Any] = {"deps": context.deps}
        if outer := enclosing.get():
            overrides["retrieval"] = agent.retrieval_within(outer.retrieval)
        call = context if isinstance(context, CallContext) else None
        if call and call.resumed:
            session, before = resume_session(call.resumed), call.resumed.pending.run.spent
            running = agent.stream_resume(session, call.verdicts, **overrides)
        else:
            session, before = Session(), Spent()
            running = agent.stream(question, session, **overrides)
        async with aclosing(running) as events:
            async for event in events:
                if isinstance(event, Finished):
                    answer = event.answer
                else:
                    context.nest(event)
        if answer is None:
            raise ToolError("The agent gave no answer.", name)
        context.spend(answer.usage - before.usage, _difference(answer.cost, before.cost))
        if paused := pause_session(session):
            if call is None:
                raise ToolError(f"{name} waits for approval, which is not possible here.", name)
            return PausedResult(agent=paused)
        return _with_markers_of(answer, context) + _INCOMPLETE.get(answer.stop_reason, "")

    return replace(ask, description=description)


def _difference(cost: float | None, before: float | None) -> float | None:
    return None if cost is None else cost - (before or 0.0)


def _with_markers_of(answer: Answer, context: ToolContext) -> str:
    """The text with the markers of the calling run; markers without a passage are removed."""
    numbers = {c.marker: context.cite(c.chunk) for c in answer.citations}
    pieces, reached = [], 0
    for group in markers(answer.text, [c.chunk.text for c in answer.citations]):
        known = [numbers[n] for n in numbers_in(group[0]) if n in numbers]
        before = answer.text[reached : group.start()]
        pieces += [before if known else before.rstrip(), *(f"[{number}]" for number in known)]
        reached = group.end()
    return "".join([*pieces, answer.text[reached:]])
