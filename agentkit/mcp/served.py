"""Our tools as the SDK serves them: with their own schemas, checks and words.

Importing this loads the SDK, which takes a second: import it where a server is built.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from concurrent.futures import Future
from typing import Any, get_type_hints

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError as SaidToTheModel
from mcp.server.mcpserver.tools import Tool as SdkTool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, ImageContent, TextContent, ToolAnnotations
from pydantic import BaseModel, Field

from agentkit.errors import ToolError
from agentkit.messages import Content, ImagePart, text_of
from agentkit.tools.context import NoContext
from agentkit.tools.tool import Tool


class ServedTool(SdkTool):
    """One of our tools. The SDK would derive a schema from a signature, which not all of ours
    have, and mask every error that is not its own."""

    source: Any = Field(exclude=True)

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult:
        progress = Progress(context)
        try:
            result = await self.source.run(arguments, progress)
        except ToolError as error:
            raise SaidToTheModel(str(error)) from error
        finally:
            await progress.sent()
        return CallToolResult(
            content=_blocks(result),
            structured_content=json.loads(text_of(result)) if self.output_schema else None,
        )


def _blocks(result: Content) -> list[Any]:
    if isinstance(result, str):
        return [TextContent(type="text", text=result)]
    return [
        ImageContent(type="image", data=b64encode(part.data).decode(), mime_type=part.media_type)
        if isinstance(part, ImagePart)
        else TextContent(type="text", text=part.text)
        for part in result
    ]


class Progress(NoContext):
    """What a tool reports, sent to the client in order, from whatever thread it comes."""

    def __init__(self, context: Context[Any, Any]) -> None:
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._reports: list[Future[None]] = []
        self._steps = 0

    def report(self, message: str, fraction: float | None = None) -> None:
        self._steps += 1
        said = message if fraction is None else f"{message} ({fraction:.0%})"
        sending = self._context.report_progress(self._steps, None, said)
        self._reports.append(asyncio.run_coroutine_threadsafe(sending, self._loop))

    async def sent(self) -> None:
        """Wait until every report has gone out, or failed to."""
        await asyncio.gather(*map(asyncio.wrap_future, self._reports), return_exceptions=True)


def served(tool: Tool, *, reads_only: bool = False) -> ServedTool:
    """A tool of ours for the SDK's server."""
    hints = ToolAnnotations(read_only_hint=True, open_world_hint=False) if reads_only else None
    return ServedTool(
        fn=tool.function,
        name=tool.name,
        title=None,
        description=tool.description,
        parameters=dict(tool.parameters),
        fn_metadata=FuncMetadata(arg_model=ArgModelBase, output_schema=_output_schema(tool)),
        is_async=True,
        context_kwarg=None,
        annotations=hints,
        source=tool,
    )


def _output_schema(tool: Tool) -> dict[str, Any] | None:
    """The schema of a result that is a pydantic model; other results are plain text."""
    result = get_type_hints(tool.function).get("return")
    if isinstance(result, type) and issubclass(result, BaseModel):
        return result.model_json_schema(mode="serialization")
    return None
