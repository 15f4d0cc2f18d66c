"""Ask the client's user to approve a tool call, by elicitation in both versions of the protocol.

The question shows all arguments, hidden characters escaped; a call whose arguments are too long to
be shown is not run. In the stateless protocol the client repeats the call with the answer, which
the SDK's seal binds to these very arguments.
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
from agentkit.text.hidden import visible

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

NOTE = "Runs only after the user has approved the call, which the client asks for."
"""Added to the description of a tool that needs approval."""

MAX_SHOWN = 4000
"""Most characters of arguments that a user is asked to approve."""

_KEY = "approval"
_FORM = {
    "type": "object",
    "properties": {
        "allow": {"type": "boolean", "title": "Run it", "description": "Yes runs it this once."}
    },
    "required": ["allow"],
}


def can_ask(session: ServerSession) -> bool:
    """Whether this client supports elicitation by forms."""
    capabilities = session.client_capabilities
    elicitation = capabilities.elicitation if capabilities else None
    has_forms = elicitation is not None and (
        elicitation.form is not None or elicitation.url is None
    )
    is_modern = session.protocol_version in MODERN_PROTOCOL_VERSIONS
    return has_forms and (is_modern or session.can_send_request)


async def request_approval(
    ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams
) -> InputRequiredResult | None:
    """Return None where the user approved this call, or a question for the client to return with
    an answer. Raises ToolError where the user refused, or the client cannot ask."""
    is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
    if not can_ask(ctx.session):
        raise _cannot_ask(params.name, is_modern)
    question = _question(params.name, params.arguments or {})
    if is_modern:
        if params.request_state != _KEY:
            request = ElicitRequest(params=question)
            return InputRequiredResult(input_requests={_KEY: request}, request_state=_KEY)
        answer = (params.input_responses or {}).get(_KEY)
    else:
        answer = await ctx.session.elicit_form(
            question.message, _FORM, related_request_id=ctx.request_id
        )
    is_allowed = (
        isinstance(answer, ElicitResult)
        and answer.action == "accept"
        and (answer.content or {}).get("allow") is True
    )
    if not is_allowed:
        raise ToolError(f"The user did not allow this call of {params.name}.", params.name)
    return None


def _cannot_ask(name: str, is_modern: bool) -> Exception:
    message = f"{name} needs the user's approval, which this client cannot ask for."
    if not is_modern:
        return ToolError(message, name)
    needed = ClientCapabilities(elicitation=ElicitationCapability(form=FormElicitationCapability()))
    data = MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
    return MCPError(
        MISSING_REQUIRED_CLIENT_CAPABILITY,
        message,
        data.model_dump(by_alias=True, mode="json", exclude_none=True),
    )


def _question(name: str, arguments: Mapping[str, Any]) -> ElicitRequestFormParams:
    text = visible(json.dumps(arguments, ensure_ascii=False))
    if len(text) > MAX_SHOWN:
        raise ToolError(
            f"The arguments of {name} are too long to show to the user, who must approve them: "
            f"{len(text)} characters, at most {MAX_SHOWN}. Call it with less.",
            name,
        )
    return ElicitRequestFormParams(
        message=f"Run {visible(name)} with {text}?", requested_schema=_FORM
    )
