"""Which documents a search looks through: by source, title, tags, dates and other metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date


@dataclass(frozen=True, slots=True)
class Filters:
    """All that is given must hold. `sources` are sources or globs ("reports/**/*.pdf"), any of
    which may match; `title` is a part of the title; `tags` must all be there; `after` and
    `before` bound the metadata's `date`, both included; `metadata` is compared as text."""

    sources: tuple[str, ...] = ()
    title: str = ""
    tags: tuple[str, ...] = ()
    after: date | None = None
    before: date | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self != Filters()
