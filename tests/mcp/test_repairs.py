"""Servers whose answers break the protocol: one fault does not cost the rest."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
)
from mcp_types.methods import MONOLITH_RESULTS, validate_server_result
from pydantic import TypeAdapter

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.repairs import Repairs, schema_mismatch
from agentkit.messages import ImagePart
from tests.mcp.reading import inside
from tests.servers.raw_http import GREET, HELLO, RawServer, raw

OBJECT = {"type": "object", "properties": {}}
TOTAL = {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]}
PIXEL = {"type": "image", "data": "AAAA", "mimeType": "image/png"}


def config(server: RawServer) -> ServerConfig:
    return ServerConfig("raw", transport="http", url=server.url, timeout=10)


def tool(**fields: Any) -> dict[str, Any]:
    return {"name": "bad", "inputSchema": OBJECT, **fields}


async def test_of_very_many_blocks_the_first_are_used_and_the_result_says_so() -> None:
    content = [{"type": "text", "text": "b"}] * 30_000
    with raw({"tools/call": {"content": content}}) as server:
        async with McpServers([config(server)]) as servers:
            text = inside((await servers.tools[0].run({})).content)
    assert text.endswith("[cut: the first 10000 of 30000 blocks]")
    assert text.count("b\n") == 10_000


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (None, "null is not an object"),
        ("bad", '"bad" is not an object'),
        ([], "is not an object"),
        ({"name": "bad"}, "'bad' is left out: inputSchema"),
        (tool(inputSchema=None), "'bad' is left out: inputSchema"),
        (tool(inputSchema="object"), "'bad' is left out: inputSchema"),
        (tool(inputSchema=[]), "'bad' is left out: inputSchema"),
        (tool(inputSchema={"type": "string"}), "'bad' is left out: inputSchema"),
        (tool(inputSchema={"type": ["object", "null"]}), "'bad' is left out: inputSchema"),
        (tool(inputSchema={"type": "object", "properties": []}), "inputSchema"),
        (tool(inputSchema={"type": "object", "properties": {"required": ["a"]}}), "inputSchema"),
        (tool(inputSchema={"type": "object", "required": "a"}), "inputSchema"),
        ({"inputSchema": OBJECT}, "a tool without a name is left out"),
        (tool(name=""), "a tool without a name is left out"),
        (tool(name=None), "a tool without a name is left out"),
        (tool(name=5), "left out: name"),
    ],
)
async def test_a_tool_that_cannot_be_used_is_named_and_left_out(
    version: str, bad: Any, named: str
) -> None:
    with raw({"tools/list": {"tools": [bad, GREET]}}, version=version) as server:
        async with McpServers([config(server)]) as servers:
            assert [each.name for each in servers.tools] == ["raw__greet"]
            assert named in servers.problems["raw"]
            assert inside((await servers.tools[0].run({})).content) == "hello"


@pytest.mark.parametrize(
    ("fields", "ignored"),
    [
        ({"icons": "https://example.org/a.png"}, "icons"),
        ({"icons": [{"url": "https://example.org/a.png"}]}, "icons"),
        ({"annotations": "readOnly"}, "annotations"),
        ({"annotations": {"readOnlyHint": "maybe"}}, "annotations"),
        ({"outputSchema": {"type": "array", "items": {}}}, "outputSchema"),
        ({"outputSchema": "object"}, "outputSchema"),
        ({"title": 5}, "title"),
        ({"description": ["a", "b"]}, "description"),
        ({"_meta": []}, "_meta"),
    ],
)
async def test_a_tool_loses_an_optional_field_that_is_invalid(
    fields: dict[str, Any], ignored: str
) -> None:
    with raw({"tools/list": {"tools": [GREET, tool(**fields)]}}, version="2025-11-25") as server:
        async with McpServers([config(server)]) as servers:
            assert [each.name for each in servers.tools] == ["raw__greet", "raw__bad"]
            assert f"{ignored} of the tool 'bad' is ignored" in servers.problems["raw"]


@pytest.mark.parametrize(
    "fields",
    [
        {"annotations": None, "title": None},
        {"description": None},
        {"inputSchema": {"properties": {"a": {"type": "string"}}}},
        {"inputSchema": {"anyOf": [{"type": "object"}, {"type": "object"}]}},
        {"inputSchema": {"type": "object", "properties": {"any": True}}},
        {"inputSchema": {}},
        {"unknown": 1},
    ],
)
async def test_a_tool_whose_meaning_is_clear_is_used_without_a_word(fields: Any) -> None:
    with raw({"tools/list": {"tools": [GREET, tool(**fields)]}}) as server:
        async with McpServers([config(server)]) as servers:
            assert [each.name for each in servers.tools] == ["raw__greet", "raw__bad"]
            assert servers.problems == {}


@pytest.mark.parametrize(
    "page", [{"nextCursor": ""}, {"nextCursor": None}, {"nextCursor": "x"}, {"nextCursor": 7}]
)
@pytest.mark.parametrize("sends_string_ids", [False, True])
async def test_odd_cursors_and_ids_end_the_list(page: Any, sends_string_ids: bool) -> None:
    results = {"tools/list": {"tools": [GREET], **page}}
    with raw(results, sends_string_ids=sends_string_ids) as server:
        async with McpServers([config(server)]) as servers:
            assert inside((await servers.tools[0].run({})).content) == "hello"


@pytest.mark.parametrize(
    ("method", "key", "good", "bad"),
    [
        ("resources/list", "resources", {"uri": "a:b", "name": "b"}, {"name": "no address"}),
        ("resources/list", "resources", {"uri": "a:b", "name": "b"}, None),
        (
            "resources/templates/list",
            "resourceTemplates",
            {"uriTemplate": "a:{b}", "name": "b"},
            {"name": "no address"},
        ),
        ("prompts/list", "prompts", {"name": "b"}, {"name": None}),
        ("prompts/list", "prompts", {"name": "b"}, {"name": "c", "arguments": {"a": 1}}),
    ],
)
async def test_an_invalid_resource_or_prompt_does_not_cost_the_others(
    method: str, key: str, good: Any, bad: Any
) -> None:
    others: dict[str, Any] = {"resources/list": {"resources": []}, "resources/templates/list": None}
    with raw({**others, method: {key: [bad, good]}}) as server:
        async with McpServers([config(server)]) as servers:
            listed: Any = await (servers.prompts() if key == "prompts" else servers.resources())
    assert "b" in [each.name for each in listed]


@pytest.mark.parametrize(
    ("initialized", "version"),
    [
        ({"serverInfo": None}, ""),
        ({"serverInfo": {"name": "raw"}}, ""),
        ({"serverInfo": {"name": "raw", "version": 2}}, "2"),
        ({"instructions": ["a"]}, "1"),
    ],
)
async def test_a_server_need_not_describe_itself_well(initialized: Any, version: str) -> None:
    with raw() as server:
        server.results["initialize"] = {**server.results["initialize"], **initialized}
        async with McpServers([config(server)]) as servers:
            assert servers.problems == {}
            assert servers.clients["raw"].server_info.version == version


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ({"content": "plain"}, "plain"),
        ({"content": {"type": "text", "text": "one"}}, "one"),
        ({"content": None}, ""),
        ({}, "{}"),
        ({"toolResult": "old"}, '{"toolResult": "old"}'),
        ({"content": ["a", {"type": "text", "text": "b"}]}, "a\nb"),
        ({"content": [{"text": "no type"}]}, "no type"),
        ({"content": [{"type": "text", "text": "c", "annotations": "x"}]}, "c"),
        ({"content": [{"type": "text", "text": None}]}, '{"type": "text", "text": null}'),
        ({"content": [{"type": "json", "json": {"a": 1}}]}, '"json": {"a": 1}'),
        ({"content": [{"type": "video", "data": "A" * 9000}]}, '"data": "[9000 characters]"'),
        ({"content": [{"type": "image", "data": "AAAA"}]}, '"data": "[4 characters]"'),
        ({"content": [{"type": "resource", "resource": {"uri": "a:b"}}]}, '"uri": "a:b"'),
        ({"content": [5, None]}, "5\nnull"),
        ({"content": [], "structuredContent": [1, 2]}, "[1, 2]"),
        ({"content": [], "structuredContent": "words"}, '"words"'),
        ({"content": [{"type": "text", "text": "d"}], "isError": "false"}, "d"),
        ({"content": [{"type": "text", "text": "e"}], "_meta": "x"}, "e"),
    ],
)
async def test_content_that_is_unknown_or_broken_is_kept_as_text(result: Any, text: str) -> None:
    with raw({"tools/call": result}) as server:
        async with McpServers([config(server)]) as servers:
            assert text in inside((await servers.tools[0].run({})).content)


@pytest.mark.parametrize(
    ("block", "text"),
    [
        ({"type": "resource_link", "name": "n", "uri": "a:b"}, "[resource: n, a:b]"),
        ({"type": "audio", "data": "AAAA", "mimeType": "audio/wav"}, "[audio: audio/wav, 3 bytes]"),
    ],
)
async def test_content_of_a_later_version_than_agreed_is_described(block: Any, text: str) -> None:
    with raw({"tools/call": {"content": [block, PIXEL]}}, version="2024-11-05") as server:
        async with McpServers([config(server)]) as servers:
            content = (await servers.tools[0].run({})).content
    assert text in inside(content)
    assert isinstance(content[1], ImagePart)


@pytest.mark.parametrize(
    ("schema", "structured", "note"),
    [
        (TOTAL, {"total": 3}, ""),
        (TOTAL, {"total": "3"}, "total: '3' is not of type 'integer'"),
        (TOTAL, {}, "'total' is a required property"),
        (TOTAL, None, "it has no structured content"),
        ({"type": "object", "properties": {"a": {"type": "int"}}}, {"a": 1}, "schema is invalid"),
        ({"type": "object", "required": "total"}, {"total": 3}, "is ignored"),
        ({"type": "object", "properties": {"a": {"$ref": "#/no"}}}, {"a": 1}, "schema is invalid"),
        (
            {"type": "object", "properties": {"a": {"$ref": "https://example.org/s.json"}}},
            {"a": 1},
            "schema is invalid",
        ),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, {"a": "b"}, "schema"),
        (
            {"type": "object", "$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
            {"a": 1},
            "schema cannot be used",
        ),
        ({"type": "object", "$schema": "urn:unknown"}, {"a": 1}, ""),
    ],
)
async def test_a_result_that_misses_its_output_schema_keeps_its_content(
    schema: Any, structured: Any, note: str
) -> None:
    listed = {"tools": [{**GREET, "outputSchema": schema}]}
    answer = {**HELLO, **({} if structured is None else {"structuredContent": structured})}
    with raw({"tools/list": listed, "tools/call": answer}) as server:
        async with McpServers([config(server)]) as servers:
            text = inside((await servers.tools[0].run({})).content)
            shown = f"{text}{servers.problems.get('raw', '')}"
    assert "hello" in text
    assert json.dumps(structured) in text or structured is None
    assert (note in shown) if note else ("(Note" not in text)


async def test_a_failed_call_is_not_compared_with_the_output_schema() -> None:
    listed = {"tools": [{**GREET, "outputSchema": TOTAL}]}
    with raw({"tools/list": listed, "tools/call": {**HELLO, "isError": True}}) as server:
        async with McpServers([config(server)]) as servers:
            with pytest.raises(ToolError, match=r"greet failed: hello$"):
                await servers.tools[0].run({})


async def test_prompts_and_resources_of_odd_forms_are_read() -> None:
    results = {
        "resources/list": {"resources": [{"uri": "a:b", "name": "b"}]},
        "resources/read": {"contents": {"text": "body", "mimeType": None}},
        "prompts/list": {"prompts": [{"name": "p"}]},
        "prompts/get": {
            "messages": [
                {"role": "system", "content": "be brief"},
                {"role": "user", "content": [{"type": "text", "text": "go"}, "on"]},
            ]
        },
    }
    with raw(results) as server:
        async with McpServers([config(server)]) as servers:
            assert "body" in str(await servers.read("raw", "a:b"))
            messages = await servers.prompt("raw", "p")
    assert [(each.role, each.text) for each in messages] == [
        ("user", "be brief"),
        ("user", "go"),
        ("user", "on"),
    ]


def test_no_schema_is_no_mismatch() -> None:
    assert schema_mismatch(None, None) == ""


FRAMES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no version": (lambda m: {"id": m["id"], "result": m["result"]}, "hello"),
    "another version": (lambda m: {**m, "jsonrpc": "1.0"}, "hello"),
    "null error": (lambda m: {**m, "error": None}, "hello"),
    "a batch of one": (lambda m: [m], "hello"),
    "a number with a point": (lambda m: {**m, "id": float(m["id"])}, "hello"),
    "a text": (lambda m: {**m, "result": "plain"}, "plain"),
    "a list": (lambda m: {**m, "result": ["one", "two"]}, "one\ntwo"),
    "nothing": (lambda m: {**m, "result": None}, "{}"),
}
ERRORS: dict[str, tuple[Any, str]] = {
    "a text": ("out of paper", "out of paper"),
    "no code": ({"message": "out of paper"}, "out of paper"),
    "a code in words": ({"code": "E_PAPER", "message": "out of paper"}, "out of paper"),
    "no message": ({"code": -32603, "message": None, "data": "out of paper"}, "out of paper"),
    "an object": ({"code": -32603, "message": {"text": "out of paper"}}, "out of paper"),
}


@pytest.mark.parametrize(("frame", "text"), FRAMES.values(), ids=FRAMES.keys())
async def test_an_answer_in_a_broken_frame_is_read(frame: Any, text: str) -> None:
    with raw(frame=frame) as server:
        async with McpServers([config(server)]) as servers:
            assert text in inside((await servers.tools[0].run({})).content)


@pytest.mark.parametrize(("error", "text"), ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize("keeps_id", [True, False])
async def test_an_error_in_a_broken_frame_is_read(error: Any, text: str, keeps_id: bool) -> None:
    def frame(message: dict[str, Any]) -> Any:
        return {"jsonrpc": "2.0", "id": message["id"] if keeps_id else None, "error": error}

    with raw(frame=frame) as server:
        async with McpServers([config(server)]) as servers:
            with pytest.raises(ToolError, match=text):
                await servers.tools[0].run({})


@pytest.mark.parametrize("kind", ["text/plain", "application/json; charset=utf-8", "", "text/json"])
async def test_the_content_type_of_an_answer_may_be_another(kind: str) -> None:
    with raw(content_type=kind) as server:
        async with McpServers([config(server)]) as servers:
            assert inside((await servers.tools[0].run({})).content) == "hello"


VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        1.5,
        "",
        "x",
        [],
        [None],
        {},
        {"a": 1},
        {"type": "object"},
        {"type": "string"},
    ),
    *([{"type": "text", "text": "t"}], {"properties": {"a": True}, "required": 1}),
)
FIELDS = (
    *(
        "name",
        "title",
        "description",
        "inputSchema",
        "outputSchema",
        "annotations",
        "icons",
        "_meta",
    ),
    *("uri", "uriTemplate", "arguments", "mimeType", "size", "type", "text", "data", "resource"),
)
ENTRIES: dict[str, tuple[str, dict[str, Any]]] = {
    "tools/list": ("tools", GREET),
    "resources/list": ("resources", {"uri": "a:b", "name": "good"}),
    "resources/templates/list": ("resourceTemplates", {"uriTemplate": "a:{b}", "name": "good"}),
    "prompts/list": ("prompts", {"name": "good"}),
}
CONTENT = {"tools/call": "content", "prompts/get": "messages", "resources/read": "contents"}


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_whatever_a_server_answers_the_sdk_accepts_what_is_left(version: str) -> None:
    chance = Random(7)

    def anything() -> Any:
        return deepcopy(chance.choice(VALUES))

    def record() -> Any:
        return {field: anything() for field in FIELDS if chance.random() < 0.4}

    def answered(method: str, result: dict[str, Any]) -> dict[str, Any]:
        repairs.sent(JSONRPCRequest(jsonrpc="2.0", id=1, method=method))
        answer = JSONRPCResponse(jsonrpc="2.0", id=1, result=result)
        repairs.received(answer)
        with suppress(KeyError):
            validate_server_result(method, version, answer.result)
        kind: Any = MONOLITH_RESULTS[method]
        TypeAdapter(kind).validate_python(answer.result, by_name=False)
        return answer.result

    repairs = Repairs()
    for _ in range(150):
        greeting = {"protocolVersion": version, "_meta": anything(), "instructions": anything()}
        greeting |= {"capabilities": {"tools": anything(), "prompts": anything()}}
        answered("initialize", {**greeting, "serverInfo": chance.choice([anything(), record()])})
        for method, (key, good) in ENTRIES.items():
            entries = [record(), anything(), deepcopy(good)]
            result = answered(method, {key: entries, "_meta": anything(), "nextCursor": anything()})
            assert result[key][-1]["name"] == good["name"]
        for method, key in CONTENT.items():
            part = record() | {"role": anything(), "content": chance.choice([record(), anything()])}
            answered(method, {key: chance.choice([anything(), [part, record()]]), "_meta": {}})


def test_an_error_without_an_id_belongs_to_the_only_request_that_waits() -> None:
    repairs = Repairs()
    for id_ in (1, 2):
        repairs.sent(JSONRPCRequest(jsonrpc="2.0", id=id_, method="tools/call"))
    error = JSONRPCError(jsonrpc="2.0", id=None, error=ErrorData(code=-32603, message="full"))
    repairs.received(error)
    assert error.id is None
    cancelled = {"requestId": 1}
    repairs.sent(
        JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=cancelled)
    )
    repairs.received(error)
    assert error.id == "2"
