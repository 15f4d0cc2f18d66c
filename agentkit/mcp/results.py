"""What an MCP server's tool gave, as the text that a model reads. Images are named, not shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcp_types import CallToolResult, ContentBlock


def result_text(result: CallToolResult, most_characters: int) -> str:
    """The text parts joined; the structured content as JSON where there is no text; a line for
    each part that is no text. Cut after `most_characters`, which is then said."""
    lines = [_line(block) for block in result.content]
    if result.structured_content is not None and not any(
        block.type == "text" for block in result.content
    ):
        lines.append(json.dumps(result.structured_content, ensure_ascii=False))
    text = "\n".join(lines)
    if len(text) <= most_characters:
        return text
    return f"{text[:most_characters]}\n[cut: the first {most_characters} of {len(text)} characters]"


def _line(block: ContentBlock) -> str:
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            return f"[{block.type}: {block.mime_type}, {len(block.data) * 3 // 4} bytes]"
        case "resource_link":
            return f"[resource: {block.name}, {block.uri}]"
        case "resource":
            text = getattr(block.resource, "text", None)
            return f"[resource: {block.resource.uri}]" + (f"\n{text}" if text else "")
