"""pydantic-ai: an agent whose model makes the calls."""

import os

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import (
    ModelResponse,
    RetryPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, FunctionModel
from steps import main, run, texts


async def drive(command: list[str]) -> dict:
    toolset = MCPToolset(StdioTransport(command[0], command[1:], env=dict(os.environ)))
    listed: list[str] = []
    async with toolset:

        async def call(name: str, arguments: dict) -> tuple[bool, str]:
            def answer(messages: list, info: AgentInfo) -> ModelResponse:
                listed[:] = [tool.name for tool in info.function_tools]
                last = messages[-1].parts[-1]
                if isinstance(last, ToolReturnPart | RetryPromptPart):
                    return ModelResponse(parts=[TextPart("done")])
                return ModelResponse(parts=[ToolCallPart(name, arguments)])

            result = await Agent(FunctionModel(answer), toolsets=[toolset]).run("go")
            part = next(
                part
                for message in result.all_messages()
                for part in message.parts
                if isinstance(part, ToolReturnPart | RetryPromptPart)
            )
            if isinstance(part, RetryPromptPart):
                return False, part.model_response()
            text = part.model_response_str()
            return not text.startswith('{"error":'), text

        async def read(uri: str) -> str:
            found = await toolset.read_resource(uri)
            return found if isinstance(found, str) else texts(found)

        await call("list_documents", {})
        return await run(listed, call, read)


main(drive)
