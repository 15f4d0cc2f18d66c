"""The one tool of every run, which counts its calls, and the answer that ends a run."""

from __future__ import annotations

DONE = "done"
PROMPT = "Add some numbers."

made: list[int] = []
"""The first number of each call."""


def add(a: int, b: int) -> int:
    """Add two numbers.

    Args:
        a: The first number.
        b: The second number.
    """
    made.append(a)
    return a + b
