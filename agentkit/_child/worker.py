"""What runs in a child: read calls, run them within their limits, write results.

A frame is two lengths (4 bytes each), a JSON record and bytes. Only JSON comes back, so that a
child that a hostile file has taken over cannot make its parent run code. What a function prints
goes to standard error, and it cannot read the calls from standard input.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from agentkit._child.tree import adopt_orphans, die_with_parent

FROZEN_FLAG = "--agentkit-child"
"""The argument by which a frozen program, which contains no Python, starts itself as a child."""

_HEADER = struct.Struct(">II")

_ADDRESS_FACTOR = 1.5
"""Libraries reserve more addresses than they use; the parent watches the memory that is used."""

Report = Callable[[str, float | None], None]
"""Takes a progress message, and a fraction between 0 and 1."""


class Reply(NamedTuple):
    """A result with bytes beside what fits into JSON."""

    result: Any
    content: bytes


Target = Callable[..., Any]
"""Called as `target(content, report, **arguments)`; its result fits into JSON or is a `Reply`."""


class FrameTooLarge(Exception):
    """A frame is larger than its reader accepts."""


def write_frame(stream: BinaryIO, record: Mapping[str, Any], content: bytes = b"") -> None:
    """Write a record and bytes. Raises OSError on a closed pipe."""
    text = json.dumps(record, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")
    stream.write(_HEADER.pack(len(text), len(content)))
    stream.write(text)
    stream.write(content)
    stream.flush()


def read_frame(stream: BinaryIO, most: float = math.inf) -> tuple[Any, bytes] | None:
    """Read a record and bytes, None at the end of the stream. Raises FrameTooLarge, ValueError."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length, more = _HEADER.unpack(header)
    if length + more > most:
        raise FrameTooLarge
    text, content = stream.read(length), stream.read(more)
    if len(text) + len(content) < length + more:
        return None
    return json.loads(text.decode("utf-8", "surrogatepass")), content


def serve_if_child() -> None:
    """Serve and exit where a frozen program was started as a child; its import path is its own."""
    if sys.argv[1:2] == [FROZEN_FLAG]:
        calls = os.fdopen(os.dup(0), "rb")
        calls.readline()
        serve(calls)


def serve(calls: BinaryIO) -> None:
    """Run calls until the parent closes the stream or dies."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    adopt_orphans()
    die_with_parent()
    with suppress(OSError):
        while (frame := read_frame(calls)) is not None:
            write_frame(replies, *_answer(*frame, replies))
            del frame
    os._exit(0)


def _answer(
    call: Mapping[str, Any], content: bytes, replies: BinaryIO
) -> tuple[dict[str, Any], bytes]:
    def report(message: str, fraction: float | None = None) -> None:
        write_frame(replies, {"progress": message, "fraction": fraction})

    try:
        module, _, name = call["target"].partition(":")
        target: Target = getattr(import_module(module), name)
        _limit(call["memory_mb"], call["cpu_seconds"])
        result = target(content, report, **call["arguments"])
        if isinstance(result, Reply):
            return {"result": result.result}, result.content
        return {"result": result}, b""
    except MemoryError:
        return {"failure": "memory"}, b""
    except BaseException as error:
        return {"failure": "raised", "error": f"{type(error).__name__}: {error}"[:1000]}, b""


def _limit(memory_mb: float | None, cpu_seconds: float | None) -> None:
    """Limit what one call may use on top of what the process has, where the system supports it."""
    with suppress(ImportError):
        import resource

        _lower(resource, resource.RLIMIT_CORE, 0)
        if memory_mb is not None and (size := _virtual_bytes()):
            _lower(resource, resource.RLIMIT_AS, size + int(memory_mb * 1e6 * _ADDRESS_FACTOR))
        if cpu_seconds is not None:
            used = sum(os.times()[:2])
            _lower(resource, resource.RLIMIT_CPU, math.ceil(used + cpu_seconds))


def _lower(resource: Any, kind: int, value: int) -> None:
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(kind)
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (most, hard))


def lift_memory_limit() -> None:
    """Lift the limit of a call for another program that it starts, which reserves more addresses
    than a parser; the parent still ends it with the call."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _virtual_bytes() -> int:
    """The address space of this process, 0 where the system does not tell."""
    with suppress(OSError, ValueError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 0
