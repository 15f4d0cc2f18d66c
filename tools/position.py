"""The sinusoidal positional encoding of the first Transformer."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

SOURCE = "lecture_notes/04_from_scratch.md, 位置编码的公式"
MOST_NUMBERS = 512


class Encoding(BaseModel):
    """The requested positions and the encoding of each."""

    model_config = ConfigDict(frozen=True)

    positions: list[int]
    rows: list[list[float]] = Field(description="One row of d_model numbers per position.")
    formula: str = (
        "PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos of the same angle"
    )
    source: str = SOURCE


@tool(idempotent=True)
def positional_encoding(
    length: Annotated[int, Field(ge=1, le=256)],
    d_model: Annotated[int, Field(ge=2, le=512, multiple_of=2)],
    first: Annotated[int, Field(ge=0, le=10_000_000)] = 0,
) -> Encoding:
    """Compute the sinusoidal positional encoding, one row per position.

    PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos of the same angle.
    For d_model 4, position 1 is 0.841471, 0.540302, 0.01, 0.99995.

    Source: lecture_notes/04_from_scratch.md, 位置编码的公式.

    Args:
        length: Number of positions; length * d_model is at most 512.
        d_model: Size of the embedding; even.
        first: The first position; they count from 0.
    """
    if length * d_model > MOST_NUMBERS:
        raise ValueError(f"length * d_model is above {MOST_NUMBERS}: ask for fewer positions")
    positions = list(range(first, first + length))
    return Encoding(positions=positions, rows=[_encode_position(at, d_model) for at in positions])


def _encode_position(position: int, d_model: int) -> list[float]:
    row = []
    for even in range(0, d_model, 2):
        angle = position / 10000 ** (even / d_model)
        row += [round(math.sin(angle), 6), round(math.cos(angle), 6)]
    return row
