"""A calculator for models: arithmetic with units, exact where a fraction can be."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated

from pydantic import Field

from agentkit.errors import ToolError
from agentkit.tools.builtin import units
from agentkit.tools.builtin.expressions import LONGEST, evaluated
from agentkit.tools.builtin.tokens import folded
from agentkit.tools.builtin.units import Number
from agentkit.tools.tool import tool

_SHOWN_DIGITS = 12
_LONGEST_WHOLE = 30
_DECIMALS = Context(prec=50)


@tool(idempotent=True)
def calculator(expression: Annotated[str, Field(min_length=1, max_length=LONGEST)]) -> str:
    """Compute an expression, with units where it has some. Use it for every sum.

    Examples: 7e9 * 2 bytes in GB; 3 km / 12 min to km/h; 15% of 80; sqrt(2); 2^10; 25 degC to degF.
    It knows + - * / // % ^ !, sqrt, abs, round, floor, ceil, exp, ln, log2, log10, sin, cos, tan,
    min, max, sum, mean, pi and e.

    Args:
        expression: The sum alone, no words around it.
    """
    plain = folded(expression)
    try:
        return f"{plain} {_result(evaluated(plain))}"
    except ToolError as error:
        raise ToolError(f"{expression[:80]!r}: {error}.", "calculator") from error


def _result(value: units.Quantity) -> str:
    """The value after "=" where it is exact, after "≈" where it is rounded."""
    if not units.is_quantity(value):
        return " ".join(_number(value))
    sign, number = _number(value.magnitude)
    name = units.unit_text(value)
    return f"{sign} {number} {name}" if name else f"{sign} {number}"


def _number(value: Number) -> tuple[str, str]:
    if isinstance(value, Fraction):
        if value.denominator == 1 and len(str(value.numerator)) <= _LONGEST_WHOLE:
            return "=", str(value.numerator)
        decimal = _DECIMALS.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize()
        if Fraction(decimal) == value and len(decimal.as_tuple().digits) <= _SHOWN_DIGITS + 3:
            return "=", _written(decimal)
    return "≈", f"{float(value):.{_SHOWN_DIGITS}g}"


def _written(decimal: Decimal) -> str:
    exponent = decimal.adjusted()
    return f"{decimal:f}" if -7 <= exponent < _LONGEST_WHOLE else str(decimal).lower()
