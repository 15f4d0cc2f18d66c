"""Python code of a model's: it runs apart, confined and bounded, and leaves nothing."""

import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agentkit.errors import ToolError
from agentkit.messages import ImagePart, TextPart
from agentkit.tools.builtin.python import python_tool
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.tool import Tool
from tests.conftest import text_of

pytestmark = pytest.mark.slow

PYTHON = python_tool(unconfined=True)


async def run_code(code: str, context: ToolContext | None = None, tool: Tool = PYTHON) -> str:
    return text_of((await tool.run({"code": code}, context)).content)


class Listening(NoContext):
    def __init__(self) -> None:
        self.output = ""

    def report(self, message: str, fraction: float | None = None) -> None:
        self.output += message


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


async def test_long_output_keeps_its_beginning_and_its_end() -> None:
    output = await run_code("print('start' + 'x' * 100_000 + 'end')")
    assert output.startswith("startxxx")
    assert output.endswith("xxxend")
    assert "bytes omitted" in output
    assert len(output) < 9000


async def test_memory_of_one_process_is_bounded() -> None:
    assert "MemoryError" in await run_code("bytearray(10 ** 10)")


async def test_a_loop_is_stopped_and_its_folder_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ToolError, match="did not end within 2 s and was stopped"):
        await python_tool(seconds=2, unconfined=True).run({"code": "while True: pass"})
    assert list(tmp_path.iterdir()) == []


async def test_where_the_system_cannot_confine_code_it_runs_only_if_the_user_allows_it() -> None:
    with pytest.raises(ToolError, match=r"run_python is off.*tools\.python_unconfined = true"):
        await python_tool(ways=()).run({"code": "1 + 1"})
    user = Listening()
    assert await run_code("1 + 1", user, python_tool(ways=(), unconfined=True)) == "2"
    assert "The code runs unconfined" in user.output


async def test_unconfined_code_writes_only_to_its_folder_where_landlock_forbids_it(
    tmp_path: Path,
) -> None:
    if not Path("/sys/kernel").is_dir() or os.uname().release < "5.13":
        pytest.skip("no Landlock")
    tool = python_tool(ways=(), unconfined=True)
    code = f"open('own', 'w').close()\nopen({str(tmp_path / 'new')!r}, 'w')"
    assert "PermissionError" in await run_code(code, tool=tool)
    assert not (tmp_path / "new").exists()


# The sandbox, by each way to confine the code that this system permits.


@pytest.fixture(params=["bubblewrap", "namespaces"])
async def confined(request: pytest.FixtureRequest) -> Tool:
    tool = python_tool(seconds=20, memory_mb=512, ways=(request.param,))
    try:
        await tool.run({"code": "1"})
    except ToolError as error:
        pytest.skip(str(error))
    return tool


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[dict[str, object]]:
    """What the code must not reach: sockets, a file, a process with a secret."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    name = f"agentkit-test-{os.getpid()}"
    file = tmp_path / "secret.txt"
    file.write_text("planted")
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        subprocess.Popen(program, env={"KEY": "planted"}) as process,
    ):
        udp.bind(("127.0.0.1", 0))
        unix.bind(f"{folder}/s")
        unix.listen()
        abstract.bind(f"\0{name}")
        abstract.listen()
        datagrams.bind(f"{folder}/d")
        yield {
            "port": tcp.getsockname()[1],
            "udp": udp.getsockname()[1],
            "unix": f"{folder}/s",
            "datagrams": f"{folder}/d",
            "abstract": name,
            "pid": process.pid,
            "file": str(file),
            "folder": str(tmp_path),
        }
        udp.setblocking(False)
        with pytest.raises(BlockingIOError):
            udp.recv(1)
        assert process.poll() is None
        process.kill()
    shutil.rmtree(folder)
    assert file.read_text() == "planted"


ATTEMPTS = {
    "tcp": "socket.create_connection(('127.0.0.1', port), 2)",
    "udp": (
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', udp)); 1 / 0"
    ),
    "name lookup": "socket.getaddrinfo('example.org', 80)",
    "unix socket": "socket.socket(socket.AF_UNIX).connect(unix)",
    "unix datagram": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', datagrams)",
    "abstract socket": "socket.socket(socket.AF_UNIX).connect('\\0' + abstract)",
    "raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)",
    "packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3)",
    "signal": "os.kill(pid, 9)",
    "signal of a group": "os.killpg(pid, 9)",
    "priority": "os.setpriority(os.PRIO_PROCESS, pid, 19)",
    "environment of a process": "open(f'/proc/{pid}/environ').read()",
    "environment of its first process": "'planted' in open('/proc/1/environ').read() or 1 / 0",
    "memory of a process": "open(f'/proc/{pid}/mem', 'rb').read(1)",
    "reading a file": "open(file).read()",
    "reading through a process": "open(f'/proc/1/root{file}').read()",
    "writing a file": "open(file, 'w')",
    "removing a file": "os.remove(file)",
    "a new file elsewhere": "open(folder + '/new', 'w')",
    "a library": "open(os.__file__, 'a')",
    "the interpreter": "open(sys.executable, 'ab')",
    "a link to a file": "os.link(file, 'here')",
    "kernel setting": "open('/proc/sys/kernel/core_pattern', 'w').write('|/bin/true')",
    "its root": "os.mkdir('/new')",
    "devices": "open('/dev/shm/../new', 'w')",
    "user namespace": "call(libc.unshare(0x10000000))",
    "mount": "call(libc.mount(b'none', b'/sandbox', b'tmpfs', 0, None))",
    "mount in new namespaces": (
        "call(libc.unshare(0x10020000) or libc.mount(b'none', b'/tmp', b'tmpfs', 0, None))"
    ),
    "writable again": "call(libc.mount(None, b'/', None, 32 | 4096, None))",
    "root user": "os.setuid(0)",
    "device node": "os.mknod('disk', 0o60600, os.makedev(254, 0))",
    "reboot": "call(libc.reboot(0x89ABCDEF))",
    "clock": "time.clock_settime(time.CLOCK_REALTIME, time.time())",
    "host name": "socket.sethostname('x')",
}


async def test_it_reaches_nothing_outside(confined: Tool, outside: dict[str, object]) -> None:
    code = "import ctypes, os, socket, sys, time\nlibc = ctypes.CDLL(None)\n"
    code += "def call(result):\n    if result: raise OSError\n"
    code += "".join(f"{name} = {value!r}\n" for name, value in outside.items())
    for name, attempt in ATTEMPTS.items():
        code += f"try: {attempt}; print({name!r}, 'succeeded')\nexcept Exception: pass\n"
    assert await run_code(code, tool=confined) == "[nothing was printed]"


_FIND_KEY = """
import ctypes
found = ctypes.CDLL(None).syscall(250, 10, -3, b"user", b"agentkit-test", 0)
print("found" if found > 0 else "none")
"""
_PLANT_KEY = """
import ctypes, sys
from pathlib import Path
from agentkit.tools.builtin.python_sandbox import run_code
libc = ctypes.CDLL(None)
libc.syscall(250, 1, None)  # a new session keyring
libc.syscall(248, b"user", b"agentkit-test", b"planted", 7, -3)
exec(sys.argv[1])
print(run_code(sys.argv[1], Path(sys.argv[2]), 512, False, [sys.argv[3]])[0].output)
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of its system calls")
@pytest.mark.usefixtures("confined")
def test_it_finds_no_key_of_the_users_session(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    way = request.node.callspec.params["confined"]
    command = [sys.executable, "-c", _PLANT_KEY, _FIND_KEY, str(tmp_path), way]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if printed.startswith("none"):
        pytest.skip("this system keeps no keys of sessions")
    assert printed.split() == ["found", "none"]


async def test_a_signal_to_all_processes_reaches_its_own_only(confined: Tool) -> None:
    code = "import os, subprocess, signal\nsignal.signal(15, lambda *_: None)\n"
    code += "p = subprocess.Popen(['sleep', '99'])\nos.kill(-1, 15)\np.wait()"
    assert await run_code(code, tool=confined) == "-15"


async def test_it_can_use_its_folder_temporary_files_locks_and_libraries(confined: Tool) -> None:
    code = (
        "import multiprocessing, tempfile, numpy, pathlib, subprocess, sqlite3\n"
        "if __name__ == '__main__':\n"
        "    with multiprocessing.Pool(2) as pool: print(pool.map(abs, [-1, -2]))\n"
        "    with tempfile.TemporaryFile() as file: print(file.write(b'x'))\n"
        "    pathlib.Path('/tmp/a').write_text('x'); pathlib.Path('b').write_text('x')\n"
        "    sqlite3.connect('c.db').execute('create table t (x)')\n"
        "    print(subprocess.run(['ls', '.'], capture_output=True, text=True).stdout.split())\n"
        "    print(int(numpy.arange(4).sum()), pathlib.Path.home() == pathlib.Path.cwd())\n"
    )
    output = await run_code(code, tool=confined)
    assert output.splitlines()[:2] == ["[1, 2]", "1"]
    assert "'b', 'c.db'" in output
    assert output.endswith("6 True")


HOGS = {
    "memory of many processes": (
        "for _ in range(8):\n"
        "    if os.fork() == 0:\n"
        "        x = bytearray(b'x') * 150_000_000\n        time.sleep(15)\n        os._exit(0)\n"
        "while True: os.wait()"
    ),
    "files in memory": (
        "held = []\n"
        "while True:\n"
        "    held.append(os.memfd_create('x'))\n    os.write(held[-1], bytes(40_000_000))"
    ),
    "detached shared memory": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\n"
        "while True:\n"
        "    at = libc.shmat(libc.shmget(0, 100_000_000, 0o1600), None, 0)\n"
        "    ctypes.memset(at, 1, 100_000_000)\n    libc.shmdt(ctypes.c_void_p(at))"
    ),
    "processes": "while True:\n    try: os.fork()\n    except OSError: time.sleep(0.01)",
    "files": "for i in range(10**7): open(str(i), 'w').close()",
    "output": "while True: print('x' * 100_000)",
}


@pytest.mark.parametrize("hog", HOGS)
async def test_what_all_of_its_processes_use_together_is_bounded(
    confined: Tool, hog: str, request: pytest.FixtureRequest
) -> None:
    is_bubblewrap = "bubblewrap" in request.node.name
    if hog == "processes" and os.getuid() == 0 and is_bubblewrap:
        pytest.skip("the number of root's processes is not limited by the kernel")
    output = await run_code(f"import os, time\n{HOGS[hog]}", tool=confined)
    assert "[stopped: more than" in output


async def test_its_files_together_are_bounded(confined: Tool) -> None:
    code = "for i in range(99): open(f'f{i}', 'wb').write(bytes(40_000_000))"
    assert "No space left on device" in await run_code(code, tool=confined)
    unlinked = "held = []\nwhile True:\n    held.append(open('f', 'wb'))\n"
    unlinked += "    held[-1].write(bytes(40_000_000)); import os; os.remove('f')"
    assert "No space left on device" in await run_code(unlinked, tool=confined)


async def test_a_process_that_shares_its_memory_with_children_is_not_stopped(
    confined: Tool,
) -> None:
    code = (
        "import os, time\nx = bytearray(b'x') * 200_000_000\n"
        "for _ in range(4):\n    if os.fork() == 0: time.sleep(0.5); os._exit(0)\n"
        "print([os.wait()[1] for _ in range(4)])"
    )
    assert await run_code(code, tool=confined) == "[0, 0, 0, 0]"


async def test_what_it_starts_is_ended_with_it(confined: Tool) -> None:
    tag = f"agentkit-test-{os.getpid()}"
    code = "import os, sys\nfor _ in range(20):\n    if os.fork() == 0:\n        os.setsid()\n"
    code += "        if os.fork() == 0: os.execv(sys.executable, [sys.executable, '-c', "
    code += f"'import time; time.sleep(99) # {tag}'])\n        os._exit(0)\nprint('started')"
    assert await run_code(code, tool=confined) == "started"
    left = [p for p in psutil.process_iter(["cmdline"]) if tag in str(p.info["cmdline"])]
    assert not left
