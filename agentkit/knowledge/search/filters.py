"""Filters of a search: by source, title, tags, dates and other metadata.

Globs are those of a shell: `*` and `?` stay within a folder, `**` goes through any number of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from difflib import get_close_matches
from typing import Any, Protocol

from agentkit.errors import KnowledgeError
from agentkit.text.terms import composed, fold

_TAG_KEYS = ("tags", "topics", "keywords")
_DATE_KEY = re.compile("date|created|published|modified|updated")
_MONTHS = (
    "jan|janv|ene", "feb|fev|fév", "mar|mär|maerz", "apr|avr|abr", "may|mai|mayo",
    "jun|juin", "jul|juil", "aug|aou|aoû|ago", "sep", "oct|okt", "nov",
    "dec|dez|déc|dic",
)  # fmt: skip
_MONTH = {name: number for number, names in enumerate(_MONTHS, 1) for name in names.split("|")}
_ISO_DAY = re.compile(r"(?<!\d)(\d{4})(?:[-/.年]?(\d{1,2}))?(?:[-/.月]?(\d{1,2}))?")
_DAY_FIRST = re.compile(r"(?<!\d)(\d{1,2})[./](\d{1,2})[./](\d{4})(?!\d)")
_NAMED_MONTH = re.compile(
    r"(?:(?P<day>\d{1,2})(?:st|nd|rd|th|er)?\.?\s+)?(?P<month>[^\W\d_]{3,12})\.?\s+"
    r"(?:(?P<later>\d{1,2})(?:st|nd|rd|th)?,?\s+)?(?P<year>\d{4})(?!\d)"
)
_LONGEST_DATE = 100
_MOST_GLOB = 500
_MOST_TAGS = 20
_GLOB = re.compile(r"\*\*/|\*\*|\*|\?|\[(?P<not>!?)(?P<set>[^\]/]+)\]|.", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Filters:
    """All conditions must hold. `sources` are sources or globs ("reports/**/*.pdf"), any of
    which may match; `title` is a part of the title; `tags` must all be there; `after` and `before`
    bound the metadata's `date` (or what else names one: created, published, last_modified), both
    included; `metadata` is compared as text; `within` are further filters, which must hold as well.
    Names are compared in Unicode's composed form."""

    sources: tuple[str, ...] = ()
    title: str = ""
    tags: tuple[str, ...] = ()
    after: date | None = None
    before: date | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    within: Filters | None = None

    def __post_init__(self) -> None:
        for name, values in (("sources", self.sources), ("tags", self.tags)):
            if isinstance(values, str):
                raise KnowledgeError(
                    f"Filters({name}={values!r}) is one text: write {name}=({values!r},)."
                )

    def __bool__(self) -> bool:
        return self != Filters()

    def accept(self, source: str, title: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a document passes. Raises KnowledgeError for an invalid glob."""
        return (
            _is_among(source, self.sources)
            and fold(self.title) in fold(title)
            and {fold(tag.strip()) for tag in self.tags} <= set(tags_of(metadata))
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
        day = day_of(metadata)
        if day is None:
            return False
        return (self.after or day) <= day <= (self.before or day)


def _is_among(source: str, globs: tuple[str, ...]) -> bool:
    return not globs or any(pattern(glob).fullmatch(composed(source)) for glob in globs)


def pattern(glob: str) -> re.Pattern[str]:
    """A glob as a regular expression for composed names. Raises KnowledgeError for one that can
    match nothing."""
    glob = composed(glob)
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


def tags_of(metadata: Mapping[str, Any]) -> Iterator[str]:
    """The tags of a document; those of one text are separated by commas or blanks."""
    for key, value in metadata.items():
        if key.lower() not in _TAG_KEYS:
            continue
        found = (
            [*re.split("[,，;；、]", value), *value.split()] if isinstance(value, str) else value
        )
        if isinstance(found, (list, tuple)):
            yield from (fold(str(tag).strip().lstrip("#")) for tag in found)


def day_of(metadata: Mapping[str, Any]) -> date | None:
    """The day under `date`, else under another key that names one."""
    keys = [key for key in metadata if _DATE_KEY.search(key.lower())]
    ordered = sorted(keys, key=lambda key: key.lower() != "date")
    days = (parse_day(str(metadata[key] or "")) for key in ordered)
    return next((day for day in days if day is not None), None)


def parse_day(written: str) -> date | None:
    """The day of a date as people write it; a year or a month alone means its first day. Of
    05/03/2024 the day is first, as long as there is such a month."""
    text = fold(written[:_LONGEST_DATE])
    try:
        if found := _DAY_FIRST.search(text):
            day, month, year = (int(part) for part in found.groups())
            return date(year, *((month, day) if month <= 12 else (day, month)))
        for named in _NAMED_MONTH.finditer(text):
            name = named["month"]
            month = _MONTH.get(name[:4], 0) or _MONTH.get(name[:3], 0)
            if month:
                return date(int(named["year"]), month, int(named["day"] or named["later"] or 1))
        if found := _ISO_DAY.search(text):
            return date(int(found[1]), int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        pass
    return None


class Listed(Protocol):
    """A document in a list."""

    @property
    def source(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def metadata(self) -> Mapping[str, Any]: ...


def same_files(name: str, sources: Iterable[str]) -> list[str]:
    """The sources that a name without wildcards may stand for: a file's name alone, or a path that
    has folders too many or too few in front."""
    wanted = fold(name.strip().removeprefix("./").lstrip("/"))
    if not wanted or "*" in wanted or ".." in wanted.split("/"):
        return []
    folded = {source: fold(source) for source in sources}
    exact = [source for source, each in folded.items() if each == wanted]
    ends = [s for s, f in folded.items() if f.endswith(f"/{wanted}") or wanted.endswith(f"/{f}")]
    return exact or ends


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like another, "" where none is."""
    by_form: dict[str, str] = {}
    for each in known:
        by_form.setdefault(fold(each.rpartition("/")[2]), each)
        by_form[fold(each)] = each
    near = get_close_matches(fold(name.strip("*?/ ")), by_form, n=1, cutoff=0.5)
    return by_form[near[0]] if near else ""


def explain_no_match(filters: Filters, documents: Sequence[Listed]) -> str:
    """Why no document passes some filters, with the nearest name; "" where one does. Raises
    KnowledgeError for an invalid glob."""

    def none_pass(part: Filters) -> bool:
        return not any(part.accept(d.source, d.title, d.metadata) for d in documents)

    if not none_pass(filters):
        return ""
    for glob in filters.sources:
        if none_pass(Filters((glob,))):
            near = nearest(glob, (d.source for d in documents))
            return f"No document matches the source {glob!r}.{_hint(near)}"
    known = {tag for d in documents for tag in tags_of(d.metadata)}
    for tag in filters.tags:
        if none_pass(Filters(tags=(tag,))):
            near = nearest(tag, known)
            some = f" Tags: {', '.join(sorted(known)[:_MOST_TAGS])}." if known and not near else ""
            return f"No document has the tag {tag!r}.{_hint(near)}{some}"
    if none_pass(Filters(after=filters.after, before=filters.before)):
        days = sorted(day for d in documents if (day := day_of(d.metadata)))
        dated = f" They are dated {days[0]} to {days[-1]}." if days else " None has a date."
        return f"No document is within these dates.{dated}"
    return "No document passes source, tags and dates together."


def _hint(near: str) -> str:
    return f" Did you mean {near!r}?" if near else ""


def _holds(value: object, wanted: str) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(fold(str(one)) == fold(wanted) for one in values if one is not None)
