"""Running answers of the page: their events, stopping them, and decisions on their tool calls."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header
from pydantic import BaseModel, Field

from agentkit.agent.approval import Verdict
from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.server.auth import Asker, Identity, require
from agentkit.server.errors import ApiError
from agentkit.server.runs import AnswerRun
from agentkit.server.service import Server
from agentkit.server.sessions_api import Store
from agentkit.server.sse import EventResponse
from agentkit.server.turns import CallRecord, Turn
from agentkit.tools.repair import without_surrogates

router = APIRouter(prefix="/api/runs", tags=["runs"])

MOST_REASON = 2000


class Decision(BaseModel):
    """A decision on a call. `arguments` replace the model's: they are what is allowed then.
    `reason` tells the model why the call is denied."""

    decision: Literal["allow", "deny"]
    arguments: dict[str, Any] | None = None
    reason: str = Field(default="", max_length=MOST_REASON)


async def own_run(run_id: str, identity: Asker, server: Server, store: Store) -> AnswerRun:
    """A run in a session of whoever asks, as a FastAPI dependency. Raises ApiError."""
    return await server.runs.find(identity.name, store, run_id)


Run = Annotated[AnswerRun, Depends(own_run)]


@router.get("/{run_id}/events", response_class=EventResponse)
async def run_events(
    run: Run, last_event_id: Annotated[str, Header(max_length=20)] = ""
) -> EventResponse:
    """The events of an answer as server-sent events, from the first or after `Last-Event-ID`."""
    after = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else 0

    async def encoded() -> AsyncGenerator[bytes, None]:
        async for event in run.log.read(after):
            yield event.encoded()

    return EventResponse(encoded())


@router.post("/{run_id}/stop")
async def stop_run(run: Run, server: Server, store: Store) -> Turn:
    """Stop an answer. What was written is kept."""
    await server.runs.stop(run, store)
    return run.turn()


@router.post("/{run_id}/calls/{call_id:path}")
async def decide(
    call_id: str,
    body: Decision,
    run: Run,
    server: Server,
    store: Store,
    approver: Annotated[Identity, Depends(require("approve"))],
) -> CallRecord:
    """Allow or deny a tool call that waits. Changed arguments must fit the tool's schema."""
    try:
        arguments = None if body.arguments is None else without_surrogates(body.arguments)
    except ValueError as error:
        raise _unfit(str(error)) from None
    verdict = Verdict(True, arguments)
    if body.decision == "deny":
        reason = f"{NOT_ALLOWED} Reason: {body.reason.strip()}" if body.reason.strip() else ""
        verdict = Verdict(False, reason=reason)
    elif arguments is not None and (fault := server.runs.fault(run, call_id, arguments)):
        raise _unfit(fault)
    await server.runs.decide(run, store, call_id, verdict)
    return run.live.calls[call_id]


def _unfit(fault: str) -> ApiError:
    message = f"These arguments do not fit: {fault}."
    return ApiError(422, message, "invalid_arguments", param="arguments")
