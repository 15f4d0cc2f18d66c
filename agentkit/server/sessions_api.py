"""Sessions of the page: list, search, read, rename, delete, fork, export, and ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field
from starlette.responses import Response

from agentkit.agent.session import Session
from agentkit.agent.session_export import as_json, as_markdown
from agentkit.agent.session_store import SessionInfo, SessionStore
from agentkit.backends.base import images
from agentkit.messages import Message
from agentkit.server.asking import Attachment, Choices, ask_again, read_attachments
from agentkit.server.auth import Asker
from agentkit.server.errors import ApiError
from agentkit.server.foreign_runs import is_written_elsewhere
from agentkit.server.guard import SANDBOX
from agentkit.server.service import Server
from agentkit.server.session_stores import find_session, read_session
from agentkit.server.turns import Turn, first_message, run_id_of, turns_of
from agentkit.tools.repair import join_surrogates

router = APIRouter(prefix="/api/sessions", tags=["sessions"])

MOST_LISTED = 200
MOST_TITLE = 200
MOST_QUESTION = 200_000
"""Characters of a question."""
MOST_ATTACHED = 10
"""Files of a question."""


async def own_store(identity: Asker, server: Server) -> SessionStore:
    """The store of whoever asks, as a FastAPI dependency."""
    return await server.stores.of(identity)


Store = Annotated[SessionStore, Depends(own_store)]


class SessionSummary(BaseModel):
    """A session in the list. `excerpt` is the message that a search found."""

    id: str
    title: str
    created: str
    updated: str
    turns: int
    running: bool = False
    excerpt: str = ""


class SessionList(BaseModel):
    sessions: list[SessionSummary]


class NewSession(BaseModel):
    title: str = Field(default="", max_length=MOST_TITLE)


class SessionId(BaseModel):
    id: str


class SessionTurns(BaseModel):
    """A session with its turns, the running one included."""

    id: str
    title: str
    turns: list[Turn]


class Title(BaseModel):
    title: str = Field(min_length=1, max_length=MOST_TITLE)


class ForkPoint(BaseModel):
    """The last turn of the copy; all turns by default."""

    turn: int | None = Field(default=None, ge=0)


class Question(BaseModel):
    """A question, with the id of a model, the sources to use, and files that the answer may cite or
    images that the model sees. `replace` is the turn in whose place it is asked, by default with
    its files: a copy of the session keeps that turn and those after it."""

    question: str = Field(min_length=1, max_length=MOST_QUESTION)
    model: str = Field(default="", max_length=500)
    sources: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(
        default=[], max_length=100
    )
    replace: int | None = Field(default=None, ge=0)
    attachments: list[Attachment] | None = Field(default=None, max_length=MOST_ATTACHED)


class StartedRun(BaseModel):
    """The run that answers; `fork` is the id of the copy that keeps replaced turns."""

    run: str
    fork: str | None = None


@router.get("")
async def list_sessions(
    identity: Asker,
    server: Server,
    store: Store,
    q: Annotated[str, Query(max_length=500)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    offset: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> SessionList:
    """List the sessions, the last used first, or those whose title or messages contain a text."""
    runs, elsewhere = server.runs.running_in(identity.name), server.peers.running_in(identity.name)
    found = await asyncio.to_thread(_matching, store, q.strip(), limit + offset)
    listed = []
    for info, excerpt in found[offset:]:
        # A question is stored with the first step of its answer.
        turn = run.turn() if (run := runs.get(info.id)) else None
        summary = SessionSummary(
            id=info.id,
            title=info.name or (" ".join(turn.question.split())[:MOST_TITLE] if turn else ""),
            created=info.created,
            updated=info.updated,
            turns=max(info.turns, turn.index + 1 if turn else 0),
            running=turn is not None or info.id in elsewhere,
            excerpt=excerpt[:300],
        )
        listed.append(summary)
    return SessionList(sessions=listed)


@router.post("", status_code=201)
async def create_session(
    identity: Asker, server: Server, store: Store, body: NewSession | None = None
) -> SessionId:
    """Create a session."""
    session = await asyncio.to_thread(store.create, body.title if body else "")
    session.close()
    await server.stores.settle(identity.name, session.id)  # Another worker may read it next.
    return SessionId(id=session.id)


@router.get("/{session_id}")
async def get_session(
    session_id: str, identity: Asker, server: Server, store: Store
) -> SessionTurns:
    """Read a session with its turns."""
    info, session = await asyncio.to_thread(_read, store, session_id)
    turns = turns_of(session)
    if run := server.runs.running_in(identity.name).get(session_id):
        turns = [*turns[: run.live.index], run.turn()]
    elif turns and await is_written_elsewhere(store, session_id, turns[-1]):
        run = await server.runs.find(identity.name, store, run_id_of(session_id, len(turns) - 1))
        turns[-1] = run.turn()
    return SessionTurns(id=session_id, title=info.name, turns=turns)


@router.patch("/{session_id}")
async def rename_session(session_id: str, body: Title, server: Server, store: Store) -> SessionId:
    """Rename a session."""
    await asyncio.to_thread(find_session, store, session_id)
    await asyncio.to_thread(store.rename, session_id, body.title)
    server.changes.publish("sessions")
    return SessionId(id=session_id)


@router.delete("/{session_id}", status_code=204)
async def delete_session(session_id: str, identity: Asker, server: Server, store: Store) -> None:
    """Delete a session; an answer that is being written in it is stopped."""
    await asyncio.to_thread(find_session, store, session_id)
    await server.runs.forget(identity.name, session_id)
    await asyncio.to_thread(store.delete, session_id)
    server.changes.publish("sessions")


@router.post("/{session_id}/fork", status_code=201)
async def fork_session(
    session_id: str, body: ForkPoint, identity: Asker, server: Server, store: Store
) -> SessionId:
    """Copy a session up to a turn."""
    session = await asyncio.to_thread(read_session, store, session_id)
    count = None if body.turn is None else first_message(session, body.turn + 1)
    copy = await asyncio.to_thread(store.fork, session_id, "", count)
    copy.close()
    await server.stores.settle(identity.name, copy.id)
    server.changes.publish("sessions")
    return SessionId(id=copy.id)


@router.get("/{session_id}/export", response_class=Response)
async def export_session(
    session_id: str,
    store: Store,
    format: Literal["md", "json"] = "md",  # noqa: A002
) -> Response:
    """Export a session as Markdown, or as JSON that `Session.from_json` reads."""
    info, session = await asyncio.to_thread(_read, store, session_id)
    write = as_json if format == "json" else as_markdown
    kind = "application/json" if format == "json" else "text/markdown; charset=utf-8"
    headers = {"content-disposition": f'attachment; filename="session.{format}"'}
    return Response(write(session, info.name), media_type=kind, headers=headers)


@router.post("/{session_id}/turns", status_code=202)
async def ask(
    session_id: str, body: Question, identity: Asker, server: Server, store: Store
) -> StartedRun:
    """Ask a question in a session. The answer goes on without a reader; its events are those of
    the run."""
    question = join_surrogates(body.question)
    if not question.strip():
        raise ApiError(422, "question must not be empty.", "invalid_value", param="question")
    await asyncio.to_thread(find_session, store, session_id)
    attachments = await read_attachments(body.attachments or (), server.parsing)

    def prompt(session: Session) -> Message:
        if body.replace is not None and body.attachments is None:
            at = first_message(session, body.replace)
            if at is not None:
                return ask_again(question, session.messages[at])
        return attachments.ask(question, session.sources)

    run, fork = await server.runs.start(
        identity.name,
        store,
        session_id,
        prompt,
        Choices(body.model, tuple(body.sources)),
        replaced=body.replace,
    )
    server.changes.publish("sessions")
    return StartedRun(run=run.id, fork=fork)


@router.get("/{session_id}/turns/{turn}/images/{number}", response_class=Response)
async def question_image(
    session_id: str, turn: int, number: int, identity: Asker, server: Server, store: Store
) -> Response:
    """An image that came with a question, by its number from 0 on."""
    run = server.runs.running_in(identity.name).get(session_id)
    message = run.prompt if run and run.live.index == turn else None
    if message is None:
        session = await asyncio.to_thread(read_session, store, session_id)
        at = first_message(session, turn)
        message = None if at is None else session.messages[at]
    found = images(message)[number : number + 1] if message and number >= 0 else []
    if not found:
        raise ApiError(404, "There is no such image. Load the session again.", "image_not_found")
    headers = {"content-security-policy": SANDBOX}
    return Response(found[0].data, media_type=found[0].media_type, headers=headers)


def _read(store: SessionStore, session_id: str) -> tuple[SessionInfo, Session]:
    info = find_session(store, session_id)
    return info, store.read(session_id)


def _matching(store: SessionStore, query: str, limit: int) -> Sequence[tuple[SessionInfo, str]]:
    """The sessions to list, each with the message that the query found."""
    if not query:
        return [(info, "") for info in store.recent(limit, with_empty=True)]
    wanted = query.casefold()
    named = {info.id: (info, "") for info in store.recent() if wanted in info.name.casefold()}
    found = {info.id: (info, text) for info, text in store.search(query, limit)}
    return list((found | {k: v for k, v in named.items() if k not in found}).values())[:limit]
