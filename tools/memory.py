"""How much memory a model needs: the two rules of the lecture notes, and the KV cache.

Estimates for serving, not for training. GB is 1e9 bytes throughout.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

OVERHEAD = 1.2
KV_BYTES = 2


class MemoryEstimate(BaseModel):
    """Memory to serve a model, term by term, in GB (1e9 bytes)."""

    model_config = ConfigDict(frozen=True)

    weights_gb: float = Field(description="The bare weights: P * Q / 8.")
    formula_gb: float = Field(description="Weights and 20% overhead: P * 4 * 1.2 / (32 / Q).")
    kv_cache_gb: float | None = Field(description="The KV cache, where the shape was given.")
    total_gb: float = Field(description="formula_gb and kv_cache_gb together.")
    rule_of_thumb_gb: tuple[float, float] | None = Field(
        description="The wider rule, at 16 bits only: 2.5 to 3 GB per billion parameters."
    )


@tool
def estimate_memory(
    parameters_billion: float,
    bits: Literal[4, 8, 16, 32] = 16,
    layers: int | None = None,
    kv_heads: int | None = None,
    head_size: int | None = None,
    context: int | None = None,
    batch: int = 1,
) -> MemoryEstimate:
    """Estimate the GPU memory in GB (1e9 bytes) that serving a language model needs.

    The main formula is M = P * 4 * 1.2 / (32 / Q): a 7B model needs 4.2 GB at 4 bits, 8.4 GB at
    8 bits and 16.8 GB at 16 bits. Give layers, kv_heads, head_size and context to add the KV
    cache: 2 * layers * kv_heads * head_size * context * batch * 2 bytes.

    Source: knowledge/lecture_notes/02_theory_and_practice.md (the formula),
    00_introduction.md (2.5 to 3 times) and 03_neural_networks.md (weights, KV cache).

    Args:
        parameters_billion: Number of parameters in billions: 7 for a 7B model.
        bits: Bits per weight: 32, 16, or 8 or 4 when quantised.
        layers: Number of transformer layers.
        kv_heads: Number of key and value heads per layer.
        head_size: Dimensions per head.
        context: Tokens held in the cache per sequence.
        batch: Sequences served at the same time.
    """
    if not 0 < parameters_billion <= 1e6:
        raise ValueError("parameters_billion must be above 0 and at most 1e6: give 7 for 7B")
    formula = parameters_billion * 4 * OVERHEAD / (32 / bits)
    cache = _kv_cache_gb(layers, kv_heads, head_size, context, batch)
    return MemoryEstimate(
        weights_gb=_rounded(parameters_billion * bits / 8),
        formula_gb=_rounded(formula),
        kv_cache_gb=None if cache is None else _rounded(cache),
        total_gb=_rounded(formula + (cache or 0)),
        rule_of_thumb_gb=_rule_of_thumb(parameters_billion) if bits == 16 else None,
    )


def _kv_cache_gb(
    layers: int | None, kv_heads: int | None, head_size: int | None, context: int | None, batch: int
) -> float | None:
    shape = (layers, kv_heads, head_size, context)
    if all(size is None for size in shape):
        return None
    if any(size is None or size < 1 for size in (*shape, batch)):
        raise ValueError(
            "The KV cache needs layers, kv_heads, head_size, context and batch, each at least 1: "
            "give them all, or leave the first four out"
        )
    values = 2 * batch
    for size in shape:
        values *= size or 1
    return values * KV_BYTES / 1e9


def _rule_of_thumb(parameters_billion: float) -> tuple[float, float]:
    return _rounded(parameters_billion * 2.5), _rounded(parameters_billion * 3)


def _rounded(gigabytes: float) -> float:
    return round(gigabytes, 6)
