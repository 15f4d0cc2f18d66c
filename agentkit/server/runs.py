"""Running answers: each goes on without a reader, keeps its numbered events, and can be stopped.

A run that needs approval pauses: its session holds all that it needs to go on, so that a decision
may come after a restart of the server. Whatever ends a run, its session has the turns that were
complete, the text that was being written, and a note with the turn's state.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing
from dataclasses import asdict, dataclass, field
from typing import Any

from agentkit.agent.approval import Verdict
from agentkit.agent.session import Session
from agentkit.agent.session_store import SessionStore, StoredSession
from agentkit.answers import Answer
from agentkit.errors import AlreadyDecided, SessionBusy
from agentkit.events import Event, Finished
from agentkit.messages import Message, Record, ToolCall
from agentkit.server.asking import Choices
from agentkit.server.errors import ApiError, to_api_error
from agentkit.server.event_log import EventLog
from agentkit.server.foreign_runs import follow, is_written_elsewhere
from agentkit.server.live_turn import MOST_TEXT, EndlessAnswer, LiveTurn
from agentkit.server.service import Service
from agentkit.server.session_stores import read_session
from agentkit.server.turns import (
    BEGUN,
    Turn,
    TurnState,
    answer_note,
    call_note,
    first_message,
    new_turn,
    parse_run_id,
    run_id_of,
    stopped_messages,
    turns_of,
)
from agentkit.tools.tool import Tool

KEPT_SECONDS = 120.0
"""How long the events of a run are kept after its end."""

PAUSED_SECONDS = 3600.0
"""How long readers of a paused run stay connected; it can be decided on afterwards too."""

SHUTDOWN_SECONDS = 5.0
"""Time that running answers have to end when the server is stopped."""


@dataclass
class AnswerRun:
    """One answer that is being written. `prompt` is its question, where this process asked it;
    `verdicts` are decisions that the run has not taken yet; `is_active` says whether a task drives
    it, `is_foreign` whether another process does."""

    id: str
    owner: str
    session_id: str
    live: LiveTurn
    choices: Choices
    state: TurnState = "running"
    prompt: Message | None = None
    seconds: float = 0.0
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    task: asyncio.Task[None] | None = None
    is_active: bool = True
    is_ending: bool = False
    is_foreign: bool = False
    is_stopped: bool = False
    ended: float = 0.0

    def __post_init__(self) -> None:
        self.log = EventLog(lambda: self.turn().record())

    def turn(self) -> Turn:
        """The turn so far."""
        run = self.id if self.state in ("running", "paused") else None
        return self.live.turn().model_copy(update={"state": self.state, "run": run})

    def end(self) -> None:
        """Tell the readers that nothing follows."""
        if not self.log.is_closed:
            self.log.append("done", {})
            self.log.close()


class Runs:
    """The runs of a server, by the owner of their sessions and their ids."""

    def __init__(self, server: Service) -> None:
        self._server = server
        self._runs: dict[tuple[str, str], AnswerRun] = {}
        self._is_closed = False

    async def start(
        self,
        owner: str,
        store: SessionStore,
        session_id: str,
        ask: Callable[[Session], Message],
        choices: Choices = Choices(),
        *,
        replaced: int | None = None,
    ) -> tuple[AnswerRun, str | None]:
        """Begin to answer a question in a stored session, in place of the turn `replaced` and those
        after it, which stay in a copy of the session. `ask` makes the question in the session as it
        was. Gives the run and the id of the copy. Raises SessionBusy and ApiError."""
        if self._is_closed:
            raise ApiError(503, "The server is stopping. Ask again later.", "stopping")
        self._check_free(owner, session_id)
        agent, overrides = await choices.resolve(self._server)
        async with AsyncExitStack() as opened:
            await opened.enter_async_context(self._server.admission.slot(owner))
            session = await asyncio.to_thread(store.open, session_id)
            opened.callback(session.close)
            self._check_free(owner, session_id)
            prompt = ask(session)
            copy = await asyncio.to_thread(_make_room, store, session, replaced)
            if copy:
                await self._server.stores.settle(owner, copy)
            session.note(BEGUN)
            index = sum(each.role == "user" for each in session.messages)
            events = agent.stream(prompt, session, **overrides)
            turn = new_turn(index, prompt)
            run = self._add(AnswerRun(*self._place(owner, session_id, turn), choices))
            run.prompt = prompt
            driving = self._drive(run, session, events, opened.pop_all())
        run.task = asyncio.create_task(driving)
        await asyncio.sleep(0)  # A task that is cancelled before its first step would not clean up.
        return run, copy

    async def find(self, owner: str, store: SessionStore, run_id: str) -> AnswerRun:
        """A run that goes on, one that ended lately, or one that is paused in its session. Raises
        ApiError for an unknown one."""
        if known := self._runs.get((owner, run_id)):
            return known
        session_id, index = parse_run_id(run_id)
        session = await asyncio.to_thread(read_session, store, session_id)
        turns = turns_of(session)
        if index >= len(turns):
            raise ApiError(404, "There is no such run. Load the session again.", "run_not_found")
        if known := self._runs.get((owner, run_id)):
            return known
        turn = turns[index]
        if turn is turns[-1] and await is_written_elsewhere(store, session_id, turn):
            shown = turn.model_copy(update={"state": "running", "error": None})
            run = self._add(AnswerRun(*self._place(owner, session_id, shown), Choices()))
            run.is_active, run.is_foreign = False, True
            run.task = asyncio.create_task(follow(run, store))
            run.task.add_done_callback(lambda _: self._expire(run))
            return run
        kept = session.notes[-1].record.get("turn", {}) if session.notes else {}
        run = AnswerRun(*self._place(owner, session_id, turn), _choices(kept), turn.state)
        run.is_active, run.seconds = False, kept.get("seconds", 0.0)
        run.log.append("turn", run.turn().record())
        if run.state == "paused":
            self._expire(self._add(run))
        else:
            run.end()
        return run

    def running_in(self, owner: str) -> dict[str, AnswerRun]:
        """The runs that go on or are paused, by session."""
        return {
            run.session_id: run
            for (name, _), run in self._runs.items()
            if name == owner and run.state in ("running", "paused")
        }

    def running_pairs(self) -> list[tuple[str, str]]:
        """Owners and sessions of all runs that go on or are paused here."""
        runs = self._runs.values()
        return [
            (run.owner, run.session_id)
            for run in runs
            if run.state in ("running", "paused") and not run.is_foreign
        ]

    async def stop(self, run: AnswerRun, store: SessionStore) -> None:
        """End a run; what was written is kept. The calls of a paused one do not run. Raises
        SessionBusy for a run of another process."""
        if run.is_foreign and run.state == "running":
            raise SessionBusy("Another process writes this answer. Stop it there.")
        await self._cancel(run)
        if run.state != "paused":
            return
        with await asyncio.to_thread(store.open, run.session_id) as session:
            if session.pending:
                session.add(list(stopped_messages(session.pending)))
            run.state = "stopped"
            await self._keep(run, session, _note(run, None, None))
        run.end()
        self._expire(run)

    async def forget(self, owner: str, session_id: str) -> None:
        """End the run of a session that is to be deleted."""
        if run := self.running_in(owner).get(session_id):
            await self._cancel(run)
            run.state = "stopped"
            run.end()
        gone = [
            key for key, r in self._runs.items() if (key[0], r.session_id) == (owner, session_id)
        ]
        for key in gone:
            del self._runs[key]

    async def decide(
        self, run: AnswerRun, store: SessionStore, call_id: str, verdict: Verdict
    ) -> None:
        """Decide on a call that waits, with the arguments that the page was shown; the run goes on
        when it has paused. Raises AlreadyDecided and ApiError."""
        call = run.live.calls.get(call_id)
        if call is None or call.state != "waiting" or call_id in run.verdicts:
            raise AlreadyDecided(f"Call {call_id!r} does not wait for a decision.")
        if self._is_closed:
            raise ApiError(503, "The server is stopping. Decide again later.", "stopping")
        shown = ToolCall(call_id, call.name, call.arguments)
        run.verdicts[call_id] = verdict.for_call(shown)
        run.log.append(*run.live.decided(call_id, verdict))
        if not run.is_active:
            run.is_active = True
            run.task = asyncio.create_task(self._resume(run, store, run.task))
            await asyncio.sleep(0)

    def fault(self, run: AnswerRun, call_id: str, arguments: Mapping[str, Any]) -> str:
        """What is wrong with arguments for a call that waits, "" where its tool takes them."""
        call = run.live.calls.get(call_id)
        tool = self._tool(call.name) if call and "/" not in call_id else None
        if call and tool is None:
            return "its tool is not known here, so that they cannot be checked"
        return tool.fault(arguments) if tool else ""

    async def close(self, wait: float = SHUTDOWN_SECONDS) -> None:
        """Let running answers end for a while, then stop the rest."""
        self._is_closed = True
        for run in self._runs.values():
            if run.is_foreign and run.task:
                run.task.cancel()
        tasks = {run.task for run in self._runs.values() if run.task and not run.task.done()}
        if tasks:
            await asyncio.wait(tasks, timeout=wait)
            for run in self._runs.values():
                if run.task and not run.is_ending:
                    run.task.cancel()
            await asyncio.wait(tasks)
        for run in self._runs.values():
            run.end()

    async def _cancel(self, run: AnswerRun) -> None:
        """End the task of a run; one that stores its end goes on with that."""
        run.is_stopped = True
        if run.task and not run.task.done():
            if not run.is_ending:
                run.task.cancel()
            await asyncio.wait({run.task})

    async def _resume(
        self, run: AnswerRun, store: SessionStore, before: asyncio.Task[None] | None
    ) -> None:
        """Go on with a paused run, in its session opened again."""
        try:
            if before:
                await asyncio.wait({before})
            async with AsyncExitStack() as opened:
                await opened.enter_async_context(self._server.admission.slot(run.owner))
                session = await asyncio.to_thread(store.open, run.session_id)
                opened.callback(session.close)
                events = await self._resumed(run, session)
                driving = self._drive(run, session, events, opened.pop_all())
        except Exception as error:  # The calls wait again, and the page shows why.
            run.is_active = False
            run.verdicts.clear()
            run.log.append("error", to_api_error(error).body["error"])
            run.live.ask_again()
            run.log.append("turn", run.turn().record())
        else:
            await driving

    async def _resumed(self, run: AnswerRun, session: Session) -> AsyncGenerator[Event, None]:
        """The next part of a run, with the decisions so far."""
        agent, overrides = await run.choices.resolve(self._server)
        run.state = "running"
        verdicts, run.verdicts = run.verdicts, {}
        return agent.stream_resume(session, verdicts, **overrides)

    async def _drive(
        self,
        run: AnswerRun,
        session: StoredSession,
        events: AsyncGenerator[Event, None],
        opened: AsyncExitStack,
    ) -> None:
        """Run to the end, or until calls wait and none is decided. Never raises."""
        async with opened:
            while True:
                run.is_ending = False
                note = await self._part(run, events)
                run.is_ending = True  # What follows must not be cancelled.
                await self._keep(run, session, note)
                if run.state != "paused" or not run.verdicts:
                    break
                events = await self._resumed(run, session)
            run.is_active = False
        if run.state != "paused":
            run.end()
        self._server.changes.publish("sessions")
        self._expire(run)

    async def _part(self, run: AnswerRun, events: AsyncGenerator[Event, None]) -> Record:
        """Read the events of a run to their end, and give the turn's note."""
        began, answer, error = time.monotonic(), None, None
        try:
            async with aclosing(self._server.counted(events)) as counted:
                async for event in counted:
                    for kind, data in run.live.apply(event):
                        run.log.append(kind, data)
                    if isinstance(event, Finished):
                        answer = event.answer
            run.state = "paused" if answer and answer.stop_reason == "paused" else "done"
        except asyncio.CancelledError:
            run.state = "stopped"
            if not run.is_stopped:
                error = ApiError(503, "The server was stopped. Ask again.", "stopping")
        except EndlessAnswer:
            run.state = "failed"
            error = ApiError(502, f"The model wrote more than {MOST_TEXT} characters.", "too_long")
        except Exception as raised:
            run.state, error = "failed", to_api_error(raised)
        run.seconds += time.monotonic() - began
        fault = error.body["error"] if error else None
        if fault and run.state == "failed":
            run.log.append("error", fault)
        return _note(run, answer, fault)

    async def _keep(self, run: AnswerRun, session: Session, note: Record) -> None:
        """Store the note, with the question where the run ended before it was stored, and log the
        turn as it is stored now."""
        index = run.live.index
        try:
            if run.prompt and index == sum(each.role == "user" for each in session.messages):
                session.add([run.prompt])
            session.note({"turn": note})
            await self._server.stores.settle(run.owner, run.session_id)
            turn = turns_of(session)[index]
        except Exception as raised:
            error = to_api_error(raised).body["error"]
            run.state = "failed"
            run.log.append("error", error)
            turn = run.turn().model_copy(update={"error": error})
        run.state = turn.state
        run.live = LiveTurn(turn, self._schema_of)
        run.log.append("turn", run.turn().record())

    def _place(self, owner: str, session_id: str, turn: Turn) -> tuple[str, str, str, LiveTurn]:
        """The id, the owner, the session and the turn of a run."""
        live = LiveTurn(turn, self._schema_of)
        return run_id_of(session_id, turn.index), owner, session_id, live

    def _add(self, run: AnswerRun) -> AnswerRun:
        self._runs[run.owner, run.id] = run
        return run

    def _tool(self, name: str) -> Tool | None:
        return next((t for t in self._server.agent.offered_tools if t.name == name), None)

    def _schema_of(self, name: str) -> Mapping[str, Any] | None:
        return tool.parameters if (tool := self._tool(name)) else None

    def _check_free(self, owner: str, session_id: str) -> None:
        running = self.running_in(owner).get(session_id)
        if running and running.is_active:
            raise SessionBusy("An answer is being written in this session. Stop it first.")

    def _expire(self, run: AnswerRun) -> None:
        """Forget a run some time after it ended or paused."""
        run.ended = time.monotonic()
        wait = PAUSED_SECONDS if run.state == "paused" else KEPT_SECONDS

        def forget() -> None:
            is_same = self._runs.get((run.owner, run.id)) is run
            if is_same and not run.is_active and time.monotonic() - run.ended >= wait - 1:
                run.end()
                del self._runs[run.owner, run.id]

        asyncio.get_running_loop().call_later(wait, forget)


def _make_room(store: SessionStore, session: StoredSession, replaced: int | None) -> str | None:
    """Take the turns from `replaced` on out of a session; the id of the copy that keeps them.
    Raises ApiError where there is no such turn, or where a call waits."""
    if replaced is None:
        if session.pending:
            raise ApiError(
                409, "A tool call of this session waits. Allow or deny it first.", "call_waits"
            )
        return None
    count = first_message(session, replaced)
    if count is None:
        raise ApiError(404, "There is no such turn. Load the session again.", "turn_not_found")
    copy = store.fork(session.id, store.find(session.id).name)
    copy.close()
    session.rewind(count)
    return copy.id


def _choices(note: Mapping[str, Any]) -> Choices:
    chosen = note.get("choices", {})
    return Choices(chosen.get("model", ""), tuple(chosen.get("sources", ())))


def _note(run: AnswerRun, answer: Answer[Any] | None, error: Record | None) -> Record:
    """What the turn's note keeps of a run."""
    note: Record = answer_note(answer) if answer else {}
    calls = {
        call.id: call_note(call) for call in run.live.calls.values() if call.state != "waiting"
    }
    return note | {
        "state": run.state,
        "reasoning": run.live.reasoning,
        "seconds": round(run.seconds, 3),
        "error": error,
        "calls": calls,
        "choices": asdict(run.choices),
    }
