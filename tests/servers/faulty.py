"""An MCP server, of the standard library only, which misbehaves on request.

Run as `python faulty.py MODE STATE`. STATE is a folder: the server writes its process id to
STATE/pids and the cancellations it hears to STATE/cancelled. It answers one line at a time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

MODE, STATE = sys.argv[1], Path(sys.argv[2])
READ_ONLY = {"readOnlyHint": True}
IMAGE = {"type": "image", "data": "AAAA", "mimeType": "image/png"}
LINK = {"type": "resource_link", "name": "map", "uri": "file:///map"}

TOOLS: list[dict[str, Any]] = [
    {"name": name, "description": name, "inputSchema": {"type": "object"}, "annotations": hints}
    for name, hints in [
        ("echo", READ_ONLY),
        ("fail", {}),
        ("fail_silently", {}),
        ("refuse", {}),
        ("crash", {}),
        ("crash_once", READ_ONLY),
        ("crash_always", READ_ONLY),
        ("crash_after", {}),
        ("hang", {}),
        ("flood", {}),
        ("noise", {}),
        ("structured", {}),
        ("picture", {}),
        ("environment", {}),
        ("地图", {}),
        ("时间", {}),
        ("x" * 100, {}),
        ("echo", {}),
    ]
]


def noted(name: str, line: str) -> int:
    """Add a line to a file of the state folder; the number of lines in it then."""
    with (STATE / name).open("a") as file:
        file.write(f"{line}\n")
    return len((STATE / name).read_text().splitlines())


def called(name: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a call, None for one that is never answered."""
    if name in ("crash", "crash_always") or (name == "crash_once" and noted("crashes", "x") == 1):
        os._exit(3)
    if name == "hang":
        return None
    if name == "noise":
        print("this is no protocol\n{]\n", flush=True)
    results: dict[str, dict[str, Any]] = {
        "echo": text(json.dumps(arguments, ensure_ascii=False)),
        "fail": text("the disk is full") | {"isError": True},
        "fail_silently": {"content": [], "isError": True},
        "flood": text("x" * 5_000_000),
        "structured": {"content": [], "structuredContent": {"sum": 3}},
        "picture": {"content": [IMAGE, LINK]},
        "environment": text(json.dumps(dict(os.environ))),
    }
    return results.get(name) or text("called")


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def answered(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    if method == "initialize":
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "faulty", "version": "1"},
        }
    if method == "tools/list":
        page = int(params.get("cursor") or 0)
        more = {"nextCursor": "1"} if page == 0 else {}
        return {"tools": TOOLS[:5] if page == 0 else TOOLS[5:], **more}
    return called(params["name"], params.get("arguments", {}))


def reply(request: dict[str, Any]) -> None:
    method, params = request["method"], request.get("params", {})
    answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
    known = method in ("initialize", "tools/list", "tools/call")
    if not known or params.get("name") == "refuse":
        answer["error"] = {"code": -32601, "message": f"no {method} today"}
    else:
        result = answered(method, params)
        if result is None:
            return
        answer["result"] = result
    print(json.dumps(answer), flush=True)
    if params.get("name") == "crash_after":
        os._exit(3)


def main() -> None:
    noted("pids", str(os.getpid()))
    print("faulty is starting", file=sys.stderr, flush=True)
    if MODE == "refuse" or (STATE / "refuse").exists():
        print("no licence found", file=sys.stderr, flush=True)
        sys.exit(3)
    if MODE == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)
    if MODE == "junk":
        print("Welcome to the faulty server!\n\x1b[31m{{{", flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        while MODE == "asks" and message["method"] == "tools/call":
            print('{"jsonrpc": "2.0", "id": "ping", "method": "ping"}')
        if message["method"] == "notifications/cancelled":
            noted("cancelled", str(message["params"].get("requestId")))
        if "id" in message:
            reply(message)


if __name__ == "__main__":
    main()
