"""Filters of a search: by source, title, tags, dates and other metadata.

Globs are those of a shell: `*` and `?` stay within a folder, `**` goes through any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from agentkit.errors import KnowledgeError
from agentkit.text.terms import fold

_TAG_KEYS = ("tags", "topics", "keywords")
_MOST_GLOB = 500
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[(?P<not>!?)(?P<set>[^\]/]+)\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Filters:
    """All conditions must hold. `sources` are sources or globs ("reports/**/*.pdf"), any of
    which may match; `title` is a part of the title; `tags` must all be there; `after` and `before`
    bound the metadata's `date`, both included; `metadata` is compared as text; `within` are
    further filters, which must hold as well."""

    sources: tuple[str, ...] = ()
    title: str = ""
    tags: tuple[str, ...] = ()
    after: date | None = None
    before: date | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    within: Filters | None = None

    def __bool__(self) -> bool:
        return self != Filters()

    def accept(self, source: str, title: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a document passes. Raises KnowledgeError for an invalid glob."""
        return (
            _is_among(source, self.sources)
            and fold(self.title) in fold(title)
            and {fold(tag.strip()) for tag in self.tags} <= set(_tags(metadata))
            and self._in_time(metadata)
            and all(_holds(metadata.get(key), value) for key, value in self.metadata.items())
            and (self.within is None or self.within.accept(source, title, metadata))
        )

    def bounded(self, within: Filters) -> Filters:
        """These filters, for documents that pass `within` too."""
        if not within:
            return self
        return replace(self, within=self.within.bounded(within) if self.within else within)

    def check(self) -> None:
        """Raise KnowledgeError for an invalid glob."""
        for glob in self.sources:
            pattern(glob)
        if self.within is not None:
            self.within.check()

    def _in_time(self, metadata: Mapping[str, Any]) -> bool:
        if self.after is None and self.before is None:
            return True
        day = _day(metadata.get("date"))
        if day is None:
            return False
        return (self.after or day) <= day <= (self.before or day)


def _is_among(source: str, globs: tuple[str, ...]) -> bool:
    return not globs or any(pattern(glob).fullmatch(source) for glob in globs)


def pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression. Raises KnowledgeError for one that can match nothing."""
    if not glob.strip() or len(glob) > _MOST_GLOB:
        raise KnowledgeError("A source to search in is empty or too long. Name a file or a glob.")
    if glob.startswith(("/", "./", "../")) or "\\" in glob:
        raise KnowledgeError(
            f"{glob!r} matches no source: sources are relative and written with '/'. "
            "list_documents names them."
        )
    if "[" in _GLOB.sub(lambda match: "" if match["set"] else match[0], glob):
        raise KnowledgeError(f"{glob!r} is not a valid glob: its '[' is not closed.")
    try:
        return re.compile("".join(_piece(match) for match in _GLOB.finditer(glob)), re.DOTALL)
    except re.error as error:
        raise KnowledgeError(f"{glob!r} is not a valid glob: {error}.") from error


def _piece(match: re.Match[str]) -> str:
    if match["set"]:
        inside = match["set"].replace("[", r"\[").replace("^", r"\^")
        return f"[{'^' if match['not'] else ''}{inside}]"
    known = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return known.get(match[0]) or re.escape(match[0])


def _tags(metadata: Mapping[str, Any]) -> Iterator[str]:
    for key in _TAG_KEYS:
        value = metadata.get(key)
        found = re.split("[,，;；、]", value) if isinstance(value, str) else value
        if isinstance(found, (list, tuple)):
            yield from (fold(str(tag).strip()) for tag in found)


def _day(value: object) -> date | None:
    """The day of a metadata date; a year or a month alone means its first day."""
    found = re.match(r"\s*(\d{4})(?:[-/.年]?(\d{1,2}))?(?:[-/.月]?(\d{1,2}))?", str(value or ""))
    if not found:
        return None
    try:
        return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        return None


def _holds(value: object, wanted: str) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(fold(str(one)) == fold(wanted) for one in values if one is not None)
