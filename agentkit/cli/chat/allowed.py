"""Which tools may run unasked: for this session, or always in this folder by
.agentkit/approvals.json.

That file counts only in the folder where it was written: a copy that came with a download has
another place on the disk, and allows nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.errors import ConfigError


@dataclass
class Allowed:
    """The tools that may run unasked."""

    file: Path
    session: set[str] = field(default_factory=set)

    def holds(self, name: str) -> bool:
        return name in self.session or name in self.always()

    def always(self) -> list[str]:
        """The tools that this folder always allows."""
        try:
            kept = json.loads(self.file.read_text(encoding="utf-8"))
            is_own = kept["place"] == self._place()
            return [str(name) for name in kept["allow"]] if is_own else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def keep(self, names: list[str]) -> None:
        """Allow just these from now on. Raises ConfigError."""
        try:
            self.file.parent.mkdir(exist_ok=True)
            kept = {"place": self._place(), "allow": sorted(set(names))}
            self.file.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{self.file} cannot be written: {error.strerror}.") from error

    def _place(self) -> str:
        found = self.file.parent.stat()
        return f"{found.st_dev}:{found.st_ino}"
