"""Stream an agent's text, tool calls and result from FastAPI, as server-sent events."""

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    AgentRunResultEvent,
    FunctionToolCallEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
)
from pydantic_ai.models.test import TestModel

app = FastAPI()
agent = Agent(TestModel(custom_output_text="It is sunny in Ulm."))


@agent.tool_plain
def weather(city: str) -> str:
    """Get the weather of a city."""
    return f"{city}: sunny"


class Question(BaseModel):
    text: str


@app.post("/ask")
async def ask(question: Question) -> StreamingResponse:
    return StreamingResponse(stream(question.text), media_type="text/event-stream")


async def stream(question: str) -> AsyncIterator[str]:
    async with agent.run_stream_events(question) as events:
        async for event in events:
            match event:
                case PartStartEvent(part=TextPart(content=text)) if text:
                    yield format_event("text", text)
                case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
                    yield format_event("text", text)
                case FunctionToolCallEvent(part=call):
                    yield format_event("tool", call.tool_name)
                case AgentRunResultEvent(result=result):
                    yield format_event("done", {"requests": result.usage.requests})


def format_event(kind: str, data: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
