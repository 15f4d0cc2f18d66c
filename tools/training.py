"""Training sums: gradient descent on a line, and the work of training a language model."""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit import tool

DESCENT = "lecture_notes/01_basics.md, 梯度下降的代码示例"
COMPUTE = "lecture_notes/01_basics.md, 大模型为何耗费算力"

SHOWN_STEPS = 5

Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Samples = Annotated[list[Number], Field(min_length=1, max_length=100)]


class Step(BaseModel):
    """The line after so many steps, and its mean squared error."""

    model_config = ConfigDict(frozen=True)

    step: int
    b: float
    w: float
    loss: float


class Descent(BaseModel):
    """How y = b + w x was learnt."""

    model_config = ConfigDict(frozen=True)

    first_steps: list[Step] = Field(description="The start and the first steps.")
    end: Step
    diverged: bool = Field(description="Whether the loss grew: then lower the learning rate.")
    formula: str = "b -= rate * mean(-2 * error), w -= rate * mean(-2 * x * error)"
    source: str = DESCENT


class TrainingCompute(BaseModel):
    """Floating-point operations (FLOPs) to train a model."""

    model_config = ConfigDict(frozen=True)

    flops: float
    gpu_days: float | None = Field(description="Days of one GPU of the given speed.")
    formula: str = "6 * parameters * tokens"
    source: str = COMPUTE


@tool(idempotent=True)
def gradient_descent(
    x: Samples,
    y: Samples,
    learning_rate: Annotated[float, Field(gt=0, le=100)] = 0.01,
    steps: Annotated[int, Field(ge=1, le=10_000)] = 1000,
    b: Number = 0.0,
    w: Number = 0.0,
) -> Descent:
    """Fit y = b + w x by gradient descent on the mean squared error, and show the first steps.

    Each step takes learning_rate times mean(-2 * error) from b and times mean(-2 * x * error)
    from w, where error = y - (b + w x).

    Source: lecture_notes/01_basics.md, 梯度下降的代码示例.

    Args:
        x: The inputs.
        y: The true outputs, in the same order.
        learning_rate: The size of a step.
        steps: How many steps to take.
        b: Where b starts.
        w: Where w starts.
    """
    if len(x) != len(y):
        raise ValueError(f"give as many y as x: got {len(x)} x and {len(y)} y")
    start = Step(step=0, b=b, w=w, loss=_loss(x, y, b, w))
    shown = [start]
    for number in range(1, steps + 1):
        b, w = _descend(x, y, b, w, learning_rate)
        step = Step(step=number, b=b, w=w, loss=_loss(x, y, b, w))
        if number <= SHOWN_STEPS:
            shown.append(step)
        if step.loss > 1e12 * (start.loss + 1):
            break
    return Descent(
        first_steps=[_round_step(one) for one in shown],
        end=_round_step(step),
        diverged=step.loss > start.loss,
    )


@tool(idempotent=True)
def training_compute(
    parameters_billion: Annotated[float, Field(gt=0, le=1e6)],
    tokens_billion: Annotated[float, Field(gt=0, le=1e9)],
    gpu_teraflops: Annotated[float, Field(gt=0, le=1e6)] | None = None,
) -> TrainingCompute:
    """Estimate the work of training a language model: 6 * parameters * tokens operations.

    GPT-3: 6 * 175e9 * 300e9 = 3.15e23.

    Source: lecture_notes/01_basics.md, 大模型为何耗费算力.

    Args:
        parameters_billion: Number of parameters in billions: 175 for GPT-3.
        tokens_billion: Training tokens in billions: 300 for GPT-3.
        gpu_teraflops: What one GPU really does, in 1e12 operations per second.
    """
    flops = 6 * parameters_billion * 1e9 * tokens_billion * 1e9
    days = flops / (gpu_teraflops * 1e12) / 86_400 if gpu_teraflops else None
    return TrainingCompute(
        flops=float(f"{flops:.6g}"), gpu_days=None if days is None else float(f"{days:.6g}")
    )


def _descend(
    x: list[float], y: list[float], b: float, w: float, learning_rate: float
) -> tuple[float, float]:
    errors = [true - (b + w * value) for value, true in zip(x, y, strict=True)]
    gradient_b = sum(-2 * error for error in errors) / len(x)
    gradient_w = sum(-2 * value * error for value, error in zip(x, errors, strict=True)) / len(x)
    return b - learning_rate * gradient_b, w - learning_rate * gradient_w


def _loss(x: list[float], y: list[float], b: float, w: float) -> float:
    squares = [(true - (b + w * value)) ** 2 for value, true in zip(x, y, strict=True)]
    return math.fsum(squares) / len(squares)


def _round_step(step: Step) -> Step:
    def short(value: float) -> float:
        return float(f"{value:.6g}")

    return Step(step=step.step, b=short(step.b), w=short(step.w), loss=short(step.loss))
