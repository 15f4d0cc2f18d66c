"""The models that the server offers: the agent, the agent over a collection, and raw models.

`NAME` is the folder's agent, `NAME/COLLECTION` the same agent over another collection. Where the
settings allow raw models, `PROVIDER:MODEL` answers without documents, tools and instructions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from fastapi import APIRouter, Depends

from agentkit.agent.agent import Agent
from agentkit.agent.setup import Overrides
from agentkit.backends.auto import local_models
from agentkit.server.auth import current
from agentkit.server.errors import ApiError
from agentkit.server.service import Server, Service

router = APIRouter(prefix="/v1", tags=["openai"], dependencies=[Depends(current)])

OWNER = "agentkit"
"""By this owner other agentkits recognise the server, and do not choose it as their own model."""

_CREATED = 1_764_374_400


@dataclass(frozen=True, slots=True)
class Chosen:
    """An agent that answers a request, and what its run replaces."""

    id: str
    agent: Agent
    overrides: Overrides


async def model_ids(server: Service) -> list[str]:
    """The ids of all models that a request may name, the default one first."""
    project, ids = server.project, [server.name]
    if project.settings.knowledge.retrieve != "never":
        collections = await asyncio.to_thread(project.collections.list)
        ids += [f"{server.name}/{info.name}" for info in collections if info.name != "knowledge"]
    if server.settings.raw_models:
        configured = project.settings.model
        named = [configured] if isinstance(configured, str) else configured
        raw = [name for name in named if name not in ("auto", "extractive")]
        ids += [*raw, *await local_models()]
    return list(dict.fromkeys(ids))


async def choose_model(server: Service, model_id: str) -> Chosen:
    """The agent that a model's id names, "" for the default one. Raises ApiError."""
    if model_id in ("", server.name):
        return Chosen(server.name, server.agent, {})
    prefix = f"{server.name}/"
    known = await model_ids(server)
    if model_id not in known:
        raise ApiError(
            404,
            f"There is no model {model_id!r} here. Available: {', '.join(known)}.",
            "model_not_found",
            param="model",
        )
    if model_id.startswith(prefix):
        knowledge = await server.collection(model_id.removeprefix(prefix))
        retrieval = replace(server.agent.retrieval, knowledge=knowledge)
        return Chosen(model_id, server.agent, {"retrieval": retrieval})
    return Chosen(model_id, server.raw_agent(model_id), {})


@router.get("/models")
async def list_models(server: Server) -> dict[str, Any]:
    """List the models."""
    return {"object": "list", "data": [_entry(name) for name in await model_ids(server)]}


@router.get("/models/{model_id:path}")
async def get_model(model_id: str, server: Server) -> dict[str, Any]:
    """Describe one model."""
    if not model_id:
        return await list_models(server)
    return _entry((await choose_model(server, model_id)).id)


def _entry(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _CREATED, "owned_by": OWNER}
