"""Answers that are too large, nested too deeply or not JSON are errors of their call at once."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentkit.errors import ToolError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.guard import MAX_LEVELS, MAX_LINE, read_message
from tests.mcp.reading import inside
from tests.servers.raw_http import HELLO, event_stream, raw

TRANSPORTS = ("json", "events", "older")
MEGABYTE = 1024 * 1024


def deep(levels: int) -> dict[str, Any]:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return {**HELLO, "structuredContent": {"a": value}}


def text(size: int) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": "x" * size}]}


@asynccontextmanager
async def connected(transport: str, result: dict[str, Any]) -> AsyncIterator[McpServers]:
    """A server over HTTP that answers calls with this result."""
    kind = "text/event-stream" if transport == "events" else "application/json"
    server = (
        event_stream(405, result)
        if transport == "older"
        else raw({"tools/call": result}, content_type=kind)
    )
    with server as running:
        config = ServerConfig("raw", "http", url=running.url, timeout=60)
        async with McpServers([config], max_characters=2 * MAX_LINE) as servers:
            assert servers.problems == {}
            yield servers


@pytest.mark.parametrize(
    ("transport", "size"),
    [
        *((transport, size) for transport in ("json", "events") for size in (3, 15.9)),
        ("older", 0.9),
    ],
)
async def test_an_answer_within_the_bound_arrives_whole(transport: str, size: float) -> None:
    count = int(size * MEGABYTE)
    async with connected(transport, text(count)) as servers:
        assert inside((await servers.tools[0].run({})).content) == "x" * count


@pytest.mark.parametrize(
    ("transport", "size", "limit"),
    [
        *((transport, size, 16) for transport in ("json", "events") for size in (16.1, 40)),
        *(("older", size, 1) for size in (1.1, 40)),
    ],
)
async def test_a_larger_answer_is_an_error_and_the_session_stays(
    transport: str, size: float, limit: int
) -> None:
    result = text(int(size * MEGABYTE))
    async with connected(transport, result) as servers:
        with pytest.raises(ToolError, match=rf"greet failed: .*too large \(at most {limit} MiB\)"):
            await servers.tools[0].run({})
        result.update(HELLO)
        assert inside((await servers.tools[0].run({})).content) == "hello"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_an_answer_that_is_nested_too_deeply_is_an_error(transport: str) -> None:
    result = deep(MAX_LEVELS)
    async with connected(transport, result) as servers:
        with pytest.raises(ToolError, match="'raw': greet failed: the answer is nested too deeply"):
            await servers.tools[0].run({})
        result.update(deep(MAX_LEVELS - 10))
        assert "end" in inside((await servers.tools[0].run({})).content)


@pytest.mark.parametrize("kind", ["application/json", "text/event-stream"])
async def test_a_call_whose_answer_breaks_off_is_repeated(kind: str) -> None:
    with raw(content_type=kind) as server:
        config = ServerConfig("raw", "http", url=server.url, timeout=60)
        async with McpServers([config]) as servers:
            server.breaks_off = True
            assert inside((await servers.tools[0].run({})).content) == "hello"
        assert server.calls == 2


@pytest.mark.slow
@pytest.mark.parametrize("levels", [MAX_LEVELS, 1100, 100_000])
@pytest.mark.parametrize(
    "frame",
    [
        '{"jsonrpc": "2.0", "result": RESULT, "id": ID}',
        '{"jsonrpc": "2.0", "result": RESULT}',
        '{"jsonrpc": "2.0", "id": null, "result": RESULT}',
        '{"jsonrpc": "2.0", "result": {"a": {"b": [{"id": ID, "c": RESULT}]}}}',
    ],
)
async def test_an_unreadable_answer_over_stdio_is_an_error(levels: int, frame: str) -> None:
    server = f"""
import json, sys
answers = {{"initialize": {{"protocolVersion": "2025-06-18", "capabilities": {{"tools": {{}}}},
    "serverInfo": {{"name": "s", "version": "1"}}}},
    "tools/list": {{"tools": [{{"name": "dig", "inputSchema": {{"type": "object"}}}}]}}}}
for line in sys.stdin:
    asked = json.loads(line)
    result, frame = json.dumps(answers.get(asked["method"], {{}})), '{{"result": RESULT, "id": ID}}'
    if asked["method"] == "tools/call":
        result, frame = '{{"a": ' + "[" * {levels} + "]" * {levels} + "}}", {frame!r}
    if "id" in asked:
        print(frame.replace("RESULT", result).replace("ID", json.dumps(asked["id"])), flush=True)
"""
    config = ServerConfig("raw", command=sys.executable, args=("-c", server), timeout=600)
    async with McpServers([config]) as servers:
        with pytest.raises(ToolError, match="'raw': dig failed: the answer is nested too deeply"):
            await servers.tools[0].run({})


LEFT_OPEN = b"[" * 100_000
UNREADABLE = {
    "deep list": (b'{"jsonrpc":"2.0","id":7,"result":%s' % LEFT_OPEN, "nested too deeply"),
    "deep object": (
        b'{"id":7,"result":' + b'{"a":' * 300 + b"1" + b"}" * 301 + b"",
        "nested too deeply",
    ),
    "broken off": (b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"ty', "not valid JSON"),
    "two in a line": (
        b'{"jsonrpc":"2.0","id":7,"result":{}}{"jsonrpc":"2.0","id":8,"result":{}}',
        "not valid JSON: Extra data",
    ),
    "comma": (b'{"jsonrpc":"2.0","result":{"a":1,},"id":"7"}', "not valid JSON"),
    "long number": (
        b'{"jsonrpc":"2.0","id":7,"result":{"a":%s}}' % (b"9" * 5000),
        "a number of more than 4,300 digits",
    ),
    "after a mark": (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":7,"result":{"a"}}', "not valid JSON"),
}


@pytest.mark.parametrize(("line", "reason"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_answer_becomes_an_error_of_its_request(line: bytes, reason: str) -> None:
    error = json.loads(read_message(line) or b"null")
    assert error["id"] == 7
    assert reason in error["error"]["message"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage","params":%s' % LEFT_OPEN,
        b'{"jsonrpc":"2.0","method":"ping","id":7,}',
        b'{"level":"info","id":7,}',
        b'{"level":"info","deep":%s' % LEFT_OPEN,
    ],
)
def test_an_unreadable_request_or_log_line_is_no_answer_of_ours(line: bytes) -> None:
    assert read_message(line) is None


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b'{"jsonrpc":"2.0","id":7,"result":{"a":"one\ttwo\x01"}}', "one\ttwo\x01"),
        (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":7,"result":{"a":"mark"}}', "mark"),
        (b'{\n"jsonrpc":"2.0",\n"id":7,\n"result":{"a":"pretty"}\n}', "pretty"),
    ],
)
def test_control_characters_and_byte_order_marks_are_repaired(line: bytes, value: str) -> None:
    repaired = read_message(line)
    assert repaired is not None
    assert json.loads(repaired)["result"] == {"a": value}
    assert b"\n" not in repaired
