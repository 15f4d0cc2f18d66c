"""The commands about MCP servers: which there are, and the prompts they have ready."""

from __future__ import annotations

from rich.text import Text

from agentkit.cli.chat.conversation import Chat
from agentkit.cli.language import translated
from agentkit.cli.mcp_chat import prompt_text
from agentkit.cli.render import harmless
from agentkit.errors import ConfigError
from agentkit.findings import counted
from agentkit.mcp.tools import RemotePrompt


async def mcp(chat: Chat, argument: str) -> None:
    """The servers of mcp_servers/mcp.json, and how many tools each lends."""
    from agentkit.mcp.config import read_config

    servers = read_config(chat.project.path).servers if chat.project.trusted else ()
    problems = chat.servers.problems if chat.servers else {}
    for server in servers:
        lent = [t for t in chat.project.agent.tools if t.name.startswith(f"{server.name}__")]
        said = "disabled" if server.disabled else problems.get(server.name, f"{len(lent)} tools")
        told = harmless(translated(said))
        line = Text(f"  {server.name}", "bold").append(f"  {told}", "not bold")
        chat.out.print(line)
    if not servers:
        chat.say("There are none: name them in mcp_servers/mcp.json, then run agentkit trust.")
    elif chat.servers and (resources := await chat.servers.resources()):
        said = counted(len(resources), "resource")
        chat.say(f"{said}: Tab completes them after @ and a server's name.")


async def prompts(chat: Chat, argument: str) -> None:
    """The prompts that servers have ready, or one of them, to be sent."""
    ready = await chat.servers.prompts() if chat.servers else ()
    if not argument:
        for prompt in ready:
            line = Text(f"  {prompt.server}:{prompt.name}{_blanks(prompt)}", "bold")
            chat.out.print(line.append(f"  {harmless(prompt.description)}", "not bold"))
        if not ready:
            chat.say("No server offers prompts here.")
        return
    text = await prompt_text(f"/{argument}", chat.servers) if chat.servers else None
    if text is None:
        raise ConfigError(f"There is no prompt {argument.split()[0]!r}. /prompts lists them.")
    if chat.live:
        chat.prefill = harmless(text)
        chat.say("The prompt stands below: change it or send it.")
    else:
        await chat.answer(harmless(text))


def _blanks(prompt: RemotePrompt) -> str:
    names = [a.name if a.required else f"[{a.name}]" for a in prompt.arguments]
    return f" ({', '.join(names)})" if names else ""
