"""The one tree of errors. Each message names the thing and the next step."""

from __future__ import annotations

from typing import Literal

FaultKind = Literal[
    "down", "rate_limited", "timed_out", "too_long", "refused_key", "bad_request", "other"
]
"""Why a model failed: the first four may pass, or spare another model; the rest want a person."""


class AgentkitError(Exception):
    """Anything that goes wrong here on purpose; `str(error)` is one line for people."""


class ConfigError(AgentkitError):
    """A setting, an option or a missing extra."""


class ModelError(AgentkitError):
    """A model that cannot be reached, found or used. `report` holds what was asked and what came
    back, in some lines for people, where a run has failed of it."""

    def __init__(self, message: str, model: str = "", kind: FaultKind = "other") -> None:
        super().__init__(message)
        self.model = model
        self.kind = kind
        self.report = ""


class ToolError(AgentkitError):
    """A tool that failed; its message is given to the model."""

    def __init__(self, message: str, tool: str = "") -> None:
        super().__init__(message)
        self.tool = tool


class KnowledgeError(AgentkitError):
    """An index or a document."""


class McpError(AgentkitError):
    """An MCP server that cannot be started, reached or understood."""

    def __init__(self, message: str, server: str = "") -> None:
        super().__init__(message)
        self.server = server


class LimitReached(AgentkitError):
    """A run that used up one of its limits."""


class TrustError(AgentkitError):
    """A folder whose code or settings the user has not trusted."""
