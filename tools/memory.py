"""How much memory a model needs, by the rules of the lecture notes and term by term.

Estimates for serving, not for training. GB is 1e9 bytes throughout.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

FORMULA = "lecture_notes/02_theory_and_practice.md, 大模型资源占用计算公式"
WIDE_RULE = "lecture_notes/00_introduction.md, 推理显存的经验估算"
QUANTISED = "lecture_notes/00_introduction.md, 量化：用更少的字节近似存储参数"
WEIGHTS = "lecture_notes/03_neural_networks.md, 推理显存的构成与权重占比"
CACHE = "lecture_notes/03_neural_networks.md, KV Cache 的原理与代价"

TERMS = (
    "formula: P * 4 * 1.2 / (32 / Q); total: P * Q / 8 * 1.2"
    " + 2 * layers * kv_heads * head_size * context * batch * 2 bytes"
)
OVERHEAD = 1.2
CACHE_BYTES = 2

Bits = Literal[4, 8, 16, 32]
CARD_BITS: tuple[Bits, ...] = (16, 8, 4)

Billions = Annotated[float, Field(gt=0, le=1e6)]
Tokens = Annotated[int, Field(ge=0, le=100_000_000)]
Size = Annotated[int, Field(ge=1, le=100_000)]


@dataclass(frozen=True)
class Shape:
    """What the KV cache depends on."""

    layers: int
    kv_heads: int
    head_size: int
    origin: str

    def __str__(self) -> str:
        return f"{self.layers} layers, {self.kv_heads} KV heads of {self.head_size} ({self.origin})"


COMMON = {
    0.5: Shape(24, 2, 64, "config.json of Qwen2.5-0.5B"),
    1.5: Shape(28, 2, 128, "config.json of Qwen2.5-1.5B"),
    3: Shape(36, 2, 128, "config.json of Qwen2.5-3B"),
    7: Shape(28, 4, 128, "config.json of Qwen2.5-7B"),
    8: Shape(32, 8, 128, "config.json of Llama-3.1-8B"),
    9: Shape(40, 2, 128, "config.json of GLM-4-9B"),
    13: Shape(40, 40, 128, "config.json of Llama-2-13B"),
    14: Shape(48, 8, 128, "config.json of Qwen2.5-14B"),
    32: Shape(64, 8, 128, "config.json of Qwen2.5-32B"),
    70: Shape(80, 8, 128, "config.json of Llama-3.1-70B"),
}
"""Parameters in billions -> the shape of a well-known model of that size. Others of a size differ:
Llama-2-7B has eight times the KV cache of Qwen2.5-7B."""


class MemoryEstimate(BaseModel):
    """Memory to serve a model in GB (1e9 bytes): the notes' rules, and the sum of its terms."""

    model_config = ConfigDict(frozen=True)

    formula_gb: float = Field(description="The notes' formula: P * 4 * 1.2 / (32 / Q).")
    wide_rule_gb: tuple[float, float] | None = Field(
        description="The notes' wide rule: 2.5 to 3 times P, less in proportion below 16 bits."
    )
    weights_gb: float = Field(description="The bare weights: P * Q / 8.")
    overhead_gb: float = Field(description="20% of the weights, as in the formula.")
    kv_cache_gb: float = Field(description="The KV cache of the context; 0 without one.")
    total_gb: float = Field(description="Weights, overhead and KV cache together.")
    shape: str = Field(description="What the KV cache was computed with, and where from.")
    formula: str = TERMS
    sources: tuple[str, ...]


class Fit(BaseModel):
    """One quantisation on one card."""

    model_config = ConfigDict(frozen=True)

    bits: Bits
    total_gb: float
    fits: bool


class CardFit(BaseModel):
    """Which quantisation of a model fits a card."""

    model_config = ConfigDict(frozen=True)

    best_bits: Bits | None = Field(description="The most bits that fit; null where none do.")
    card_gb: float
    options: tuple[Fit, ...]
    shape: str
    formula: str = TERMS
    sources: tuple[str, ...]


@tool(idempotent=True)
def estimate_memory(
    parameters_billion: Billions,
    bits: Bits = 16,
    context: Tokens = 0,
    batch: Size = 1,
    layers: Size | None = None,
    kv_heads: Size | None = None,
    head_size: Size | None = None,
) -> MemoryEstimate:
    """Estimate the GPU memory in GB (1e9 bytes) that serving a language model needs.

    Gives the notes' formula M = P * 4 * 1.2 / (32 / Q), their wide rule of 2.5 to 3 GB per billion
    parameters, and the sum of weights P * Q / 8, 20% overhead and KV cache
    2 * layers * kv_heads * head_size * context * batch * 2 bytes.
    A 7B model needs 4.2 GB at 4 bits and 16.8 GB at 16 bits by the formula.

    Source: lecture_notes/02_theory_and_practice.md, 大模型资源占用计算公式;
    lecture_notes/00_introduction.md, 推理显存的经验估算;
    lecture_notes/00_introduction.md, 量化：用更少的字节近似存储参数;
    lecture_notes/03_neural_networks.md, 推理显存的构成与权重占比;
    lecture_notes/03_neural_networks.md, KV Cache 的原理与代价.

    Args:
        parameters_billion: Number of parameters in billions: 7 for a 7B model.
        bits: Bits per weight: 32, 16, or 8 or 4 when quantised.
        context: Tokens held in the KV cache per sequence: 8192 for 8k.
        batch: Sequences served at the same time.
        layers: Number of transformer layers; known for common sizes.
        kv_heads: Number of key and value heads per layer; known for common sizes.
        head_size: Dimensions per head; known for common sizes.
    """
    shape = _chosen_shape(parameters_billion, context, layers, kv_heads, head_size)
    weights = parameters_billion * bits / 8
    overhead = weights * (OVERHEAD - 1)
    cache = _kv_cache_gb(shape, context, batch)
    return MemoryEstimate(
        formula_gb=_rounded(parameters_billion * 4 * OVERHEAD / (32 / bits)),
        wide_rule_gb=_wide_rule(parameters_billion, bits),
        weights_gb=_rounded(weights),
        overhead_gb=_rounded(overhead),
        kv_cache_gb=_rounded(cache),
        total_gb=_rounded(weights + overhead + cache),
        shape=str(shape or "no context given, so no KV cache"),
        sources=(FORMULA, WIDE_RULE, QUANTISED, WEIGHTS, CACHE),
    )


@tool(idempotent=True)
def fit_quantisation(
    parameters_billion: Billions,
    card_gb: Annotated[float, Field(gt=0, le=100_000)],
    context: Tokens = 0,
    batch: Size = 1,
    layers: Size | None = None,
    kv_heads: Size | None = None,
    head_size: Size | None = None,
) -> CardFit:
    """Tell which quantisation (16, 8 or 4 bits) of a language model fits the memory of a GPU card.

    A quantisation fits where P * 4 * 1.2 / (32 / Q) and the KV cache of the context are together
    no more than the card has. A 13B model needs 7.8 GB at 4 bits, so it fits a card of 8 GB.

    Source: lecture_notes/02_theory_and_practice.md, 大模型资源占用计算公式;
    lecture_notes/03_neural_networks.md, KV Cache 的原理与代价.

    Args:
        parameters_billion: Number of parameters in billions: 13 for a 13B model.
        card_gb: Memory of the card in GB: 24 for an RTX 4090.
        context: Tokens held in the KV cache per sequence: 8192 for 8k.
        batch: Sequences served at the same time.
        layers: Number of transformer layers; known for common sizes.
        kv_heads: Number of key and value heads per layer; known for common sizes.
        head_size: Dimensions per head; known for common sizes.
    """
    shape = _chosen_shape(parameters_billion, context, layers, kv_heads, head_size)
    cache = _kv_cache_gb(shape, context, batch)
    options = tuple(_fit(bits, parameters_billion, cache, card_gb) for bits in CARD_BITS)
    return CardFit(
        best_bits=next((option.bits for option in options if option.fits), None),
        card_gb=card_gb,
        options=options,
        shape=str(shape or "no context given, so no KV cache"),
        sources=(FORMULA, CACHE),
    )


def _chosen_shape(
    parameters_billion: float,
    context: int,
    layers: int | None,
    kv_heads: int | None,
    head_size: int | None,
) -> Shape | None:
    """The shape that was given, else that of the common model that is nearest in size."""
    if layers and kv_heads and head_size:
        return Shape(layers, kv_heads, head_size, "as given")
    if layers or kv_heads or head_size:
        raise ValueError("give layers, kv_heads and head_size all three, or none of them")
    if not context:
        return None
    nearest = min(COMMON, key=lambda size: abs(size - parameters_billion))
    if not 0.5 <= parameters_billion / nearest <= 2:
        raise ValueError(
            f"no model of about {parameters_billion:g}B is known here: give layers, kv_heads and "
            "head_size (num_hidden_layers, num_key_value_heads, head_dim in its config.json)"
        )
    return COMMON[nearest]


def _fit(bits: Bits, parameters_billion: float, cache_gb: float, card_gb: float) -> Fit:
    total = _rounded(parameters_billion * OVERHEAD * bits / 8 + cache_gb)
    return Fit(bits=bits, total_gb=total, fits=total <= card_gb)


def _kv_cache_gb(shape: Shape | None, context: int, batch: int) -> float:
    """A key and a value of 16 bits for each layer, head, dimension and token."""
    if shape is None:
        return 0.0
    per_token = 2 * shape.layers * shape.kv_heads * shape.head_size * CACHE_BYTES
    return per_token * context * batch / 1e9


def _wide_rule(parameters_billion: float, bits: int) -> tuple[float, float] | None:
    """The notes state it for 16 bits, and that quantising divides the need."""
    if bits > 16:
        return None
    share = bits / 16
    return _rounded(parameters_billion * 2.5 * share), _rounded(parameters_billion * 3 * share)


def _rounded(gigabytes: float) -> float:
    return round(gigabytes, 4)
