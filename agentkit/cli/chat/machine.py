"""The commands about what answers: the model, its settings, tools, approvals and servers."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

from rich.text import Text

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.registry import get_model
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.language import labelled, translated
from agentkit.cli.render import described, print_rows
from agentkit.errors import ConfigError
from agentkit.tools.tool import Tool

_T = TypeVar("_T")


async def status(chat: Chat, argument: str) -> None:
    """What the status bar says, for those who have none."""
    model, name, *measured = chat.figures
    chat.out.print(Text(labelled("Model:", model)))
    chat.out.print(Text(labelled("Conversation:", name)))
    for figure in measured:
        chat.out.print(Text(figure))


async def model(chat: Chat, argument: str) -> None:
    """Say which model answers, or let another one."""
    agent = chat.project.agent
    if not argument:
        chat.out.print(Text(await described(agent.model)))
        return
    knowledge = agent.knowledge
    extractive = partial(ExtractiveModel, knowledge.similarity if knowledge else None)
    agent.model = get_model(argument, chat.project.settings.providers, extractive=extractive)
    chat.models.append(agent.model)
    chat.say(f"From now on {await described(agent.model)} answers.")


async def models(chat: Chat, argument: str) -> None:
    """The models at hand."""
    from agentkit.cli.models import list_models

    await list_models(json=False, out=chat.out, log=chat.log)


async def tools(chat: Chat, argument: str) -> None:
    """The tools, each with whether it asks first, or one of them with its parameters."""
    known = {tool.name: tool for tool in chat.project.agent.tools}
    if argument:
        tool = nearest(argument, known, "tool")
        word = translated(_word(chat, tool))
        chat.out.print(Text(tool.name, "bold").append(f"  {word}", "dim"))
        chat.out.print(Text(tool.description))
        for name, schema in tool.parameters.get("properties", {}).items():
            chat.out.print(Text(f"  {name}: {schema.get('description', schema.get('type', ''))}"))
        return
    rows = [
        (
            Text(f"  {tool.name}", "bold").append(
                f" {translated(_word(chat, tool))}".rstrip(), "yellow"
            ),
            Text((tool.description.splitlines() or [""])[0], "dim"),
        )
        for tool in known.values()
    ]
    print_rows(rows, chat.out, cut=True)
    if not known:
        chat.say("There are none: put Python files with @tool functions into tools/.")


async def approve(chat: Chat, argument: str) -> None:
    """What may run unasked; more, or no longer."""
    allowed = chat.allowed
    verb, _, name = argument.partition(" ")
    always = allowed.always()
    if not argument:
        names = ", ".join(sorted(allowed.session)) or translated("nothing")
        chat.out.print(Text(labelled("In this session:", names)))
        names = ", ".join(always) or translated("nothing")
        chat.out.print(Text(labelled("Always in this folder:", names)))
        chat.say(f"Kept in {allowed.file}. /approve forget NAME takes one back.")
    elif verb == "forget":
        if name not in always and name not in allowed.session:
            raise ConfigError(f"{name or 'That'} is not allowed anyway: /approve lists what is.")
        allowed.session.discard(name)
        allowed.keep([other for other in always if other != name])
        chat.say(f"{name} asks again.")
    else:
        known = {tool.name: tool for tool in chat.project.agent.tools}
        allowed.session.add(nearest(argument, known, "tool").name)
        chat.say(f"{argument} may run unasked in this session.")


async def system(chat: Chat, argument: str) -> None:
    """Show or change the instructions."""
    agent = chat.project.agent
    if argument:
        agent.instructions = "" if argument == "none" else argument
        chat.say("The instructions are changed for this chat; agentkit.toml keeps its own.")
    else:
        none = translated("There are no instructions of your own.")
        chat.out.print(Text(agent.instructions or none))


def nearest(name: str, known: Mapping[str, _T], kind: str) -> _T:
    """What is called so. Raises ConfigError, which names what is called nearly so."""
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known) or 'none'}."
    raise ConfigError(f"There is no {kind} {name!r}. {hint}")


def _word(chat: Chat, tool: Tool) -> str:
    """Whether a tool asks before it runs."""
    decision = chat.project.agent.policy.decide(tool)
    if decision == "ask":
        return "(allowed)" if chat.allowed.holds(tool.name) else "(asks first)"
    return "(forbidden)" if decision == "deny" else ""
