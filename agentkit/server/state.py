"""The state of the server that the page shows, and a stream of notices when something changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from agentkit import __version__
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.auto import AutoModel
from agentkit.errors import AgentkitError
from agentkit.evaluation.questions import load_questions
from agentkit.server.auth import Identity, current
from agentkit.server.openai_api.models import model_ids
from agentkit.server.service import Server, Service
from agentkit.server.sse import EventResponse

router = APIRouter(prefix="/api", tags=["page"])

QUESTIONS_FILE = "questions.jsonl"
_MOST_EXAMPLES = 5
_HINT = (
    "No language model is set up, so answers quote the documents. Add one: run "
    "`ollama pull qwen3:4b`, or start with `agentkit serve --model openai:NAME`."
)


@router.get("/state")
async def state(identity: Annotated[Identity, Depends(current)], server: Server) -> dict[str, Any]:
    """What the page shows before the first question: the agent, its model and its documents."""
    project, agent = server.project, server.agent
    model = agent.model
    if isinstance(model, AutoModel):
        model = await model.choose()
    is_extractive = isinstance(model, ExtractiveModel)
    knowledge = agent.knowledge
    documents = await knowledge.documents() if knowledge else []
    unread = await knowledge.unread() if knowledge else {}
    return {
        "name": server.name,
        "version": __version__,
        "identity": {"name": identity.name, "roles": sorted(identity.roles)},
        "model": model.name,
        "models": [{"id": name, "label": name} for name in await model_ids(server)],
        "extractive": is_extractive,
        "hint": _HINT if is_extractive else "",
        "changed": server.changed,
        "notices": project.notices,
        "examples": await asyncio.to_thread(_examples, server),
        "documents": {"count": len(documents), "unread": len(unread)},
        "limits": {
            "upload_bytes": server.settings.upload_bytes,
            "body_bytes": server.settings.body_bytes,
        },
    }


def _examples(server: Service) -> list[str]:
    """Questions to click on a first visit: those of the settings, else golden questions."""
    if server.settings.examples:
        return server.settings.examples[:_MOST_EXAMPLES]
    path = server.project.path / QUESTIONS_FILE
    try:
        questions = load_questions(path) if path.is_file() else []
    except AgentkitError:
        return []
    answerable = [q.question for q in questions if q.answerable]
    return answerable[:_MOST_EXAMPLES]


@router.get("/events", dependencies=[Depends(current)])
def events(server: Server) -> EventResponse:
    """Notices that documents, sessions or trusted files changed, as server-sent events."""

    async def source() -> AsyncGenerator[bytes, None]:
        async for kind, data in server.changes.events():
            yield f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()

    return EventResponse(source())
