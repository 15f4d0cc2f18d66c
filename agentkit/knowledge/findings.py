"""What a doctor finds in an index: what is wrong, how bad it is, and the next step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]
"""An error makes answers wrong or missing; a warning will pass, or makes nothing wrong yet."""

Part = Literal[
    "folder", "lock", "catalog", "documents", "full text", "vectors", "chroma", "embedder"
]

REPAIR = "Run: agentkit kb doctor --repair"
RESTORE = (
    "It cannot be mended: delete the folder and index again, or bring an archive back with "
    "agentkit kb import --replace."
)
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with an index. `mendable`: a repair puts it right."""

    severity: Severity
    part: Part
    problem: str
    next_step: str
    mendable: bool = False


def mendable(part: Part, problem: str, severity: Severity = "error") -> Finding:
    """What a repair puts right."""
    return Finding(severity, part, problem, REPAIR, mendable=True)


def some(names: Sequence[str]) -> str:
    """A few of many names, for one line."""
    shown = ", ".join(names[:_EXAMPLES])
    return f"{shown}, ..." if len(names) > _EXAMPLES else shown


def counted(number: int, noun: str) -> str:
    """Such as "1 passage" and "2 passages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
