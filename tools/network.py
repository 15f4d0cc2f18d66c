"""Counting the parameters of a fully connected network."""

from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

SOURCE = "lecture_notes/02_theory_and_practice.md, 全连接网络的参数量计算"

Layers = Annotated[list[Annotated[int, Field(ge=1, le=10**9)]], Field(min_length=2, max_length=100)]


class ParameterCount(BaseModel):
    """The parameters of a fully connected network."""

    model_config = ConfigDict(frozen=True)

    weights: int = Field(description="Sum of the products of neighbouring layers.")
    thresholds: int = Field(description="One for each neuron after the input layer.")
    total: int
    formula: str = Field(description="The sum written out, layer by layer.")
    source: str = SOURCE


@tool(idempotent=True)
def count_parameters(layers: Layers) -> ParameterCount:
    """Count the weights and thresholds (biases) of a fully connected neural network.

    Each pair of neighbouring layers has m * n weights, each neuron after the input layer one
    threshold: [100, 500, 10] has 100*500 + 500 + 500*10 + 10 = 55510 parameters.

    Source: lecture_notes/02_theory_and_practice.md, 全连接网络的参数量计算.

    Args:
        layers: Neurons per layer, the input layer first.
    """
    weights = sum(left * right for left, right in pairwise(layers))
    thresholds = sum(layers[1:])
    return ParameterCount(
        weights=weights,
        thresholds=thresholds,
        total=weights + thresholds,
        formula=" + ".join(f"{left}*{right} + {right}" for left, right in pairwise(layers)),
    )
