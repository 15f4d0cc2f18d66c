"""agentkit with each step written into a session's SQLite file and into a trace."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from agentkit import Agent
from agentkit._sync import run_sync
from agentkit.agent.session_store import SessionStore
from agentkit.tracing.trace import TraceFiles, Tracing
from peers.steps.agentkit_off import Counting, limits
from peers.steps.tool import PROMPT, add


def prepare(steps: int) -> Callable[[], str]:
    folder = tempfile.TemporaryDirectory()
    path = Path(folder.name)
    tracing = Tracing(TraceFiles(path / "traces"))
    agent = Agent(Counting(steps), [add], limits=limits(steps), tracing=tracing)

    async def run() -> str:
        store = SessionStore(path / "sessions.sqlite")
        session = store.create()
        answer = await agent.run(PROMPT, session)
        session.close()
        store.close()
        return answer.text

    def last_reply() -> str:
        with folder:
            return run_sync(run())

    return last_reply
