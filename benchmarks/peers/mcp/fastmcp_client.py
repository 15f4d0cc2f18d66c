"""fastmcp's client."""

import os

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from steps import main, run, texts


async def drive(command: list[str]) -> dict:
    async with Client(StdioTransport(command[0], command[1:], env=dict(os.environ))) as client:

        async def call(name: str, arguments: dict) -> tuple[bool, str]:
            result = await client.call_tool(name, arguments, raise_on_error=False)
            return not result.is_error, texts(result.content)

        async def read(uri: str) -> str:
            return texts(await client.read_resource(uri))

        return await run([tool.name for tool in await client.list_tools()], call, read)


main(drive)
