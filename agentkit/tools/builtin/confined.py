"""What a process takes from itself before it runs code that nobody has read: files outside its
folder (to read them it may), network, large files.

Linux only, by user namespaces and Landlock; `confine` says on a pipe what the system allowed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
from contextlib import suppress
from pathlib import Path

NO_NETWORK, NO_WRITING = b"n", b"w"
"""What `confine` says on its pipe."""

_FILE_BYTES = 50_000_000
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_SET_PARENT_DEATH_SIGNAL, _SET_NO_NEW_PRIVILEGES = 1, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_CHANGES = _WRITE_FILE | sum(1 << bit for bit in range(4, 13))
"""Write, remove and make files of any kind."""


def confine(folder: Path, said: int) -> None:
    """Confine this process, for good, and end it with its parent. Never raises for what the
    system lacks."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if _network_closed(libc):
        os.write(said, NO_NETWORK)
    if _writing_closed(libc, folder):
        os.write(said, NO_WRITING)
    libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _network_closed(libc: ctypes.CDLL) -> bool:
    user, group = os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK) != 0:
        return False
    with suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    return True


def _writing_closed(libc: ctypes.CDLL, folder: Path) -> bool:
    """Landlock: what is handled is forbidden, save beneath the paths that rules name."""
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    files = _WRITE_FILE | (_TRUNCATE if version >= 3 else 0)
    changes = _CHANGES | files | (_REFER if version >= 2 else 0)
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("=Q", changes), ctypes.c_size_t(8), 0)
    for path, allowed in ((folder, changes), (Path(os.devnull), files)):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        libc.syscall(_ADD_RULE, ruleset, 1, struct.pack("=Qi", allowed, opened), 0)
        os.close(opened)
    libc.prctl(_SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    return bool(libc.syscall(_RESTRICT_SELF, ruleset, 0) == 0)
