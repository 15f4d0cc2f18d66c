"""Tools, both ways. The approval that a tool of ours may need is unknown to LangChain."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentkit.backends.wire import new_call_id
from agentkit.errors import ConfigError, ToolError
from agentkit.messages import text_of
from agentkit.sync import run_sync
from agentkit.tools.tool import Tool


def as_langchain_tool(tool: Tool, *, approved: bool = False) -> BaseTool:
    """Our tool for LangChain; its errors are told to the model. `approved` says that a tool which
    needs approval may run without asking. Raises ConfigError where it needs one and has none."""
    if tool.needs_approval and not approved:
        raise ConfigError(
            f"The tool {tool.name!r} needs approval, which LangChain does not ask for. Pass "
            "approved=True if it may always run."
        )

    async def acall(**arguments: Any) -> str:
        try:
            return text_of(await tool.run(arguments))
        except ToolError as error:
            raise ToolException(str(error)) from error

    def call(**arguments: Any) -> str:
        return run_sync(acall(**arguments))

    return StructuredTool(
        name=tool.name,
        description=tool.description,
        args_schema=tool.model or dict(tool.parameters),
        func=call,
        coroutine=acall,
        handle_tool_error=True,
    )


def from_langchain_tool(tool: BaseTool, *, needs_approval: bool = False) -> Tool:
    """LangChain's tool for our agents. It checks its arguments itself."""
    described = convert_to_openai_tool(tool)["function"]

    async def call(**arguments: Any) -> str:
        asked = {"type": "tool_call", "id": new_call_id(), "name": tool.name, "args": arguments}
        result = await tool.ainvoke(asked)
        if not isinstance(result, ToolMessage):
            return str(result)
        if result.status == "error":
            raise ToolError(str(result.text), tool.name)
        return str(result.text)

    return Tool(
        name=described["name"],
        description=described.get("description") or "",
        parameters=described.get("parameters") or {"type": "object", "properties": {}},
        function=call,
        needs_approval=needs_approval,
    )
