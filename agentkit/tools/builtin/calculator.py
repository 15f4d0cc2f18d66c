"""Calculator tool: arithmetic with units, in English and Chinese, exact where a fraction can be.

The parser is our own: pint's gets 9 of 30 documented examples right, and reads `3 km / 12 min` as
km * min. Nothing can be called but the functions listed here. Length, depth, exponents and digits
are bounded, so that `9**9**9` returns at once.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
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
    call,
    divide,
    factorial,
    floor_divide,
    multiply,
    power,
    remainder,
)
from agentkit.tools.builtin.units import Number, Value, is_quantity
from agentkit.tools.tool import tool

MAX_LENGTH = 500
_MAX_DEPTH = 40
_MAX_NUMBER_DIGITS, _MAX_NUMBER_EXPONENT = 60, 300
_SHOWN_DIGITS = 12
_MAX_INTEGER_DIGITS = 30
_DECIMALS = Context(prec=50)

_SIGNS = str.maketrans("×·⋅∙÷−–、【】[]?？", "****/--,()()  ")
_WORDS = {
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
_UNGROUPED_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")

_CONVERSIONS = ("to", "in", "as", "into", "->")
_PRODUCTS: Mapping[str, Callable[[Any, Any], Any]] = {
    "*": multiply,
    "of": multiply,
    "/": divide,
    "per": divide,
    "//": floor_divide,
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


@tool(idempotent=True)
def calculator(expression: Annotated[str, Field(min_length=1, max_length=MAX_LENGTH)]) -> str:
    """Compute an expression, with units where it has some. Use it for every calculation.

    Examples: 7e9 * 2 bytes in GB; 3 km / 12 min to km/h; 15% of 80; sqrt(2); 2^10; 25 degC to degF.
    It knows + - * / // % ^ !, sqrt, abs, round, floor, ceil, exp, ln, log2, log10, sin, cos, tan,
    min, max, sum, mean, pi and e.

    Args:
        expression: The expression alone, without words around it.
    """
    text = normalize(expression)
    try:
        return f"{text} {_format_result(evaluate(text))}"
    except ToolError as error:
        raise ToolError(f"{expression[:80]!r}: {error}.", "calculator") from error


def normalize(text: str) -> str:
    """Replace Chinese and mathematical signs by ASCII ones."""
    for words, meaning in _WORDS.items():
        text = re.sub(words, meaning, text)
    return " ".join(unicodedata.normalize("NFKC", text).translate(_SIGNS).rstrip("=,。 ").split())


def evaluate(text: str) -> Value:
    """Evaluate a normalized expression. Raises ToolError, which says what is wrong with it."""
    if len(text) > MAX_LENGTH:
        raise ToolError(f"longer than {MAX_LENGTH} characters: split it into several expressions")
    try:
        return _Parser(list(_tokenize(text))).parse()
    except ZeroDivisionError as error:
        raise ToolError("it divides by zero") from error
    except OverflowError as error:
        raise ToolError("a number in it is too large, above 1e308") from error
    except TypeError as error:
        raise ToolError(units.explain(error)) from error


@dataclass(frozen=True, slots=True)
class _Token:
    """A piece of an expression; its kind is "number", "name", "sign", or "" after the end."""

    kind: str
    text: str


_END = _Token("", "")


def _tokenize(text: str) -> Iterator[_Token]:
    """Split an expression. A comma groups thousands, except in the arguments of a function."""
    at, last, calls = 0, "", [False]
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ToolError(
                f"{text[at:].strip()[:20]!r} is not understood here. Write numbers, units, "
                "brackets and + - * / ^ %"
            )
        kind, piece, end = match.lastgroup or "", match[match.lastgroup or 0], match.end()
        if kind == "number" and "," in piece and calls[-1]:
            piece = _UNGROUPED_NUMBER.match(piece)[0]  # type: ignore[index]
            end = match.start("number") + len(piece)
        if piece == "(":
            calls.append(last in FUNCTIONS)
        elif piece == ")" and len(calls) > 1:
            calls.pop()
        yield _Token(kind, piece)
        at, last = end, piece


class _Parser:
    """Recursive descent: sums of products of juxtaposed powers, optionally converted to a unit."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def parse(self) -> Value:
        value = self._sum()
        if self._take(*_CONVERSIONS):
            value = units.convert(value, self._product())
        elif is_quantity(value):
            value = units.simplify(value)
        if rest := self._peek().text:
            raise ToolError(f"{rest!r} is not expected there. Put an operator before it")
        return value

    def _sum(self) -> Value:
        value = self._product()
        while sign := self._take("+", "-"):
            other = self._product()
            value = bounded(value + other if sign == "+" else value - other)
        return value

    def _product(self) -> Value:
        value = self._signed(self._juxtaposed)
        while sign := self._take(*_PRODUCTS):
            value = _PRODUCTS[sign](value, self._signed(self._juxtaposed))
        return value

    def _signed(self, parse: Callable[[], Value]) -> Value:
        sign = self._take("+", "-")
        if not sign:
            return parse()
        value = self._nested(lambda: self._signed(parse))
        return -value if sign == "-" else value

    def _juxtaposed(self) -> Value:
        """Parse 3 km, 7 billion or 2 pi: a name after a value multiplies it before any division."""
        value = self._power()
        while self._peek().kind == "name" and not self._is_operator():
            value = multiply(value, self._power())
        return value

    def _power(self) -> Value:
        value = self._postfix()
        if self._take("^", "**"):
            return power(value, self._nested(lambda: self._signed(self._power)))
        return value

    def _postfix(self) -> Value:
        """Parse 5! and 15%; a "%" before a value is the remainder."""
        value = self._atom()
        while self._peek().text == "!" or (self._peek().text == "%" and not self._is_value(1)):
            value = factorial(value) if self._take("!", "%") == "!" else value / 100
        return value

    def _atom(self) -> Value:
        token = self._peek()
        self._at += 1
        match token:
            case _Token("number", text):
                return _parse_number(text)
            case _Token("name", name):
                return self._named(name)
            case _Token(_, "("):
                value = self._nested(self._sum)
                self._expect(")")
                return value
            case _Token(_, ""):
                raise ToolError("it ends too early")
        raise ToolError(f"a number is missing before {token.text!r}")

    def _named(self, name: str) -> Value:
        if name in FUNCTIONS and self._peek().text == "(":
            return call(name, self._nested(self._arguments))
        if name == "sqrt":
            return call(name, [self._nested(self._postfix)])
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
        while self._take(","):
            values.append(self._sum())
        self._expect(")")
        return values

    def _is_operator(self) -> bool:
        """Whether the next name is an operator; `in` may also be an inch."""
        name = self._peek().text
        if name == "in":
            return self._is_value(1) and self._peek(1).text not in _CONVERSIONS
        return name in _CONVERSIONS or name in _PRODUCTS

    def _is_value(self, ahead: int) -> bool:
        token = self._peek(ahead)
        if token.kind == "name":
            return token.text not in ("of", "mod", "per", *_CONVERSIONS)
        return token.kind == "number" or token.text == "("

    def _nested(self, parse: Callable[[], Any]) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ToolError(f"nested deeper than {_MAX_DEPTH}: split it into several expressions")
        value = parse()
        self._depth -= 1
        return value

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise ToolError(f"{sign!r} is missing before {self._peek().text or 'the end'!r}")

    def _take(self, *texts: str) -> str:
        """Consume the next token if it is one of these; return its text, else ""."""
        text = self._peek().text
        if text not in texts:
            return ""
        self._at += 1
        return text

    def _peek(self, ahead: int = 0) -> _Token:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else _END


def _parse_number(text: str) -> Fraction:
    digits, _, exponent = text.replace(",", "").lower().partition("e")
    if len(digits) > _MAX_NUMBER_DIGITS or abs(int(exponent or 0)) > _MAX_NUMBER_EXPONENT:
        raise ToolError(f"the number {text[:20]}... is too long or too large")
    return Fraction(digits) * Fraction(10) ** int(exponent or 0)


def _format_result(value: Value) -> str:
    """Write a value after "=" if it is exact, after "≈" if it is rounded."""
    if not is_quantity(value):
        return _format_number(value)
    return f"{_format_number(value.magnitude)} {units.format_unit(value)}".rstrip()


def _format_number(value: Number) -> str:
    if isinstance(value, Fraction):
        if value.denominator == 1 and len(str(value.numerator)) <= _MAX_INTEGER_DIGITS:
            return f"= {value.numerator}"
        decimal = _DECIMALS.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize()
        if Fraction(decimal) == value and len(decimal.as_tuple().digits) <= _SHOWN_DIGITS + 3:
            is_plain = -7 <= decimal.adjusted() < _MAX_INTEGER_DIGITS
            return f"= {decimal:f}" if is_plain else f"= {str(decimal).lower()}"
    return f"≈ {float(value):.{_SHOWN_DIGITS}g}"
