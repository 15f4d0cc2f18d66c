"""Versions of other programs that are known to be bad, and how old a version is.

Each stands here with the reason and where it is written down; a version that cannot be read is not
judged.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version


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
    try:
        at = Version(version)
    except InvalidVersion:
        return []
    return [
        flaw
        for flaw in flaws
        if flaw.program == program and Version(flaw.since) <= at < Version(flaw.fixed)
    ]
