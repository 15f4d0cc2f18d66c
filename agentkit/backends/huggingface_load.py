"""Bring a causal model and its tokenizer into memory. Every failure is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentkit.backends.huggingface_source import Source, check_hub, is_downloaded
from agentkit.errors import ConfigError, ModelError

DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to generate. `window` in tokens."""

    source: Source
    tokenizer: Any
    model: Any
    window: int | None


def load(source: Source, device: str, dtype: str, trust_remote_code: bool) -> Loaded:
    """The model in memory. Takes seconds to minutes; raises ModelError and ConfigError."""
    torch, transformers = _libraries()
    device = _device(source, device, torch)
    if dtype not in DTYPES:
        raise ConfigError(f"{dtype!r} is no dtype: choose one of {', '.join(DTYPES)}.")
    shared: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    weights: dict[str, Any] = {"dtype": _dtype(dtype, device)}
    if source.gguf_file:
        shared["gguf_file"] = source.gguf_file
        weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    else:
        weights["use_safetensors"] = True
    with _explained(source):
        shared["local_files_only"] = source.is_folder or is_downloaded(source)
        if not shared["local_files_only"]:
            check_hub(source)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.place, **shared)
        models = transformers.AutoModelForCausalLM
        model = models.from_pretrained(source.place, **shared, **weights).to(device).eval()
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Loaded(source, tokenizer, model, window if isinstance(window, int) else None)


def _libraries() -> tuple[Any, Any]:
    try:
        import torch
        import transformers
    except ImportError as error:
        raise ConfigError(
            "Models in this process need PyTorch and transformers, which are not installed. "
            "Run: pip install 'agentkit-rag[hf]'"
        ) from error
    return torch, transformers


def _device(source: Source, device: str, torch: Any) -> str:
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return next(name for name, present in there.items() if present)
    if not there.get(device.partition(":")[0], False):
        present = ", ".join(name for name, present in there.items() if present)
        raise source.fault(f"This machine has no device {device!r}: it has {present}.")
    return device


def _dtype(dtype: str, device: str) -> str:
    """The weights' own on an accelerator; on a processor the half formats are slow."""
    return "float32" if dtype == "auto" and device == "cpu" else dtype


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    """Whatever goes wrong in the block, as one line."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:
        raise source.fault(_reason(source, error)) from error


def _reason(source: Source, error: Exception) -> str:
    said = f"{type(error).__name__}: {error}"
    low = said.lower()
    if isinstance(error, MemoryError) or "out of memory" in low or "not enough memory" in low:
        return (
            f"{source.name} does not fit into memory. Choose a smaller model, or "
            "dtype = bfloat16 for its provider."
        )
    if "trust_remote_code" in low:
        return (
            f"{source.name} brings its own code, which is not run unless you write "
            "trust_remote_code = true for its provider."
        )
    if "gated" in low:
        page = f"https://huggingface.co/{source.place}"
        return f"{source.place!r} is gated: accept its terms on {page} and set HF_TOKEN."
    if source.gguf_file:
        return f"{source.name} cannot be read ({said}). Is the file whole? Download it again."
    return f"{source.name} cannot be loaded ({said}). Is the download whole?"
