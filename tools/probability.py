"""Scores as probabilities, and how wrong probabilities are: softmax and cross-entropy."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

SOFTMAX = "lecture_notes/04_from_scratch.md, 参数矩阵的形状与缩放因子"
CROSS_ENTROPY = "lecture_notes/04_from_scratch.md, 微调的步骤与交叉熵损失"

Score = Annotated[float, Field(ge=-1e9, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
Shares = Annotated[list[Share], Field(min_length=2, max_length=64)]


class Probabilities(BaseModel):
    """Numbers above 0 that sum to 1, in the order of the scores."""

    model_config = ConfigDict(frozen=True)

    probabilities: list[float]
    largest: int = Field(description="The place of the largest one, counted from 0.")
    formula: str = "softmax(x_i) = exp(x_i) / sum_j exp(x_j)"
    source: str = SOFTMAX


class Loss(BaseModel):
    """Cross-entropy in nats."""

    model_config = ConfigDict(frozen=True)

    per_sample: list[float] = Field(description="-log of the probability of the true class.")
    total: float = Field(description="Their sum, as the notes' formula has it.")
    mean: float = Field(description="Their mean, as training usually has it.")
    formula: str = "L = -sum_i sum_j y_ij log p_ij"
    source: str = CROSS_ENTROPY


@tool(idempotent=True)
def softmax(scores: Annotated[list[Score], Field(min_length=1, max_length=64)]) -> Probabilities:
    """Turn scores into probabilities: softmax(x_i) = exp(x_i) / sum_j exp(x_j).

    Source: lecture_notes/04_from_scratch.md, 参数矩阵的形状与缩放因子.

    Args:
        scores: Any numbers, one per class or token.
    """
    exponentials = [math.exp(score - max(scores)) for score in scores]
    total = sum(exponentials)
    return Probabilities(
        probabilities=[float(f"{value / total:.6g}") for value in exponentials],
        largest=scores.index(max(scores)),
    )


@tool(idempotent=True)
def cross_entropy(
    probabilities: Annotated[list[Shares], Field(min_length=1, max_length=64)],
    labels: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1, max_length=64)],
) -> Loss:
    """Compute the cross-entropy loss of predictions: L = -sum_i sum_j y_ij log p_ij, with the
    natural logarithm. For one-hot labels y only the true class's probability counts.

    Source: lecture_notes/04_from_scratch.md, 微调的步骤与交叉熵损失.

    Args:
        probabilities: A row per sample: the probability of each class, together 1.
        labels: The true class of each sample, counted from 0.
    """
    if len(labels) != len(probabilities):
        raise ValueError(f"give one label per sample: got {len(labels)} for {len(probabilities)}")
    losses = [_sample_loss(row, label) for row, label in zip(probabilities, labels, strict=True)]
    return Loss(
        per_sample=[round(loss, 6) for loss in losses],
        total=round(sum(losses), 6),
        mean=round(sum(losses) / len(losses), 6),
    )


def _sample_loss(row: list[float], label: int) -> float:
    if abs(sum(row) - 1) > 0.001:
        raise ValueError(f"the probabilities {row} sum to {sum(row):g}, not 1: apply softmax first")
    if label >= len(row):
        raise ValueError(f"label {label} has no class: they count from 0 to {len(row) - 1}")
    if not row[label]:
        raise ValueError("the true class has probability 0, so the loss is infinite")
    return -math.log(row[label])
