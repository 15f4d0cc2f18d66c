"""Trace a run as records: each request to the model, its reply, each tool call, and the end.

The record of a request holds only the messages that the previous one did not have, so that a trace
grows linearly with its run. Sinks decide where records go; nothing leaves the machine by default.
Trace files are JSON Lines, one file per run, readable only by the user.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from agentkit._sync import in_thread
from agentkit.answers import Answer
from agentkit.backends.base import Capabilities, Learned, Model, Options
from agentkit.errors import ConfigError, file_error
from agentkit.events import (
    Compacted,
    Done,
    Event,
    Finished,
    ModelPart,
    Nested,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
)
from agentkit.findings import name_project
from agentkit.messages import (
    Message,
    Record,
    ToolCall,
    Usage,
    call_record,
    message_record,
    read_call,
    read_message,
)
from agentkit.redaction import get_logger
from agentkit.tools.tool import Tool

_log = get_logger(__name__)


class Sink(Protocol):
    """Destination of the records of one run, in order; closed however the run ends."""

    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


OpenSink = Callable[[str], Sink]
"""Opens a sink for the id of a run."""


class Tracing:
    """Starts a trace for each run of an Agent."""

    def __init__(self, *sinks: OpenSink) -> None:
        self._sinks = sinks

    def begin(
        self,
        prompt: str,
        session: str,
        model: Model,
        tools: Sequence[Tool],
        output: Mapping[str, Any] | None = None,
    ) -> Trace:
        """Start the trace of a run; `output` is the schema of its structured output."""
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        trace = Trace(_open(self._sinks, run_id))
        trace.write(
            "run",
            id=run_id,
            session=session,
            prompt=prompt,
            model=model.name,
            tools=[tool.name for tool in tools],
            **({"output": output} if output else {}),
        )
        return trace


def _open(sinks: Sequence[OpenSink], run_id: str) -> list[Sink]:
    """The sinks of a run, without files that cannot be written: a trace is no reason to fail."""
    opened = []
    for open_sink in sinks:
        try:
            opened.append(open_sink(run_id))
        except OSError as error:
            _log.warning("This run is not traced: %s", error)
    return opened


class Trace:
    """The trace of one run."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._sent: tuple[Message, ...] = ()
        self._requests = 0

    def write(self, kind: str, **values: object) -> None:
        """Write one record with the current time."""
        record: Record = {"kind": kind, "at": datetime.now(UTC).isoformat(), **values}
        for sink in self._sinks:
            try:
                sink.write(record)
            except OSError as error:
                self._sinks = tuple(other for other in self._sinks if other is not sink)
                _log.warning("The trace of this run is incomplete: %s", error)
                with suppress(OSError):
                    sink.close()

    def event(self, event: Event) -> None:
        """Write a record of an event that requests and replies do not cover."""
        if not self._sinks:
            return
        match event:
            case ToolFinished(call, result, seconds, failed):
                self.write(
                    "tool",
                    **call_record(call),
                    result=result.prompt_text,
                    seconds=round(seconds, 6),
                    failed=failed,
                )
            case ToolDenied(call, reason):
                self.write("denied", **call_record(call), reason=reason)
            case Retried(reason, delay):
                self.write("retried", reason=reason, delay=delay)
            case Compacted(before, after):
                self.write("compacted", before=before, after=after)
            case Nested(call, ToolFinished() as inner):
                self.write("nested", call=call.id, tool=inner.call.name, failed=inner.failed)
            case Finished(answer):
                self._end(answer)

    def request(self, messages: Sequence[Message], tools: Sequence[Tool], options: Options) -> int:
        """Write a request to the model and return its number."""
        self._requests += 1
        kept = _shared_prefix(self._sent, messages)
        self._sent = tuple(messages)
        self.write(
            "request",
            number=self._requests,
            kept=kept,
            messages=[message_record(message) for message in messages[kept:]],
            tools=[tool.name for tool in tools],
            options={name: value for name, value in asdict(options).items() if value},
        )
        return self._requests

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()

    def _end(self, answer: Answer) -> None:
        self.write(
            "end",
            text=answer.text,
            stop_reason=answer.stop_reason,
            usage=asdict(answer.usage),
            cost=answer.cost,
            citations=[
                {"marker": c.marker, "place": c.place, "supported": c.supported}
                for c in answer.citations
            ],
        )


@dataclass
class _RecordedReply:
    """The parts of a reply, collected for its record."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[Record] = field(default_factory=list)
    usage: Record = field(default_factory=dict)
    stop_reason: str = ""
    model: str = ""
    first: float | None = None

    def add(self, part: ModelPart, seconds: float) -> None:
        if self.first is None:
            self.first = round(seconds, 6)
        match part:
            case TextDelta(text):
                self.text.append(text)
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ToolCall():
                self.calls.append(call_record(part))
            case Usage():
                self.usage = asdict(part)
            case Done(stop_reason, model):
                self.stop_reason, self.model = stop_reason, model

    def record(self) -> Record:
        joined = {"text": "".join(self.text), "reasoning": "".join(self.reasoning)}
        return {**vars(self), **joined}


class TracedModel(Model):
    """Wraps a model and writes its requests and replies to a trace."""

    def __init__(self, model: Model, trace: Trace) -> None:
        self._model = model
        self._trace = trace

    @property
    def name(self) -> str:
        return self._model.name

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        number = await in_thread(self._trace.request, messages, tools, options)
        reply, start, error = _RecordedReply(), time.perf_counter(), ""
        try:
            async with aclosing(self._model.stream(messages, tools, options)) as parts:
                async for part in parts:
                    reply.add(part, time.perf_counter() - start)
                    yield part
        except Exception as fault:
            error = f"{type(fault).__name__}: {fault}"
            raise
        finally:
            seconds = round(time.perf_counter() - start, 6)
            self._trace.write(
                "reply", number=number, seconds=seconds, error=error, **reply.record()
            )

    async def context_window(self) -> int | None:
        return await self._model.context_window()

    @property
    def learned(self) -> Learned:
        return self._model.learned

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    async def capabilities(self) -> Capabilities:
        return await self._model.capabilities()

    async def close(self) -> None:
        await self._model.close()


def _shared_prefix(before: Sequence[Message], now: Sequence[Message]) -> int:
    """Count the messages that both begin with; most are the same objects."""
    at = 0
    for one, other in zip(before, now, strict=False):
        if one is not other and one != other:
            break
        at += 1
    return at


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
        step = name_project("List them with: agentkit trace list", self.folder)
        raise ConfigError(f"{problem}. {step}")


class TraceFile:
    """The file of one run; each record is on disk, and whole, when `write` returns. Where the disk
    is full before the first one, there is no file."""

    def __init__(self, path: Path) -> None:
        self._path, self._size = path, 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, record: Record) -> None:
        line = json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "replace")
        try:
            with open(self._file, "wb", closefd=False) as file:
                file.write(line + b"\n")
        except OSError:
            os.truncate(self._file, self._size)
            if not self._size:
                self._path.unlink(missing_ok=True)
            raise
        self._size += len(line) + 1

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


@dataclass(frozen=True, slots=True)
class ReadTrace:
    """The records of a trace, up to the first line that a crash or damage spoiled."""

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
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(file_error(path, error)) from error
    for line in content.split(b"\n"):
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            break
        if not _is_whole(record):
            break
        records.append(record)
    if not records or records[0]["kind"] != "run":
        step = name_project("List traces with: agentkit trace list", path)
        raise ConfigError(f"{path} is not a trace, or its beginning is damaged. {step}")
    return ReadTrace(tuple(records))


_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "run": {"id": str, "model": str, "prompt": str, "tools": list},
    "request": {"number": int, "kept": int, "messages": list, "options": dict},
    "reply": {
        "number": int,
        "seconds": (int, float),
        "text": str,
        "reasoning": str,
        "usage": dict,
        "calls": list,
        "stop_reason": str,
        "model": str,
        "error": (str, type(None)),
    },
    "tool": {"name": str, "seconds": (int, float), "failed": bool, "result": str},
    "end": {"text": str, "stop_reason": str, "usage": dict},
}
"""The fields that readers of a record rely on, by kind."""


def _is_whole(record: object) -> bool:
    """Whether a record has what its readers rely on."""
    if not isinstance(record, dict) or not isinstance(record.get("kind"), str):
        return False
    needed = _FIELDS.get(record["kind"], {})
    if not all(isinstance(record.get(name), kind) for name, kind in needed.items()):
        return False
    try:
        for message in record.get("messages", ()):
            read_message(message)
        for call in record.get("calls", ()):
            read_call(call)
        Usage(**record.get("usage") or {})
    except (LookupError, TypeError, AttributeError, ValueError, ConfigError):
        return False
    return True
