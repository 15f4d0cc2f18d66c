"""A GGUF file of a few kilobytes: a real Llama of one layer, with weights drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

WINDOW = 64
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


def write_tiny_gguf(
    path: Path, template: str = TEMPLATE, window: int = WINDOW, quantization: str = "F32"
) -> Path:
    """Write the model; its vocabulary is the 256 bytes, one pair of them and an end. `quantization`
    is the format of its matrices, such as Q8_0 or Q4_0."""
    import gguf

    # A block of a quantized matrix has 32 values.
    width = 16 if quantization == "F32" else 32
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(window)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(2 * width)
    writer.add_head_count(2)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    _add_tokenizer(writer, template)
    draw = np.random.default_rng(0)
    for name, shape in _shapes(width).items():
        values = draw.normal(size=shape).astype(np.float32)
        if len(shape) == 1 or quantization == "F32":
            writer.add_tensor(name, values)
        else:
            kind = gguf.GGMLQuantizationType[quantization]
            writer.add_tensor(name, gguf.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: Any, template: str) -> None:
    tokens = [*_byte_letters(), "ab", "<end>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * 257 + [3])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(257)
    writer.add_eos_token_id(257)
    writer.add_chat_template(template)


def _byte_letters() -> list[str]:
    """The letters in which byte-level vocabularies spell the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [number for number in range(256) if number not in plain]
    return [chr(n) for n in plain] + [chr(256 + at) for at in range(len(others))]


def _shapes(width: int) -> dict[str, tuple[int, ...]]:
    square, inner = (width, width), 2 * width
    block: dict[str, tuple[int, ...]] = {
        "attn_norm": (width,),
        "ffn_norm": (width,),
        **dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), square),
        **dict.fromkeys(("ffn_gate", "ffn_up"), (inner, width)),
        "ffn_down": (width, inner),
    }
    shapes = {f"blk.0.{name}.weight": shape for name, shape in block.items()}
    around = {"token_embd.weight": (258, width), "output.weight": (258, width)}
    return {**shapes, **around, "output_norm.weight": (width,)}
