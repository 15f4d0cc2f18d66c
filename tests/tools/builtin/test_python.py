"""Python code of a model's: it runs apart, bounded, and leaves nothing."""

import tempfile
from pathlib import Path

import psutil
import pytest

from agentkit.errors import ToolError
from agentkit.messages import ImagePart, TextPart
from agentkit.tools.builtin.python import python_tool
from agentkit.tools.context import NoContext, ToolContext
from tests.conftest import text_of

pytestmark = pytest.mark.slow

PYTHON = python_tool()


async def run_code(code: str, context: ToolContext | None = None) -> str:
    return text_of((await PYTHON.run({"code": code}, context)).content)


async def test_what_it_prints_and_its_last_value_come_back() -> None:
    assert PYTHON.needs_approval
    assert await run_code("print('一')\nx = [1]\nx + [2]  # last") == "一\n[1, 2]"
    assert await run_code("x = 1") == "[nothing was printed]"


async def test_a_fault_is_reported_with_its_line() -> None:
    output = await run_code("x = 1\n1 / 0")
    assert 'File "program.py", line 2' in output
    assert output.endswith("ZeroDivisionError: division by zero\n[ended with code 1]")
    assert "SyntaxError" in await run_code("x = (")


async def test_a_picture_comes_back_and_what_only_looks_like_one_does_not(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\nsecret")
    code = (
        "import os\n"
        "open('plot.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n1')\n"
        "open('false.png', 'wb').write(b'text')\n"
        f"os.symlink({str(tmp_path / 'secret.png')!r}, 'link.png')"
    )
    output = (await PYTHON.run({"code": code})).content
    assert output == (TextPart("[nothing was printed]"), ImagePart(b"\x89PNG\r\n\x1a\n1"))


async def test_it_sees_nothing_of_the_environment_and_an_empty_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    output = await run_code(
        "import os, sys\nprint('OPENAI_API_KEY' in os.environ, sys.flags.isolated)\n"
        "print([n for n in os.listdir() if n[0] != '.'])"
    )
    assert output == "False 1\n[]"


async def test_its_folder_is_gone_afterwards() -> None:
    folder = Path(
        await run_code("import os\nprint(os.getcwd())\nopen('left', 'w').write('x') and None")
    )
    assert folder.parent == Path(tempfile.gettempdir()).resolve()
    assert not folder.exists()


async def test_long_output_keeps_its_beginning_and_its_end() -> None:
    output = await run_code("print('start' + 'x' * 100_000 + 'end')")
    assert output.startswith("startxxx")
    assert output.endswith("xxxend")
    assert "bytes omitted" in output
    assert len(output) < 9000


async def test_memory_is_bounded() -> None:
    assert "MemoryError" in await run_code("bytearray(10 ** 10)")


async def test_a_loop_is_stopped_and_its_folder_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ToolError, match="did not end within 2 s and was stopped"):
        await python_tool(seconds=2).run({"code": "while True: pass"})
    assert list(tmp_path.iterdir()) == []


async def test_what_it_starts_is_ended_with_it() -> None:
    pid = int(await run_code("import subprocess\nprint(subprocess.Popen(['sleep', '999']).pid)"))
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"


class Listening(NoContext):
    def __init__(self) -> None:
        self.output = ""

    def report(self, message: str, fraction: float | None = None) -> None:
        self.output += message


async def test_the_network_is_closed_or_the_user_is_reported() -> None:
    user = Listening()
    code = "import socket\nprint([name for _, name in socket.if_nameindex()])"
    assert await run_code(code, user) == "['lo']" or "it is open" in user.output


ATTEMPTS = """
import os
def tried(change, *arguments):
    try:
        change(*arguments)
        print("done")
    except OSError:
        print("refused")
tried(open, FILE, "w")
tried(os.remove, FILE)
tried(os.truncate, FILE, 0)
tried(os.mkdir, FILE + "2")
tried(os.rename, FILE, "here")
tried(open, os.devnull, "w")
tried(open, "own", "w")
"""


async def test_nothing_is_written_elsewhere_or_the_user_is_reported(tmp_path: Path) -> None:
    user, file = Listening(), tmp_path / "kept"
    file.write_text("kept")
    output = await run_code(f"FILE = {str(file)!r}\n{ATTEMPTS}", user)
    if "cannot keep the code from writing" not in user.output:
        assert output.split() == [*["refused"] * 5, "done", "done"]
        assert file.read_text() == "kept"
