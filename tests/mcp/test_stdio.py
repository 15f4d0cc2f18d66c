"""The limits of a server's pipes and logs."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

from agentkit.mcp.stdio import MAX_LOG, LineBuffer, ServerLog, log_path, parse_message, read_log


def test_lines_are_joined_from_any_pieces() -> None:
    lines = LineBuffer()
    pieces = [b"a", b"b\nc", b"", b"\n\nd\ne"]
    assert [line for piece in pieces for line in lines.add(piece)] == [b"ab", b"c", b"", b"d"]


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"result":{"x":"%s"}}' % (b"y" * 500_000),
        b'{"result":{"id":8,"x":"%s"},"jsonrpc":"2.0","id":7}' % (b"y" * 500_000),
        b'{"jsonrpc": "2.0", "result": {"x": "%s"}, "id": 7}' % (b"y" * 500_000),
    ],
)
def test_an_answer_that_is_too_long_becomes_an_error_response(line: bytes) -> None:
    lines = LineBuffer(max_line=200_000)
    found = []
    for start in range(0, len(line) + 1, 65536):
        found += lines.add((line + b"\n")[start : start + 65536])
    (error,) = found
    assert json.loads(error)["id"] == 7
    assert "too large" in json.loads(error)["error"]["message"]


def test_a_long_line_without_an_id_is_dropped() -> None:
    assert LineBuffer(max_line=10).add(b"x" * 100 + b"\n") == [b""]


def test_a_long_line_takes_no_memory() -> None:
    lines = LineBuffer(max_line=100_000)
    tracemalloc.start()
    try:
        for _ in range(100):
            lines.add(b"x" * 65536)
        held, _most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert lines.pending == 6_553_600
    assert held < 400_000


def test_a_log_is_rotated_and_its_end_is_read(tmp_path: Path) -> None:
    path = log_path(tmp_path / "logs", "a/../b")
    assert path.parent == tmp_path / "logs"
    with ServerLog(path) as log:
        for number in range(30):
            log.write(b"x" * (MAX_LOG // 10) + b"\n%d\n" % number)
    sizes = [file.stat().st_size for file in path.parent.iterdir()]
    assert len(sizes) == 2
    assert sum(sizes) <= 2 * MAX_LOG
    assert read_log(path, 3)[0] == "28"
    assert read_log(path, 3)[-1] == "29"


def test_a_log_that_cannot_be_written_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with ServerLog(tmp_path / "file" / "log") as log:
        log.write(b"x")
    with ServerLog(None) as log:
        log.write(b"x")


def test_a_message_with_half_a_surrogate_pair_is_parsed() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"result":{"a":"cut \\ud83d","b":"\xe6"}}'
    assert parse_message(line).message.result == {"a": "cut ?", "b": "\ufffd"}


@pytest.mark.parametrize("line", [b"{]", b'{"a": 1}', b'{"a":' + b"[" * 100_000])
def test_an_invalid_message_is_ignored(line: bytes) -> None:
    assert parse_message(line) is None
