"""Write a number as Excel shows it by a format code such as `#,##0.00 "EUR"` (ECMA-376-1, 18.8.31).

Decimal and thousands signs are those of the code, `.` and `,`. Dates are in ISO form, as exact as
their format: `2024-03` for `mmm yy`. Colours, padding and repeated fillers are left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache

_TOKEN = re.compile(
    r'"(?P<quoted>[^"]*)"?|\\(?P<escaped>.)|_.|\*.|\[\$(?P<currency>[^\]-]*)[^\]]*\]'
    r"|\[(?P<condition>[<>=]{1,2}-?[\d.]+)\]|\[[^\]]*\]|(?P<general>General)"
    r"|(?P<exponent>[eE][+-])|(?P<digit>[0#?])|(?P<point>\.)|(?P<comma>,)|(?P<percent>%)"
    r"|(?P<text>@)|(?P<slash>/)|(?P<plain>.)",
    re.IGNORECASE | re.DOTALL,
)
_SECTION = re.compile(r'((?:"[^"]*"?|\\.|\[[^\]]*\]|[^;])*+)(?:;|\Z)', re.DOTALL)
_LITERAL = re.compile(r'"[^"]*"?|\\.|_.|\*.|\[[$<>=][^\]]*\]', re.DOTALL)
_HALF_DAY = re.compile(r"am/pm|a/p|上午/下午")
_FRACTION = re.compile(r"[0#?]+\s*/\s*(?:[0#?]+|\d+)")
_DATE = re.compile(r"[ymdhs]")
_EPOCH = datetime(1899, 12, 30)
_LAST_DAY = 600_000
_PRECISION = Context(prec=40)
_MOST_CODE = 255
"""Of Excel itself."""
_MOST_DIGITS = 30
_LARGEST = 1e21


@dataclass(frozen=True, slots=True)
class _Section:
    condition: str
    tokens: tuple[tuple[str, str], ...]

    def count(self, kind: str) -> int:
        return sum(1 for token, _ in self.tokens if token == kind)


def formatted(value: float, code: str) -> str:
    """A number as Excel shows it."""
    sections = _sections(code[:_MOST_CODE])
    at = _chosen(sections, value)
    section = sections[at]
    signed = value < 0 and (at == 0 or bool(section.condition))
    if not section.tokens:
        return ""
    if section.count("general") or section.count("text"):
        return _around(section, ("general", "text"), general(value if signed else abs(value)))
    if not section.count("digit"):
        return _around(section, (), "")
    written = _digits(section, abs(Decimal(repr(value))))
    return f"-{written}" if signed and re.search(r"[1-9]", written) else written


def general(value: float) -> str:
    """A number in the format General, with up to 15 digits."""
    if abs(value) < _LARGEST and value == int(value):
        return str(int(value))
    return f"{value:.15G}"


@lru_cache(maxsize=512)
def _sections(code: str) -> tuple[_Section, ...]:
    found = []
    for match in _SECTION.finditer(code):
        tokens, condition = [], ""
        for token in _TOKEN.finditer(match[1]):
            kind = token.lastgroup or ""
            if kind == "condition":
                condition = token[kind]
            elif kind in ("quoted", "escaped", "currency", "plain"):
                tokens.append(("literal", token[kind]))
            elif kind:
                tokens.append((kind, token[0]))
            elif token[0][0] == "_":
                tokens.append(("literal", " "))
        found.append(_Section(condition, tuple(tokens)))
    if len(found) > 1 and not code.endswith(";"):
        found.pop()  # The pattern also matches the empty end behind the last section.
    return tuple(found[:4])


def _chosen(sections: tuple[_Section, ...], value: float) -> int:
    """The section for a number: by conditions, or positive, negative and zero."""
    if any(section.condition for section in sections[:2]):
        for at, section in enumerate(sections[:3]):
            if not section.condition or _holds(section.condition, value):
                return at
        return 0
    numeric = sections[:3]
    if value < 0 and len(numeric) > 1:
        return 1
    return 2 if value == 0 and len(numeric) > 2 else 0


def _holds(condition: str, value: float) -> bool:
    sign = re.match(r"[<>=]+", condition)
    number = condition[sign.end() :] if sign else ""
    try:
        bound = float(number)
    except ValueError:
        return True
    tests = {"<": value < bound, ">": value > bound, "=": value == bound, "<=": value <= bound,
             ">=": value >= bound, "<>": value != bound}  # fmt: skip
    return tests.get(sign[0] if sign else "", True)


def _around(section: _Section, kinds: tuple[str, ...], text: str) -> str:
    """A text between the literal ones."""
    pieces = (text if kind in kinds else value for kind, value in section.tokens
              if kind in kinds or kind in ("literal", "percent", "slash"))  # fmt: skip
    return _spaced("".join(pieces))


def _spaced(text: str) -> str:
    return " ".join(text.split())


def _digits(section: _Section, value: Decimal) -> str:
    tokens = section.tokens
    plain = "".join(text if kind in ("digit", "slash") else " " if text.isspace() else text
                    for kind, text in tokens)  # fmt: skip
    if section.count("slash") and _FRACTION.search(plain):
        return _fraction(section, plain, value)
    value *= Decimal(100) ** section.count("percent")
    last = max(at for at, (kind, _) in enumerate(tokens) if kind in ("digit", "point"))
    value /= Decimal(1000) ** sum(1 for kind, _ in tokens[last + 1 :] if kind == "comma")
    point = next((at for at, (kind, _) in enumerate(tokens) if kind == "point"), len(tokens))
    exponent = next((at for at, (kind, _) in enumerate(tokens) if kind == "exponent"), len(tokens))
    decimals = min(_count(tokens[point:exponent]), _MOST_DIGITS)
    unit = Decimal(1).scaleb(-decimals)
    power = 0
    if exponent < len(tokens) and value:
        # The digits before the point are the step of the exponent: 3 in `##0.0E+0`.
        step = max(1, _count(tokens[: min(point, exponent)]))
        power = value.adjusted() // step * step
        if value.scaleb(-power).quantize(unit, ROUND_HALF_UP, _PRECISION) >= 10**step:
            power += step
        value = value.scaleb(-power)
    rounded = value.quantize(unit, ROUND_HALF_UP, _PRECISION)
    whole, _, part = f"{rounded:f}".partition(".")
    integer = _integer(tokens[: min(point, exponent)], whole.lstrip("0"))
    fraction = _decimals(tokens[point:exponent], part)
    rest = ""
    if exponent < len(tokens):
        width = _count(tokens[exponent:])
        sign = "-" if power < 0 else "+" if "+" in tokens[exponent][1] else ""
        rest = f"E{sign}{abs(power):0{width}}"
        tail = [t for t in tokens[exponent + 1 :] if t[0] in ("literal", "percent")]
    else:
        tail = []
    return _spaced(integer + fraction + rest + "".join(text for _, text in tail))


def _count(tokens: tuple[tuple[str, str], ...]) -> int:
    return sum(1 for kind, _ in tokens if kind == "digit")


def _integer(tokens: tuple[tuple[str, str], ...], digits: str) -> str:
    """The digits before the point in their places, with the literal texts between them."""
    places = [at for at, (kind, _) in enumerate(tokens) if kind == "digit"]
    if not places:
        return "".join(text for kind, text in tokens if kind in ("literal", "percent")) + digits
    zeros = sum(1 for at in places if tokens[at][1] == "0")
    digits = digits.rjust(zeros, "0")
    grouped = any(kind == "comma" and at < places[-1] for at, (kind, _) in enumerate(tokens))
    written: list[str] = []
    left = list(digits)
    placed = 0
    for at in range(len(tokens) - 1, -1, -1):
        kind, text = tokens[at]
        if kind in ("literal", "percent", "slash"):
            written.append(text)
        elif kind == "digit" and left:
            count = len(left) if at == places[0] else 1
            for _ in range(count):
                if grouped and placed and placed % 3 == 0:
                    written.append(",")
                written.append(left.pop())
                placed += 1
    return "".join(reversed(written))


def _decimals(tokens: tuple[tuple[str, str], ...], digits: str) -> str:
    """The point and the digits behind it; zeros at the end only where the code demands them."""
    least = max((at for at, t in enumerate(_places(tokens), 1) if t == "0"), default=0)
    kept = digits[:least] + digits[least:].rstrip("0")
    written, at = "", 0
    for kind, text in tokens:
        if kind == "point":
            written += "." if kept or least else ""
        elif kind == "digit":
            written += kept[at : at + 1]
            at += 1
        elif kind in ("literal", "percent"):
            written += text
    return written


def _places(tokens: tuple[tuple[str, str], ...]) -> list[str]:
    return [text for kind, text in tokens if kind == "digit"]


def _fraction(section: _Section, plain: str, value: Decimal) -> str:
    found = _FRACTION.search(plain)
    below = found[0].partition("/")[2].strip() if found else "?"
    has_whole = bool(found and re.search(r"[0#?]", plain[: found.start()]))
    if below.isdigit() and int(below):
        parts, unit = round(value * int(below)), int(below)
    else:
        nearest = Fraction(value).limit_denominator(10 ** min(len(below), 4) - 1)
        parts, unit = nearest.numerator, nearest.denominator
    whole, rest = divmod(parts, unit) if has_whole else (0, parts)
    pieces = [
        str(whole) if whole or (has_whole and not rest) else "",
        f"{rest}/{unit}" if rest else "",
    ]
    tail = "".join(
        text
        for kind, text in section.tokens
        if kind == "literal" and text.strip() and not text.isdigit()
    )
    return _spaced(" ".join([*filter(None, pieces), tail]))


def formatted_serial(value: float, code: str) -> str:
    """A number as Excel shows it where its format may be one of dates: days since 1900."""
    letters = _LITERAL.sub("", code.partition(";")[0]).casefold().replace("general", "")
    if _DATE.search(letters) and abs(value) < _LAST_DAY:
        return formatted_date(_EPOCH + timedelta(days=value), code)
    return formatted(value, code)


def formatted_date(value: datetime | date | time | timedelta, code: str) -> str:
    """A date or time in ISO form, as exact as its format shows it; a duration as hours:minutes."""
    letters = _HALF_DAY.sub("", _LITERAL.sub("", code.partition(";")[0]).casefold())
    if isinstance(value, timedelta):
        return _duration(value, letters)
    if "general" in letters and isinstance(value, datetime):
        return value.isoformat(" ", "seconds").removesuffix(" 00:00:00")
    has_time = "h" in letters or "s" in letters or not letters or "general" in letters
    seconds = "s" in letters or (isinstance(value, datetime | time) and bool(value.second))
    clock = "seconds" if seconds else "minutes"
    if isinstance(value, time):
        return value.isoformat(clock)
    if not isinstance(value, datetime):
        return value.isoformat()
    if has_time and (value.time() != time() or not re.search(r"[ymd]", letters.replace("mm", ""))):
        if not re.search(r"[yd]", letters):
            return value.time().isoformat(clock)
        return value.isoformat(" ", clock)
    if "d" not in letters and "y" in letters and value.day == 1:
        return f"{value:%Y-%m}" if "m" in letters else f"{value:%Y}"
    return value.date().isoformat()


def _duration(value: timedelta, letters: str) -> str:
    total = abs(value.total_seconds())
    sign = "-" if value.total_seconds() < 0 else ""
    whole = int(total + 0.5)
    hours, minutes, seconds = whole // 3600, whole // 60 % 60, whole % 60
    if "h" not in letters and "s" in letters:
        return f"{sign}{whole // 60}:{seconds:02}" if "m" in letters else f"{sign}{whole}"
    return f"{sign}{hours}:{minutes:02}" + (f":{seconds:02}" if "s" in letters else "")
