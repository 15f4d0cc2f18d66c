"""GGUF models in this process, by llama.cpp."""

from agentkit.backends.llamacpp.model import LlamaCppModel as LlamaCppModel
