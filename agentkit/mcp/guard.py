"""Run an MCP server that never outlives its client, and bound what it writes.

As a program, `python -I -S guard.py COMMAND ...`, it stands between a client and the command. When
the client closes stdin, or dies, kill -9 included, the command gets time to exit, then SIGTERM, and
a moment later it and its descendants are killed. On Linux orphans stay below the guard; on other
systems those that left the process group escape. It uses the standard library only.

Of stdout each JSON-RPC message is passed on, repaired where it breaks the rules. Other lines are
dropped, a message that is too large becomes an error of its request, and stdout ends after too much
noise.
"""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

MAX_LINE = 16 * 1024 * 1024
MAX_UNENDED_LINE = 256 * 1024 * 1024
MAX_NOISE = 16 * 1024 * 1024
EXIT_SECONDS, TERM_SECONDS, LEFT_OPEN_SECONDS = 1.5, 1.2, 5.0
"""Time to exit once stdin has ended, then after SIGTERM; the client kills the guard after four
seconds. Time to read on from a stdout that an escaped descendant holds open."""

MAX_LEVELS = 200
"""Of nested objects and arrays: the SDK's JSON parser reads no more."""

PIECE = 65536
_FRAME = 300
"""The part of a message, at its begin or end, where its id is looked for."""
_UNREADABLE_ANSWER, _INTERNAL_ERROR = -32700, -32603
_UNSOUND = re.compile(rb"\\u[dD]|[\x00-\x1f]|^\xef\xbb\xbf")
_CANNOT_RUN = 127
_SIGNALS = (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM))


def read_messages(stream: IO[bytes], max_line: int = MAX_LINE) -> Iterator[bytes]:
    """Yield the messages of a stream, one a line, until it ends or is only noise."""
    noise = 0
    while noise <= MAX_NOISE and (line := stream.readline(max_line + 1)):
        size = len(line)
        if size > max_line and not line.endswith(b"\n"):
            message, size = _read_too_large(line, stream, max_line)
        elif line.endswith(b"\n") or _is_json(line):
            message = read_message(line)
        else:  # The server ended in the middle of a message.
            return
        noise = noise + size if message is None else 0
        if message is not None:
            yield message


def _is_json(line: bytes) -> bool:
    try:
        return bool(json.loads(line, strict=False))
    except (ValueError, RecursionError):
        return False


def _read_too_large(line: bytes, stream: IO[bytes], limit: int) -> tuple[bytes | None, int]:
    """Read on to the end of a line; return an error response, and the line's size."""
    head, tail, size = line[:PIECE], line[-PIECE:], len(line)
    while not tail.endswith(b"\n") and size <= MAX_UNENDED_LINE:
        if not (piece := stream.readline(PIECE)):
            break
        size += len(piece)
        tail = (tail + piece)[-PIECE:]
    return (None if size > MAX_UNENDED_LINE else too_large(head + tail, size, limit)), size


def too_large(ends: bytes, size: int, limit: int) -> bytes | None:
    """The error response to the request that an answer of this size was for; `ends` are its begin
    and its end."""
    most = f"at most {limit / 2**20:.0f} MiB"
    return _error_response(ends, f"of {size / 2**20:.1f} MiB is too large ({most})")


def _error_response(data: bytes, reason: str) -> bytes | None:
    """An error response for an unreadable answer, to its request, or to none where its id is not
    found at either end. None where the data is not an answer."""
    begin = re.search(rb"^\W*\{[^{}\[\]]*", data[:_FRAME])
    end = re.search(rb"[,}\]][^{}\[\]]*\}?\s*$", data[-_FRAME:])
    outer = (begin[0] if begin else b"") + b" " + (end[0] if end else b"")
    if b'"method"' in outer or not re.search(rb'"(jsonrpc|result)"', outer):
        return None
    found = re.search(rb'"id"\s*:\s*"?(\d+)', outer)
    error = {"code": _UNREADABLE_ANSWER, "message": f"the answer {reason}"}
    return _encode({"jsonrpc": "2.0", "id": int(found[1]) if found else None, "error": error})


def read_message(data: bytes) -> bytes | None:
    """Return a JSON-RPC message as the SDK accepts it; None where the data is no message. These are
    repaired: another version, a batch of one, a number or text where an object belongs, an
    incomplete error, control characters, a byte order mark, and halves of surrogate pairs, which
    texts that were cut within an emoji have. An unreadable answer becomes an error response."""
    text = data.decode("utf-8-sig", "replace")
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text, strict=False)
        is_deep = data.count(b"[") + data.count(b"{") > MAX_LEVELS and _levels(value) > MAX_LEVELS
    except RecursionError:
        is_deep = True
    except ValueError as error:
        return _error_response(data, f"is not valid JSON: {json_fault(error)}")
    if is_deep:
        return _error_response(data, f"is nested too deeply (at most {MAX_LEVELS} levels)")
    message = value[0] if isinstance(value, list) and len(value) == 1 else value
    if not isinstance(message, dict) or not {"method", "result", "error"} & message.keys():
        return None
    repaired = _repaired_fields(message)
    data = data.rstrip(b"\r\n")
    is_valid = "\ufffd" not in text and not _UNSOUND.search(data)
    return (
        data if message is value and not repaired and is_valid else _encode({**message, **repaired})
    )


def json_fault(error: Exception) -> str:
    """Why `json.loads` cannot read a text."""
    if isinstance(error, json.JSONDecodeError):
        return str(error)
    is_deep = isinstance(error, RecursionError)
    return "it is nested too deeply" if is_deep else "it has a number of more than 4,300 digits"


def _levels(value: Any) -> int:
    """How deeply a JSON value is nested."""
    count, level = 0, [value]
    while level := [each for each in level if isinstance(each, dict | list)]:
        count += 1
        level = [x for each in level for x in (each.values() if isinstance(each, dict) else each)]
    return count


def _encode(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")


def _repaired_fields(message: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {} if message.get("jsonrpc") == "2.0" else {"jsonrpc": "2.0"}
    if isinstance(id_ := message.get("id"), float) and id_.is_integer():
        found["id"] = int(id_)
    if (error := message.get("error")) is not None:
        fields = error if isinstance(error, dict) else {"message": error}
        code, text = fields.get("code"), fields.get("message")
        if not isinstance(code, int) or not isinstance(text, str):
            text = text if isinstance(text, str) else json.dumps(text or fields, ensure_ascii=False)
            code = code if isinstance(code, int) else _INTERNAL_ERROR
            found["error"] = {**fields, "code": code, "message": text}
    elif "result" in message and not isinstance(result := message["result"], dict):
        found["result"] = {} if result is None else {"content": result}
    return found


class _Guard:
    """A command, and the threads that end it."""

    def __init__(self, command: list[str]) -> None:
        sys.path.append(str(Path(__file__).parents[1] / "_child"))
        import tree  # type: ignore[import-not-found]  # The package would need site-packages.

        self._tree = tree
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        tree.adopt_orphans()
        try:
            self._command = subprocess.Popen(
                command, stdout=subprocess.PIPE, start_new_session=True, preexec_fn=self._prepare
            )
        except OSError as error:
            sys.stderr.write(
                f"the command {command[0]!r} cannot run ({error.strerror}): install it, or correct "
                "mcp.json"
            )
            sys.exit(_CANNOT_RUN)

    def _prepare(self) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._tree.die_with_parent()

    def run(self) -> int:
        """Pass messages on until the command and its client have ended; return its exit code."""
        threading.Thread(target=self._end_with_client, daemon=True).start()
        threading.Thread(target=self._end_descendants, daemon=True).start()
        assert self._command.stdout is not None
        with suppress(OSError):
            for message in read_messages(self._command.stdout):
                sys.stdout.buffer.write(message + b"\n")
                sys.stdout.buffer.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = self._command.wait()
        self._kill_all()
        return code if code >= 0 else 128 - code

    def _end_with_client(self) -> None:
        hangup = select.poll()
        hangup.register(0, 0)  # Reports only the end of the other side, and reads nothing.
        hangup.poll()
        time.sleep(EXIT_SECONDS)
        self._tree.kill_group(self._command.pid, signal.SIGTERM)
        time.sleep(TERM_SECONDS)
        self._kill_all()
        os._exit(_CANNOT_RUN)

    def _end_descendants(self) -> None:
        self._command.wait()
        self._kill_all()
        time.sleep(LEFT_OPEN_SECONDS)
        os._exit(_CANNOT_RUN)

    def _kill_all(self) -> None:
        """Kill the command's process group and all other descendants of this process."""
        self._tree.kill_group(self._command.pid)
        for _ in range(100):
            found = self._tree.descendants(os.getpid())
            for pid in found:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if not found:
                return
            time.sleep(0.01)


if __name__ == "__main__":
    os._exit(_Guard(sys.argv[1:]).run())
