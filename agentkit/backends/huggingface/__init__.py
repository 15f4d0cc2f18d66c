"""Hugging Face models in this process. PyTorch and transformers are imported at first use."""
