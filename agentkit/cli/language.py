"""The user's language: messages are written in English, and said in Chinese where the catalog can.

A whole message is looked up, its values put in already: the catalog holds it as a template, such as
"{0} is no folder.", whose fixed parts must all stand in the message. So what raises an error knows
nothing of languages, and `str(error)` is the same everywhere. AGENTKIT_LANG=zh or en decides, else
the locale's variables. What programs read is never translated.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from string import Formatter
from typing import NamedTuple

DOMAIN = "agentkit"
LOCALES = Path(__file__).parents[1] / "locale"
_LEAST_LETTERS = 4
_VARIABLES = ("AGENTKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


class Template(NamedTuple):
    """A message with places for values: one more fixed part than values."""

    parts: tuple[str, ...]
    said: str

    @property
    def letters(self) -> int:
        """How much of it is fixed."""
        return sum(map(len, self.parts))

    def values(self, message: str) -> list[str] | None:
        """What stands between the fixed parts, None where they are not all there."""
        first, *others = self.parts
        if not message.startswith(first) or not message.endswith(self.parts[-1]):
            return None
        found, at = [], len(first)
        for part in others[:-1]:
            next_at = message.find(part, at)
            if next_at < 0:
                return None
            found.append(message[at:next_at])
            at = next_at + len(part)
        end = len(message) - len(self.parts[-1])
        return [*found, message[at:end]] if at <= end else None


class Catalog:
    """The messages of one language."""

    def __init__(self, messages: Mapping[str, str]) -> None:
        self._messages = messages
        self._templates = sorted(_templates(messages), key=lambda each: -each.letters)

    def say(self, message: str) -> str:
        """A message in the language, or as it is where the catalog does not have it."""
        bare = message.strip()
        if not bare:
            return message
        said = self._messages.get(_escaped(bare)) or self._filled(bare)
        return message.replace(bare, said, 1) if said else message

    def _filled(self, message: str) -> str | None:
        for template in self._templates:
            if (values := template.values(message)) is not None:
                return template.said.format(*map(self.say, values))
        return None


def translated(message: str) -> str:
    """A message of this program in the user's language."""
    catalog = _catalog(language())
    return catalog.say(message) if catalog else message


def language() -> str:
    """ "zh" or "en", by the environment."""
    said = next(filter(None, (os.environ.get(name, "") for name in _VARIABLES)), "")
    return "zh" if said.lower().startswith("zh") else "en"


def speak() -> None:
    """Let the command line's library speak the language too; it asks gettext."""
    os.environ["LANGUAGE"] = language()
    gettext.bindtextdomain(DOMAIN, LOCALES)
    gettext.textdomain(DOMAIN)


@cache
def _catalog(name: str) -> Catalog | None:
    if name == "en":
        return None
    try:
        return Catalog(gettext.translation(DOMAIN, LOCALES, [name], class_=_Messages).all())
    except OSError:
        return None


class _Messages(gettext.GNUTranslations):
    def all(self) -> dict[str, str]:
        """Every message, without the head of the file."""
        found: dict[str, str] = self._catalog  # type: ignore[attr-defined]
        return {key: text for key, text in found.items() if key and text}


def _templates(messages: Mapping[str, str]) -> Iterator[Template]:
    for message, said in messages.items():
        parts, has_places = _parts(message)
        if has_places and sum(map(str.isalpha, "".join(parts))) >= _LEAST_LETTERS:
            yield Template(parts, said)


def _parts(message: str) -> tuple[tuple[str, ...], bool]:
    """The fixed parts of a message, and whether it has numbered places."""
    parts, has_places = [""], False
    for text, name, _, _ in Formatter().parse(message):
        parts[-1] += text
        if name is not None:
            parts.append("")
            has_places = name.isdigit()
    return tuple(parts), has_places


def _escaped(text: str) -> str:
    """As a template writes it."""
    return re.sub(r"[{}]", r"\g<0>\g<0>", text)
