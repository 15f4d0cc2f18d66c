"""One run of an agent: prompt or decisions in, events on the way, an answer out."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from itertools import count
from typing import Any

from agentkit._sync import in_thread
from agentkit.agent.approval import Verdict
from agentkit.agent.channel import Emitter
from agentkit.agent.compaction import SUMMARY_HEADING
from agentkit.agent.finalize import Finalizer
from agentkit.agent.hooks import RunInfo, call_with
from agentkit.agent.limits import UsageMeter
from agentkit.agent.loop import Loop
from agentkit.agent.pending import PausedRun
from agentkit.agent.preamble import preamble
from agentkit.agent.query_rewriting import QueryRewriter
from agentkit.agent.session import Session
from agentkit.agent.setup import Setup
from agentkit.agent.structured import (
    REPAIRS,
    InvalidOutput,
    OutputSchema,
    output_error,
    rejection_prompt,
    repair_prompt,
)
from agentkit.agent.tool_runner import RunState, ToolRunner
from agentkit.answering.question import Question
from agentkit.answers import Answer
from agentkit.backends.base import Model, Options
from agentkit.errors import ConfigError, ModelError, Retry
from agentkit.events import Event, Finished, Retried, TextDelta
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import Message, ToolCall
from agentkit.tools.callables import needs_deps
from agentkit.tools.tool import Tool
from agentkit.tracing.trace import Trace, TracedModel

enclosing: ContextVar[Setup[Any] | None] = ContextVar("enclosing", default=None)
"""The setup of the run that calls the current tool."""


class Run:
    """One run: the recorder that its loop writes to, and the end of the run."""

    def __init__(
        self,
        setup: Setup[Any],
        session: Session,
        emitter: Emitter,
        output: OutputSchema | None = None,
    ) -> None:
        self._setup = setup
        self._session = session
        self._emitter = emitter
        self._output = output
        self._tools = setup.offered_tools
        self._trace = Trace(())
        self._state = RunState()

    def _begin(self, start: PausedRun) -> None:
        """Start the run, or its second part, at the end of what the session holds now."""
        setup, session = self._setup, self._session
        self._start = start
        self._meter = UsageMeter(setup.limits, start.spent)
        self._rejected = start.rejected
        self._info = RunInfo(start.id, session.id)
        self._finalizer = Finalizer(
            session.sources,
            setup.documents,
            setup.hooks,
            setup.retrieval,
            self._info,
            session.messages,
        )
        self._before = tuple(session.messages[start.begun :])

    async def respond(self, message: Message) -> Answer[Any]:
        """Answer a prompt. Raises ModelError, ConfigError, and SessionBusy."""
        async with self._session.running():
            if self._session.pending:
                raise ConfigError("A call of this session waits for a decision: use Agent.resume.")
            self._begin(PausedRun(secrets.token_hex(8), len(self._session.messages)))
            if refusal := await self._refusal(message.text):
                return self._refuse(refusal)
            with self._started(message.text) as model:
                loop, instructions = await self._prepare(model, message)
                deadline = loop.start()
                tools = await loop.offer_tools()
                conversation = await self._messages(instructions, tools)
                rewriter = QueryRewriter(
                    model,
                    self._meter,
                    conversation,
                    tools,
                    replace(self._setup.options, tool_choice="auto"),
                )
                opening = await self._opening_searches(message.text, rewriter, deadline)
                self._before = (message,)
                await in_thread(self._session.add, [message])
                return await self._finish(loop, loop.run([*conversation, message], opening))

    async def resume(self, verdicts: Mapping[str, Verdict]) -> Answer[Any]:
        """Continue a paused run with decisions on its open calls, by their ids. Raises ModelError,
        AlreadyDecided for a call that does not wait, and TypeError for a decision that is none."""
        for call_id, verdict in verdicts.items():
            if not isinstance(verdict, Verdict):
                raise TypeError(
                    f"The decision on call {call_id!r} is of type {type(verdict).__name__}: give "
                    "ALLOWED, DENIED or a Verdict."
                )
        with self._session.decide(verdicts) as pending:
            async with self._session.running():
                self._begin(pending.run)
                if pending.run.output and self._output is None:
                    raise ConfigError(
                        "This run was asked for an output: resume it with "
                        f"output={pending.run.output}."
                    )
                with self._started("") as model:
                    loop, instructions = await self._prepare(model, None)
                    loop.start()
                    messages = await self._messages(instructions, await loop.offer_tools())
                    running = loop.run(messages, resumed=(pending, verdicts))
                    return await self._finish(loop, running)

    def emit(self, event: Event) -> None:
        self._trace.event(event)
        self._emitter.emit(event)

    async def send(self, event: Event) -> None:
        if isinstance(event, TextDelta):
            if self._finalizer.withholds_text:
                return
            self._session.draft(event.text)
        self._trace.event(event)
        await self._emitter.send(event)

    def add(self, messages: Sequence[Message]) -> None:
        if messages:
            self._session.add(messages)

    def compact(self, view: Sequence[Message]) -> None:
        self._session.compact(view)

    @contextmanager
    def _started(self, prompt: str) -> Iterator[Model]:
        """Open the run's trace, where tracing is on; yields the model that writes to it."""
        model, tracing = self._setup.model, self._setup.tracing
        token = enclosing.set(self._setup)
        try:
            if tracing is not None:
                schema = self._output.schema if self._output else None
                self._trace = tracing.begin(prompt, self._session.id, model, self._tools, schema)
                model = TracedModel(model, self._trace)
            yield model
        finally:
            self._trace.close()
            enclosing.reset(token)

    async def _prepare(self, model: Model, message: Message | None) -> tuple[Loop, str]:
        """The loop, and the instructions for it. Raises ConfigError and ModelError."""
        setup, session = self._setup, self._session
        self._state = state = RunState(
            setup.deps,
            (message or self._before[0]).text,
            session.messages,
            session.sources,
            setup.approve,
            setup.policy,
            setup.hooks,
            setup.limits.parallel_calls,
            self._info,
            setup.folder,
            self._meter,
            setup.on_tool_error,
        )
        _check_deps(self._tools, setup.deps)
        instructions = await self._written_instructions(state, message)
        options = setup.options
        if self._output and self._output.schema:
            options, addition = await self._constrained(model, options)
            instructions = f"{instructions}\n\n{addition}".strip()
        runner = ToolRunner(self._tools, state)
        earlier = [*session.messages, *([session.pending.message] if session.pending else [])]
        ids = [call.id for each in earlier for call in each.tool_calls]
        loop = Loop(model, runner, self, setup.limits, options, setup.hooks, self._info, ids)
        if self._searches:
            known = sum(bool(each.marker) for each in session.messages)
            loop.result_markers = (f"t{number}" for number in count(known + 1))
        return loop, instructions

    async def _written_instructions(self, state: RunState, message: Message | None) -> str:
        instructions = self._setup.instructions
        if isinstance(instructions, str):
            return instructions
        prompt = [message] if message else []
        written = instructions(replace(state, history=[*state.history, *prompt]))
        return await written if inspect.isawaitable(written) else written

    async def _constrained(self, model: Model, options: Options) -> tuple[Options, str]:
        """The options and the instructions for structured output: a schema where the server can
        constrain its replies, instructions where it cannot, or only in turns without tools."""
        assert self._output is not None
        able = await model.capabilities()
        if not able.instructions:
            raise ModelError(
                f"Model {model.name!r} only quotes documents and gives no structured output. "
                "Choose another model, such as ollama:qwen3:8b.",
                model.name,
                "bad_request",
            )
        if able.json_schema:
            options = replace(options, schema=self._output.schema)
        in_prompt = self._tools or not able.json_schema
        return options, self._output.instructions if in_prompt else ""

    async def _opening_searches(
        self, prompt: str, rewriter: QueryRewriter, deadline: float | None
    ) -> list[ToolCall]:
        """The searches to run before the model is asked."""
        session, retrieval = self._session, self._setup.retrieval
        knowledge = self._setup.documents
        if retrieval.mode != "always" or not self._searches or Question(prompt).is_small_talk:
            return []
        if knowledge is None or not await asyncio.to_thread(lambda: knowledge.chunk_count):
            return []
        queries, expansion = [prompt], retrieval.expand
        if session.messages or expansion != "none":
            earlier = [m.text for m in session.messages if m.role == "user"]
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    query = await rewriter.standalone(prompt, earlier)
                    queries = await rewriter.expand(query, expansion)
        number = len(session.messages)
        return [
            ToolCall(f"search-{number}-{at}", SEARCH, {"query": text[:2000]})
            for at, text in enumerate(queries)
        ]

    @property
    def _searches(self) -> bool:
        return any(tool.name == SEARCH for tool in self._tools)

    async def _messages(self, instructions: str, tools: Sequence[Tool]) -> list[Message]:
        """The messages that a run starts with: the system message, including the summary of
        earlier turns, and the session's view."""
        beginning, documents = self._setup.preamble, self._setup.documents
        if beginning is None:
            languages = await documents.languages() if documents and self._searches else []
            is_first = self._setup.retrieval.mode == "always"
            beginning = preamble([tool.name for tool in tools], is_first, languages)
        system = f"{beginning.strip()}\n\n{instructions.strip()}".strip()
        view = self._session.view
        if view and view[0].role == "system":
            _, heading, summary = view[0].text.partition(SUMMARY_HEADING)
            system, view = f"{system}\n\n{heading}{summary}".strip(), view[1:]
        return [Message("system", system), *view] if system else list(view)

    async def _refusal(self, prompt: str) -> str:
        """The answer of the input guard, "" where it lets the prompt pass."""
        guard = self._setup.hooks.guard_input
        return (await call_with(guard, prompt, extra=self._info) or "") if guard else ""

    def _refuse(self, refusal: str) -> Answer[Any]:
        answer = Answer(refusal, stop_reason="refused", model=self._setup.model.name)
        if self._output:
            raise output_error(answer, 0, self._output.name, "the prompt was refused")
        self._emitter.emit(TextDelta(refusal))
        self._emitter.emit(Finished(answer))
        return answer

    async def _finish(self, loop: Loop, running: Awaitable[Answer]) -> Answer[Any]:
        """Check and emit the loop's answer. What was written is kept however the run ends."""
        try:
            drafted = await running
            answer = await self._finalize(drafted)
            if self._output or self._setup.output_check:
                drafted, answer = await self._accepted(loop, drafted, answer)
        except BaseException:
            self.add(self._missing(loop.messages()))
            raise
        await in_thread(self.add, answer.messages[self._count_kept :])
        if loop.pending:
            pending = replace(loop.pending, run=self._paused())
            self._session.pause(pending)
            answer = replace(answer, waiting=pending.waiting)
        if self._finalizer.withholds_text or answer.text != drafted.text:
            await self._emitter.send(TextDelta(answer.text))
        finished = Finished(answer)
        self._trace.event(finished)
        self._emitter.emit(finished)
        return answer

    def _paused(self) -> PausedRun:
        """What the next part of the run continues."""
        output = self._output.name if self._output else ""
        rejected = self._rejected
        return replace(self._start, spent=self._meter.spent, output=output, rejected=rejected)

    async def _finalize(self, drafted: Answer) -> Answer:
        """The draft with the prompt among its messages, checked."""
        kept = self._session.messages[self._start.begun :]
        answer = replace(drafted, messages=(*kept, *self._missing(drafted.messages)))
        return await self._finalizer.finalize(answer, self._before[0].text)

    def _missing(self, transcript: Sequence[Message]) -> Sequence[Message]:
        """Those of the loop's messages that the session does not have."""
        return transcript[self._count_kept - len(self._before) :]

    @property
    def _count_kept(self) -> int:
        """How many messages of the run the session has."""
        return len(self._session.messages) - self._start.begun

    async def _accepted(
        self, loop: Loop, drafted: Answer, answer: Answer
    ) -> tuple[Answer, Answer[Any]]:
        """The first draft whose final answer fits the output and passes the check, and that
        answer. Raises ModelError with the model's last reply."""
        while answer.stop_reason != "paused":
            try:
                return drafted, await self._checked(answer)
            except InvalidOutput as error:
                faults, prompt, with_tools = str(error), repair_prompt(str(error)), False
            except Retry as error:
                faults, prompt, with_tools = str(error), rejection_prompt(str(error)), True
            refused = answer.stop_reason == "refused"
            if refused or self._rejected >= REPAIRS or loop.limit:
                wanted = self._output.name if self._output else "accepted answer"
                raise output_error(answer, self._rejected + 1, wanted, faults, loop.limit)
            self._rejected += 1
            self.add(answer.messages[self._count_kept :])
            self.emit(Retried(f"The answer is not valid: {faults}", 0.0))
            drafted = await loop.ask_again(Message("user", prompt), with_tools=with_tools)
            answer = await self._finalize(drafted)
        return drafted, answer

    async def _checked(self, answer: Answer) -> Answer[Any]:
        """The answer with its output. Raises InvalidOutput, and Retry where the check rejects it;
        a refusal without output is not checked."""
        output, check = self._output, self._setup.output_check
        is_cut = answer.stop_reason == "length"
        value: object = answer.text
        if output:
            value = await in_thread(output.parse, answer.text, is_cut=is_cut)
        if check is None or (output is None and answer.stop_reason == "refused"):
            faults = None
        else:
            faults = await call_with(check, value, extra=self._state)
        if faults:
            raise Retry(faults)
        return replace(answer, output=value) if output else answer


def _check_deps(tools: Sequence[Tool], deps: object) -> None:
    """Raise ConfigError for a tool that needs dependencies in a run that has none."""
    if deps is None and (name := next((t.name for t in tools if needs_deps(t.function)), "")):
        raise ConfigError(
            f"The tool {name!r} uses the deps of its context, but this run has none. Pass them: "
            "agent.run(prompt, deps=…)."
        )
