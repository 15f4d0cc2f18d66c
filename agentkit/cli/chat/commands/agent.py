"""Chat commands about the agent and its last run: model, settings, tools, approvals, reasoning."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any, Literal, TypeVar

from rich.text import Text

from agentkit.agent.agent import Agent
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.registry import require_keys
from agentkit.cli.chat.conversation import CallRecord, Chat, QuitChat
from agentkit.cli.commands.models import print_models
from agentkit.cli.commands.trace import print_trace
from agentkit.cli.console import format_arguments, print_rows
from agentkit.cli.i18n import _
from agentkit.cli.json_output import answer_record
from agentkit.cli.project import describe_model
from agentkit.errors import ConfigError
from agentkit.knowledge.search.filters import Filters
from agentkit.tools.tool import Tool

T = TypeVar("T")

_MOST_RESULT = 20_000


async def status(chat: Chat, argument: str) -> None:
    """Show what the status bar shows."""
    model, name, *figures = chat.status
    chat.out.print(Text(_("Model: {model}").format(model=model)))
    chat.out.print(Text(_("Conversation: {name}").format(name=name)))
    for figure in figures:
        chat.out.print(Text(figure))


async def model(chat: Chat, argument: str) -> None:
    """Show the model, or switch to another."""
    agent = chat.project.agent
    if not argument:
        chat.out.print(Text(await describe_model(agent.model)))
        return
    opened = chat.project.open_model(argument, partial(ExtractiveModel, agent.knowledge))
    require_keys(argument, chat.project.settings.providers)
    agent.model = opened
    chat.opened_models.append(agent.model)
    name = await describe_model(agent.model)
    chat.note(_("The model is now {model}.").format(model=name))


async def models(chat: Chat, argument: str) -> None:
    await print_models(chat.out, chat.log)


async def tools(chat: Chat, argument: str) -> None:
    """List the tools, each with its approval, or one of them with its parameters."""
    known = {tool.name: tool for tool in chat.project.agent.offered_tools}
    if argument:
        tool = find_nearest(argument, known, _("tool"))
        chat.out.print(Text(tool.name, "bold").append(f"  {_approval_state(chat, tool)}", "dim"))
        chat.out.print(Text(tool.description))
        for name, schema in tool.parameters.get("properties", {}).items():
            about = schema.get("description", schema.get("type", ""))
            chat.out.print(Text(f"  {name}: {about}"))
        return
    rows = []
    for tool in known.values():
        state = f" {_approval_state(chat, tool)}".rstrip()
        about = (tool.description.splitlines() or [""])[0]
        rows.append((Text(f"  {tool.name}", "bold").append(state, "yellow"), Text(about, "dim")))
    print_rows(rows, chat.out, cut=True)
    if not known:
        chat.note(_("There are no tools: put Python files with @tool functions into tools/."))


async def approve(chat: Chat, argument: str) -> None:
    """List the tools that run without approval, or change that."""
    allowed = chat.allowed
    verb, _space, name = argument.partition(" ")
    always = allowed.always()
    if not argument:
        nothing = _("nothing")
        tools = ", ".join(sorted(allowed.session)) or nothing
        chat.out.print(Text(_("In this session: {tools}").format(tools=tools)))
        tools = ", ".join(always) or nothing
        chat.out.print(Text(_("Always in this folder: {tools}").format(tools=tools)))
        text = _("Stored in {file}. /approve forget NAME removes one.")
        chat.note(text.format(file=allowed.file))
    elif verb == "forget":
        if name not in always and name not in allowed.session:
            raise ConfigError(_("{tool!r} is not allowed: /approve lists those.").format(tool=name))
        allowed.session.discard(name)
        allowed.store([other for other in always if other != name])
        chat.note(_("{tool} needs approval again.").format(tool=name))
    else:
        known = {tool.name: tool for tool in chat.project.agent.offered_tools}
        allowed.session.add(find_nearest(argument, known, _("tool")).name)
        text = _("{tool} runs without approval in this session.")
        chat.note(text.format(tool=argument))


async def system(chat: Chat, argument: str) -> None:
    """Show or change the instructions."""
    agent = chat.project.agent
    if argument:
        agent.instructions = "" if argument == "none" else argument
        chat.note(_("The instructions are changed for this chat; agentkit.toml keeps its own."))
    else:
        none = _("There are no instructions of your own.")
        chat.out.print(Text(str(agent.instructions) or none))


async def think(chat: Chat, argument: str) -> None:
    """Show the last reasoning; on and off switch whether it is shown as it streams."""
    match argument:
        case "on" | "off":
            chat.shows_reasoning = argument == "on"
            shown, folded = _("Reasoning is shown as it streams."), _("Reasoning is folded.")
            chat.note(shown if chat.shows_reasoning else folded)
        case "":
            text = "".join(chat.record.reasoning).strip()
            chat.out.print(Text(text or _("The model returned no reasoning."), "dim"))
        case _other:
            raise ConfigError(_("Use /think, /think on or /think off."))


async def last(chat: Chat, argument: str) -> None:
    """Show every call of the last run in full."""
    for record in chat.record.calls:
        chat.out.print(Text(f"{'  ' * record.depth}{_call_title(record)}", "bold"))
        chat.out.print(Text(format_arguments(record.call.arguments)))
        chat.out.print(Text(record.result[:_MOST_RESULT] + "\n", "dim"))
    if not chat.record.calls:
        chat.note(_("The last answer called no tool."))


def _call_title(record: CallRecord) -> str:
    titles = {
        "returned": _("{tool} returned after {seconds:.2f} s"),
        "failed": _("{tool} failed after {seconds:.2f} s"),
        "denied": _("{tool} was denied"),
    }
    return titles[record.outcome].format(tool=record.call.name, seconds=record.seconds)


async def json_(chat: Chat, argument: str) -> None:
    """Print the last answer as JSON."""
    if chat.last_answer is None:
        raise ConfigError(_("There is no answer yet: ask something first."))
    text = json.dumps(answer_record(chat.last_answer), ensure_ascii=False, indent=2)
    chat.out.print(text, markup=False, soft_wrap=True)


async def trace(chat: Chat, argument: str) -> None:
    """Show a run step by step."""
    print_trace(argument or "last", chat.project.path, chat.out)


async def quit_(chat: Chat, argument: str) -> None:
    raise QuitChat


def find_nearest(name: str, known: Mapping[str, T], kind: str) -> T:
    """The item of that name. Raises ConfigError with the most similar name, or all."""
    if name in known:
        return known[name]
    if near := get_close_matches(name, known, n=1, cutoff=0.4):
        text = _("Unknown {kind} {name!r}. Did you mean {near}?")
        text = text.format(kind=kind, name=name, near=near[0])
    else:
        text = _("Unknown {kind} {name!r}. Available: {names}.")
        text = text.format(kind=kind, name=name, names=", ".join(known) or _("nothing"))
    raise ConfigError(text)


def _approval_state(chat: Chat, tool: Tool) -> str:
    """Whether a tool needs approval."""
    decision = chat.project.agent.policy.decide(tool)
    if decision == "ask":
        return _("(allowed)") if chat.allowed.has(tool.name) else _("(needs approval)")
    return _("(forbidden)") if decision == "deny" else ""


@dataclass(frozen=True, slots=True)
class ChatSetting:
    """A setting: the part of the agent that has it, and its field there."""

    name: str
    about: str
    example: str
    part: Literal["options", "limits", "retrieval"]
    field: str
    parse: Callable[[str], Any]
    """Raises ValueError."""
    none: Any = None
    """What the word none sets it to; "" where it is not allowed."""
    choices: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[str, ...]:
        """The values that Tab completes."""
        return self.choices or (self.example, *(("none",) if self.none is None else ()))

    def parse_value(self, text: str) -> Any:
        """The value of a text. Raises ConfigError."""
        try:
            return self.none if text == "none" and self.none != "" else self.parse(text)
        except ValueError as error:
            message = _("Invalid value {value!r} for {name}. Example: /set {name} {example}")
            message = message.format(value=text, name=self.name, example=self.example)
            raise ConfigError(message) from error

    def format_value(self, agent: Agent) -> str:
        value = getattr(getattr(agent, self.part), self.field)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Filters):
            return " ".join(value.sources) or "all"
        return "none" if value is None else str(value)

    def set(self, agent: Agent, value: Any) -> None:
        changed = replace(getattr(agent, self.part), **{self.field: value})
        setattr(agent, self.part, changed)


async def set_(chat: Chat, argument: str) -> None:
    """Show or change a setting of this chat."""
    name, _space, value = argument.partition(" ")
    agent = chat.project.agent
    if not name:
        rows = [
            (
                Text(f"  {each.name}"),
                Text(each.format_value(agent), "bold"),
                Text(each.about, "dim"),
            )
            for each in SETTINGS.values()
        ]
        print_rows(rows, chat.out)
        return
    setting = find_nearest(name, SETTINGS, _("setting"))
    if value:
        setting.set(agent, setting.parse_value(value.strip()))
        text = _("{name} is {value} for this chat.")
        chat.note(text.format(name=name, value=setting.format_value(agent)))
    else:
        text = f"{name} = {setting.format_value(agent)}: {setting.about}"
        chat.out.print(Text(text))


def _between(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return parse


def _parse_bool(text: str) -> bool:
    return _one_of("yes", "no")(text) == "yes"


def _parse_sources(text: str) -> Filters:
    return Filters() if text == "all" else Filters(sources=tuple(text.split()))


_MOST = 1e6
_MODES = ("always", "auto", "never")
_EXPANSIONS = ("none", "multi", "hyde")

_ALL = (
    ChatSetting("temperature", _("sampling temperature, from 0 to 2"), "0.2",
                "options", "temperature", _between(float, 0, 2)),
    ChatSetting("max_tokens", _("the most tokens of one reply"), "1000",
                "options", "max_tokens", _between(int, 1, _MOST)),
    ChatSetting("seed", _("random seed, where the server supports it"), "7",
                "options", "seed", int),
    ChatSetting("turns", _("the most model requests for one answer"), "6",
                "limits", "turns", _between(int, 1, _MOST), ""),
    ChatSetting("seconds", _("the most seconds for one answer"), "60",
                "limits", "seconds", _between(float, 0.001, _MOST)),
    ChatSetting("k", _("passages of one search, from 1 to 50"), "8",
                "retrieval", "results", _between(int, 1, 50), ""),
    ChatSetting("retrieve", _("search first (always), leave it to the model (auto), or never"),
                "auto", "retrieval", "mode", _one_of(*_MODES), "", _MODES),
    ChatSetting("expand", _("search for the question alone (none), also rephrased (multi), or for "
                            "a hypothetical answer (hyde)"),
                "multi", "retrieval", "expand", _one_of(*_EXPANSIONS), "none", _EXPANSIONS),
    ChatSetting("strict", _("leave out unsupported sentences: yes or no"), "yes",
                "retrieval", "strict", _parse_bool, "", ("yes", "no")),
    ChatSetting("sources", _("the documents to search: names or patterns, or all"), "papers/**",
                "retrieval", "filters", _parse_sources, Filters()),
)  # fmt: skip

SETTINGS = {setting.name: setting for setting in _ALL}
