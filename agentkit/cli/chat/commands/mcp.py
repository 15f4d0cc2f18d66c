"""Chat commands about MCP servers: list them, use their prompts, and answer their questions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.console import is_yes, strip_controls
from agentkit.cli.i18n import _, counted
from agentkit.errors import ConfigError
from agentkit.mcp.client import McpServers
from agentkit.mcp.client_features import ElicitationRequest
from agentkit.mcp.config import read_config
from agentkit.mcp.results import visible
from agentkit.mcp.tools import RemotePrompt

Ask = Callable[[str], Awaitable[str]]

_DECLINE = "/no"


async def list_servers(chat: Chat, argument: str) -> None:
    """List the servers of mcp_servers/mcp.json, and how many tools each has."""
    servers = read_config(chat.project.path).servers if chat.project.trusted else ()
    problems = chat.servers.problems if chat.servers else {}
    for server in servers:
        tools = [t for t in chat.project.agent.tools if t.name.startswith(f"{server.name}__")]
        count = counted("{count} tool", "{count} tools", len(tools))
        state = _("disabled") if server.disabled else problems.get(server.name, count)
        chat.out.print(Text(f"  {server.name}", "bold").append(f"  {state}", "not bold"))
    if not servers:
        chat.note(_("There are none: add them to mcp_servers/mcp.json, then run agentkit trust."))
    elif chat.servers and (resources := await chat.servers.resources()):
        count = counted("{count} resource", "{count} resources", len(resources))
        text = _("{resources}: Tab completes them after @ and a server's name.")
        chat.note(text.format(resources=count))


async def prompts(chat: Chat, argument: str) -> None:
    """List the prompts of servers, or send one of them."""
    offered = await chat.servers.prompts() if chat.servers else ()
    if not argument:
        for prompt in offered:
            line = Text(f"  {prompt.server}:{prompt.name}{_format_parameters(prompt)}", "bold")
            chat.out.print(line.append(f"  {prompt.description}", "not bold"))
        if not offered:
            chat.note(_("No server offers prompts here."))
        return
    text = await prompt_text(f"/{argument}", chat.servers) if chat.servers else None
    if text is None:
        message = _("Unknown prompt {name!r}. /prompts lists them.")
        raise ConfigError(message.format(name=argument.split()[0]))
    text = strip_controls(text)
    if chat.is_live:
        chat.prefill = text
        chat.note(_("The prompt stands below: change it or send it."))
    else:
        await chat.answer(text)


async def prompt_text(line: str, servers: McpServers) -> str | None:
    """The text of `/server:prompt name=value ...`; None where the line is no such command. Values
    without a name fill the parameters in order. Raises ConfigError, ToolError."""
    name, _space, rest = line.removeprefix("/").partition(" ")
    server, colon, prompt = name.partition(":")
    if not line.startswith("/") or not colon or server not in servers.clients:
        return None
    known = {p.name: p for p in await servers.prompts() if p.server == server}
    if prompt not in known:
        names = ", ".join(f"/{server}:{each}" for each in known) or _("nothing")
        text = _("{server!r} has no prompt {prompt!r}. Available: {names}.")
        raise ConfigError(text.format(server=server, prompt=prompt, names=names))
    values = _parse_values(known[prompt], rest)
    messages = await servers.prompt(server, prompt, values)
    return "\n\n".join(message.text for message in messages)


async def ask_fields(
    question: ElicitationRequest, ask: Ask, out: Console
) -> Mapping[str, Any] | None:
    """Ask a server's question on the terminal, field by field. None where the user declines."""
    text = _("The MCP server {server!r} asks: {question}")
    out.print(Text(text.format(server=question.server, question=question.message)))
    try:
        if question.url:
            text = _("It asks you to open: {url}").format(url=visible(question.url))
            out.print(Text(text))
            return {} if is_yes(await ask(_("Have you opened it? [y/N] "))) else None
        text = _("Give the answers to share, or {decline}.").format(decline=_DECLINE)
        out.print(Text(text))
        return await _ask_each(question.schema, ask, out)
    except (EOFError, KeyboardInterrupt):
        return None


async def _ask_each(schema: Mapping[str, Any], ask: Ask, out: Console) -> Mapping[str, Any] | None:
    answers: dict[str, Any] = {}
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        while True:
            answer = (await ask(f"{_format_field(name, field)}: ")).strip()
            if answer == _DECLINE:
                return None
            if not answer and "default" in field:
                answers[name] = field["default"]
            elif answer or name in required:
                try:
                    answers[name] = _parse_answer(answer, field)
                except ValueError as error:
                    out.print(Text(f"  {error}"))
                    continue
            break
    return answers


def _format_field(name: str, field: Mapping[str, Any]) -> str:
    about = visible(str(field.get("description") or field.get("title") or ""))
    choices = f" [{', '.join(map(str, _choices(field)))}]" if _choices(field) else ""
    default = ""
    if "default" in field:
        default = _(" (default: {default})").format(default=field["default"])
    return strip_controls(f"  {visible(name)}{choices}{default}{' - ' if about else ''}{about}")


def _choices(field: Mapping[str, Any]) -> list[Any]:
    titled = field.get("oneOf") or field.get("anyOf") or ()
    return list(field.get("enum") or [each["const"] for each in titled if "const" in each])


def _parse_answer(answer: str, field: Mapping[str, Any]) -> Any:
    """An answer in the field's type. Raises ValueError with a message for the user."""
    choices = _choices(field)
    if choices and answer not in map(str, choices):
        names = ", ".join(map(str, choices))
        raise ValueError(_("Choose one of: {choices}.").format(choices=names))
    match field.get("type"):
        case "integer" | "number" as kind:
            try:
                return int(answer) if kind == "integer" else float(answer)
            except ValueError:
                raise ValueError(_("Give a number.")) from None
        case "boolean":
            if answer.lower() not in ("y", "yes", "true", "n", "no", "false"):
                raise ValueError(_("Answer yes or no."))
            return answer.lower() in ("y", "yes", "true")
        case "array":
            return json.loads(answer) if answer.startswith("[") else re.split(r"\s*,\s*", answer)
    if not answer:
        raise ValueError(_("This is required. {decline} declines.").format(decline=_DECLINE))
    return answer


def _parse_values(prompt: RemotePrompt, text: str) -> dict[str, str]:
    """The values of a prompt's parameters. Raises ConfigError."""
    try:
        parts: Sequence[str] = shlex.split(text)
    except ValueError as error:
        message = _("{error}. Close the quotes.").format(error=error)
        raise ConfigError(message) from error
    names = [argument.name for argument in prompt.arguments]
    values: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if equals and name in names:
            values[name] = value
        elif free := [each for each in names if each not in values]:
            values[free[0]] = part
    missing = [a.name for a in prompt.arguments if a.required and a.name not in values]
    if missing:
        command, needed = f"/{prompt.server}:{prompt.name}", ", ".join(missing)
        text = _("{command} needs {names}.").format(command=command, names=needed)
        raise ConfigError(text)
    return values


def _format_parameters(prompt: RemotePrompt) -> str:
    names = [a.name if a.required else f"[{a.name}]" for a in prompt.arguments]
    return f" ({', '.join(names)})" if names else ""
