"""Self-attention on small matrices, with every step shown.

One head. Matrices are lists of rows, at most 16 by 16.
"""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

STEPS = "lecture_notes/04_from_scratch.md, 自注意力机制的三个步骤"
SCALING = "lecture_notes/04_from_scratch.md, 参数矩阵的形状与缩放因子"
MASK = "lecture_notes/03_neural_networks.md, 自注意力中的 Query、Key 与 Value"

Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Row = Annotated[list[Number], Field(min_length=1, max_length=16)]
Matrix = Annotated[list[Row], Field(min_length=1, max_length=16)]
Rows = list[list[float]]


class Attention(BaseModel):
    """The steps of one self-attention, each a list of rows, one row per token."""

    model_config = ConfigDict(frozen=True)

    q: Rows = Field(description="X W_Q")
    k: Rows = Field(description="X W_K")
    v: Rows = Field(description="X W_V")
    scores: Rows = Field(description="Q K^T / sqrt(d_k), before the mask")
    weights: Rows = Field(description="softmax of each row of scores; a row sums to 1")
    output: Rows = Field(description="weights V")
    formula: str = "softmax(Q K^T / sqrt(d_k)) V"
    sources: tuple[str, ...]


@tool(idempotent=True)
def attention(x: Matrix, w_q: Matrix, w_k: Matrix, w_v: Matrix, causal: bool = False) -> Attention:
    """Compute single-head self-attention step by step: Q, K, V, scaled scores, softmax weights
    and output = softmax(Q K^T / sqrt(d_k)) V.

    Source: lecture_notes/04_from_scratch.md, 自注意力机制的三个步骤;
    lecture_notes/04_from_scratch.md, 参数矩阵的形状与缩放因子;
    lecture_notes/03_neural_networks.md, 自注意力中的 Query、Key 与 Value (the causal mask).

    Args:
        x: The input, n rows (tokens) of d numbers.
        w_q: The query matrix, d rows of d_k numbers.
        w_k: The key matrix, d rows of d_k numbers.
        w_v: The value matrix, d rows of d_v numbers.
        causal: Whether a token sees only itself and those before it, as in GPT.
    """
    width = _read_width("x", x)
    for name, matrix in (("w_q", w_q), ("w_k", w_k), ("w_v", w_v)):
        _read_width(name, matrix)
        if len(matrix) != width:
            raise ValueError(
                f"{name} has {len(matrix)} rows, but the rows of x have {width} numbers: "
                f"give {name} {width} rows"
            )
    if len(w_q[0]) != len(w_k[0]):
        raise ValueError(
            f"w_q has {len(w_q[0])} columns and w_k {len(w_k[0])}: give both the same number, d_k"
        )
    q, k, v = _product(x, w_q), _product(x, w_k), _product(x, w_v)
    scale = math.sqrt(len(w_q[0]))
    scores = [[score / scale for score in row] for row in _product(q, _transpose(k))]
    weights = [
        _masked_softmax(row, token if causal else len(row)) for token, row in enumerate(scores)
    ]
    return Attention(
        q=_round_rows(q),
        k=_round_rows(k),
        v=_round_rows(v),
        scores=_round_rows(scores),
        weights=_round_rows(weights),
        output=_round_rows(_product(weights, v)),
        sources=(STEPS, SCALING, MASK) if causal else (STEPS, SCALING),
    )


def _read_width(name: str, rows: Rows) -> int:
    if any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{name} must be a matrix: rows of one length")
    return len(rows[0])


def _product(left: Rows, right: Rows) -> Rows:
    columns = _transpose(right)
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns] for row in left
    ]


def _transpose(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


def _masked_softmax(scores: list[float], last: int) -> list[float]:
    """The weights up to the last token that is seen; those after it get none."""
    seen = scores[: last + 1]
    return _softmax(seen) + [0.0] * (len(scores) - len(seen))


def _softmax(scores: list[float]) -> list[float]:
    """The largest score is taken off first, so that no exponential overflows."""
    exponentials = [math.exp(score - max(scores)) for score in scores]
    return [value / sum(exponentials) for value in exponentials]


def _round_rows(rows: Rows) -> Rows:
    """Seven significant digits: enough to check by hand, few enough to read."""
    return [[float(f"{value:.7g}") for value in row] for row in rows]
