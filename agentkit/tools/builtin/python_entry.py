"""Program that confines its own process, and then runs a model's code in its place.

`python_sandbox` starts it as `python -I -S -c SOURCE FD`. FD is a socket from which it reads its
plan as JSON, and to which it sends descriptors of the code's folder and of the table of shared
memory segments when everything is confined. It ends with an error otherwise. Standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any

FOLDER = "/sandbox"
FILE_BYTES = 50_000_000
FOLDER_BYTES = 256_000_000
USER = 1000
_PROCESSES, _OPEN_FILES = 320, 256
_NICENESS = 5

_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEW* for user, mount, pid, network, IPC, UTS and cgroup."""

_READ_ONLY, _NO_SETUID, _NO_DEVICES, _REMOUNT, _BIND = 1, 2, 4, 32, 4096
_RECURSIVE, _PRIVATE, _DETACH = 16384, 1 << 18, 2
_MOUNT_SETATTR, _HERE, _ALL_BELOW = 442, -100, 0x8000
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Landlock's rights to write, remove and create files of any kind."""
_TCP, _ABSTRACT_SOCKETS_AND_SIGNALS = 3, 3
_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
_JOIN_SESSION_KEYRING = 1


def main(descriptor: int) -> None:
    """Run the plan that comes from the socket. Raises OSError where a step is not permitted."""
    channel = socket.socket(fileno=descriptor)
    with channel.makefile("rb") as stream:
        plan = json.loads(stream.read())
    _end_with_parent()
    if plan["namespaces"]:
        _enter_namespaces(plan)
    os.chdir(FOLDER)
    limit(plan["memory_bytes"], _PROCESSES)
    program = Path(FOLDER, plan["program"])
    program.parent.mkdir()
    program.write_bytes(plan["code"].encode())
    held = [os.open(FOLDER, os.O_RDONLY)]
    if os.path.exists("/proc/sysvipc/shm"):
        held.append(os.open("/proc/sysvipc/shm", os.O_RDONLY))
    socket.send_fds(channel, [b"ready"], held)
    for each in (channel.detach(), *held):
        os.close(each)
    os.execve(plan["command"][0], [*plan["command"], str(program)], plan["environment"])


def limit(memory_bytes: int = 0, processes: int = 0) -> None:
    """Limit the process and what it starts for good; 0 leaves a limit as it is. The keys that the
    user's session holds in the kernel, such as Kerberos tickets, are left behind."""
    import resource

    if sys.platform == "linux" and (number := _KEYCTL.get(os.uname().machine)):
        ctypes.CDLL(None).syscall(number, _JOIN_SESSION_KEYRING, None)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_OPEN_FILES, _OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(_NICENESS)
    if memory_bytes:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    if processes:
        resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _enter_namespaces(plan: dict[str, Any]) -> None:
    """Continue as a process that sees only the plan's files, its own processes and no network, as
    an ordinary user. When it ends, the kernel ends all that it has started. The process outside
    writes the user ids, since only that may give a namespace the id of another user."""
    outside, inside = socket.socketpair()
    if child := os.fork():
        inside.close()
        if outside.recv(1):
            _map_users(child, plan["host_user"])
            outside.send(b"m")
        os._exit(_wait_for(child))
    outside.close()
    _call("unshare", _NEW_NAMESPACES)
    _end_with_parent()
    inside.send(b"u")
    if not inside.recv(1):
        os._exit(1)
    inside.close()
    _continue_in_child()
    _build_root(plan)
    _continue_in_child()
    if os.getuid() != USER:
        os.setgroups([])
        os.setresgid(USER, USER, USER)
        os.setresuid(USER, USER, USER)
    ctypes.CDLL(None).prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)


def _map_users(pid: int, host_user: int) -> None:
    """Let the namespace's user be a user of the host: the one who runs this, or as root another."""
    own_user, own_group = os.getuid(), os.getgid()
    if host_user == own_user:
        Path(f"/proc/{pid}/setgroups").write_text("deny")
        users, groups = f"{USER} {own_user} 1", f"{USER} {own_group} 1"
    else:
        users, groups = (f"0 {own} 1\n{USER} {host_user} 1" for own in (own_user, own_group))
    Path(f"/proc/{pid}/uid_map").write_text(users)
    Path(f"/proc/{pid}/gid_map").write_text(groups)


def _continue_in_child() -> None:
    if child := os.fork():
        os._exit(_wait_for(child))
    _end_with_parent()


def _wait_for(child: int) -> int:
    """Return a child's exit code, 128 and its signal if it was killed; other processes that end
    meanwhile are only reaped."""
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _build_root(plan: dict[str, Any]) -> None:
    """Make a read-only file system of the plan's files, and enter it."""
    root = plan["root"]
    _mount("none", "/", "", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", root, "tmpfs", _NO_SETUID | _NO_DEVICES, "mode=755")
    os.mkdir(f"{root}{FOLDER}")
    size = f"size={FOLDER_BYTES},mode=755,uid={USER},gid={USER}"
    _mount("tmpfs", f"{root}{FOLDER}", "tmpfs", _NO_SETUID | _NO_DEVICES, size)
    for path in [*plan["files"], *plan["devices"]]:
        _bind(path, root + path, is_device=path in plan["devices"])
    for path, target in plan["links"].items():
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        os.symlink(target, root + path)
    os.mkdir(f"{root}/proc")
    _mount("proc", f"{root}/proc", "proc", _NO_SETUID | _NO_DEVICES)
    Path(root, "proc/sys/user/max_user_namespaces").write_text("0")
    _mount("none", f"{root}/proc", "", _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES)
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _DETACH)
    _mount("none", "/", "", _REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES)


def _bind(source: str, target: str, is_device: bool) -> None:
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        Path(target).touch()
    _mount(source, target, "", _BIND | _RECURSIVE)
    flags = _NO_SETUID if is_device else _READ_ONLY | _NO_SETUID | _NO_DEVICES
    attributes = struct.pack("=QQQQ", flags, 0, 0, 0)
    here, size = ctypes.c_int(_HERE), ctypes.c_size_t(len(attributes))
    _call("syscall", _MOUNT_SETATTR, here, os.fsencode(target), _ALL_BELOW, attributes, size)


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    names = os.fsencode(source), os.fsencode(target), kind.encode() or None
    _call("mount", *names, ctypes.c_ulong(flags), options.encode() or None)


def _call(name: str, *arguments: Any) -> None:
    """Call a function of libc. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def restrict(folder: str) -> None:
    """Keep this process from what Landlock can forbid: changes of files outside the folder, TCP,
    abstract Unix sockets and signals, as far as the kernel's version goes. Without Landlock it does
    nothing. What a ruleset handles is forbidden except below the paths of its rules."""
    libc = ctypes.CDLL(None)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    files = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    changes = _CHANGES | files | (_REFER if version >= 2 else 0)
    fields = [changes, *([_TCP] if version >= 4 else [])]
    fields += [_ABSTRACT_SOCKETS_AND_SIGNALS] if version >= 6 else []
    handled = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    for path, allowed in ((folder, changes), (os.devnull, files)):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
        os.close(opened)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
