"""The commands about what answers: the model, its settings, tools, approvals and servers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeVar

from rich.text import Text

from agentkit.backends.registry import get_model
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.render import described, print_line
from agentkit.errors import ConfigError
from agentkit.tools.tool import Tool

_T = TypeVar("_T")


async def model(chat: Chat, argument: str) -> None:
    """Say which model answers, or let another one."""
    agent = chat.project.agent
    if not argument:
        chat.out.print(Text(await described(agent.model)))
        return
    knowledge = agent.knowledge
    similarity = knowledge.similarity if knowledge else None
    agent.model = get_model(argument, chat.project.settings.providers, similarity=similarity)
    chat.models.append(agent.model)
    chat.say(f"from now on {await described(agent.model)} answers")


async def models(chat: Chat, argument: str) -> None:
    """The models at hand."""
    from agentkit.cli.models import list_models

    await list_models(json=False)


async def tools(chat: Chat, argument: str) -> None:
    """The tools, each with whether it asks first, or one of them with its parameters."""
    known = {tool.name: tool for tool in chat.project.agent.tools}
    if argument:
        tool = _near(argument, known, "tool")
        chat.out.print(Text(tool.name, "bold").append(f"  {_word(chat, tool)}", "dim"))
        chat.out.print(Text(tool.description))
        for name, schema in tool.parameters.get("properties", {}).items():
            chat.out.print(Text(f"  {name}: {schema.get('description', schema.get('type', ''))}"))
        return
    for tool in known.values():
        first = (tool.description.splitlines() or [""])[0]
        line = Text(f"  {tool.name}", "bold").append(f" {_word(chat, tool)}".rstrip(), "yellow")
        line.append(f"  {first}", "not bold")
        print_line(line, chat.out)
    if not known:
        chat.say("there are none: put Python files with @tool functions into tools/")


async def approve(chat: Chat, argument: str) -> None:
    """What may run unasked; more, or no longer."""
    allowed = chat.allowed
    verb, _, name = argument.partition(" ")
    always = allowed.always()
    if not argument:
        chat.out.print(Text(f"this session: {', '.join(sorted(allowed.session)) or 'nothing'}"))
        chat.out.print(Text(f"always here: {', '.join(always) or 'nothing'}"))
        chat.say(f"kept in {allowed.file}; /approve forget NAME takes one back")
    elif verb == "forget":
        if name not in always and name not in allowed.session:
            raise ConfigError(f"{name or 'That'} is not allowed anyway: /approve lists what is.")
        allowed.session.discard(name)
        allowed.keep([other for other in always if other != name])
        chat.say(f"{name} asks again")
    else:
        known = {tool.name: tool for tool in chat.project.agent.tools}
        allowed.session.add(_near(argument, known, "tool").name)
        chat.say(f"{argument} may run unasked in this session")


async def system(chat: Chat, argument: str) -> None:
    """Show or change the instructions."""
    agent = chat.project.agent
    if argument:
        agent.instructions = "" if argument == "none" else argument
        chat.say("the instructions are changed for this chat; agentkit.toml keeps its own")
    else:
        chat.out.print(Text(agent.instructions or "no instructions of your own"))


async def set_(chat: Chat, argument: str) -> None:
    """Show or change a setting of this chat."""
    name, _, value = argument.partition(" ")
    if not name:
        for known in _SETTINGS:
            chat.out.print(Text(f"  {known:12} {_setting(chat, known) or 'none'}"))
        return
    read = _near(name, _SETTINGS, "setting")
    if not value:
        raise ConfigError(f"Give a value: /set {name} {_EXAMPLES[name]}.")
    try:
        _change(chat, name, None if value == "none" else read(value.strip()))
    except ValueError as error:
        raise ConfigError(f"{value!r} does not fit {name}: {_EXAMPLES[name]} would.") from error
    chat.say(f"{name} is {value} for this chat")


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def _yes(text: str) -> bool:
    return _one_of("yes", "no")(text) == "yes"


_SETTINGS: Mapping[str, Callable[[str], Any]] = {
    "temperature": float,
    "max_tokens": int,
    "seed": int,
    "turns": int,
    "seconds": float,
    "retrieve": _one_of("always", "auto", "never"),
    "expand": _one_of("none", "multi", "hyde"),
    "strict": _yes,
}
_EXAMPLES = {
    "temperature": "0.2",
    "max_tokens": "1000",
    "seed": "7",
    "turns": "6",
    "seconds": "60",
    "retrieve": "auto",
    "expand": "multi",
    "strict": "yes",
}
_OF_LIMITS = ("turns", "seconds")
_OF_RETRIEVAL = {"retrieve": "mode", "expand": "expand", "strict": "strict"}
_NEVER_NONE = ("turns", *_OF_RETRIEVAL)


def _setting(chat: Chat, name: str) -> object:
    agent = chat.project.agent
    if name in _OF_LIMITS:
        return getattr(agent.limits, name)
    if name == "strict":
        return "yes" if agent.retrieval.strict else "no"
    if name in _OF_RETRIEVAL:
        return getattr(agent.retrieval, _OF_RETRIEVAL[name])
    return getattr(agent.options, name)


def _change(chat: Chat, name: str, value: Any) -> None:
    agent = chat.project.agent
    if name == "expand" and value is None:
        value = "none"
    if (value is None and name in _NEVER_NONE) or (name in _OF_LIMITS and value and value <= 0):
        raise ValueError(name)
    if name in _OF_LIMITS:
        agent.limits = replace(agent.limits, **{name: value})
    elif name in _OF_RETRIEVAL:
        agent.retrieval = replace(agent.retrieval, **{_OF_RETRIEVAL[name]: value})
    else:
        agent.options = replace(agent.options, **{name: value})


def _near(name: str, known: Mapping[str, _T], kind: str) -> _T:
    if name in known:
        return known[name]
    near = get_close_matches(name, known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}."
    raise ConfigError(f"{name!r} is no {kind}: {hint}")


def _word(chat: Chat, tool: Tool) -> str:
    """Whether a tool asks before it runs."""
    decision = chat.project.agent.policy.decide(tool)
    if decision == "ask":
        return "(allowed)" if chat.allowed.holds(tool.name) else "(asks first)"
    return "(forbidden)" if decision == "deny" else ""
