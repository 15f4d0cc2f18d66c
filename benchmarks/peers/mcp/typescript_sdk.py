"""The official TypeScript SDK, driven through lines of JSON."""

import asyncio
import json
import os
from pathlib import Path

from steps import main, run


async def drive(command: list[str]) -> dict:
    script = Path(__file__).with_suffix(".mjs")
    client = ("node", str(script), os.environ["MCP_NODE_MODULES"], *command)
    child = await asyncio.create_subprocess_exec(*client, stdin=-1, stdout=-1, limit=1 << 24)

    async def invoke(method: str, params: dict) -> dict:
        child.stdin.write(json.dumps({"method": method, "params": params}).encode() + b"\n")
        return json.loads(await child.stdout.readline())

    async def call(name: str, arguments: dict) -> tuple[bool, str]:
        found = await invoke("callTool", {"name": name, "arguments": arguments})
        if "error" in found:
            return False, found["error"]
        return not found.get("isError"), "\n".join(each["text"] for each in found["content"])

    async def read(uri: str) -> str:
        found = await invoke("readResource", {"uri": uri})
        return "\n".join(each["text"] for each in found["contents"])

    listed = await invoke("listTools", {})
    try:
        return await run([tool["name"] for tool in listed["tools"]], call, read)
    finally:
        child.stdin.close()
        await child.wait()


main(drive)
