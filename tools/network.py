"""Sums on small neural networks: counting parameters, and one perceptron."""

from itertools import pairwise

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool


class ParameterCount(BaseModel):
    """The parameters of a fully connected network."""

    model_config = ConfigDict(frozen=True)

    weights: int = Field(description="Sum of the products of neighbouring layers.")
    thresholds: int = Field(description="One for each neuron after the input layer.")
    total: int


class Decision(BaseModel):
    """What a perceptron decides, and the sum that it decides by."""

    model_config = ConfigDict(frozen=True)

    weighted_sum: float
    threshold: float
    output: int = Field(description="1 where weighted_sum is above threshold, else 0.")


@tool
def count_parameters(layers: list[int]) -> ParameterCount:
    """Count the weights and thresholds (biases) of a fully connected neural network.

    Each pair of neighbouring layers has m * n weights, each neuron after the input layer one
    threshold: [100, 500, 10] has 100*500 + 500 + 500*10 + 10 = 55510 parameters.

    Source: knowledge/lecture_notes/02_theory_and_practice.md, on parameters of fully connected
    networks.

    Args:
        layers: Neurons per layer, the input layer first.
    """
    if len(layers) < 2 or any(size < 1 for size in layers):
        raise ValueError("layers needs two or more sizes, each at least 1: give [100, 500, 10]")
    weights = sum(left * right for left, right in pairwise(layers))
    thresholds = sum(layers[1:])
    return ParameterCount(weights=weights, thresholds=thresholds, total=weights + thresholds)


@tool
def perceptron(inputs: list[float], weights: list[float], threshold: float) -> Decision:
    """Decide by a perceptron: 1 where the sum of inputs times weights is above the threshold,
    else 0.

    With the weights 6 (weather), 2 (company) and 3 (audience) and the threshold 5, good weather
    alone decides for 1, company and audience without it (2 + 3 = 5, not above 5) for 0.

    Source: knowledge/lecture_notes/02_theory_and_practice.md, on the perceptron.

    Args:
        inputs: The inputs x, often 0 or 1.
        weights: The weight of each input, in the same order.
        threshold: What the weighted sum must exceed.
    """
    if not inputs or len(inputs) != len(weights):
        raise ValueError(
            f"Give as many weights as inputs, and at least one: got {len(inputs)} inputs and "
            f"{len(weights)} weights"
        )
    total = sum(value * weight for value, weight in zip(inputs, weights, strict=True))
    return Decision(weighted_sum=total, threshold=threshold, output=int(total > threshold))
