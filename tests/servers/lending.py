"""An MCP server of the standard library alone that lends all there is and asks for all there is.

Run as `python lending.py STATE`. What it says of its tool `greet` is in STATE/description, if that
file is there.
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
QUESTION = {
    "message": "Who are you?",
    "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
}
WISH = {
    "messages": [{"role": "user", "content": {"type": "text", "text": "Write a line."}}],
    "systemPrompt": "Be short.",
    "maxTokens": 9,
}


def main() -> None:
    noted("pids", str(os.getpid()))
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer(message)
    noted("ended", "well")


def answer(request: dict[str, Any]) -> None:
    method, params = request["method"], request.get("params", {})
    if method == "tools/call":
        result = called(params)
    else:
        result = RESULTS.get(method, lambda _: None)(params)
    told: dict[str, Any] = (
        {"error": {"code": -32601, "message": f"no {method}"}} if result is None else {}
    )  # noqa: E501, RUF100
    send({"id": request["id"], **(told or {"result": result})})


def tools(params: dict[str, Any]) -> dict[str, Any]:
    file = STATE / "description"
    said = file.read_text() if file.exists() else "Greet somebody."
    properties = {"who": {"type": "string", "description": "somebody"}}
    schema = {"type": "object", "properties": properties}
    listed = [{"name": name, "description": name, "inputSchema": schema} for name in NAMES]
    listed[0]["description"] = said
    return {"tools": listed}


def called(params: dict[str, Any]) -> dict[str, Any]:
    arguments = params.get("arguments", {})
    special: dict[str, Callable[[], Any]] = {
        "steps": lambda: steps(params.get("_meta", {}).get("progressToken")),
        "change": lambda: change(arguments["who"]),
        "babble": babble,
        "breed": breed,
    }
    special.get(params["name"], lambda: None)()
    said: dict[str, Callable[[], str]] = {
        "ask": lambda: json.dumps(requested("elicitation/create", QUESTION)),
        "write": lambda: json.dumps(requested("sampling/createMessage", WISH)),
        "roots": lambda: json.dumps(requested("roots/list", {})),
        "huge": lambda: "x" * (MEGABYTES * 1_000_000),
        "whisper": lambda: "a\u202eb\U000e0041c",
    }
    return text(said.get(params["name"], lambda: f"hello {arguments.get('who', '')}")())


def steps(token: Any) -> None:
    for done in (1, 2):
        told = {"progressToken": token, "progress": done, "total": 2, "message": f"step {done}"}
        send({"method": "notifications/progress", "params": told})


def change(description: str) -> None:
    (STATE / "description").write_text(description)
    send({"method": "notifications/tools/list_changed"})


def babble() -> None:
    while True:
        print("noise " * 10_000, flush=True)


def breed() -> None:
    """A child, and one that leaves the process group."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    for alone in (False, True):
        noted("pids", str(subprocess.Popen(sleep, start_new_session=alone).pid))


def requested(method: str, params: dict[str, Any]) -> Any:
    """What the client answers to a request of ours."""
    send({"id": "ours", "method": method, "params": params})
    while True:
        message = json.loads(sys.stdin.readline())
        if message.get("id") == "ours":
            return message.get("result") or message["error"]


def text(words: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": words}]}


def send(message: dict[str, Any]) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def noted(name: str, line: str) -> None:
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
        "serverInfo": {"name": "lending", "version": "1"},
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
