"""The tools that the official conformance suite asks of a server. Its scenarios say what each must
give; see `fixtures_server`."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from collections.abc import Awaitable, Callable
from typing import Any

import mcp_types as sdk
from mcp.server.context import ServerRequestContext
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    PromptsListChanged,
    ServerEvent,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata

from agentkit.errors import ToolError

Context = ServerRequestContext[Any, Any]
Params = sdk.CallToolRequestParams
Given = dict[str, Any]
Act = Callable[[Context, Given], Awaitable[sdk.CallToolResult | sdk.InputRequiredResult]]
BUS = InMemorySubscriptionBus()
PAUSE = 0.05


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + _chunk(b"IEND", b"")
).decode()
_WAVE_FORMAT = struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
_WAVE_DATA = b"data" + struct.pack("<I", 2) + b"\x80\x80"
WAV = base64.b64encode(
    b"RIFF" + struct.pack("<I", 38) + b"WAVEfmt " + _WAVE_FORMAT + _WAVE_DATA
).decode()


def text(words: str) -> sdk.TextContent:
    return sdk.TextContent(text=words)


def done(*content: Any) -> sdk.CallToolResult:
    return sdk.CallToolResult(content=list(content))


IMAGE = sdk.ImageContent(data=PNG, mime_type="image/png")
CONTENT: dict[str, list[sdk.ContentBlock]] = {
    "test_simple_text": [text("This is a simple text response for testing.")],
    "test_image_content": [IMAGE],
    "test_audio_content": [sdk.AudioContent(data=WAV, mime_type="audio/wav")],
    "test_embedded_resource": [
        sdk.EmbeddedResource(
            resource=sdk.TextResourceContents(
                uri="test://embedded-resource",
                mime_type="text/plain",
                text="This is an embedded resource content.",
            )
        )
    ],
    "test_multiple_content_types": [
        text("Multiple content types test:"),
        IMAGE,
        sdk.EmbeddedResource(
            resource=sdk.TextResourceContents(
                uri="test://mixed-content-resource",
                mime_type="application/json",
                text='{"test":"data","value":123}',
            )
        ),
    ],
}


def form(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def elicit_request(message: str, **properties: Any) -> sdk.ElicitRequest:
    schema = form(**properties)
    return sdk.ElicitRequest(
        params=sdk.ElicitRequestFormParams(message=message, requested_schema=schema)
    )


def sampled(prompt: str, tokens: int) -> sdk.CreateMessageRequest:
    message = sdk.SamplingMessage(role="user", content=text(prompt))
    return sdk.CreateMessageRequest(
        params=sdk.CreateMessageRequestParams(messages=[message], max_tokens=tokens)
    )


STRING = {"type": "string"}
NAME = elicit_request("What is your name?", name=STRING)
CAPITAL = sampled("What is the capital of France?", 100)
ROOTS = sdk.ListRootsRequest()
ROUNDS: dict[str, list[tuple[dict[str, Any], str | None]]] = {
    "test_input_required_result_elicitation": [({"user_name": NAME}, None)],
    "test_streaming_elicitation": [({"user_name": NAME}, None)],
    "test_input_required_result_sampling": [({"capital_question": CAPITAL}, None)],
    "test_input_required_result_list_roots": [({"client_roots": ROOTS}, None)],
    "test_input_required_result_request_state": [
        ({"confirm": elicit_request("Please confirm", ok={"type": "boolean"})}, "confirming")
    ],
    "test_input_required_result_tampered_state": [
        ({"confirm": elicit_request("Please confirm", ok={"type": "boolean"})}, "confirming")
    ],
    "test_input_required_result_multiple_inputs": [
        (
            {
                "user_name": NAME,
                "greeting": sampled("Generate a greeting", 50),
                "client_roots": ROOTS,
            },
            "collecting",
        )
    ],
    "test_input_required_result_multi_round": [
        ({"step1": elicit_request("Step 1: What is your name?", name=STRING)}, "first"),
        ({"step2": elicit_request("Step 2: What is your favorite color?", color=STRING)}, "second"),
    ],
}
"""What each of these tools asks for, round by round, and the state it hands out."""


def rounds(params: Params) -> sdk.CallToolResult | sdk.InputRequiredResult:
    """The first round that is not answered yet; then the end."""
    answers = params.input_responses or {}
    states = [state for _, state in ROUNDS[params.name]]
    reached = states.index(params.request_state) if params.request_state in states else 0
    questions, state = ROUNDS[params.name][reached]
    if set(questions) <= set(answers):
        reached += 1
    if reached == len(states):
        return done(text(_summed_up(params.name, answers, params.request_state)))
    questions, state = ROUNDS[params.name][reached]
    return sdk.InputRequiredResult(input_requests=questions, request_state=state)


def _summed_up(name: str, answers: dict[str, Any], state: str | None) -> str:
    output = {key: answer.model_dump(mode="json") for key, answer in answers.items()}
    who = (output.get("user_name", {}).get("content") or {}).get("name")
    greeting = f"Hello, {who}! " if who and len(output) == 1 else ""
    return f"{greeting}{'state-ok ' if state else ''}{json.dumps(output)}"


async def capabilities(ctx: Context, given: Given) -> sdk.InputRequiredResult:
    """Only what this client can answer."""
    able = ctx.session.client_capabilities or sdk.ClientCapabilities()
    questions: dict[str, Any] = {}
    if able.elicitation:
        questions["user_name"] = NAME
    if able.sampling:
        questions["capital_question"] = CAPITAL
    if able.roots:
        questions["client_roots"] = ROOTS
    return sdk.InputRequiredResult(input_requests=questions, request_state="asking")


async def missing(ctx: Context, given: Given) -> sdk.CallToolResult:
    needs = sdk.ClientCapabilities(sampling=sdk.SamplingCapability())
    data = sdk.MissingRequiredClientCapabilityErrorData(required_capabilities=needs)
    raise MCPError(
        sdk.MISSING_REQUIRED_CLIENT_CAPABILITY,
        "This needs sampling.",
        data.model_dump(by_alias=True, mode="json", exclude_none=True),
    )


async def failing(ctx: Context, given: Given) -> sdk.CallToolResult:
    raise ToolError("This tool intentionally returns an error for testing")


async def logging(ctx: Context, given: Given) -> sdk.CallToolResult:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        if ctx.protocol_version < "2026":
            message = sdk.LoggingMessageNotification(
                params=sdk.LoggingMessageNotificationParams(level="info", data=words)
            )
            await ctx.session.send_notification(message, ctx.request_id)
        await asyncio.sleep(PAUSE)
    return done(text("Logged."))


async def progress(ctx: Context, given: Given) -> sdk.CallToolResult:
    for step in (0, 50, 100):
        await ctx.session.report_progress(step, 100)
        await asyncio.sleep(PAUSE)
    return done(text("Progressed."))


async def sampling(ctx: Context, given: Given) -> sdk.CallToolResult:
    able = ctx.session.client_capabilities
    if able is None or able.sampling is None:
        raise ToolError("This client does not sample.")
    related = ServerMessageMetadata(related_request_id=ctx.request_id)
    answer = await ctx.session.send_request(
        sampled(given["prompt"], 100), sdk.CreateMessageResult, metadata=related
    )
    return done(text(f"LLM response: {getattr(answer.content, 'text', '')}"))


def elicits(schema: dict[str, Any]) -> Act:
    async def act(ctx: Context, given: Given) -> sdk.CallToolResult:
        message = given.get("message", "Fill this in.")
        answer = await ctx.session.elicit_form(message, schema, ctx.request_id)
        output = f"action={answer.action}, content={json.dumps(answer.content)}"
        return done(text(f"Elicitation completed: {output}"))

    return act


def publishes(event: ServerEvent) -> Act:
    async def act(ctx: Context, given: Given) -> sdk.CallToolResult:
        await BUS.publish(event)
        return done(text("Published."))

    return act


USER = form(
    username={"type": "string", "description": "User's response"},
    email={"type": "string", "description": "User's email address"},
)
DEFAULTS = form(
    name={"type": "string", "default": "John Doe"},
    age={"type": "integer", "default": 30},
    score={"type": "number", "default": 95.5},
    status={"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
    verified={"type": "boolean", "default": True},
)
_OPTIONS = ["option1", "option2", "option3"]
_TITLED = [
    {"const": f"value{number}", "title": f"{word} Option"}
    for number, word in enumerate(("First", "Second", "Third"), 1)
]
ENUMS = form(
    untitledSingle={"type": "string", "enum": _OPTIONS},
    titledSingle={"type": "string", "oneOf": _TITLED},
    legacyEnum={
        "type": "string",
        "enum": ["opt1", "opt2", "opt3"],
        "enumNames": ["Option One", "Option Two", "Option Three"],
    },
    untitledMulti={"type": "array", "items": {"type": "string", "enum": _OPTIONS}},
    titledMulti={"type": "array", "items": {"anyOf": _TITLED}},
)
_PHONE = {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]}
DIALECT = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": STRING, "city": STRING},
        }
    },
    "properties": {
        "name": STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": STRING,
        "email": STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": _PHONE,
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}}
HEADER = {"type": "object", "properties": {"region": {**STRING, "x-mcp-header": "Region"}}}
ACTS: dict[str, Act] = {
    "test_input_required_result_capabilities": capabilities,
    "test_missing_capability": missing,
    "test_tool_with_logging": logging,
    "test_logging_tool": logging,
    "test_error_handling": failing,
    "test_tool_with_progress": progress,
    "test_trigger_tool_change": publishes(ToolsListChanged()),
    "test_trigger_prompt_change": publishes(PromptsListChanged()),
    "test_sampling": sampling,
    "test_elicitation": elicits(USER),
    "test_elicitation_sep1034_defaults": elicits(DEFAULTS),
    "test_elicitation_sep1330_enums": elicits(ENUMS),
}
SCHEMAS: dict[str, dict[str, Any]] = {
    **dict.fromkeys((*CONTENT, *ROUNDS, *ACTS), NOTHING),
    "test_sampling": form(prompt=STRING),
    "test_elicitation": form(message=STRING),
    "json_schema_2020_12_tool": DIALECT,
    "test_custom_header": HEADER,
}


async def call(ctx: Context, params: Params) -> sdk.CallToolResult | sdk.InputRequiredResult:
    try:
        return await called(ctx, params)
    except ToolError as error:
        return sdk.CallToolResult(content=[text(str(error))], is_error=True)


async def called(ctx: Context, params: Params) -> sdk.CallToolResult | sdk.InputRequiredResult:
    if params.name in CONTENT:
        return done(*CONTENT[params.name])
    if params.name in ROUNDS:
        return rounds(params)
    if params.name in ACTS:
        return await ACTS[params.name](ctx, params.arguments or {})
    if params.name in SCHEMAS:
        return done(text(json.dumps(params.arguments)))
    raise MCPError(sdk.INVALID_PARAMS, f"Unknown tool: {params.name}")


async def tools(ctx: Context, params: Any) -> sdk.ListToolsResult:
    listed = [
        sdk.Tool(name=name, description=f"The suite's {name}.", input_schema=schema)
        for name, schema in SCHEMAS.items()
    ]
    return sdk.ListToolsResult(tools=listed)
