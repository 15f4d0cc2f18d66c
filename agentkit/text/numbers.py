"""Find quantities in a text, comparable across spellings: 7B, 70 亿 and 7 billion are equal.

Reads digits with any thousands separator (1,250,000, 1 250 000, 1.250.000) and either decimal mark,
Chinese numerals and English number words; scales, powers (10⁶), percentages, fractions (½), units
of time, size, length, mass, power and money, clock times, decades and months. A digit inside a name
(GPT-3, INT8), a version or an address (1.2.3), a lone "one" and 一 are ignored.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import zip_longest

from agentkit.text.patterns import lazy_pattern

_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_TENS = {"十": 10, "百": 100, "千": 1000}
_MYRIADS = {"万": 10_000, "亿": 100_000_000}
_ONES = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty
"""
_TIES = "thirty forty fifty sixty seventy eighty ninety"
_YEAR = """
January February March April May June July August September October November December
"""
_WORDS = {word: number for number, word in enumerate(_ONES.split())} | {
    word: 10 * number for number, word in enumerate(_TIES.split(), start=3)
}
_PARTS = {"thirds": 3, "quarters": 4, "fifths": 5, "tenths": 10}
_ORDINAL_WORDS = "third fourth fifth sixth seventh eighth ninth tenth"
_ORDINALS = {word: number for number, word in enumerate(_ORDINAL_WORDS.split(), start=3)}
_MONTHS = {month: number for number, month in enumerate(_YEAR.split(), start=1)}
_SCALES = {
    "万亿": 1e12, "亿": 1e8, "千万": 1e7, "百万": 1e6, "万": 1e4, "千": 1e3,
    "trillion": 1e12, "billion": 1e9, "million": 1e6, "thousand": 1e3, "hundred": 1e2,
    "bn": 1e9, "T": 1e12, "B": 1e9, "M": 1e6, "K": 1e3, "k": 1e3,
}  # fmt: skip
_UNITS: dict[str, tuple[str, float]] = {
    spelling: (kind, size)
    for kind, size, spellings in (
        ("time", 1e-6, "µs μs us microseconds microsecond 微秒"),
        ("time", 1e-3, "ms milliseconds millisecond 毫秒"),
        ("time", 1, "s sec seconds second 秒"),
        ("time", 60, "min minutes minute 分钟"),
        ("time", 3600, "h hours hour 小时"),
        ("time", 86400, "days day 天"),
        ("time", 604800, "weeks week 周 星期"),
        ("months", 1, "months month 个月"),
        ("months", 12, "years 年间"),
        ("size", 1, "bytes byte 字节"),
        ("size", 1e3, "KB kB"),
        ("size", 1e6, "MB 兆字节"),
        ("size", 1e9, "GB G"),
        ("size", 1e12, "TB"),
        ("size", 1 << 10, "KiB"),
        ("size", 1 << 20, "MiB"),
        ("size", 1 << 30, "GiB"),
        ("size", 1 << 40, "TiB"),
        ("bit", 1, "bits bit 位 比特"),
        ("length", 1e-3, "mm 毫米"),
        ("length", 1e-2, "cm 厘米"),
        ("length", 1, "m metres meters metre meter 米"),
        ("length", 1e3, "km kilometres kilometers kilometre kilometer 公里 千米"),
        ("mass", 1e-3, "mg 毫克"),
        ("mass", 1, "g grams gram 克"),
        ("mass", 1e3, "kg kilograms kilogram 公斤 千克"),
        ("mass", 1e6, "t tonnes tons 吨"),
        ("length", 1609.344, "miles mile 英里"),
        ("length", 0.3048, "ft feet 英尺"),
        ("area", 1, "m^2 m2 sqm 平方米"),
        ("area", 1e4, "ha hectares hectare 公顷"),
        ("area", 1e6, "km^2 km2 平方公里 平方千米"),
        ("volume", 1e-3, "mL ml millilitres milliliters 毫升"),
        ("volume", 1, "L litres liters litre liter 升"),
        ("volume", 1e3, "m^3 m3 立方米"),
        ("mass", 453.592, "lb lbs pounds"),
        ("celsius", 1, "°C 摄氏度"),
        ("fahrenheit", 1, "°F 华氏度"),
        ("euro", 1, "€ EUR euros euro Euro Euros 欧元"),
        ("cent", 1, "cents cent"),
        ("dollar", 1, "USD dollars dollar 美元"),
        ("yuan", 1, "CNY RMB yuan 元 人民币"),
        ("yen", 1, "JPY yen 日元"),
        ("frequency", 1, "Hz 赫兹"),
        ("frequency", 1e3, "kHz"),
        ("frequency", 1e6, "MHz"),
        ("frequency", 1e9, "GHz"),
        ("voltage", 1, "V volts volt 伏"),
        ("power", 1, "W watts watt 瓦"),
        ("power", 1e3, "kW 千瓦"),
        ("power", 1e6, "MW 兆瓦"),
        ("energy", 1, "kWh 千瓦时 度电"),
        ("energy", 1e3, "MWh 兆瓦时"),
        ("share", 1e-2, "% percent 个百分点"),
        ("times", 1, "倍"),
    )
    for spelling in spellings.split()
} | {
    "per cent": ("share", 1e-2),
    "square metres": ("area", 1),
    "square meters": ("area", 1),
    "square kilometres": ("area", 1e6),
    "square kilometers": ("area", 1e6),
    "cubic metres": ("volume", 1e3),
    "cubic meters": ("volume", 1e3),
    "degrees Celsius": ("celsius", 1),
    "degrees Fahrenheit": ("fahrenheit", 1),
}
_CURRENCIES = {"$": "dollar", "US$": "dollar", "€": "euro", "EUR": "euro", "USD": "dollar", "¥": ""}

_CHINESE = "零〇一二两三四五六七八九十百千万亿"
_COUNTERS = (
    "个种年天周倍位项类步张层条次元米克人艘块家台部章节点岁度本篇列行组份成段秒名万亿字小分星"
)
_NUMBER_WORD = "|".join(sorted(_WORDS, key=len, reverse=True))
_SCALE = "|".join(
    sorted((s for s in _SCALES if len(s) > 1 or not s.isascii()), key=len, reverse=True)
).replace("|千", "|千(?![克米瓦字])")
_UNIT = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))
_AFTER = r"(?![A-Za-z])"
_DIGIT_GROUPS = (
    r"\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)(?:\.\d+)?"  # 1,250,000.5 and 12,50,000
    r"|\d{1,3}(?:\.\d{3})+,\d+(?!\d)|\d{1,3}(?:\.\d{3}){2,}(?!\d)"  # 1.250,5 and 1.250.000
    r"|\d{1,3}(?:[ '’_]\d{3})+(?![\d/])(?:[.,]\d+(?!\d))?"  # 1 250 000 and 1'250'000
    r"|(?<!\d,)\d+,(?:\d\d?|\d{4,})(?![\d/]|,\d)|\d+(?:\.\d+)?"  # 4,20 and 4.20
)
_DECIMAL_COMMA = lazy_pattern(
    r"\d\.\d{3}(?:\.\d{3}|,\d)|\d,\d\d?(?![\d,])|\b(?:der|das|und|ist|für|mit|les|une|est|pour|los"
    r"|las|una|por|della|sono|het|een|oraz|jest)\b"
)
_EXPONENT = lazy_pattern(r"<sup>\s*([-+−]?\d{1,3})\s*</sup>|([⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_VULGAR = lazy_pattern("[¼-¾⅐-⅞]")
_QUANTITY = lazy_pattern(
    rf"""
      (?<![\w:.])(?P<hour12>\d{{1,2}}(?::\d{{2}})?|(?i:{_NUMBER_WORD}))[ ]?
      (?P<half_day>[ap]\.?m\b|in[ ]the[ ](?:morning|afternoon|evening)\b)
    | (?P<clock>(?<![\d:])\d{{1,2}}:\d{{2}}(?![\d:]))
    | (?P<oclock>\d{{1,2}}|[两三四五六七八九]|十[一二]?)\s*点(?:钟|整)?(?![{_CHINESE}\d半几点])
    | (?P<century>\d{{2}})\s*世纪\s*(?P<decade>\d{{2}})\s*年代
    | (?P<years>\b\d{{3}}0)(?:s\b|\s*年代)
    | (?P<month>\d{{1,2}})\s*月(?!\w*球)
    | \b(?P<named>{"|".join(_MONTHS)})\b(?!\s+be\b)
    | 百分之(?P<share>[{_CHINESE}点]+|\d+(?:\.\d+)?)
    | (?P<below>[{_CHINESE}]+|\d+)\s*分之\s*(?P<above>[{_CHINESE}]+|\d+)
    | (?<![\w/.])(?:(?P<whole>\d{{1,3}})[ ]+)?(?P<upper>\d)/(?P<lower>\d{{1,2}})(?![\w/]|\.\d)
    | \b(?:a\s+)?(?P<hour>half|quarter)\s+(?:of\s+)?an\s+hour\b
    | \b(?:a|one)\s+(?P<part>third|quarter)\b
    | \b(?P<over>two|three|four)[ -](?P<under>thirds|quarters|fifths|tenths)\b
    | (?P<halved>\bhal(?:f(?!\s+past)|ve[sd])\b|一半|减半|半数)
    | (?<![\w.])(?P<day>\d{{1,2}})\.(?P<in>\d{{1,2}})\.(?P<of>(?:19|20)\d{{2}})(?![\w.]\w)
    | (?<![\w.])(?!\d{{1,3}}(?:\.\d{{3}}){{2,}}(?![\w.]))(?P<version>\d+(?:\.\d+){{2,}}[\w.+-]*)
    | (?<![A-Za-z0-9_.^])(?<![A-Za-z][-_])(?P<sign>(?<![\d)\]}}])[-−](?=\d))?
      (?P<currency>(?:(?:US)?\$|€|¥)[ ]?|(?<![A-Za-z])(?:EUR|USD)[ ])?
      (?:(?P<digits>{_DIGIT_GROUPS})
         (?:\s*(?:\\times|×|x|\*)\s*10\^?\{{?(?P<power>[-−]?\d{{1,2}})\}}?|[eE](?P<exponent>[-+]?\d{{1,2}})
            |\^\{{?(?P<raised>[-−]?\d{{1,2}})\}}?)?
       | \b(?P<word>(?i:{_NUMBER_WORD})(?:-(?:{_NUMBER_WORD}))?)\b
       | \b(?P<ordinal>{"|".join(_ORDINALS)})\b
       | \b(?P<article>an?)(?=\s+(?:hundred|thousand|million|billion|trillion)\b)
       | \b(?:a\s+)?(?P<dozen>dozen)\b
       | (?P<chinese>[{_CHINESE}]{{2,}}(?:点[{_CHINESE}]+)?
            |第?[二两三四五六七八九十](?:点[{_CHINESE}]+)?(?=[{_COUNTERS}])(?<!十(?=分(?!钟)))|第[一二三四五六七八九十]))
      (?:\s*(?P<scale>{_SCALE})(?![A-Za-z])|(?P<letter>[TBMKk]){_AFTER})?
      (?:st|nd|rd|th)?
      (?:[\s-]*个?(?P<unit>{_UNIT}){_AFTER})?
      (?P<tail>[A-Za-z]*)
    """,
    re.VERBOSE,
)


_UNIT_WORD = lazy_pattern(rf"(?<![A-Za-z])(?:{_UNIT})(?![A-Za-z])")
_RANGE = lazy_pattern(r"\s*(?:-|–|—|~|～|到|至|to|and)\s*")
_APPROXIMATE_BEFORE = lazy_pattern(
    r"(?:约|大概|近|将近|差不多|接近|about|around|roughly|some|nearly|almost|approximately|~|≈|～)"
    r"\D{0,4}$"
)
_LONGEST_APPROXIMATION = 40
_APPROXIMATE_AFTER = lazy_pattern(r"\s*\S{0,3}(?:左右|上下|or so)")
_IDIOMS = ("千万", "万一", "十分", "百分", "万万", "一一", "千千万万", "一二")
_ROUNDING = 0.05
_GREATEST_BASE = 1000


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in a text. `value` is in the base unit of its `kind` ("" without a unit), `bare` is
    without the unit; `step` is the size of the last digit of an approximate number, else 0. `parts`
    are the numbers apart where it may also be several: "3 200", "4,20"."""

    text: str
    value: float
    bare: float
    kind: str = ""
    step: float = 0.0
    start: int = 0
    end: int = 0
    parts: tuple[float, ...] = ()


def normalize(text: str) -> str:
    """Convert to NFKC, with exponents as `^6` and fractions as `1/2`, so that 10⁶ is not 106."""
    text = _EXPONENT.sub(lambda m: "^" + unicodedata.normalize("NFKC", m[1] or m[2]), text)
    text = _VULGAR.sub(lambda m: " " + unicodedata.normalize("NFKC", m[0]).replace("⁄", "/"), text)
    return unicodedata.normalize("NFKC", text)


def quantities(text: str) -> list[Quantity]:
    """Find the quantities of a text, in order; places are those of the normalized text."""
    text = normalize(text)
    found: list[Quantity] = []
    for match in _QUANTITY.finditer(text):
        for quantity in _parse_match(match, text):
            if found and _continues(found[-1], quantity, text):
                quantity = _joined(found.pop(), quantity)
            found.append(quantity)
    return [_with_range_unit(q, later, text) for q, later in zip_longest(found, found[1:])]


def is_unit(word: str) -> bool:
    """Whether a word is a unit or a scale: GB, km, B."""
    return word in _UNITS or word in _SCALES


def units_in(text: str) -> set[tuple[str, float]]:
    """The units that a text names, as their kind and size."""
    return {_UNITS[unit] for unit in _UNIT_WORD.findall(normalize(text))}


def _continues(first: Quantity, second: Quantity, text: str) -> bool:
    """Whether a number goes on: 1 亿 2000 万, 3 万 5 千."""
    return (
        text[first.end : second.start].strip() == ""
        and first.text[-1] in "亿万千"
        and second.text[-1:] in "万千百"
        and first.bare > second.bare
    )


def _joined(first: Quantity, second: Quantity) -> Quantity:
    value = first.bare + second.bare
    text = first.text + second.text
    return Quantity(text, value, value, "", 0.0, first.start, second.end)


def is_stated(claimed: Quantity, stated: Sequence[Quantity]) -> bool:
    """Whether one of the stated quantities equals the claimed one, or rounds to it if the claim is
    approximate."""
    if any(_is_same(claimed, other) for other in stated):
        return True
    return bool(claimed.parts) and all(
        any(part in (other.bare, *other.parts) for other in stated) for part in claimed.parts
    )


def _is_same(claimed: Quantity, other: Quantity) -> bool:
    if claimed.text == other.text:
        return True
    if {claimed.kind, other.kind} in _CENTS:
        return abs(_in_cents(claimed) - _in_cents(other)) < _LEAST_MONEY
    if (claimed.kind and other.kind) or "decade" in (claimed.kind, other.kind):
        if claimed.kind != other.kind:
            return False
        pairs = [(claimed.value, other.value)]
    elif "share" in (claimed.kind, other.kind):
        pairs = [(claimed.bare, other.bare)]
    else:
        pairs = [(claimed.bare, other.bare), (claimed.value, other.value)]
    pairs += [(claimed.bare, part) for part in other.parts]
    return any(_is_near(mine, yours, claimed) for mine, yours in pairs)


_CENTS = ({"cent", "euro"}, {"cent", "dollar"})
_LEAST_MONEY = 1e-6


def _in_cents(amount: Quantity) -> float:
    return amount.value if amount.kind == "cent" else 100 * amount.value


def _is_near(mine: float, yours: float, claimed: Quantity) -> bool:
    gap = abs(mine - yours)
    if gap <= 1e-9 * max(abs(mine), abs(yours)):
        return True
    step = claimed.step * (mine / claimed.bare if claimed.bare else 1.0)
    return gap <= step / 2 and gap <= _ROUNDING * abs(yours)


def _with_range_unit(first: Quantity, last: Quantity | None, text: str) -> Quantity:
    """Give the first number of "3.7 到 4.5 GB" the unit of the second."""
    if last is None or first.kind or not _RANGE.fullmatch(text[first.end : last.start]):
        return first
    if not last.kind or not last.bare:
        return first
    return replace(first, kind=last.kind, value=first.bare * last.value / last.bare)


def _parse_match(match: re.Match[str], text: str) -> Iterator[Quantity]:
    start, end = match.span()
    matched = match.group().strip()

    def quantity(value: float, kind: str = "") -> Quantity:
        return Quantity(matched, value, value, kind, 0.0, start, end)

    if match["hour12"] or match["clock"] or match["oclock"]:
        minute, hour = _parse_clock(match)
        yield replace(quantity(minute, "clock"), parts=() if match["clock"] else (hour,))
    elif match["century"]:
        yield quantity(100 * (int(match["century"]) - 1) + int(match["decade"]), "decade")
    elif match["years"]:
        yield quantity(int(match["years"]), "decade")
    elif match["day"]:
        yield from (quantity(int(match[part])) for part in ("day", "in", "of"))
    elif match["month"] or match["named"]:
        month = _MONTHS[match["named"]] if match["named"] else int(match["month"])
        yield quantity(month, "month")
    elif match["hour"]:
        yield quantity(1800 if match["hour"] == "half" else 900, "time")
    elif (share := _parse_fraction(match)) is not None:
        fraction = quantity(share, "" if match["whole"] else "share")
        yield replace(fraction, bare=100 * share) if match["share"] else fraction
    elif not match["version"] and (found := _parse_number(match, text)):
        yield found


def _parse_clock(match: re.Match[str]) -> tuple[float, float]:
    """The minute of the day, and the hour as it is written."""
    hours, _, minutes = (match["hour12"] or match["clock"] or match["oclock"]).partition(":")
    hour = float(_WORDS.get(hours.lower(), 0)) or _parse_numeral(hours)
    if not (half := match["half_day"]):
        return 60 * hour + int(minutes or 0), hour
    is_late = half[0] == "p" or half.endswith(("afternoon", "evening"))
    return 60 * (hour % 12 + 12 * is_late) + int(minutes or 0), hour


def _parse_fraction(match: re.Match[str]) -> float | None:
    if match["share"]:
        return _parse_numeral(match["share"]) / 100
    if match["below"]:
        return _parse_numeral(match["above"]) / max(1.0, _parse_numeral(match["below"]))
    if match["upper"]:
        return int(match["whole"] or 0) + int(match["upper"]) / max(1, int(match["lower"]))
    if match["over"]:
        return _WORDS[match["over"]] / _PARTS[match["under"]]
    if match["part"] or match["halved"]:
        return {"third": 1 / 3, "quarter": 0.25}.get(match["part"], 0.5)
    return None


def _parse_number(match: re.Match[str], text: str) -> Quantity | None:
    is_vague = text[max(0, match.start() - 1) : match.start()] in ("", *"上数几近约达过")
    if match["tail"] or (match["chinese"] in _IDIOMS and not (is_vague and match.start())):
        return None
    number = _number_before_scale(match, text)
    if number is None:
        return None
    scale = _SCALES.get(match["scale"] or match["letter"] or "", 1.0)
    scale *= 10.0 ** int((match["power"] or match["exponent"] or "0").replace("−", "-"))
    bare = number * scale * (-1 if match["sign"] else 1)
    kind, size = _UNITS.get(match["unit"] or "", ("", 1.0))
    kind = kind or _CURRENCIES.get((match["currency"] or "").strip(), "")
    is_approximate = _APPROXIMATE_BEFORE.search(
        text[max(0, match.start() - _LONGEST_APPROXIMATION) : match.start()]
    ) or _APPROXIMATE_AFTER.match(text, match.end())
    step = _step(match["digits"] or str(int(number))) * scale if is_approximate else 0.0
    written = match.group().strip()
    return Quantity(written, bare * size, bare, kind, step, *match.span(), _parts(match))


def _parts(match: re.Match[str]) -> tuple[float, ...]:
    """The numbers apart where a space or a comma before other than three digits joins them."""
    digits = match["digits"] or ""
    if " " in digits or re.fullmatch(r"\d+,(?:\d\d?|\d{4,})", digits):
        return tuple(float(part) for part in re.split("[ ,]", digits))
    return ()


def _parse_digits(digits: str, has_decimal_comma: bool) -> float:
    digits = re.sub("[ '’_]", "", digits)
    if re.fullmatch(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}", digits):
        return float(digits.replace(".", "").replace(",", "."))
    if re.fullmatch(r"\d+,(?:\d\d?|\d{4,})", digits):
        return float(digits.replace(",", "."))
    if has_decimal_comma and re.fullmatch(r"\d{1,3}[.,]\d{3}", digits):
        return float(digits.replace(".", "").replace(",", "."))
    return float(digits.replace(",", ""))


@lru_cache(maxsize=8)
def _has_decimal_comma(text: str) -> bool:
    return bool(_DECIMAL_COMMA.search(text))


def _number_before_scale(match: re.Match[str], text: str) -> float | None:
    if match["digits"]:
        number = _parse_digits(match["digits"], _has_decimal_comma(text))
        if match["raised"]:
            exponent = int(match["raised"].replace("−", "-"))
            return float(number**exponent) if number <= _GREATEST_BASE and number else None
        return number
    if match["article"] or match["dozen"]:
        return 12.0 if match["dozen"] else 1.0
    if match["ordinal"]:
        return float(_ORDINALS[match["ordinal"]])
    if match["word"]:
        number = float(sum(_WORDS[part] for part in match["word"].lower().split("-")))
        return None if number == 1 and not match["scale"] else number
    return _parse_numeral(match["chinese"].removeprefix("第"))


def _step(digits: str) -> float:
    """Return the size of the last digit that is not a trailing zero."""
    _, _, decimals = digits.partition(".")
    if decimals:
        return 10.0 ** -len(decimals)
    digits = re.sub(r"\D", "", digits)
    return 10.0 ** (len(digits) - len(digits.rstrip("0")))


def _parse_numeral(numeral: str) -> float:
    """Parse a Chinese numeral (三十二, 一千二百, 三点五) or digits."""
    if numeral[0].isdigit() and numeral.isascii():
        return float(numeral)
    whole, _, decimals = numeral.partition("点")
    if len(whole) > 1 and all(c in _DIGITS for c in whole):
        value = float("".join(str(_DIGITS[c]) for c in whole))
    else:
        value = _parse_grouped(whole)
    digits = "".join(str(_DIGITS.get(c, 0)) for c in decimals)
    return value + (float(f"0.{digits}") if digits else 0.0)


def _parse_grouped(numeral: str) -> float:
    total, group, digit = 0.0, 0.0, 0.0
    for c in numeral:
        if c in _DIGITS:
            digit = _DIGITS[c]
        elif c in _TENS:
            group, digit = group + (digit or 1) * _TENS[c], 0.0
        else:
            total, group, digit = (total + (group + digit or 1)) * _MYRIADS[c], 0.0, 0.0
    return total + group + digit
