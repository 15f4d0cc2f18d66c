"""What `/set` can change for one chat: how the model writes, how long a run may be, how documents
are searched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from rich.text import Text

from agentkit.agent.agent import Agent, Retrieval
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.chat.machine import nearest
from agentkit.cli.language import titled, translated
from agentkit.cli.render import print_rows
from agentkit.errors import ConfigError
from agentkit.knowledge.tools import knowledge_tools

Part = Literal["options", "limits", "retrieval"]


@dataclass(frozen=True, slots=True)
class Dial:
    """A setting: the part of the agent that has it, and under which name. `read` raises ValueError.
    `none` is what the word none sets it to, "" where that is no choice."""

    name: str
    about: str
    example: str
    part: Part
    field: str
    read: Callable[[str], Any]
    none: Any = None
    choices: tuple[str, ...] = ()

    @property
    def offered(self) -> tuple[str, ...]:
        """What Tab completes."""
        return self.choices or (self.example, *(("none",) if self.none is None else ()))

    def value(self, text: str) -> Any:
        """What a text stands for. Raises ConfigError."""
        try:
            if text == "none" and self.none != "":
                return self.none
            return self.read(text)
        except ValueError as error:
            hint = f"Such as: /set {self.name} {self.example}"
            raise ConfigError(f"{text!r} does not fit {self.name}. {hint}") from error

    def shown(self, agent: Agent) -> str:
        """How it stands."""
        value = getattr(getattr(agent, self.part), self.field)
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return " ".join(value) or "all"
        return "none" if value is None else str(value)

    def turn(self, agent: Agent, value: Any) -> None:
        """Change it."""
        changed = replace(getattr(agent, self.part), **{self.field: value})
        if isinstance(changed, Retrieval):
            _offer(agent, changed)
        setattr(agent, self.part, changed)


async def set_(chat: Chat, argument: str) -> None:
    """Show or change a setting of this chat."""
    name, _, value = argument.partition(" ")
    agent = chat.project.agent
    if not name:
        _list(chat)
        return
    dial = nearest(name, DIALS, "setting")
    if value:
        dial.turn(agent, dial.value(value.strip()))
        chat.say(f"{name} is {dial.shown(agent)} for this chat.")
    else:
        how = titled(f"{name} is {dial.shown(agent)}")
        chat.out.print(Text(f"{how}{translated(dial.about)}"))


def _list(chat: Chat) -> None:
    agent = chat.project.agent
    rows = [
        (
            Text(f"  {dial.name}"),
            Text(dial.shown(agent), "bold"),
            Text(translated(dial.about), "dim"),
        )
        for dial in DIALS.values()
    ]
    print_rows(rows, chat.out)


def _offer(agent: Agent, retrieval: Retrieval) -> None:
    """Give the model the tools over documents that go with a kind of retrieval, or none."""
    if agent.knowledge is None:
        return
    tools = knowledge_tools(agent.knowledge, retrieval.results, retrieval.sources)
    names = {tool.name for tool in tools}
    others = [tool for tool in agent.tools if tool.name not in names]
    agent.tools = (*(() if retrieval.mode == "never" else tools), *others)


def _between(kind: Callable[[str], Any], least: float, most: float) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value = kind(text)
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(text)
        return text

    return read


def _yes(text: str) -> bool:
    return _one_of("yes", "no")(text) == "yes"


def _words(text: str) -> tuple[str, ...]:
    return () if text == "all" else tuple(text.split())


_LONG = 1e6
_MODES = ("always", "auto", "never")
_WAYS = ("none", "multi", "hyde")

DIALS = {
    dial.name: dial
    for dial in (
        Dial("temperature", "how freely the model chooses its words, from 0 to 2", "0.2",
             "options", "temperature", _between(float, 0, 2)),
        Dial("max_tokens", "the greatest length of what the model writes", "1000",
             "options", "max_tokens", _between(int, 1, _LONG)),
        Dial("seed", "the same number, the same words, where the server keeps to it", "7",
             "options", "seed", int),
        Dial("turns", "how often the model may be asked for one answer", "6",
             "limits", "turns", _between(int, 1, _LONG), ""),
        Dial("seconds", "how long one answer may take", "60",
             "limits", "seconds", _between(float, 0.001, _LONG)),
        Dial("k", "how many passages a search gives, from 1 to 50", "8",
             "retrieval", "results", _between(int, 1, 50), ""),
        Dial("retrieve", "search first (always), leave it to the model (auto), or never", "auto",
             "retrieval", "mode", _one_of(*_MODES), "", _MODES),
        Dial("expand", "search for the question alone (none), in other words too (multi), or for a "
             "made-up answer (hyde)", "multi", "retrieval", "expand",
             _one_of(*_WAYS), "none", _WAYS),
        Dial("strict", "leave out what nothing supports: yes or no", "yes",
             "retrieval", "strict", _yes, "", ("yes", "no")),
        Dial("sources", "the documents to keep to: names or patterns, or all", "papers/**",
             "retrieval", "sources", _words, ()),
    )
}  # fmt: skip
