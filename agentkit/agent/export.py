"""A conversation as Markdown for people, or as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable

from agentkit.agent.session import Session
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message, ToolCall, chunk_record, message_record

_SHOWN = 2000
_TITLES = {"user": "User", "assistant": "Assistant"}


def as_markdown(session: Session, title: str) -> str:
    """What was said, tool calls folded, and the passages that were cited, by their numbers."""
    parts = [f"# {title}", *(_told(message) for message in session.messages)]
    if len(session.sources):
        parts += ["## Sources", "\n".join(_listed(session.sources))]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(session: Session, title: str) -> str:
    """All of it: messages as they were, and the passages with their places."""
    sources = {
        str(number): chunk_record(chunk)
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


def _told(message: Message) -> str:
    if message.role == "tool":
        return _folded("result", message.text)
    calls = [_folded(f"calls {call.name}", _arguments(call)) for call in message.tool_calls]
    title = _TITLES.get(message.role)
    said = [f"## {title}", message.text] if title and message.text else []
    return "\n\n".join([*said, *calls])


def _folded(title: str, text: str) -> str:
    shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]} …"
    fence = "````" if "```" in shown else "```"
    return f"<details><summary>{title}</summary>\n\n{fence}\n{shown}\n{fence}\n\n</details>"


def _arguments(call: ToolCall) -> str:
    if isinstance(call.arguments, str):
        return call.arguments
    return json.dumps(dict(call.arguments), ensure_ascii=False, indent=2, default=str)


def _listed(sources: Sources) -> Iterable[str]:
    for number in range(1, len(sources) + 1):
        if chunk := sources.find(str(number)):
            yield f"- [{number}] {chunk.place} (characters {chunk.start}-{chunk.end})"
