"""The fixtures that the official conformance suite asks of a server, on our HTTP stack:
`python -m tests.conformance.fixtures_server PORT`.

What is tested is what carries them: `mcp_app`, its guard, its sessions, and the SDK below.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from functools import partial
from typing import Any

import mcp_types as sdk
from mcp.server import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.subscriptions import ListenHandler
from mcp.shared.exceptions import MCPError

from agentkit.mcp.server.http import mcp_app, serve_http
from tests.conformance.fixture_tools import (
    BUS,
    IMAGE,
    PNG,
    SCHEMAS,
    STRING,
    Context,
    call,
    elicit_request,
    text,
    tools,
)

RESOURCES = [
    sdk.Resource(uri="test://static-text", name="text", mime_type="text/plain"),
    sdk.Resource(uri="test://static-binary", name="binary", mime_type="image/png"),
    sdk.Resource(uri="test://watched-resource", name="watched", mime_type="text/plain"),
]
TEMPLATE = sdk.ResourceTemplate(uri_template="test://template/{id}/data", name="template")
PROMPTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
    "test_input_required_result_prompt": (),
}


async def resources(ctx: Context, params: Any) -> sdk.ListResourcesResult:
    return sdk.ListResourcesResult(resources=RESOURCES)


async def templates(ctx: Context, params: Any) -> sdk.ListResourceTemplatesResult:
    return sdk.ListResourceTemplatesResult(resource_templates=[TEMPLATE])


async def read(ctx: Context, params: sdk.ReadResourceRequestParams) -> sdk.ReadResourceResult:
    uri = str(params.uri)
    if uri == "test://static-binary":
        blob = sdk.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
        return sdk.ReadResourceResult(contents=[blob])
    kind, words = "text/plain", "This is the content of the static text resource."
    if found := re.fullmatch(r"test://template/([^/]+)/data", uri):
        kind, number = "application/json", found[1]
        data = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        words = json.dumps(data)
    elif uri not in ("test://static-text", "test://watched-resource"):
        raise MCPError(sdk.INVALID_PARAMS, f"No resource {uri}.", {"uri": uri})
    contents = sdk.TextResourceContents(uri=uri, mime_type=kind, text=words)
    return sdk.ReadResourceResult(contents=[contents])


async def prompts(ctx: Context, params: Any) -> sdk.ListPromptsResult:
    listed = [
        sdk.Prompt(
            name=name,
            description=f"The suite's {name}.",
            arguments=[sdk.PromptArgument(name=argument, required=True) for argument in arguments],
        )
        for name, arguments in PROMPTS.items()
    ]
    return sdk.ListPromptsResult(prompts=listed)


async def prompt(
    ctx: Context, params: sdk.GetPromptRequestParams
) -> sdk.GetPromptResult | sdk.InputRequiredResult:
    given = params.arguments or {}
    match params.name:
        case "test_simple_prompt":
            return prompt_result(text("This is a simple prompt for testing."))
        case "test_prompt_with_arguments":
            one, two = given["arg1"], given["arg2"]
            return prompt_result(text(f"Prompt with arguments: arg1='{one}', arg2='{two}'"))
        case "test_prompt_with_embedded_resource":
            resource = sdk.TextResourceContents(
                uri=given["resourceUri"],
                mime_type="text/plain",
                text="Embedded resource content for testing.",
            )
            embedded = sdk.EmbeddedResource(resource=resource)
            return prompt_result(embedded, text("Please process the embedded resource above."))
        case "test_prompt_with_image":
            return prompt_result(IMAGE, text("Please analyze the image above."))
        case "test_input_required_result_prompt":
            if params.input_responses:
                return prompt_result(text(f"In this context: {params.input_responses}"))
            question = elicit_request("What context should the prompt use?", context=STRING)
            return sdk.InputRequiredResult(input_requests={"user_context": question})
    raise MCPError(sdk.INVALID_PARAMS, f"No prompt {params.name}.")


def prompt_result(*content: Any) -> sdk.GetPromptResult:
    messages = [sdk.PromptMessage(role="user", content=block) for block in content]
    return sdk.GetPromptResult(messages=messages)


async def accepted(ctx: Context, params: Any) -> sdk.EmptyResult:
    return sdk.EmptyResult()


async def completed(ctx: Context, params: sdk.CompleteRequestParams) -> sdk.CompleteResult:
    return sdk.CompleteResult(completion=sdk.Completion(values=["paris", "park"], total=2))


def fixtures() -> Server[Any]:
    server: Server[Any] = Server(
        "conformance-fixtures",
        version="1",
        on_list_tools=tools,
        on_call_tool=call,
        on_list_resources=resources,
        on_list_resource_templates=templates,
        on_read_resource=read,
        on_subscribe_resource=accepted,
        on_unsubscribe_resource=accepted,
        on_subscriptions_listen=ListenHandler(BUS),
        on_list_prompts=prompts,
        on_get_prompt=prompt,
        on_completion=completed,
        get_tool_input_schema=SCHEMAS.get,
    )
    server.add_request_handler("logging/setLevel", sdk.SetLevelRequestParams, accepted)
    seal = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience="fixtures")
    server.middleware.append(seal)
    return server


def main() -> None:
    port = int(sys.argv[1])
    ready = partial(print, file=sys.stderr, flush=True)
    asyncio.run(serve_http(mcp_app(fixtures()), "127.0.0.1", port, on_ready=ready))


if __name__ == "__main__":
    main()
