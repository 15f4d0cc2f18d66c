"""A session as Markdown for people, and as JSON."""

from __future__ import annotations

import json

from agentkit.agent.session import Session
from agentkit.messages import Message, ToolCall

_MAX_CHARACTERS = 2000
_TITLES = {"user": "User", "assistant": "Assistant"}


def as_markdown(session: Session, title: str) -> str:
    """The conversation with its tool calls folded, then the cited passages by number."""
    parts = [f"# {title}", *(_as_text(message) for message in session.messages)]
    if passages := session.passages():
        lines = [
            f"- [{number}] {chunk.place} (characters {chunk.start}-{chunk.end})"
            for number, chunk in passages.items()
        ]
        parts += ["## Sources", "\n".join(lines)]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(session: Session, title: str) -> str:
    """The conversation as `Session.from_json` reads it, with its name."""
    record = {"name": title, "messages": [], "sources": {}, **session.record()}
    return json.dumps(record, ensure_ascii=False, indent=2, default=str) + "\n"


def _as_text(message: Message) -> str:
    if message.role == "tool":
        return _details("result", message.prompt_text)
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
