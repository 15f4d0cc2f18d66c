"""Approval over HTTP: one process pauses a run, and another resumes it with the decision."""

import os
import uuid
from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from pydantic_ai import (
    Agent,
    AgentRunResult,
    Conversation,
    ConversationTypeAdapter,
    DeferredToolRequests,
    ToolApproved,
    ToolCallPart,
    ToolDenied,
)
from pydantic_ai.models.test import TestModel

FOLDER = Path(os.environ.get("CONVERSATIONS", "conversations"))

app = FastAPI()
agent = Agent(TestModel(custom_output_text="Done."), output_type=[str, DeferredToolRequests])


@agent.tool_plain(requires_approval=True)
def refund(customer: str, euros: float = 95) -> str:
    """Refund money to a customer."""
    return f"{euros:.2f} EUR refunded"


class Reply(BaseModel):
    conversation: str
    text: str = ""
    waiting: list[ToolCallPart] = []


@app.post("/ask")
async def ask(question: str) -> Reply:
    conversation = Conversation(conversation_id=uuid.uuid4().hex)
    return save(await agent.run(question, conversation=conversation))


@app.post("/conversations/{conversation_id}/decisions")
async def decide(
    conversation_id: uuid.UUID, verdicts: dict[str, ToolApproved | ToolDenied]
) -> Reply:
    path = FOLDER / f"{conversation_id.hex}.json"
    if not path.exists():
        raise HTTPException(404, "There is no such conversation.")
    conversation = ConversationTypeAdapter.validate_json(path.read_bytes())
    requests = conversation.deferred_tool_requests
    if requests is None:
        raise HTTPException(409, "This was decided already.")
    results = requests.build_results(approvals=verdicts)
    return save(await agent.run(conversation=conversation, deferred_tool_results=results))


def save(result: AgentRunResult[str | DeferredToolRequests]) -> Reply:
    conversation = result.conversation
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{conversation.conversation_id}.json"
    path.write_bytes(ConversationTypeAdapter.dump_json(conversation))
    if isinstance(result.output, str):
        return Reply(conversation=conversation.conversation_id, text=result.output)
    return Reply(conversation=conversation.conversation_id, waiting=result.output.approvals)
