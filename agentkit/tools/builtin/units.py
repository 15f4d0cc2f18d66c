"""Units of measurement by pint, with exact fractions; the one file that imports it.

Bytes and tokens are dimensions here, so that a size is never added to a bare number. Loading takes
about half a second, at the first unit.
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
"""A pint quantity; pint's own types are generic beyond use."""

_LOADING = Lock()
"""Two calls at once must get one registry: pint mixes no two."""

_DEFINED = (
    "bit = [information]",
    "token = [token]",
    "parameter = [parameter] = param",
    "flop = [operation] = FLOP",
    "flop_per_second = flop / second = FLOPS",
    "jin = 0.5 * kilogram",
    "yuan = [currency] = CNY",
)
_SPELLED = """
KB=kB kb=kB mb=MB gb=GB tb=TB Kb=kbit Mb=Mbit Gb=Gbit C=degC F=degF °C=degC °F=degF 度=degree
字节=byte 比特=bit 公里=km 千米=km 米=m 厘米=cm 毫米=mm 吨=metric_ton 公斤=kg 千克=kg 克=g 斤=jin
毫秒=ms 秒=s 分钟=min 分=min 小时=h 天=day 周=week 年=year 升=L 毫升=mL 元=yuan
"""
_SPELLINGS = dict(pair.split("=") for pair in _SPELLED.split())


def unit(name: str) -> Quantity:
    """One of a unit, such as "GB" or "公里". Raises ToolError where there is none of that name."""
    found = _unit(_SPELLINGS.get(name, name))
    if found is None:
        raise ToolError(f"there is no unit or function {name!r}. Write units as in 3 km, 80 GB")
    return _registry().Quantity(Fraction(1), found)


def times(value: Number, one: Quantity) -> Quantity:
    """So many of a quantity; 25 degrees Celsius are a temperature, not a product."""
    return _registry().Quantity(value * one.magnitude, one.units)


def converted(value: Quantity, target: Quantity) -> Quantity:
    """A value in another unit. Raises ToolError where the two measure different things."""
    if not is_quantity(target) or target.magnitude != 1:
        raise ToolError("after `to` stands a unit, such as GB or km/h")
    source = value if is_quantity(value) else _registry().Quantity(value)
    return source.to(target.units)


def settled(value: Quantity) -> Quantity:
    """m * cm as cm^2, GB / MB as a number; any other unit as it was written."""
    if value.dimensionless and len(value.unit_items()) != 1:
        return value.to_base_units().magnitude
    dimensions = [str(_registry().get_dimensionality(name)) for name, _ in value.unit_items()]
    return value.to_reduced_units() if len(set(dimensions)) < len(dimensions) else value


def is_quantity(value: object) -> bool:
    return not isinstance(value, (Fraction, float))


def unit_text(value: Quantity) -> str:
    """A unit as people write it: km/h, m^2, kg*m/s^2."""
    powers = [(_registry().get_symbol(name), power) for name, power in value.unit_items()]
    above = "*".join(_power(symbol, power) for symbol, power in powers if power > 0)
    below = "*".join(_power(symbol, -power) for symbol, power in powers if power < 0)
    below = f"({below})" if "*" in below else below
    return f"{above or '1'}/{below}" if below else above


def explained(error: Exception) -> str:
    """What pint found wrong, with the next step."""
    import pint

    if isinstance(error, pint.OffsetUnitCalculusError):
        return "temperatures in °C or °F cannot be added or multiplied: convert to kelvin first"
    if isinstance(error, pint.DimensionalityError):
        return f"{_shown(error.units1)} and {_shown(error.units2)} measure different things"
    return str(error)


def _shown(of: Any) -> str:
    return unit_text(_registry().Quantity(1, of)) or "a bare number"


def _power(symbol: str, power: Number) -> str:
    return symbol if power == 1 else f"{symbol}^{float(power):g}"


@lru_cache(maxsize=512)
def _unit(name: str) -> Any:
    try:
        return _registry().parse_units(name, as_delta=False)
    except Exception:  # pint raises AssertionError, TokenError and more for odd names
        return None


def _registry() -> Any:
    with _LOADING:
        return _loaded()


@cache
def _loaded() -> Any:
    import pint

    registry: Any = pint.UnitRegistry(None, non_int_type=Fraction, on_redefinition="ignore")
    registry.load_definitions(Path(pint.__file__).with_name("default_en.txt"))
    registry.load_definitions(_DEFINED)
    return registry
