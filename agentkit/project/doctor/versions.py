"""Versions of other programs that are known to be bad, and how old a version is.

Each stands here with the reason and where it is written down. Of a version only the numbers count:
builds have names behind them ("0.5.4-ipexllm"). One without numbers is not judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import Version

_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Versions of a program from `since` on, and before `fixed`, that are known to be bad."""

    program: str
    fixed: str
    why: str
    since: str = "0"


FLAWS = (
    Flaw(
        "ollama",
        "0.17.1",
        "whoever reaches it can read its memory, prompts and keys too (CVE-2026-7482)",
    ),
    Flaw(
        "vllm",
        "0.14.1",
        "whoever reaches it may run code on it with a prepared video (CVE-2026-22778)",
        since="0.8.3",
    ),
)


def flaws_of(program: str, version: str, flaws: Iterable[Flaw] = FLAWS) -> list[Flaw]:
    """What is known against this version of a program."""
    numbers = _NUMBERS.match(version)
    if numbers is None:
        return []
    at = Version(numbers[1])
    return [
        flaw
        for flaw in flaws
        if flaw.program == program and Version(flaw.since) <= at < Version(flaw.fixed)
    ]
