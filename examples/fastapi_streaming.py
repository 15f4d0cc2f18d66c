"""Stream an agent's answer from a FastAPI endpoint, as server-sent events.

Run `uvicorn --app-dir examples fastapi_streaming:app`, then
`curl -N 127.0.0.1:8000/ask --json '{"question": "Hello?"}'`.
"""

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from agentkit import Agent, Finished, ScriptedModel, TextDelta, ToolStarted


class Question(BaseModel):
    question: str


def create_app(agent: Agent) -> FastAPI:
    """Build the application around an agent. Each request is a conversation of its own."""
    app = FastAPI()

    @app.post("/ask")
    async def ask(question: Question) -> StreamingResponse:
        return StreamingResponse(
            _server_sent_events(agent, question.question), media_type="text/event-stream"
        )

    return app


async def _server_sent_events(agent: Agent, question: str) -> AsyncIterator[str]:
    """Yield one server-sent event per agent event. A client that leaves cancels the run."""
    async for event in agent.stream(question):
        match event:
            case TextDelta(text):
                yield _format_event("text", text)
            case ToolStarted(call):
                yield _format_event("tool", call.name)
            case Finished(answer):
                quotes = [citation.quote for citation in answer.citations]
                yield _format_event("done", {"stop": answer.stop_reason, "quotes": quotes})


def _format_event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


app = create_app(Agent(ScriptedModel(lambda messages: f"You asked: {messages[-1].text}")))
