"""Stream an agent's text, tool calls and answer from FastAPI, as server-sent events.

Run `uvicorn --app-dir examples fastapi_sse:app`, then
`curl -N 127.0.0.1:8000/ask --json '{"text": "How is the weather in Ulm?"}'`.
"""

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from agentkit import Agent, Finished, ScriptedModel, TextDelta, ToolCall, ToolStarted, tool


@tool
def weather(city: str) -> str:
    """Get the weather of a city."""
    return f"{city}: sunny"


call = ToolCall("1", "weather", {"city": "Ulm"})
model = ScriptedModel(lambda seen: "It is sunny." if seen[-1].role == "tool" else call)
agent = Agent(model, [weather])
app = FastAPI()


class Question(BaseModel):
    text: str


@app.post("/ask")
async def ask(question: Question) -> StreamingResponse:
    return StreamingResponse(stream(question.text), media_type="text/event-stream")


async def stream(question: str) -> AsyncIterator[str]:
    """Yield one server-sent event per agent event. A client that leaves cancels the run."""
    async for event in agent.stream(question):
        match event:
            case TextDelta(text):
                yield format_event("text", text)
            case ToolStarted(call):
                yield format_event("tool", call.name)
            case Finished(answer):
                yield format_event("done", {"requests": answer.usage.requests})
            case _:
                pass


def format_event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
