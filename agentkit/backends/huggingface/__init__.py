"""Hugging Face models in this process. PyTorch and transformers are imported at first use."""

from agentkit.backends.huggingface.model import HuggingFaceModel

__all__ = ["HuggingFaceModel"]
