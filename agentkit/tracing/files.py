"""Traces as files of JSON Lines in one folder, the newest kept, readable by their owner alone."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agentkit.errors import ConfigError
from agentkit.messages import Message, Record, read_message

_SUFFIX = ".jsonl"
_SECOND = len("20261231-235959")


class TraceFiles:
    """Opens a file for each run. `keep` is how many stay."""

    def __init__(self, folder: Path, keep: int = 100) -> None:
        self.folder = folder
        self._keep = keep

    def __call__(self, run_id: str) -> TraceFile:
        """The sink of a run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.paths()[: -self._keep + 1 or None]:
            old.unlink(missing_ok=True)
        return TraceFile(self.folder / f"{run_id}{_SUFFIX}")

    def paths(self) -> list[Path]:
        """The files, the oldest first."""
        return sorted(self.folder.glob(f"*{_SUFFIX}"), key=_age)

    def find(self, which: str) -> Path:
        """A trace by its id, the beginning of it, or "last". Raises ConfigError."""
        paths = self.paths()
        found = paths[-1:] if which == "last" else [p for p in paths if p.stem.startswith(which)]
        if len(found) == 1:
            return found[0]
        said = f"{len(found)} traces begin with" if found else "There is no trace"
        raise ConfigError(f"{said} {which!r}. See them: agentkit trace list.")


class TraceFile:
    """The sink of one run; each record is on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8"
        )

    def write(self, record: Record) -> None:
        line = json.dumps(record, ensure_ascii=False, default=str)
        self._file.write(line.encode("utf-8", "replace").decode() + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True)
class ReadTrace:
    """A trace as it was written; a last line that a crash cut short is left out."""

    records: tuple[Record, ...]

    def of(self, kind: str) -> list[Record]:
        """The records of one kind, in order."""
        return [record for record in self.records if record.get("kind") == kind]

    @property
    def run(self) -> Record:
        """What the run began with."""
        return self.of("run")[0]

    def requests(self) -> list[tuple[Message, ...]]:
        """The messages of each request, put together again."""
        found: list[tuple[Message, ...]] = []
        sent: tuple[Message, ...] = ()
        for record in self.of("request"):
            sent = (*sent[: record["kept"]], *map(read_message, record["messages"]))
            found.append(sent)
        return found


def _age(path: Path) -> tuple[str, int]:
    """When a run began, to the second, and in it when its file was written last."""
    try:
        return path.stem[:_SECOND], path.stat().st_mtime_ns
    except OSError:
        return path.stem[:_SECOND], 0


def read_trace(path: Path) -> ReadTrace:
    """The records of a file. Raises ConfigError for one that is no trace."""
    records: list[Record] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if not records or records[0].get("kind") != "run":
        raise ConfigError(f"{path} is no trace of a run.")
    return ReadTrace(tuple(records))
