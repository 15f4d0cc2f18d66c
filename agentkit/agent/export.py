"""Export a conversation as Markdown for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict

from agentkit.agent.session import Session
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message, ToolCall, message_record

_MAX_CHARACTERS = 2000
_TITLES = {"user": "User", "assistant": "Assistant"}


def as_markdown(session: Session, title: str) -> str:
    """The conversation with its tool calls folded, then the cited passages by number."""
    parts = [f"# {title}", *(_as_text(message) for message in session.messages)]
    if len(session.sources):
        parts += ["## Sources", "\n".join(_source_lines(session.sources))]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(session: Session, title: str) -> str:
    """All messages and passages of the conversation."""
    sources = {
        str(number): asdict(chunk)
        for number in range(1, len(session.sources) + 1)
        if (chunk := session.sources.find(str(number)))
    }
    record = {
        "id": session.id,
        "name": title,
        "messages": [message_record(message) for message in session.messages],
        "sources": sources,
    }
    return json.dumps(record, ensure_ascii=False, indent=2, default=str) + "\n"


def _as_text(message: Message) -> str:
    if message.role == "tool":
        return _details("result", message.text)
    calls = [_details(f"calls {call.name}", _arguments(call)) for call in message.tool_calls]
    title = _TITLES.get(message.role)
    parts = [f"## {title}", message.text] if title and message.text else []
    return "\n\n".join([*parts, *calls])


def _details(title: str, text: str) -> str:
    shortened = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]} …"
    fence = "````" if "```" in shortened else "```"
    return f"<details><summary>{title}</summary>\n\n{fence}\n{shortened}\n{fence}\n\n</details>"


def _arguments(call: ToolCall) -> str:
    if isinstance(call.arguments, str):
        return call.arguments
    return json.dumps(dict(call.arguments), ensure_ascii=False, indent=2, default=str)


def _source_lines(sources: Sources) -> Iterable[str]:
    for number in range(1, len(sources) + 1):
        if chunk := sources.find(str(number)):
            yield f"- [{number}] {chunk.place} (characters {chunk.start}-{chunk.end})"
