"""The official Python SDK."""

import os

from mcp import Client, StdioServerParameters
from steps import main, run, texts


async def drive(command: list[str]) -> dict:
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    async with Client(server) as client:

        async def call(name: str, arguments: dict) -> tuple[bool, str]:
            result = await client.call_tool(name, arguments)
            return not result.is_error, texts(result.content)

        async def read(uri: str) -> str:
            return texts((await client.read_resource(uri)).contents)

        return await run([tool.name for tool in (await client.list_tools()).tools], call, read)


main(drive)
