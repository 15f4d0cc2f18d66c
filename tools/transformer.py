"""Counting the parameters of a decoder-only transformer from the values of its config.

Dense models only: no experts, no normalisation of queries and keys.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

BLOCK = "lecture_notes/03_neural_networks.md, Transformer 模块的组成"
SHAPES = "lecture_notes/04_from_scratch.md, 参数矩阵的形状与缩放因子"
LAYERS = "lecture_notes/02_theory_and_practice.md, 全连接网络的参数量计算"

Size = Annotated[int, Field(ge=1, le=1_000_000)]
Biases = Literal["none", "qkv", "all"]


class TransformerCount(BaseModel):
    """The parameters of a transformer, part by part."""

    model_config = ConfigDict(frozen=True)

    embedding: int = Field(description="vocabulary * d_model, and positions * d_model.")
    attention_per_layer: int = Field(description="W_Q, W_K, W_V and W_O.")
    feed_forward_per_layer: int = Field(description="Two matrices, or three where gated.")
    norms_per_layer: int
    layers: int
    final_norm: int
    output: int = Field(description="vocabulary * d_model; 0 where it shares the embedding.")
    total: int
    total_billion: float
    formula: str = "embedding + layers * (attention + feed_forward + norms) + final_norm + output"
    sources: tuple[str, ...] = (BLOCK, SHAPES, LAYERS)


@tool(idempotent=True)
def count_transformer_parameters(
    vocabulary: Size,
    layers: Annotated[int, Field(ge=1, le=1000)],
    d_model: Size,
    heads: Annotated[int, Field(ge=1, le=1000)],
    feed_forward: Size,
    kv_heads: Annotated[int, Field(ge=1, le=1000)] | None = None,
    head_size: Size | None = None,
    gated: bool = True,
    biases: Biases = "none",
    tied: bool = False,
    positions: Annotated[int, Field(ge=0, le=10_000_000)] = 0,
) -> TransformerCount:
    """Count the parameters of a decoder-only transformer from its config.

    A layer has W_Q and W_O of d_model * heads * head_size, W_K and W_V of
    d_model * kv_heads * head_size, two (gated: three) matrices of d_model * feed_forward, and two
    normalisations. The defaults are those of Llama; GPT-2 is not gated, tied, with all biases and
    1024 positions; Qwen2.5 has biases on q, k and v. Llama-2-7B: 32000, 32, 4096, 32, 11008 gives
    6738415616.

    Source: lecture_notes/03_neural_networks.md, Transformer 模块的组成;
    lecture_notes/04_from_scratch.md, 参数矩阵的形状与缩放因子;
    lecture_notes/02_theory_and_practice.md, 全连接网络的参数量计算.

    Args:
        vocabulary: Number of tokens (vocab_size).
        layers: Number of blocks (num_hidden_layers).
        d_model: Size of the embedding (hidden_size).
        heads: Query heads per layer (num_attention_heads).
        feed_forward: Inner size of the feed-forward network (intermediate_size).
        kv_heads: Key and value heads (num_key_value_heads); as many as heads if left out.
        head_size: Dimensions per head (head_dim); d_model / heads if left out.
        gated: Whether the feed-forward network has a third, gating matrix, as in SwiGLU.
        biases: Where there are biases: "none", "qkv" or "all".
        tied: Whether the output layer shares the embedding (tie_word_embeddings).
        positions: Learnt positions; 0 where positions are computed (sinusoidal, RoPE).
    """
    if head_size is None and d_model % heads:
        raise ValueError(f"d_model {d_model} does not divide by heads {heads}: give head_size")
    size = head_size or d_model // heads
    attention = _attention_count(d_model, heads * size, (kv_heads or heads) * size, biases)
    feed = _feed_forward_count(d_model, feed_forward, gated, biases == "all")
    norm = 2 * d_model if biases == "all" else d_model
    embedding = (vocabulary + positions) * d_model
    output = 0 if tied else vocabulary * d_model
    total = embedding + layers * (attention + feed + 2 * norm) + norm + output
    return TransformerCount(
        embedding=embedding,
        attention_per_layer=attention,
        feed_forward_per_layer=feed,
        norms_per_layer=2 * norm,
        layers=layers,
        final_norm=norm,
        output=output,
        total=total,
        total_billion=round(total / 1e9, 3),
    )


def _attention_count(d_model: int, queries: int, keys: int, biases: Biases) -> int:
    weights = 2 * d_model * queries + 2 * d_model * keys
    thresholds = {"none": 0, "qkv": queries + 2 * keys, "all": queries + 2 * keys + d_model}
    return weights + thresholds[biases]


def _feed_forward_count(d_model: int, inner: int, gated: bool, biased: bool) -> int:
    inward = 2 if gated else 1
    weights = (inward + 1) * d_model * inner
    return weights + (inward * inner + d_model if biased else 0)
