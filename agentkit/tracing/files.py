"""Trace files: one JSON Lines file per run in a folder, readable only by the user."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agentkit.errors import ConfigError
from agentkit.messages import Message, Record, read_message

_SUFFIX = ".jsonl"
_TIMESTAMP_LENGTH = len("20261231-235959")


class TraceFiles:
    """Opens a file for each run and deletes all but the newest `keep`."""

    def __init__(self, folder: Path, keep: int = 100) -> None:
        self.folder = folder
        self._keep = keep

    def __call__(self, run_id: str) -> TraceFile:
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.paths()[: -self._keep + 1 or None]:
            old.unlink(missing_ok=True)
        return TraceFile(self.folder / f"{run_id}{_SUFFIX}")

    def paths(self) -> list[Path]:
        """Return the files, oldest first."""
        return sorted(self.folder.glob(f"*{_SUFFIX}"), key=_age)

    def find(self, which: str) -> Path:
        """Find a trace by its id, a prefix of it, or "last". Raises ConfigError."""
        paths = self.paths()
        found = paths[-1:] if which == "last" else [p for p in paths if p.stem.startswith(which)]
        if len(found) == 1:
            return found[0]
        problem = f"{len(found)} traces begin with {which!r}" if found else f"No trace {which!r}"
        raise ConfigError(f"{problem}. List them with: agentkit trace list")


class TraceFile:
    """The file of one run; each record is on disk when `write` returns."""

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
    """The records of a trace, without a last line that a crash truncated."""

    records: tuple[Record, ...]

    def of(self, kind: str) -> list[Record]:
        return [record for record in self.records if record.get("kind") == kind]

    @property
    def run(self) -> Record:
        """The first record: prompt, model, tools and session."""
        return self.of("run")[0]

    def requests(self) -> list[tuple[Message, ...]]:
        """Reassemble the messages of each request."""
        requests: list[tuple[Message, ...]] = []
        sent: tuple[Message, ...] = ()
        for record in self.of("request"):
            sent = (*sent[: record["kept"]], *map(read_message, record["messages"]))
            requests.append(sent)
        return requests


def _age(path: Path) -> tuple[str, int]:
    """Sort key: the start of a run in seconds, then the time of the last write."""
    try:
        return path.stem[:_TIMESTAMP_LENGTH], path.stat().st_mtime_ns
    except OSError:
        return path.stem[:_TIMESTAMP_LENGTH], 0


def read_trace(path: Path) -> ReadTrace:
    """Read a trace file. Raises ConfigError if it is not one."""
    records: list[Record] = []
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                break
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    if not records or records[0].get("kind") != "run":
        raise ConfigError(f"{path} is not a trace. List traces with: agentkit trace list")
    return ReadTrace(tuple(records))
