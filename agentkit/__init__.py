"""agentkit: retrieval-augmented agents, honest about their sources.

Public names load at first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentkit.agent.agent import Agent
    from agentkit.agent.limits import Limits
    from agentkit.agent.session import Session
    from agentkit.answers import Answer, Citation
    from agentkit.documents import Chunk, Document, Hit
    from agentkit.errors import AgentkitError
    from agentkit.knowledge.knowledge_base import KnowledgeBase
    from agentkit.messages import Message
    from agentkit.project.project import Project, demo_path
    from agentkit.tools.context import ToolContext
    from agentkit.tools.tool import Tool, tool

__version__ = "0.1.0"

_HOMES = {
    "Agent": "agentkit.agent.agent",
    "AgentkitError": "agentkit.errors",
    "Answer": "agentkit.answers",
    "Chunk": "agentkit.documents",
    "Citation": "agentkit.answers",
    "Document": "agentkit.documents",
    "Hit": "agentkit.documents",
    "KnowledgeBase": "agentkit.knowledge.knowledge_base",
    "Limits": "agentkit.agent.limits",
    "Message": "agentkit.messages",
    "Project": "agentkit.project.project",
    "Session": "agentkit.agent.session",
    "Tool": "agentkit.tools.tool",
    "ToolContext": "agentkit.tools.context",
    "demo_path": "agentkit.project.project",
    "tool": "agentkit.tools.tool",
}

__all__ = [
    "Agent",
    "AgentkitError",
    "Answer",
    "Chunk",
    "Citation",
    "Document",
    "Hit",
    "KnowledgeBase",
    "Limits",
    "Message",
    "Project",
    "Session",
    "Tool",
    "ToolContext",
    "demo_path",
    "tool",
]


if not TYPE_CHECKING:  # Type checkers read the imports above, and reject any other name.

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'agentkit' has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
