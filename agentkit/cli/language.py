"""The user's language: messages are written in English, and said in Chinese where the catalog can.

A whole message is looked up, its values put in already: the catalog holds it as a template, such as
"{0} is no folder.", whose fixed parts must all stand in the message. So what raises an error knows
nothing of languages, and `str(error)` is the same everywhere. A value of several words may be a
message too, and so may what stands behind "name: "; a single word is a name and stays as it is.
AGENTKIT_LANG=zh or en decides, else the locale's variables. What programs read is never translated.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from itertools import islice
from pathlib import Path
from string import Formatter
from typing import NamedTuple

DOMAIN = "agentkit"
LOCALES = Path(__file__).parents[1] / "locale"
_LEAST_LETTERS, _TELLING = 2, 5
_VARIABLES = ("AGENTKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
NOTHING = ("none", "nothing")
"""The words that stand where a list would."""

_MOST_PARTS, _DEEPEST = 8, 4
_MARK = "\ufdd0"
_WIDE = r"\u3000-\u9fff\uff00-\uffef"
_WIDE_MARKS = "，。；：、！？（「"


class Template(NamedTuple):
    """A message with places for values: one more fixed part than values."""

    parts: tuple[str, ...]
    said: str

    @property
    def letters(self) -> int:
        """How much of it is fixed."""
        return sum(map(len, self.parts))

    def is_vague(self, values: Sequence[str]) -> bool:
        """Whether other texts may look so too: few fixed letters around values of several words,
        or one fixed word, such as the notes of "3 notes", beside what is not a number."""
        fixed = "".join(self.parts)
        is_count = len(fixed.split()) == 1 and ": " not in fixed
        if is_count and not all(map(str.isdigit, values)):
            return True
        is_telling = ": " in fixed or sum(map(str.isalpha, fixed)) >= _TELLING
        return not is_telling and any(map(_is_several, values))

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

    @cached_property
    def _templates(self) -> list[Template]:
        """Those that say most first."""
        return sorted(_templates(self._messages), key=lambda each: -each.letters)

    def say(self, message: str) -> str:
        """A message in the language, or as it is where the catalog does not have it."""
        bare = message.strip()
        said = self._said(bare) if bare else None
        return message.replace(bare, said, 1) if said else message

    def _said(self, bare: str, depth: int = 0) -> str | None:
        """A message, which may stand so deep in others."""
        ways = (self._listed, self._filled, self._of_something)
        return self._exact(bare) or next(filter(None, (way(bare, depth) for way in ways)), None)

    def _exact(self, message: str) -> str | None:
        said = self._messages.get(_escaped(message))
        return _unescaped(said) if said else None

    def _filled(self, message: str, depth: int) -> str | None:
        if said := self._exact(message):
            return said
        for template in self._templates:
            values = template.values(message)
            if values is not None and not template.is_vague(values):
                said_of = [self._value(value, depth + 1) for value in values]
                return _without_gaps(template.said.format(*said_of))
        return None

    def _listed(self, message: str, depth: int) -> str | None:
        """Several messages in a row."""
        parts = message.split(", ")
        if not 1 < len(parts) <= _MOST_PARTS or not all(map(_is_several, parts)):
            return None
        said = [self._filled(part, depth) or "" for part in parts]
        return "，".join(said) if all(said) else None

    def _of_something(self, message: str, depth: int) -> str | None:
        """What is said of a thing that is named first."""
        for colon in islice(re.finditer(": ", message), _MOST_PARTS):
            told = message[colon.end() :]
            if _is_several(told) and (said := self._filled(told, depth)):
                return f"{message[: colon.start()].replace(': ', '：')}：{said}"
        return None

    def _value(self, value: str, depth: int) -> str:
        """A value of a message. One that is a message is marked, for no gap belongs around it."""
        bare = value.strip()
        is_ours = depth <= _DEEPEST and (
            bare in NOTHING or (_is_several(bare) and not _is_path(bare))
        )
        said = self._said(bare, depth) if is_ours else None
        return f"{_MARK}{said}{_MARK}" if said else value


def translated(message: str) -> str:
    """A message of this program in the user's language."""
    catalog = _catalog(language())
    return catalog.say(message) if catalog else message


def spoken(*messages: str) -> str:
    """Messages one behind the other, each translated."""
    return _joined(map(translated, filter(None, messages)))


def labelled(label: str, text: str) -> str:
    """A message before a text that stays as it is."""
    return _joined((translated(label), text))


def titled(name: str) -> str:
    """A message and a colon, to stand before a text."""
    return f"{translated(name)}{'：' if language() == 'zh' else ': '}"


def language() -> str:
    """ "zh" or "en", by the environment."""
    said = next(filter(None, (os.environ.get(name, "") for name in _VARIABLES)), "")
    return "zh" if said.lower().startswith("zh") else "en"


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
        parts = _parts(message)
        if len(parts) > 1 and sum(map(str.isalpha, "".join(parts))) >= _LEAST_LETTERS:
            yield Template(parts, said)


def _parts(message: str) -> tuple[str, ...]:
    """The fixed parts of a message, around its numbered places."""
    parts = [""]
    for text, name, _, _ in Formatter().parse(message):
        parts[-1] += text
        if name is not None:
            parts.append("")
    return tuple(parts)


def _joined(parts: Iterable[str]) -> str:
    """With spaces between, but none behind a full-width mark."""
    text = ""
    for part in parts:
        text += part if not text or text.endswith(tuple(_WIDE_MARKS)) else f" {part}"
    return text


def _is_several(words: str) -> bool:
    """A single word is a name."""
    return " " in words


def _is_path(text: str) -> bool:
    """Whether a value is a path and not a sentence that begins with one."""
    return text.startswith(("/", "~", "\\")) and ": " not in text and not text.endswith(".")


def _without_gaps(text: str) -> str:
    """A text whose marks are taken out, and blanks that they leave between wide characters."""
    return re.sub(rf"(?<=[{_WIDE}]) ?{_MARK} ?(?=[{_WIDE}])|{_MARK}", "", text)


def _escaped(text: str) -> str:
    """As a template writes it."""
    return re.sub(r"[{}]", r"\g<0>\g<0>", text)


def _unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")
