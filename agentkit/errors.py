"""Exceptions of agentkit. Each message names the thing, the reason and the next step."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from agentkit.redaction import redact

FaultKind = Literal[
    "down", "rate_limited", "timed_out", "too_long", "refused_key", "bad_request", "other"
]
"""Why a model failed. The first four may be temporary or differ for another model; the rest need
a person."""


class AgentkitError(Exception):
    """Base class of all errors of agentkit; `str(error)` is one line for people, without secrets:
    what others report may contain them."""

    def __init__(self, message: str = "") -> None:
        super().__init__(redact(str(message)))


class ConfigError(AgentkitError):
    """An invalid setting or option, or a missing extra."""


class AlreadyDecided(ConfigError):
    """A decision on a call that does not wait for one: it was decided before, here or in another
    process, or never asked for."""


class SessionNotFound(ConfigError):
    """A stored session that does not exist."""


class SessionBusy(ConfigError):
    """A session that another run, another part of the program or another process has."""


class StorageUnavailable(AgentkitError):
    """A storage of sessions that cannot be reached now, and may be in a moment."""


class StorageFull(AgentkitError):
    """A disk that has no room for a session."""


class ModelError(AgentkitError):
    """A model that cannot be reached, found or used. If it ended a run, `report` describes the
    request and the response, in some lines for people."""

    def __init__(self, message: str, model: str = "", kind: FaultKind = "other") -> None:
        super().__init__(message)
        self.model = model
        self.kind = kind
        self.report = ""


class LimitReached(ModelError):
    """A run that reached a limit, which the message names, before a model gave a valid output."""


class ToolError(AgentkitError):
    """A tool call that failed; the message is for the model. `cause` is the exception of the tool,
    this error itself where the tool raised it. `is_logged` is set when it is logged, once."""

    def __init__(self, message: str, tool: str = "", cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.tool = tool
        self.cause = cause or self
        self.is_logged = False


class Retry(ToolError):
    """Raise it in a tool, or in an output check, to have the model try again: the message tells it
    what to change. It is not a failure of the tool, so `Agent(on_tool_error=…)` does not see it."""


class KnowledgeError(AgentkitError):
    """An index or document that cannot be read or written."""


class IndexBusy(KnowledgeError):
    """An index that another process is writing."""


class McpError(AgentkitError):
    """An MCP server that cannot be started or reached, or that violates the protocol."""

    def __init__(self, message: str, server: str = "") -> None:
        super().__init__(message)
        self.server = server


class TrustError(AgentkitError):
    """A folder whose trust is missing or cannot be checked."""


NO_MEMORY = "there is not enough memory"
MORE_MEMORY = (
    "End other programs, or raise the limit of memory (ulimit -v; of a container, its own). "
    "agentkit needs about 1 GB."
)
_MEMORY_FAULT = re.compile(
    r"can't start new thread|cannot allocate memory|unable to allocate|failed to map segment"
    r"|bad.?alloc|out of memory|mmap failed|Resource temporarily unavailable",
    re.IGNORECASE,
)
"""How the system and libraries in C say that memory, or room for a thread, is missing."""


def lacks_memory(error: BaseException | None) -> bool:
    """Whether an error, or one that led to it, comes from a lack of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or _MEMORY_FAULT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


_FILE_FAULTS = {
    errno.EISDIR: ("it is a directory", "Name a file."),
    errno.ENXIO: ("not a regular file", "Replace it by a file."),
    errno.ELOOP: ("it is a link that leads to itself", "Remove the link."),
    errno.EACCES: ("permission denied", "Change its permissions."),
    errno.EPERM: ("permission denied", "Change its permissions."),
    errno.EROFS: ("the file system is read-only", "Name a file elsewhere."),
    errno.ENOSPC: ("the disk is full", "Free some disk space."),
    errno.ENAMETOOLONG: ("its name is too long", "Choose a shorter name."),
}


def file_error(
    path: Path | str, error: OSError | UnicodeError, action: Literal["read", "written"] = "read"
) -> str:
    """Describe why a file cannot be read or written and what to do, in two sentences."""
    reason, step = file_fault(Path(path), error, action)
    return f"{path} cannot be {action}: {reason}. {step}"


def require_directory(folder: Path) -> Path:
    """Return the folder of a project. Raises ConfigError where there is none."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a directory. Name the folder of a project.")
    return folder


def file_fault(path: Path, error: OSError | UnicodeError, action: str) -> tuple[str, str]:
    """Why a file cannot be read or written, and what to do."""
    if isinstance(error, UnicodeError):
        return "it is not UTF-8 text", "Save it as UTF-8."
    if error.errno in (errno.ENOENT, errno.ENOTDIR) and not path.parent.is_dir():
        step = f"Run: mkdir -p {path.parent}" if action == "written" else "Check the path."
        return f"there is no directory {path.parent}", step
    if error.errno == errno.ENOENT:
        return "it does not exist", "Check the path."
    other = ((error.strerror or str(error)).lower(), "Check the disk and its permissions.")
    return _FILE_FAULTS.get(error.errno or 0, other)


_VALUE_FAULTS = {
    "bool": "must be true or false",
    "dict": "must be {table}",
    "float": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "int": "must be a whole number",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "list": 'must be a list, such as ["a", "b"]',
    "literal": "must be {expected}",
    "missing": "is missing. Add it",
    "model": "must be {table}",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "value_error": "{error}",
}
"""What a value must be, by the start of the type of pydantic's error."""


def value_error(fault: Mapping[str, Any], table: str = "an object") -> str:
    """Describe what is wrong with a value, from one of the errors of a pydantic ValidationError."""
    kind, context = str(fault["type"]), fault.get("ctx", {})
    reason = next((text for name, text in _VALUE_FAULTS.items() if kind.startswith(name)), "")
    return reason.format(table=table, **context) or str(fault["msg"])
