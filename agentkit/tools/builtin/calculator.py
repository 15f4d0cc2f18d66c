"""A calculator for models: arithmetic with units, exact where a fraction can be.

Arithmetic as people write it, with units: text in, an exact value out.

A grammar of its own, since pint's parser and simpleeval know no percent, no "7 billion", no "3 km /
12 min" and no fractions. There is nothing to call but the functions named here; length, depth,
exponents and digits are bounded, so that `9**9**9` is an answer and no wait.

The words of an expression: Chinese and mathematical signs made plain, then cut into tokens.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from fractions import Fraction
from typing import Annotated, Any

from pydantic import Field

from agentkit.errors import ToolError
from agentkit.tools.builtin import units
from agentkit.tools.builtin.arithmetic import (
    FUNCTIONS,
    bounded,
    called,
    divided,
    factorial,
    floor_divided,
    multiplied,
    power,
    remainder,
)
from agentkit.tools.builtin.units import Number, is_quantity
from agentkit.tools.tool import tool

_SIGNS = str.maketrans("×·⋅∙÷−–、【】[]?？", "****/--,()()  ")
_SPELLED = {
    "²": "^2",
    "³": "^3",
    "√": " sqrt ",
    "π": " pi ",
    "→": " to ",
    "换算成|转换成|转换为|转成|换成": " to ",
    "等于多少|是多少": " ",
    "的": " of ",
}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[°Δ]?[^\W\d]\w*)|(?P<sign>\*\*|->|//|[-+*/^%!(),=]))"
)
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")

_HOW = "Write numbers, units, brackets and + - * / ^ %"


def folded(text: str) -> str:
    """An expression with the signs of Chinese and of mathematics as plain ones."""
    for words, meaning in _SPELLED.items():
        text = re.sub(words, meaning, text)
    plain = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return " ".join(plain.rstrip("=,。 ").split())


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; its kind is "number", "name" or "sign"."""

    kind: str
    text: str


def tokens(text: str, functions: Collection[str]) -> Iterator[Token]:
    """The tokens of an expression. A comma groups thousands, save in a function's arguments."""
    at, last, calls = 0, "", [False]
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ToolError(f"{text[at:].strip()[:20]!r} is not understood here. {_HOW}")
        kind, piece = found.lastgroup or "", found[found.lastgroup or 0]
        end = found.end()
        if kind == "number" and "," in piece and calls[-1]:
            piece = _PLAIN_NUMBER.match(piece)[0]  # type: ignore[index]
            end = found.start("number") + len(piece)
        if piece == "(":
            calls.append(last in functions)
        elif piece == ")" and len(calls) > 1:
            calls.pop()
        yield Token(kind, piece)
        at, last = end, piece


Value = Any
"""A Number or a quantity of pint."""

LONGEST = 500
_DEEPEST = 40

_TO = ("to", "in", "as", "into", "->")
_PRODUCTS: Mapping[str, Callable[[Any, Any], Any]] = {
    "*": multiplied,
    "of": multiplied,
    "/": divided,
    "per": divided,
    "//": floor_divided,
    "mod": remainder,
    "%": remainder,
}
_SCALES = {
    name: Fraction(10) ** power
    for power, names in {
        2: "hundred 百",
        3: "thousand 千",
        4: "万",
        6: "million 百万",
        7: "千万",
        8: "亿",
        9: "billion",
        12: "trillion 万亿",
    }.items()
    for name in names.split()
}
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau}


def evaluated(text: str) -> Value:
    """The value of a folded expression. Raises ToolError, which says what was not understood."""
    if len(text) > LONGEST:
        raise ToolError(f"longer than {LONGEST} characters: split it into several sums")
    try:
        return _Parser(list(tokens(text, FUNCTIONS))).whole()
    except ZeroDivisionError as error:
        raise ToolError("it divides by zero") from error
    except OverflowError as error:
        raise ToolError("a number in it is too large, above 1e308") from error
    except TypeError as error:
        raise ToolError(units.explained(error)) from error


class _Parser:
    """Recursive descent: sums of products of juxtaposed powers, then perhaps `to` a unit."""

    def __init__(self, read: list[Token]) -> None:
        self._tokens = read
        self._at = 0
        self._depth = 0

    def whole(self) -> Value:
        value = self._sum()
        if self._next() in _TO:
            self._at += 1
            value = units.converted(value, self._product())
        elif is_quantity(value):
            value = units.settled(value)
        if self._next():
            raise ToolError(f"{self._next()!r} is not expected there. Put an operator before it")
        return value

    def _sum(self) -> Value:
        value = self._product()
        while (sign := self._next()) in ("+", "-"):
            self._at += 1
            other = self._product()
            value = bounded(value + other if sign == "+" else value - other)
        return value

    def _product(self) -> Value:
        value = self._signed()
        while (sign := self._next()) in _PRODUCTS:
            self._at += 1
            value = _PRODUCTS[sign](value, self._signed())
        return value

    def _signed(self) -> Value:
        sign = self._next()
        if sign not in ("+", "-"):
            return self._juxtaposed()
        self._at += 1
        value = self._nested(self._signed)
        return -value if sign == "-" else value

    def _juxtaposed(self) -> Value:
        """3 km, 7 billion, 2 pi: a name after a value multiplies it, tighter than a division."""
        value = self._power()
        while self._kind() == "name" and not self._is_word():
            value = multiplied(value, self._power())
        return value

    def _power(self) -> Value:
        value = self._percent()
        if self._next() in ("^", "**"):
            self._at += 1
            return power(value, self._nested(self._exponent))
        return value

    def _exponent(self) -> Value:
        if self._next() in ("+", "-"):
            sign = self._next()
            self._at += 1
            value = self._nested(self._exponent)
            return -value if sign == "-" else value
        return self._power()

    def _percent(self) -> Value:
        value = self._atom()
        while self._next() == "!" or (self._next() == "%" and not self._starts_value(1)):
            value = factorial(value) if self._next() == "!" else value / 100
            self._at += 1
        return value

    def _atom(self) -> Value:
        kind, text = self._kind(), self._next()
        self._at += 1
        if kind == "number":
            return _number_expressions(text)
        if kind == "name":
            return self._named(text)
        if text == "(":
            value = self._nested(self._sum)
            self._expect(")")
            return value
        raise ToolError(f"a number is missing before {text!r}" if text else "it ends too early")

    def _named(self, name: str) -> Value:
        if name in FUNCTIONS and self._next() == "(":
            return called(name, self._nested(self._arguments))
        if name == "sqrt":
            return called(name, [self._nested(self._percent)])
        if name in _CONSTANTS:
            return _CONSTANTS[name]
        if name in _SCALES:
            return _SCALES[name]
        if name == "log":
            raise ToolError("log has no base: write ln, log2 or log10")
        return units.unit(name)

    def _arguments(self) -> list[Value]:
        self._expect("(")
        values = [self._sum()]
        while self._next() == ",":
            self._at += 1
            values.append(self._sum())
        self._expect(")")
        return values

    def _is_word(self) -> bool:
        """Whether the next name joins two values rather than being one; `in` may be an inch."""
        if self._next() == "in":
            return self._starts_value(1) and self._next(1) not in _TO
        return self._next() in _TO or self._next() in _PRODUCTS

    def _starts_value(self, ahead: int) -> bool:
        name = self._kind(ahead) == "name" and self._next(ahead) not in ("of", "mod", "per", *_TO)
        return name or self._kind(ahead) == "number" or self._next(ahead) == "("

    def _nested(self, parse: Callable[[], Any]) -> Any:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ToolError(f"nested deeper than {_DEEPEST}: split it into several sums")
        value = parse()
        self._depth -= 1
        return value

    def _expect(self, sign: str) -> None:
        if self._next() != sign:
            raise ToolError(f"{sign!r} is missing before {self._next() or 'the end'!r}")
        self._at += 1

    def _next(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].text if at < len(self._tokens) else ""

    def _kind(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].kind if at < len(self._tokens) else ""


def _number_expressions(text: str) -> Fraction:
    digits, _, exponent = text.replace(",", "").lower().partition("e")
    if len(digits) > 60 or abs(int(exponent or 0)) > 300:
        raise ToolError(f"the number {text[:20]}... is too long or too large")
    return Fraction(digits) * Fraction(10) ** int(exponent or 0)


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
