"""Regular expressions that are compiled at their first use.

A command that checks no claim would spend 20 ms on compiling the patterns of the check.
"""

from __future__ import annotations

import re
from typing import Any, cast


class _LazyPattern:
    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        value = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, value)
        return value


def lazy_pattern(source: str, flags: int = 0) -> re.Pattern[str]:
    """A pattern that is compiled when one of its methods is first used."""
    return cast("re.Pattern[str]", _LazyPattern(source, flags))
