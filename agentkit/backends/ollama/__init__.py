"""Models on an Ollama server."""

from agentkit.backends.ollama.model import OllamaModel

__all__ = ["OllamaModel"]
