"""smolagents, which has tools only."""

import os

from mcp import StdioServerParameters
from smolagents import MCPClient
from steps import main, run


async def drive(command: list[str]) -> dict:
    server = StdioServerParameters(command=command[0], args=command[1:], env=dict(os.environ))
    with MCPClient(server, structured_output=False) as found:
        tools = {tool.name: tool for tool in found}

        async def call(name: str, arguments: dict) -> tuple[bool, str]:
            try:
                text = str(tools[name](**arguments))
            except Exception as error:
                return False, str(error)
            is_error = text.startswith(("Invalid arguments", "No document", "start ("))
            return not is_error, text

        return await run(list(tools), call, None)


main(drive)
