"""What Tab offers in the chat: commands and what may follow them, documents and files after @."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from agentkit.backends.auto import local_models
from agentkit.cli.chat.command import Commands
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.chat.dials import DIALS
from agentkit.cli.language import translated
from agentkit.settings.keys import known_providers

_MOST = 50
_LOOKED_AT = 2000


class ChatCompleter(Completer):
    """Completes from what the chat knows; names that take time to learn are gathered beforehand."""

    def __init__(self, chat: Chat, commands: Commands) -> None:
        self._chat = chat
        self._commands = commands
        self.sources: list[str] = []
        self.models: list[str] = []
        self.prompts: list[str] = []
        self.gathering: asyncio.Future[None] | None = None

    async def gather(self) -> None:
        """Learn the names of documents and of models at hand; whatever fails is left out."""
        knowledge = self._chat.project.agent.knowledge
        if knowledge:
            self.sources = [info.source for info in await knowledge.documents()]
        self.models = [
            f"{name}:" for name in known_providers(self._chat.project.settings.providers)
        ]
        self.models += ["auto", "extractive", *await local_models()]
        if servers := self._chat.servers:
            self.sources += [f"{r.server}:{r.uri}" for r in await servers.resources()]
            self.prompts = [f"{p.server}:{p.name}" for p in await servers.prompts()]

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        word = text.rpartition(" ")[2].rpartition("\n")[2]
        if text.startswith("/"):
            yield from self._command(text)
        elif word.startswith("@"):
            self._look_again()
            yield from _quoted(_matching(word[1:], [*self.sources, *_files(word[1:])]))

    def _look_again(self) -> None:
        """Learn the names anew where documents were added; they are there at the next key."""
        if self._chat.has_changed:
            self._chat.has_changed = False
            self.gathering = asyncio.ensure_future(self.gather())

    def _command(self, text: str) -> Iterator[Completion]:
        name, space, argument = text[1:].partition(" ")
        if not space:
            known = self._commands.items()
            about = {name: translated(command.about) for name, command in known}
            yield from _matching(name, self._commands, about)
            return
        offers = self._offers().get(name)
        if offers:
            yield from _matching(argument, offers(argument))

    def _offers(self) -> Mapping[str, Callable[[str], Iterable[str]]]:
        """What may follow a command."""
        return {
            "help": lambda _: self._commands,
            "model": lambda _: self.models,
            "prompts": lambda _: self.prompts,
            "tools": lambda _: self._tools(),
            "approve": lambda _: self._tools(),
            "resume": lambda _: self._sessions(),
            "open": lambda _: [*self._chat.session.sources.numbers(), *self._chat.found,
                               *self.sources],
            "add": _files,
            "export": _files,
            "set": _dials,
            "think": lambda _: ("on", "off"),
            "sources": lambda _: ("all",),
        }  # fmt: skip

    def _tools(self) -> list[str]:
        return [tool.name for tool in self._chat.project.agent.tools]

    def _sessions(self) -> list[str]:
        store = self._chat.store
        return [info.name or info.id for info in store.recent(_MOST)] if store else []


def _matching(
    begun: str, offers: Iterable[str], about: Mapping[str, str] | None = None
) -> Iterator[Completion]:
    """The offers that begin so, then those that hold it."""
    known = list(dict.fromkeys(offers))
    first = [offer for offer in known if offer.startswith(begun)]
    holding = [offer for offer in known if begun and begun in offer[1:] and offer not in first]
    for offer in [*first, *holding][:_MOST]:
        meta = about.get(offer, "") if about else ""
        yield Completion(offer, -len(begun), display_meta=meta)


def _quoted(offers: Iterator[Completion]) -> Iterator[Completion]:
    """Names between quotes where they hold blanks, as an attachment must be written."""
    for offer in offers:
        text = f'"{offer.text}"' if " " in offer.text else offer.text
        yield Completion(text, offer.start_position, display=offer.text)


def _dials(begun: str) -> list[str]:
    """The settings, and for one that is named what it may be set to."""
    name, space, _ = begun.partition(" ")
    if space:
        return [f"{name} {value}" for value in DIALS[name].offered] if name in DIALS else []
    return list(DIALS)


def _files(begun: str) -> list[str]:
    """The files and folders that a path may go on with."""
    folder, _, last = begun.rpartition("/")
    base = f"{folder}/" if folder or begun.startswith("/") else ""
    found = []
    try:
        with os.scandir(Path(base or ".").expanduser()) as entries:
            for entry, _ in zip(entries, range(_LOOKED_AT), strict=False):
                if entry.name.startswith(last or "") and entry.name[0] != ".":
                    found.append(f"{base}{entry.name}{'/' * entry.is_dir()}")
    except OSError:
        return []
    return sorted(found)
