"""Answers that another process writes, such as another worker or `agentkit chat`: shown as they are
stored, since their events are known there alone."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from agentkit.agent.session_store import SessionStore
from agentkit.server.live_turn import LiveTurn
from agentkit.server.session_stores import read_session
from agentkit.server.turns import INTERRUPTED, Turn, turns_of

if TYPE_CHECKING:
    from agentkit.server.runs import AnswerRun

POLL_SECONDS = 0.5


async def is_written_elsewhere(store: SessionStore, session_id: str, turn: Turn) -> bool:
    """Whether a turn without an end is one that another process goes on with."""
    return turn.error == INTERRUPTED and await asyncio.to_thread(_is_reserved, store, session_id)


async def follow(run: AnswerRun, store: SessionStore) -> None:
    """Log the turn of a run as it grows in its session, until its process lets the session go."""
    index, shown = run.live.index, ""
    is_written = True
    while is_written:
        is_written = await asyncio.to_thread(_is_reserved, store, run.session_id)
        session = await asyncio.to_thread(read_session, store, run.session_id)
        turn = turns_of(session)[index]
        is_written = is_written and turn.error == INTERRUPTED
        if not is_written:
            run.state = turn.state
        elif turn.text != shown:
            turn = turn.model_copy(update={"error": None})
        if not is_written or turn.text != shown:
            shown = turn.text
            run.live = LiveTurn(turn, lambda name: None)
            run.log.append("turn", run.turn().record())
        if is_written:
            await asyncio.sleep(POLL_SECONDS)
    run.end()


def _is_reserved(store: SessionStore, session_id: str) -> bool:
    """Whether another holder has a session."""
    holder = secrets.token_hex(8)
    if not store.storage.acquire(session_id, holder, 1.0):
        return True
    store.storage.release(session_id, holder)
    return False
