"""An MCP server, of the standard library only, that has and uses every feature of the protocol.

Run as `python full_server.py STATE`. The description of its tool `greet` is read from
STATE/description, if that file exists.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

STATE = Path(sys.argv[1])
NAMES = ["greet", "ask", "write", "roots", "steps", "change", "huge", "babble", "breed", "whisper"]
ARGUMENT = {"name": "who", "description": "whom to greet", "required": True}
MEGABYTES = 50
ELICITATION = {
    "message": "Who are you?",
    "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
}
SAMPLING = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "Write a line."}}],
    "systemPrompt": "Be short.",
    "maxTokens": 9,
}


def main() -> None:
    append("pids", str(os.getpid()))
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            respond(message)
    append("ended", "well")


def respond(request: dict[str, Any]) -> None:
    method, params = request["method"], request.get("params", {})
    if method == "tools/call":
        result = call_tool(params)
    else:
        result = RESULTS.get(method, lambda _: None)(params)
    error = {"error": {"code": -32601, "message": f"no {method}"}}
    send({"id": request["id"], **(error if result is None else {"result": result})})


def tools(params: dict[str, Any]) -> dict[str, Any]:
    file = STATE / "description"
    description = file.read_text() if file.exists() else "Greet somebody."
    properties = {"who": {"type": "string", "description": "somebody"}}
    schema = {"type": "object", "properties": properties}
    listed = [{"name": name, "description": name, "inputSchema": schema} for name in NAMES]
    listed[0]["description"] = description
    return {"tools": listed}


def call_tool(params: dict[str, Any]) -> dict[str, Any]:
    arguments = params.get("arguments", {})
    special: dict[str, Callable[[], Any]] = {
        "steps": lambda: steps(params.get("_meta", {}).get("progressToken")),
        "change": lambda: change(arguments["who"]),
        "babble": babble,
        "breed": breed,
    }
    special.get(params["name"], lambda: None)()
    texts: dict[str, Callable[[], str]] = {
        "ask": lambda: json.dumps(request_client("elicitation/create", ELICITATION)),
        "write": lambda: json.dumps(request_client("sampling/createMessage", SAMPLING)),
        "roots": lambda: json.dumps(request_client("roots/list", {})),
        "huge": lambda: "x" * (MEGABYTES * 1_000_000),
        "whisper": lambda: "a\u202eb\U000e0041c",
    }
    return text(texts.get(params["name"], lambda: f"hello {arguments.get('who', '')}")())


def steps(token: Any) -> None:
    for done in (1, 2):
        progress = {"progressToken": token, "progress": done, "total": 2, "message": f"step {done}"}
        send({"method": "notifications/progress", "params": progress})


def change(description: str) -> None:
    (STATE / "description").write_text(description)
    send({"method": "notifications/tools/list_changed"})


def babble() -> None:
    while True:
        print("noise " * 10_000, flush=True)


def breed() -> None:
    """Start a child, and one that leaves the process group."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    for alone in (False, True):
        append("pids", str(subprocess.Popen(sleep, start_new_session=alone).pid))


def request_client(method: str, params: dict[str, Any]) -> Any:
    """Send a request to the client and return its result or error."""
    send({"id": "ours", "method": method, "params": params})
    while True:
        message = json.loads(sys.stdin.readline())
        if message.get("id") == "ours":
            return message.get("result") or message["error"]


def text(value: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}]}


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def append(name: str, line: str) -> None:
    with (STATE / name).open("a") as file:
        file.write(f"{line}\n")


def read(params: dict[str, Any]) -> dict[str, Any] | None:
    contents = {"notes://a": {"text": "All about a."}, "notes://b": {"blob": "AAAA"}}
    found = contents.get(params["uri"])
    return None if found is None else {"contents": [{"uri": params["uri"], **found}]}


RESULTS: dict[str, Any] = {
    "initialize": lambda params: {
        "protocolVersion": params["protocolVersion"],
        "capabilities": {"tools": {"listChanged": True}, "resources": {}, "prompts": {}},
        "serverInfo": {"name": "full_server", "version": "1"},
    },
    "tools/list": tools,
    "resources/list": lambda _: {
        "resources": [{"uri": "notes://a", "name": "a"}, {"uri": "notes://b", "name": "b"}]
    },
    "resources/templates/list": lambda _: {
        "resourceTemplates": [{"uriTemplate": "notes://{name}", "name": "any"}]
    },
    "resources/read": read,
    "prompts/list": lambda _: {
        "prompts": [{"name": "welcome", "description": "a welcome", "arguments": [ARGUMENT]}]
    },
    "prompts/get": lambda params: {
        "messages": [
            {
                "role": "user",
                "content": {"type": "text", "text": f"Welcome {params['arguments']['who']}!"},
            }
        ]
    },
}

if __name__ == "__main__":
    main()
