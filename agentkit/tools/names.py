"""Resolve the name of a tool as models and servers write it.

Names come with a namespace ("functions.get_weather", "default_api:get_weather"), with control
tokens ("get_weather<|channel|>commentary"), a number ("get_weather:0"), brackets, or in another
case.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

UNREADABLE = "unreadable_call"
"""The name of a call that could not be read; its arguments are the text of it."""

_MAX_LENGTH = 64
_LONGEST = 200
_TAIL = re.compile(r"(?:[<>\s].*|[\[({]\s*[\])}]?|[=:])\Z", re.DOTALL)
_NUMBER = re.compile(r"[:#]\d+$")
_NAMESPACE = re.compile(r"[.:/]|(?<=^mcp)__")


def match_name(written: str, known: Collection[str]) -> str:
    """The one known name that a written name means, "" where there is none or more than one."""
    for candidate in _candidates(written):
        if candidate in known:
            return candidate
        folded = _folded(candidate[:_LONGEST])
        same = [name for name in known if _folded(name) == folded]
        if same:
            return same[0] if len(same) == 1 else ""
    return ""


def clean_name(written: str) -> str:
    """A name without control characters and marks, for one that matches no tool."""
    bare = _TAIL.sub("", written.strip("\"'`* \n"))
    if bare and re.fullmatch(r"[\w-]+", bare):
        return bare[:_MAX_LENGTH]
    return re.sub(r"[^\w-]+", "_", bare, flags=re.ASCII).strip("_")[:_MAX_LENGTH] or UNREADABLE


def _candidates(written: str) -> Iterator[str]:
    """The readings of a written name, the most literal first."""
    yield written
    bare = _TAIL.sub("", written.strip("\"'`* \n")).removeprefix("$")
    yield bare
    if not bare or len(bare) > _LONGEST:
        return
    numberless = _NUMBER.sub("", bare)
    yield numberless
    for separator in _NAMESPACE.finditer(numberless):
        if rest := numberless[separator.end() :]:
            yield rest


def _folded(name: str) -> str:
    return re.sub(r"[\s._-]+", "", name).casefold()
