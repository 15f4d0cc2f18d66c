"""MCP servers in a conversation: `/server:prompt` is a prompt, and a server's questions are asked
here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rich.console import Console

from agentkit.cli.language import labelled, translated
from agentkit.cli.render import harmless
from agentkit.errors import ConfigError
from agentkit.mcp.client import McpServers
from agentkit.mcp.client_features import Elicit, ElicitationRequest
from agentkit.mcp.results import visible
from agentkit.mcp.tools import RemotePrompt

ReadLine = Callable[[str], Awaitable[str]]

_NO = "/no"


async def prompt_text(line: str, servers: McpServers) -> str | None:
    """What `/server:prompt name=value ...` stands for; None where the line is no such command.
    Values without a name fill the blanks in order. Raises ConfigError, ToolError."""
    name, _, rest = line.removeprefix("/").partition(" ")
    server, separator, prompt = name.partition(":")
    if not line.startswith("/") or not separator or server not in servers.clients:
        return None
    known = {p.name: p for p in await servers.prompts() if p.server == server}
    if prompt not in known:
        there = ", ".join(f"/{server}:{each}" for each in known) or "none"
        raise ConfigError(f"{server!r} has no prompt {prompt!r}. It has: {there}.")
    given = _filled(known[prompt], _parts(rest))
    messages = await servers.prompt(server, prompt, given)
    return "\n\n".join(message.text for message in messages)


def asking(read: ReadLine, out: Console) -> Elicit:
    """Asks a server's questions on the terminal, field by field; `/no` declines them all."""

    async def elicit(question: ElicitationRequest) -> Mapping[str, Any] | None:
        _say(out, labelled(f"The MCP server {question.server!r} asks:", question.message))
        try:
            if question.url:
                _say(out, labelled("It wants you to visit:", visible(question.url)))
                said = await read(f"{translated('Have you been there?')} [y/N] ")
                return {} if said.strip().lower() in ("y", "yes") else None
            _say(out, translated(f"Answer what you want it to know, or {_NO}."))
            return await _fields(question.schema, read, out)
        except (EOFError, KeyboardInterrupt):
            return None

    return elicit


async def _fields(
    schema: Mapping[str, Any], read: ReadLine, out: Console
) -> Mapping[str, Any] | None:
    answers: dict[str, Any] = {}
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        while True:
            said = (await read(f"{_asked(name, field)}: ")).strip()
            if said == _NO:
                return None
            if not said and "default" in field:
                answers[name] = field["default"]
            elif said or name in required:
                try:
                    answers[name] = _value(said, field)
                except ValueError as error:
                    _say(out, translated(f"  {error}"))
                    continue
            break
    return answers


def _asked(name: str, field: Mapping[str, Any]) -> str:
    about = visible(str(field.get("description") or field.get("title") or ""))
    choices = f" [{', '.join(map(str, _choices(field)))}]" if _choices(field) else ""
    default = f" ({labelled('default', str(field['default']))})" if "default" in field else ""
    return harmless(f"  {visible(name)}{choices}{default}{' - ' if about else ''}{about}")


def _choices(field: Mapping[str, Any]) -> list[Any]:
    titled = field.get("oneOf") or field.get("anyOf") or ()
    return list(field.get("enum") or [each["const"] for each in titled if "const" in each])


def _value(said: str, field: Mapping[str, Any]) -> Any:
    """What was said as the field's type has it. Raises ValueError in words."""
    choices = _choices(field)
    if choices and said not in map(str, choices):
        raise ValueError(f"Choose one of: {', '.join(map(str, choices))}.")
    match field.get("type"):
        case "integer" | "number" as kind:
            try:
                return int(said) if kind == "integer" else float(said)
            except ValueError:
                raise ValueError("Give a number.") from None
        case "boolean":
            if said.lower() not in ("y", "yes", "true", "n", "no", "false"):
                raise ValueError("Say yes or no.")
            return said.lower() in ("y", "yes", "true")
        case "array":
            return json.loads(said) if said.startswith("[") else re.split(r"\s*,\s*", said)
    if not said:
        raise ValueError(f"It is needed. {_NO} declines.")
    return said


def _parts(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{error}. Close the quotes.") from error


def _filled(prompt: RemotePrompt, parts: Sequence[str]) -> dict[str, str]:
    names = [argument.name for argument in prompt.arguments]
    given: dict[str, str] = {}
    for part in parts:
        name, separator, value = part.partition("=")
        if separator and name in names:
            given[name] = value
        elif free := [each for each in names if each not in given]:
            given[free[0]] = part
    missing = [a.name for a in prompt.arguments if a.required and a.name not in given]
    if missing:
        raise ConfigError(f"/{prompt.server}:{prompt.name} needs {', '.join(missing)}.")
    return given


def _say(out: Console, text: str) -> None:
    out.print(harmless(text), markup=False)
