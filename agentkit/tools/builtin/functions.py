"""The functions that the calculator knows. Angles are in radians, or in a unit: sin(30 degrees)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from agentkit.errors import ToolError
from agentkit.tools.builtin.bounded import bounded, divided, plain, root
from agentkit.tools.builtin.units import is_quantity

Value = Any
"""A Number or a quantity of pint."""


def called(name: str, values: Sequence[Value]) -> Value:
    """A function's value. Raises ToolError for a wrong number of arguments or one out of range."""
    fewest, most, function = FUNCTIONS[name]
    if not fewest <= len(values) <= most:
        wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise ToolError(f"{name} takes {wanted} arguments, not {len(values)}")
    try:
        return bounded(function(*values))
    except ValueError as error:
        raise ToolError(f"{name} has no value there") from error


def _real(function: Callable[[float], float]) -> Callable[[Value], float]:
    return lambda value: function(float(plain(value)))


def _whole(function: Callable[[Any], int]) -> Callable[[Value], Fraction]:
    return lambda value: Fraction(function(plain(value)))


def _round(value: Value, digits: Value = Fraction(0)) -> Value:
    """A half goes up, as people are taught, and not to the even neighbour."""
    places = int(plain(digits))
    if abs(places) > 30:
        raise ToolError("round takes at most 30 places")
    step = Fraction(10) ** -places
    if is_quantity(value):
        return type(value)(_round(Fraction(value.magnitude), digits), value.units)
    return Fraction(math.floor(value / step + Fraction(1, 2))) * step


def _total(*values: Value) -> Value:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _mean(*values: Value) -> Value:
    return divided(_total(*values), Fraction(len(values)))


_MANY = 100
FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Value]]] = {
    "sqrt": (1, 1, root),
    "abs": (1, 1, abs),
    "round": (1, 2, _round),
    "floor": (1, 1, _whole(math.floor)),
    "ceil": (1, 1, _whole(math.ceil)),
    "exp": (1, 1, _real(math.exp)),
    "ln": (1, 1, _real(math.log)),
    "log2": (1, 1, _real(math.log2)),
    "log10": (1, 1, _real(math.log10)),
    "sin": (1, 1, _real(math.sin)),
    "cos": (1, 1, _real(math.cos)),
    "tan": (1, 1, _real(math.tan)),
    "asin": (1, 1, _real(math.asin)),
    "acos": (1, 1, _real(math.acos)),
    "atan": (1, 1, _real(math.atan)),
    "min": (1, _MANY, min),
    "max": (1, _MANY, max),
    "sum": (1, _MANY, _total),
    "mean": (1, _MANY, _mean),
}
"""Name -> fewest arguments, most arguments, function."""
