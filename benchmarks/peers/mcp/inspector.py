"""The Inspector's command line: each step is a process of its own."""

import asyncio
import json
import os

from steps import main, run


async def drive(command: list[str]) -> dict:
    inspector = os.environ["MCP_INSPECTOR"]

    async def invoke(*options: str) -> dict:
        child = await asyncio.create_subprocess_exec(
            inspector, "--cli", *command, *options, stdout=-1, stderr=-1
        )
        out, errors = await child.communicate()
        return json.loads(out) if out.strip() else {"error": errors.decode()}

    async def call(name: str, arguments: dict) -> tuple[bool, str]:
        options = [x for k, v in arguments.items() for x in ("--tool-arg", f"{k}={v}")]
        found = await invoke("--method", "tools/call", "--tool-name", name, *options)
        if "error" in found:
            return False, found["error"]
        return not found.get("isError"), "\n".join(each["text"] for each in found["content"])

    async def read(uri: str) -> str:
        found = await invoke("--method", "resources/read", "--uri", uri)
        return "\n".join(each["text"] for each in found["contents"])

    listed = await invoke("--method", "tools/list")
    return await run([tool["name"] for tool in listed["tools"]], call, read)


main(drive)
