"""Units of measurement with exact fractions, by pint.

Bytes and tokens are dimensions, so that a size cannot be added to a plain number. pint loads at
the first unit, in about half a second.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

from agentkit.errors import ToolError

Number = Fraction | float
Quantity = Any
"""A pint quantity, whose own types are too generic to be of use."""
Value = Any
"""A Number or a Quantity."""

_LOADING = Lock()
"""Concurrent calls must share one registry: pint does not mix quantities of two."""

_DEFINITIONS = (
    "bit = [information]",
    "token = [token]",
    "parameter = [parameter] = param",
    "flop = [operation] = FLOP",
    "flop_per_second = flop / second = FLOPS",
    "jin = 0.5 * kilogram",
    "yuan = [currency] = CNY",
)
_ALIAS_PAIRS = """
KB=kB kb=kB mb=MB gb=GB tb=TB Kb=kbit Mb=Mbit Gb=Gbit C=degC F=degF °C=degC °F=degF 度=degree
字节=byte 比特=bit 公里=km 千米=km 米=m 厘米=cm 毫米=mm 吨=metric_ton 公斤=kg 千克=kg 克=g 斤=jin
毫秒=ms 秒=s 分钟=min 分=min 小时=h 天=day 周=week 年=year 升=L 毫升=mL 元=yuan
"""
_ALIASES = dict(pair.split("=") for pair in _ALIAS_PAIRS.split())


def unit(name: str) -> Quantity:
    """Return one of a unit, such as "GB" or "公里". Raises ToolError for an unknown name."""
    found = _unit(_ALIASES.get(name, name))
    if found is None:
        raise ToolError(f"unknown unit or function {name!r}. Write units as in 3 km, 80 GB")
    return _registry().Quantity(Fraction(1), found)


def quantity(value: Number, one: Quantity) -> Quantity:
    """Multiply a unit by a number, without the conversion that pint makes for temperatures."""
    return _registry().Quantity(value * one.magnitude, one.units)


def convert(value: Value, target: Quantity) -> Quantity:
    """Convert a value to another unit. Raises ToolError if the target is not a unit."""
    if not is_quantity(target) or target.magnitude != 1:
        raise ToolError("a unit must follow `to`, such as GB or km/h")
    source = value if is_quantity(value) else _registry().Quantity(value)
    return source.to(target.units)


def simplify(value: Quantity) -> Value:
    """Reduce m * cm to cm^2 and GB / MB to a number; leave any other unit as it was written."""
    if value.dimensionless and len(value.unit_items()) != 1:
        return value.to_base_units().magnitude
    dimensions = [str(_registry().get_dimensionality(name)) for name, _ in value.unit_items()]
    return value.to_reduced_units() if len(set(dimensions)) < len(dimensions) else value


def is_quantity(value: object) -> bool:
    return not isinstance(value, (Fraction, float))


def format_unit(value: Quantity) -> str:
    """Write a unit, such as km/h, m^2, kg*m/s^2."""
    powers = [(_registry().get_symbol(name), power) for name, power in value.unit_items()]
    above = "*".join(_format_power(symbol, power) for symbol, power in powers if power > 0)
    below = "*".join(_format_power(symbol, -power) for symbol, power in powers if power < 0)
    below = f"({below})" if "*" in below else below
    return f"{above or '1'}/{below}" if below else above


def explain(error: Exception) -> str:
    """Describe an error of pint, with the next step."""
    import pint

    if isinstance(error, pint.OffsetUnitCalculusError):
        return "temperatures in °C or °F cannot be added or multiplied: convert to kelvin first"
    if isinstance(error, pint.DimensionalityError):
        first, second = (
            format_unit(_registry().Quantity(1, found)) or "a number without a unit"
            for found in (error.units1, error.units2)
        )
        return f"{first} and {second} measure different things"
    return str(error)


def _format_power(symbol: str, power: Number) -> str:
    return symbol if power == 1 else f"{symbol}^{float(power):g}"


@lru_cache(maxsize=512)
def _unit(name: str) -> Any:
    try:
        return _registry().parse_units(name, as_delta=False)
    except Exception:  # pint raises AssertionError, TokenError and more for odd names
        return None


def _registry() -> Any:
    with _LOADING:
        return _load_registry()


@cache
def _load_registry() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(None, non_int_type=Fraction, on_redefinition="ignore")
    registry.load_definitions(Path(pint.__file__).with_name("default_en.txt"))
    registry.load_definitions(_DEFINITIONS)
    return registry
