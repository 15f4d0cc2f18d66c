"""Chat commands about MCP servers: list them, use their prompts, and answer their questions."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.i18n import _, counted
from agentkit.cli.text import strip_controls
from agentkit.errors import ConfigError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import read_config
from agentkit.mcp.tools import RemotePrompt


async def list_servers(chat: Chat, argument: str) -> None:
    """List the servers of mcp_servers/mcp.json, and how many tools each has."""
    servers = read_config(chat.project.path).servers if chat.project.trusted else ()
    problems = chat.project.servers.problems if chat.project.servers else {}
    for server in servers:
        tools = [t for t in chat.project.agent.tools if t.name.startswith(f"{server.name}__")]
        count = counted("{count} tool", "{count} tools", len(tools))
        state = _("disabled") if server.disabled else problems.get(server.name, count)
        chat.out.print(Text(f"  {server.name}", "bold").append(f"  {state}", "not bold"))
    if not servers:
        chat.note(_("There are none: add them to mcp_servers/mcp.json, then run agentkit trust."))
    elif chat.project.servers and (resources := await chat.project.servers.resources()):
        count = counted("{count} resource", "{count} resources", len(resources))
        text = _("{resources}: Tab completes them after @ and a server's name.")
        chat.note(text.format(resources=count))


async def prompts(chat: Chat, argument: str) -> None:
    """List the prompts of servers, or send one of them."""
    offered = await chat.project.servers.prompts() if chat.project.servers else ()
    if not argument:
        for prompt in offered:
            line = Text(f"  {prompt.server}:{prompt.name}{_format_parameters(prompt)}", "bold")
            chat.out.print(line.append(f"  {prompt.description}", "not bold"))
        if not offered:
            chat.note(_("No server offers prompts here."))
        return
    text = await prompt_text(f"/{argument}", chat.project.servers) if chat.project.servers else None
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
