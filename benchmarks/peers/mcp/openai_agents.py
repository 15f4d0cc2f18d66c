"""openai-agents: the tools as its agents get them, with strict schemas."""

import json
import os

from agents import Agent, RunContextWrapper
from agents.mcp import MCPServerStdio, MCPUtil
from agents.tool_context import ToolContext
from steps import main, run, texts


async def drive(command: list[str]) -> dict:
    params = {"command": command[0], "args": command[1:], "env": dict(os.environ)}
    async with MCPServerStdio(params, client_session_timeout_seconds=60) as server:
        agent = Agent(name="peer", mcp_servers=[server])
        context = RunContextWrapper(context=None)
        found = await MCPUtil.get_function_tools(server, True, context, agent)
        tools = {tool.name: tool for tool in found}

        async def call(name: str, arguments: dict) -> tuple[bool, str]:
            text = json.dumps(arguments)
            given = ToolContext(context=None, tool_name=name, tool_call_id="1", tool_arguments=text)
            output = await tools[name].on_invoke_tool(given, text)
            result = await server.call_tool(name, arguments)
            shown = output["text"] if isinstance(output, dict) else str(output)
            return not result.is_error, shown

        async def read(uri: str) -> str:
            return texts((await server.read_resource(uri)).contents)

        return await run(list(tools), call, read)


main(drive)
