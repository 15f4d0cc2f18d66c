"""Bounded arithmetic and functions of the calculator.

Fractions of up to 1000 bits are exact; larger ones become floats, up to about 1e308. Angles are in
radians, or in a unit: sin(30 degrees).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from agentkit.errors import ToolError
from agentkit.tools.builtin import units
from agentkit.tools.builtin.units import Number, Value, is_quantity

_EXACT_BITS = 1000
_MAX_UNIT_POWER = 12
_MAX_FACTORIAL = 170


def bounded(value: Value) -> Value:
    """Return the value, as a float if its fraction is too long. Raises OverflowError."""
    if is_quantity(value):
        return type(value)(bounded(_number(value.magnitude)), value.units)
    if isinstance(value, Fraction):
        return value if _bits(value) <= _EXACT_BITS else float(value)
    if not math.isfinite(value):
        raise OverflowError
    return value


def multiply(left: Value, right: Value) -> Value:
    """Multiply; a number times a unit is a quantity, also for temperatures."""
    if is_quantity(right) and not is_quantity(left):
        return bounded(units.quantity(left, right))
    if is_quantity(left) and not is_quantity(right):
        return bounded(units.quantity(right, left))
    return bounded(left * right)


def divide(left: Value, right: Value) -> Value:
    return bounded(left / right)


def remainder(left: Value, right: Value) -> Value:
    return bounded(left % right)


def floor_divide(left: Value, right: Value) -> Value:
    return Fraction(math.floor(plain(left / right)))


def power(base: Value, exponent: Value) -> Value:
    """Raise to a power, exactly for small whole ones. Raises ToolError and OverflowError."""
    exponent = plain(exponent)
    if is_quantity(base):
        return _unit_power(base, exponent)
    if exponent == int(exponent) and _bits(base) * abs(exponent) <= _EXACT_BITS:
        return bounded(base ** int(exponent))
    if base < 0 and exponent != int(exponent):
        raise ToolError("a negative number has no such real power")
    return bounded(float(base) ** float(exponent))


def root(value: Value) -> Value:
    """Return the square root, exact if it is a fraction."""
    if is_quantity(value):
        return type(value)(root(_number(value.magnitude)), value.units**0.5)
    if value < 0:
        raise ToolError("a negative number has no real square root")
    if isinstance(value, Fraction):
        exact = Fraction(math.isqrt(value.numerator), math.isqrt(value.denominator))
        if exact * exact == value:
            return exact
    return math.sqrt(value)


def factorial(value: Value) -> Value:
    if is_quantity(value) or value != int(value) or not 0 <= value <= _MAX_FACTORIAL:
        raise ToolError(f"! needs a whole number from 0 to {_MAX_FACTORIAL}")
    return bounded(Fraction(math.factorial(int(value))))


def plain(value: Value) -> Number:
    """Return a number without a unit. Raises ToolError for a quantity."""
    if not is_quantity(value):
        return value  # type: ignore[no-any-return]
    if not value.dimensionless:
        raise ToolError(f"expected a number without a unit, not {units.format_unit(value)}")
    return _number(value.to_base_units().magnitude)


def _unit_power(base: Value, exponent: Value) -> Value:
    if exponent == Fraction(1, 2):
        return root(base)
    if exponent != int(exponent) or abs(exponent) > _MAX_UNIT_POWER:
        raise ToolError(f"units take whole powers up to {_MAX_UNIT_POWER}, and sqrt")
    magnitude = power(_number(base.magnitude), exponent)
    return type(base)(magnitude, base.units ** int(exponent))


def _number(value: Any) -> Number:
    return value if isinstance(value, (Fraction, float)) else Fraction(value)


def _bits(value: Number) -> int:
    if isinstance(value, float):
        return _EXACT_BITS + 1
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def call(name: str, values: Sequence[Value]) -> Value:
    """Call a function by name. Raises ToolError for a wrong number of arguments or a value out of
    its domain."""
    fewest, most, function = FUNCTIONS[name]
    if not fewest <= len(values) <= most:
        expected = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise ToolError(f"{name} takes {expected} arguments, not {len(values)}")
    try:
        return bounded(function(*values))
    except ValueError as error:
        raise ToolError(f"{name} has no value there") from error


def _real(function: Callable[[float], float]) -> Callable[[Value], float]:
    return lambda value: function(float(plain(value)))


def _whole(function: Callable[[Any], int]) -> Callable[[Value], Fraction]:
    return lambda value: Fraction(function(plain(value)))


def _round(value: Value, digits: Value = Fraction(0)) -> Value:
    """Round half up, not to even."""
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
    return divide(_total(*values), Fraction(len(values)))


_MAX_ARGUMENTS = 100
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
    "min": (1, _MAX_ARGUMENTS, min),
    "max": (1, _MAX_ARGUMENTS, max),
    "sum": (1, _MAX_ARGUMENTS, _total),
    "mean": (1, _MAX_ARGUMENTS, _mean),
}
"""Minimum and maximum number of arguments, and the function, by name."""
