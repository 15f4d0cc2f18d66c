"""A perceptron, the unit that neural networks are made of."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

STEP = "lecture_notes/02_theory_and_practice.md, 感知器的决策示例：天气、同伴与观众"
SIGMOID = "lecture_notes/02_theory_and_practice.md, 线性问题的局限与 sigmoid 激活"

Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Numbers = Annotated[list[Number], Field(min_length=1, max_length=100)]


class Decision(BaseModel):
    """What a perceptron decides, and the sum that it decides by."""

    model_config = ConfigDict(frozen=True)

    weighted_sum: float
    threshold: float
    output: int = Field(description="1 where weighted_sum is above threshold, else 0.")
    sigmoid: float = Field(description="The smooth output: _sigmoid(weighted_sum - threshold).")
    formula: str = "1 where sum_i x_i w_i > threshold, else 0; sigmoid(z) = 1 / (1 + e^-z)"
    sources: tuple[str, ...] = (STEP, SIGMOID)


@tool(idempotent=True)
def perceptron(inputs: Numbers, weights: Numbers, threshold: Number) -> Decision:
    """Decide by a perceptron: 1 where the sum of inputs times weights is above the threshold,
    else 0; and the same with the smooth sigmoid(z) = 1 / (1 + e^-z) in place of the step.

    With the weights 6 (weather), 2 (company) and 3 (audience) and the threshold 5, good weather
    alone decides for 1, company and audience without it (2 + 3 = 5, not above 5) for 0.

    Source: lecture_notes/02_theory_and_practice.md, 感知器的决策示例：天气、同伴与观众;
    lecture_notes/02_theory_and_practice.md, 线性问题的局限与 sigmoid 激活.

    Args:
        inputs: The inputs x, often 0 or 1.
        weights: The weight of each input, in the same order.
        threshold: What the weighted sum must exceed.
    """
    if len(inputs) != len(weights):
        raise ValueError(
            f"give as many weights as inputs: got {len(inputs)} inputs and {len(weights)} weights"
        )
    products = (value * weight for value, weight in zip(inputs, weights, strict=True))
    total = round(sum(products), 9)  # so that 0.1 + 0.2 is not above 0.3
    return Decision(
        weighted_sum=total,
        threshold=threshold,
        output=int(total > threshold),
        sigmoid=round(_sigmoid(total - threshold), 6),
    )


def _sigmoid(z: float) -> float:
    """Of two equal forms the one whose exponent cannot overflow."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))
