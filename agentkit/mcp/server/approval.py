"""A person's word on a call, asked for through the client (elicitation) in both protocol eras.

The question shows the whole arguments, and hidden characters as their codes; a call whose
arguments are too long to be shown is not run. In the stateless era the client repeats the call
with the answer, which the SDK's seal ties to these very arguments.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    CallToolRequestParams,
    ClientCapabilities,
    ElicitationCapability,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    FormElicitationCapability,
    InputRequiredResult,
    MissingRequiredClientCapabilityErrorData,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentkit.errors import ToolError

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

MOST_SHOWN = 4000
"""Most characters of arguments that a person is asked to judge."""

_ASKED = "approval"
_FORM = {
    "type": "object",
    "properties": {
        "allow": {"type": "boolean", "title": "Run it", "description": "Yes runs it this once."}
    },
    "required": ["allow"],
}


def can_ask(session: ServerSession) -> bool:
    """Whether this client can put a question to a person."""
    able = session.client_capabilities
    asks = able.elicitation if able else None
    in_forms = asks is not None and (asks.form is not None or asks.url is None)
    modern = session.protocol_version in MODERN_PROTOCOL_VERSIONS
    return in_forms and (modern or session.can_send_request)


async def approved(
    ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
) -> InputRequiredResult | None:
    """None once a person has said yes to this call; a question for the client to bring back
    answered. Raises ToolError where the answer is no, or nobody can be asked."""
    modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    if not can_ask(ctx.session):
        raise _nobody(params.name, modern)
    question = _question(params.name, params.arguments or {})
    if modern:
        if params.request_state != _ASKED:
            asks = ElicitRequest(params=question)
            return InputRequiredResult(input_requests={_ASKED: asks}, request_state=_ASKED)
        answer = (params.input_responses or {}).get(_ASKED)
    else:
        answer = await ctx.session.elicit_form(
            question.message, _FORM, related_request_id=ctx.request_id
        )
    if not _is_yes(answer):
        raise ToolError(f"The user did not allow this call of {params.name}.", params.name)
    return None


def _nobody(name: str, modern: bool) -> Exception:
    words = f"{name} runs only with the user's approval, for whom this client cannot ask."
    if not modern:
        return ToolError(words, name)
    needs = ClientCapabilities(elicitation=ElicitationCapability(form=FormElicitationCapability()))
    data = MissingRequiredClientCapabilityErrorData(required_capabilities=needs)
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        words,
        data.model_dump(by_alias=True, mode="json", exclude_none=True),
    )


def _is_yes(answer: object) -> bool:
    return (
        isinstance(answer, ElicitResult)
        and answer.action == "accept"
        and (answer.content or {}).get("allow") is True
    )


def _question(name: str, arguments: Mapping[str, Any]) -> ElicitRequestFormParams:
    shown = _visible(json.dumps(arguments, ensure_ascii=False))
    if len(shown) > MOST_SHOWN:
        raise ToolError(
            f"The arguments of {name} are too long to be shown to the user, who must approve them: "
            f"{len(shown)} characters, where {MOST_SHOWN} can be. Call it with less.",
            name,
        )
    return ElicitRequestFormParams(
        message=f"Run {_visible(name)} with {shown}?", requested_schema=_FORM
    )


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)
