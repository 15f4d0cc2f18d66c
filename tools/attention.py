"""Self-attention and positional encoding on small matrices, with every step shown.

One head, no mask. Matrices are lists of rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

Matrix = list[list[float]]
Array = NDArray[np.float64]

MOST_ROWS = 64
MOST_CELLS = 4096
LARGEST = 1e6


class Attention(BaseModel):
    """The steps of one self-attention, each a list of rows, one row per token."""

    model_config = ConfigDict(frozen=True)

    q: Matrix = Field(description="X W_Q")
    k: Matrix = Field(description="X W_K")
    v: Matrix = Field(description="X W_V")
    scores: Matrix = Field(description="Q K^T / sqrt(d_k)")
    weights: Matrix = Field(description="softmax of each row of scores; a row sums to 1")
    output: Matrix = Field(description="weights V")


@tool
def attention(x: Matrix, w_q: Matrix, w_k: Matrix, w_v: Matrix) -> Attention:
    """Compute single-head self-attention step by step: Q, K, V, scaled scores, softmax weights
    and output = softmax(Q K^T / sqrt(d_k)) V.

    Source: knowledge/lecture_notes/04_from_scratch.md, on the three steps of self-attention.

    Args:
        x: The input, n rows (tokens) of d numbers; at most 64 by 64.
        w_q: The query matrix, d rows of d_k numbers.
        w_k: The key matrix, d rows of d_k numbers.
        w_v: The value matrix, d rows of d_v numbers.
    """
    tokens = _array("x", x)
    q, k, v = (
        tokens @ _fitting(name, rows, tokens.shape[1])
        for name, rows in (("w_q", w_q), ("w_k", w_k), ("w_v", w_v))
    )
    if q.shape[1] != k.shape[1]:
        raise ValueError(
            f"w_q has {q.shape[1]} columns and w_k {k.shape[1]}: give both the same number, d_k"
        )
    scores = q @ k.T / np.sqrt(q.shape[1])
    weights = _softmax(scores)
    steps = {"q": q, "k": k, "v": v, "scores": scores, "weights": weights, "output": weights @ v}
    return Attention.model_validate({name: step.tolist() for name, step in steps.items()})


@tool
def positional_encoding(length: int, d_model: int) -> Matrix:
    """Compute the sinusoidal positional encoding: one row per position from 0, d_model columns.

    PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos of the same angle.
    For d_model 4, position 1 is 0.8415, 0.5403, 0.0100, 0.99995.

    Source: knowledge/lecture_notes/04_from_scratch.md, on positional encoding.

    Args:
        length: Number of positions.
        d_model: Size of the embedding; even. length * d_model is at most 4096.
    """
    if length < 1 or d_model < 2 or d_model % 2:
        raise ValueError("length must be at least 1 and d_model an even number from 2 on")
    if length * d_model > MOST_CELLS:
        raise ValueError(f"length * d_model is above {MOST_CELLS}: ask for fewer positions")
    angles = np.arange(length)[:, None] / 10000 ** (np.arange(0, d_model, 2) / d_model)
    table = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, d_model)
    return _rows(table.round(6))


def _array(name: str, rows: Matrix) -> Array:
    if not rows or not rows[0] or any(len(row) != len(rows[0]) for row in rows):
        raise ValueError(f"{name} must be a matrix: rows of one length, none of them empty")
    if len(rows) > MOST_ROWS or len(rows[0]) > MOST_ROWS:
        raise ValueError(f"{name} is larger than {MOST_ROWS} by {MOST_ROWS}: give a smaller one")
    array: Array = np.array(rows, dtype=np.float64)
    if not (np.abs(array) <= LARGEST).all():
        raise ValueError(f"{name} must hold numbers between -{LARGEST:g} and {LARGEST:g} only")
    return array


def _fitting(name: str, rows: Matrix, width: int) -> Array:
    array = _array(name, rows)
    if array.shape[0] != width:
        raise ValueError(
            f"{name} has {array.shape[0]} rows, but the rows of x have {width} numbers: "
            f"give {name} {width} rows"
        )
    return array


def _softmax(scores: Array) -> Array:
    exponents: Array = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights: Array = exponents / exponents.sum(axis=1, keepdims=True)
    return weights


def _rows(array: NDArray[Any]) -> Matrix:
    rows: Matrix = array.tolist()
    return rows
