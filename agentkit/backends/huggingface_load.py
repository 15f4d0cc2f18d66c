"""Bring a causal model and its tokenizer into memory, silently. Every failure is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from agentkit.backends.huggingface_placement import Placement, placed
from agentkit.backends.huggingface_quiet import quiet
from agentkit.backends.huggingface_source import Source, check_hub, is_downloaded
from agentkit.errors import ConfigError, ModelError


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model ready to generate. `window` in tokens."""

    source: Source
    tokenizer: Any
    model: Any
    window: int | None

    @property
    def ends(self) -> frozenset[int]:
        """The tokens that end a turn."""
        said = self.model.generation_config.eos_token_id
        ends = {*(said if isinstance(said, list) else [said]), self.tokenizer.eos_token_id}
        return frozenset(ends - {None})


def load(
    source: Source,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    *,
    device_map: str | None = None,
    attention: str = "auto",
    quantization: str = "none",
) -> Loaded:
    """The model in memory. Takes seconds to minutes; raises ModelError and ConfigError."""
    transformers = _library()
    place = placed(source, Placement(device, dtype, device_map, attention, quantization))
    shared: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    weights: dict[str, Any] = dict(place.arguments)
    if source.gguf_file:
        shared["gguf_file"] = source.gguf_file
        weights["quantization_config"] = transformers.GgufConfig(dequantize=True)
    else:
        weights["use_safetensors"] = True
    with _explained(source), quiet():
        shared["local_files_only"] = source.is_folder or is_downloaded(source)
        if not shared["local_files_only"]:
            check_hub(source)
        weights["config"] = transformers.AutoConfig.from_pretrained(source.place, **shared)
        tokenizer = transformers.AutoTokenizer.from_pretrained(source.place, **shared)
        models = transformers.AutoModelForCausalLM
        model = models.from_pretrained(source.place, **shared, **weights).eval()
        if place.device is not None:
            model = model.to(place.device)
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    return Loaded(source, tokenizer, model, window if isinstance(window, int) else None)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on whatever device."""
    said = f"{type(error).__name__}: {error}".lower()
    words = ("out of memory", "outofmemory", "not enough memory", "can't allocate memory")
    return isinstance(error, MemoryError) or any(word in said for word in words)


def _library() -> Any:
    try:
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise ConfigError(
            "Models in this process need PyTorch and transformers, which are not installed. "
            "Run: pip install 'agentkit-rag[hf]'"
        ) from error
    return transformers


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
    if out_of_memory(error):
        return (
            f"{source.name} does not fit into memory. Choose a smaller model, or set "
            "quantization = 4bit (CUDA) or dtype = bfloat16 for its provider."
        )
    if "trust_remote_code" in low:
        return (
            f"{source.name} brings its own code, which is not run unless you write "
            "trust_remote_code = true for its provider."
        )
    if "gated" in low:
        page = f"https://huggingface.co/{source.place}"
        return f"{source.place!r} is gated: accept its terms on {page} and set HF_TOKEN."
    if "flash" in low or "attn_implementation" in low:
        return f"{source.name} cannot use this attention here ({said}). Set attention = sdpa."
    if source.gguf_file:
        return f"{source.name} cannot be read ({said}). Is the file whole? Download it again."
    return f"{source.name} cannot be loaded ({said}). Is the download whole?"
