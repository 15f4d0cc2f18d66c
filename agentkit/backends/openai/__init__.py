"""Models behind an OpenAI-compatible server."""

from agentkit.backends.openai.model import OpenAIModel as OpenAIModel
