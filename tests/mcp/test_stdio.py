"""The limits of a server's pipes and logs."""

from __future__ import annotations

import codecs
import io
import json
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from agentkit.mcp.guard import MAX_NOISE, read_message, read_messages
from agentkit.mcp.stdio import LINES, MAX_LOG, ServerLog, log_path, read_log


def message(number: int) -> bytes:
    return b'{"jsonrpc":"2.0","id":%d,"result":{}}' % number


class Pieces(io.RawIOBase):
    """A pipe whose bytes come in these pieces."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = next(self._pieces, b"")
        buffer[: len(piece)] = piece
        self.size += len(piece)
        return len(piece)


def test_lines_are_joined_from_any_pieces() -> None:
    whole = message(1) + b"\n\nnoise\n" + message(2) + b"\r\n" + message(3)
    for size in (1, 7, 50, 500):
        pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
        found = list(read_messages(io.BufferedReader(Pieces(pieces))))
        assert found == [message(1), message(2), message(3)]


@pytest.mark.parametrize("size", [1, 2, 7, 50, 500])
def test_text_is_decoded_by_whole_lines(size: int) -> None:
    decoder = codecs.getincrementaldecoder(LINES)("replace")
    whole = "{é😀}\n\n{好}\n".encode() + b"\xff\n"
    decoded = [decoder.decode(whole[i : i + size]) for i in range(0, len(whole), size)]
    assert "".join(decoded) == "{é😀}\n\n{好}\n\ufffd\n"
    assert all(not text or text.endswith("\n") for text in decoded)


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":7,"result":{"x":"%s"}}' % (b"y" * 500_000),
        b'{"result":{"id":8,"x":"%s"},"jsonrpc":"2.0","id":7}' % (b"y" * 500_000),
        b'{"jsonrpc": "2.0", "result": {"x": "%s"}, "id": 7}' % (b"y" * 500_000),
    ],
)
def test_an_answer_that_is_too_long_becomes_an_error_response(line: bytes) -> None:
    stream = io.BytesIO(line + b"\n" + message(8) + b"\n")
    error, after = read_messages(stream, max_line=200_000)
    assert json.loads(error)["id"] == 7
    assert "too large" in json.loads(error)["error"]["message"]
    assert after == message(8)


def test_a_long_line_without_an_id_is_dropped() -> None:
    stream = io.BytesIO(b"x" * 100 + b"\n" + message(1))
    assert list(read_messages(stream, max_line=50)) == [message(1)]


@pytest.mark.parametrize("kept", [40, 55, 60])
def test_a_message_in_which_a_server_ends_is_no_answer(kept: int) -> None:
    whole = b'{"jsonrpc":"2.0","id":7,"result":{"content":[{"a":1},{}]}}'
    stream = io.BytesIO(message(1) + b"\n" + whole[:kept])
    assert list(read_messages(stream)) == [message(1), *([whole] if kept >= len(whole) else [])]


def test_a_long_line_takes_no_memory() -> None:
    piece = b"x" * 8000
    pieces = Pieces(piece for _ in range(2000))
    tracemalloc.start()
    try:
        assert list(read_messages(io.BufferedReader(pieces), max_line=100_000)) == []
        _held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pieces.size == 16_000_000
    assert most < 1_000_000


def test_messages_end_where_a_server_writes_only_noise() -> None:
    noise = b"noise\n" * 1000
    pieces = Pieces(noise for _ in range(100_000))
    assert list(read_messages(io.BufferedReader(pieces))) == []
    assert MAX_NOISE < pieces.size < 2 * MAX_NOISE


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


def test_a_message_with_half_a_surrogate_pair_is_repaired() -> None:
    line = b'{"jsonrpc":"2.0","id":1,"result":{"a":"cut \\ud83d","b":"\xe6"}}'
    repaired = read_message(line)
    assert repaired is not None
    assert json.loads(repaired)["result"] == {"a": "cut ?", "b": "\ufffd"}


def test_a_sound_message_is_passed_on_as_it_is() -> None:
    line = '{ "id": 1, "result": {"a": "é😀"}, "jsonrpc": "2.0" }'.encode()
    assert read_message(line) == line


@pytest.mark.parametrize("line", [b"{]", b'{"a": 1}', b'{"a":' + b"[" * 100_000, b"[]", b"1"])
def test_an_invalid_message_is_ignored(line: bytes) -> None:
    assert read_message(line) is None
