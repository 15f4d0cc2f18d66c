"""Where a model's weights go and in what form: device, dtype, spread, quantisation, attention.

What needs a GPU is checked here and otherwise untried: no machine of ours has had one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from agentkit.backends.huggingface_source import Source
from agentkit.errors import ConfigError

DTYPES = ("auto", "float32", "float16", "bfloat16")
QUANTIZATIONS = ("none", "8bit", "4bit")
ATTENTIONS = ("auto", "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


@dataclass(frozen=True, slots=True)
class Placement:
    """`device_map` spreads the weights ("auto", "balanced", "sequential") in place of one device;
    `quantization` is one of QUANTIZATIONS, by bitsandbytes; `attention` one of ATTENTIONS."""

    device: str = "auto"
    dtype: str = "auto"
    device_map: str | None = None
    attention: str = "auto"
    quantization: str = "none"


@dataclass(frozen=True, slots=True)
class Placed:
    """What `from_pretrained` is told, and the device to move to, None where it has done so."""

    arguments: Mapping[str, Any]
    device: str | None


def placed(source: Source, placement: Placement) -> Placed:
    """The placement for this machine. Raises ConfigError and ModelError where it cannot be."""
    _check_words(placement)
    device = _device(source, placement.device)
    arguments: dict[str, Any] = {"dtype": _dtype(placement.dtype, device)}
    if placement.attention != "auto":
        arguments["attn_implementation"] = placement.attention
    if placement.quantization != "none":
        arguments["quantization_config"] = _quantized(source, placement.quantization, device)
    if placement.device_map is not None:
        return Placed({**arguments, "device_map": placement.device_map}, None)
    if placement.quantization != "none":
        return Placed({**arguments, "device_map": {"": device}}, None)
    return Placed(arguments, device)


def _check_words(placement: Placement) -> None:
    chosen = (
        ("dtype", placement.dtype, DTYPES),
        ("quantization", placement.quantization, QUANTIZATIONS),
        ("attention", placement.attention, ATTENTIONS),
    )
    for kind, word, known in chosen:
        if word not in known:
            raise ConfigError(f"{word!r} is no {kind}: choose one of {', '.join(known)}.")


def _device(source: Source, device: str) -> str:
    import torch

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


def _quantized(source: Source, quantization: str, device: str) -> Any:
    if not device.startswith("cuda"):
        raise ConfigError(
            f"quantization = {quantization!r} needs a CUDA device, and {source.name} is placed on "
            f"{device!r}. Leave it out, or use a GGUF file, which is small as it is."
        )
    if source.gguf_file:
        raise ConfigError(
            f"quantization = {quantization!r} is not for GGUF files such as {source.gguf_file}: "
            "leave it out."
        )
    if find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"quantization = {quantization!r} needs bitsandbytes, which is not installed. "
            "Run: pip install bitsandbytes"
        )
    import torch
    import transformers

    if quantization == "8bit":
        return transformers.BitsAndBytesConfig(load_in_8bit=True)
    return transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
    )
