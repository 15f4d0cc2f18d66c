"""langchain-mcp-adapters: the tools and resources as LangChain gets them."""

import os

from langchain_core.tools import ToolException
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.sessions import create_session
from langchain_mcp_adapters.tools import load_mcp_tools
from steps import main, run


async def drive(command: list[str]) -> dict:
    connection = {
        "transport": "stdio",
        "command": command[0],
        "args": command[1:],
        "env": dict(os.environ),
    }
    async with create_session(connection) as session:
        await session.initialize()
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}

        async def call(name: str, arguments: dict) -> tuple[bool, str]:
            message = {"name": name, "args": arguments, "id": "1", "type": "tool_call"}
            try:
                result = await tools[name].ainvoke(message)
            except (ToolException, ValueError) as error:
                return False, str(error)
            content = result.content
            blocks = [content] if isinstance(content, str) else [each["text"] for each in content]
            return result.status != "error", "\n".join(blocks)

        async def read(uri: str) -> str:
            (blob,) = await load_mcp_resources(session, uris=uri)
            return blob.as_string()

        return await run(list(tools), call, read)


main(drive)
