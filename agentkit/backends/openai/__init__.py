"""Models behind an OpenAI-compatible server."""

from agentkit.backends.openai.model import OpenAIModel

__all__ = ["OpenAIModel"]
