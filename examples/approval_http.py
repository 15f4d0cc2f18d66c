"""Approve tool calls over HTTP: one process pauses a run, and another resumes it.

The session holds the open calls on disk, with the usage and limits of the run. Start one process
with `uvicorn --app-dir examples approval_http:app`, ask with `curl -X POST
'127.0.0.1:8000/ask?question=Refund%20Ada'`, and start another before you send the decision:
`curl 127.0.0.1:8000/sessions/ID/decisions --json '{"call-1": {"allowed": true}}'`.
"""

import os
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from agentkit import (
    Agent,
    AlreadyDecided,
    Answer,
    ConfigError,
    ScriptedModel,
    Session,
    SessionBusy,
    SessionStore,
    ToolCall,
    Verdict,
    pause,
    tool,
)


@tool(needs_approval=True)
def refund(customer: str, euros: float = 95) -> str:
    """Refund money to a customer."""
    return f"{euros:.2f} EUR refunded"


call = ToolCall("call-1", "refund", {"customer": "ada"})
model = ScriptedModel(lambda seen: "Done." if seen[-1].role == "tool" else call)
agent = Agent(model, [refund], approve=pause)
store = SessionStore(Path(os.environ.get("SESSIONS", "sessions.sqlite")))
app = FastAPI()


class Reply(BaseModel):
    session: str
    text: str
    waiting: tuple[ToolCall, ...]


@app.post("/ask")
async def ask(question: str) -> Reply:
    with store.create() as session:
        return reply(session, await agent.run(question, session))


@app.post("/sessions/{session_id}/decisions")
async def decide(session_id: str, verdicts: dict[str, Verdict]) -> Reply:
    try:
        async with store.session(session_id, create=False) as session:
            return reply(session, await agent.resume(session, verdicts))
    except (AlreadyDecided, SessionBusy) as error:
        raise HTTPException(409, str(error)) from error
    except ConfigError as error:
        raise HTTPException(404, str(error)) from error


def reply(session: Session, answer: Answer) -> Reply:
    return Reply(session=session.id, text=answer.text, waiting=answer.waiting)
