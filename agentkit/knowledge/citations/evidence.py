"""Check the numbers, codes and names of a claim against a passage.

All numbers of a claim must be in one sentence or one table row of the passage, with the row's
header. Versions, codes and C++ are compared whole, other names by their stem. What a tool call of
the turn gave, and a number of the question that the passage does not state otherwise, needs no
passage.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from agentkit.knowledge.citations.passages import remembered
from agentkit.knowledge.citations.polarity import clauses, content
from agentkit.text.numbers import Quantity, is_stated, normalize, quantities, units_in
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import fold, is_cjk, sentences, terms

ROW = lazy_pattern(r"[ \t]*\|.*\|[ \t]*$", re.MULTILINE)
RULE = lazy_pattern(r"[ \t]*\|?[ \t]*:?-{2,}[\s:|-]*$")
ORDINAL = lazy_pattern(r"^[ \t]*(?:\d+[.)、]|[-*+>•])[ \t]+")
_ITEM = lazy_pattern(r"^[ \t]*(?:\d+[.)]|[-*+])[ \t]+\S", re.MULTILINE)


@dataclass(frozen=True)
class Unit:
    """A sentence or a table row: `passage[start:end] == text`. `context` is the header of its table
    or the line that introduces its list, `lead` the line before its table."""

    text: str
    start: int
    end: int
    context: str = ""
    lead: str = ""

    @property
    def is_body(self) -> bool:
        """Whether it is a row below a header, or of a table without one."""
        return self.text != self.context and not RULE.match(self.text)

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        context = "" if self.context == self.text else self.context
        return tuple(quantities(f"{context}\n{ORDINAL.sub('', self.text)}"))


@remembered
def units(passage: str) -> tuple[Unit, ...]:
    """The sentences and table rows of a passage."""
    found: list[Unit] = []
    header, lead_in = "", ""
    spans = sentences(passage)
    for number, (start, end) in enumerate(spans):
        text = passage[start:end]
        if ROW.match(text):
            following = passage[slice(*spans[number + 1])] if number + 1 < len(spans) else ""
            header = text if RULE.match(following) else header
            lead = next((unit.text for unit in found[::-1] if not ROW.match(unit.text)), "")
            found.append(Unit(text, start, end, header, lead))
            continue
        header = ""
        is_item = bool(_ITEM.match(text))
        found.append(Unit(text, start, end, lead_in if is_item else ""))
        if not is_item:
            lead_in = text if text.endswith((":", "：")) else ""
    return tuple(found)


@dataclass(frozen=True)
class TurnEvidence:
    """What is known without a passage: `text` of the turn's tool calls, arguments and results, and
    the question, whose numbers need no source."""

    text: str = ""
    question: str = ""

    @cached_property
    def computed_quantities(self) -> tuple[Quantity, ...]:
        return tuple(quantities(self.text))

    @cached_property
    def question_quantities(self) -> tuple[Quantity, ...]:
        return tuple(quantities(self.question))

    def has(self, claimed: Quantity) -> bool:
        """Whether a tool call gave a number, rounded as in the claim."""
        digits = re.sub(r"[^\d.]", "", claimed.text).partition(".")[2]
        return is_stated(claimed, self.computed_quantities) or any(
            round(other.bare, len(digits)) == claimed.bare and "." in other.text
            for other in self.computed_quantities
        )


NO_TURN = TurnEvidence()


def missing_number(
    claim: str, passage: str, context: str, turn: TurnEvidence = NO_TURN
) -> str | None:
    """What is wrong with the numbers of a claim, None where nothing is."""
    around = quantities(context)
    known = f"{context}\n{passage}\n{turn.text}"
    versions = _versions(claim)
    for version in versions:
        if not _has_code(version, known):
            return f"the version {version} is not in the passage"
    ratios = _RATIO.findall(normalize(known))
    for ratio in _RATIO.findall(normalize(claim)):
        if ratios and ratio not in ratios:
            return f"the ratio {':'.join(ratio)} is not in the passage"
    wanted = [
        claimed
        for claimed in quantities(claim)
        if claimed.text not in versions and claimed.text != "第一" and not turn.has(claimed)
    ]
    wanted = [q for q in wanted if q.kind == "share" or not is_stated(q, around)]
    for claimed in wanted:
        if not (_is_in(claimed, passage) or _is_asked(claimed, passage, turn)):
            return f"the number {claimed.text} is not in the passage"
        if _has_other_unit(claimed, passage, context):
            return f"the passage has another unit than {claimed.text}"
    wanted = [
        q
        for q in wanted
        if is_stated(q, _all_quantities(passage)) and (q.kind or q.value not in _counts(passage))
    ]
    if len(wanted) < 2 or any(_states(unit, wanted) for unit in units(passage)):
        return None
    if _are_in_sentences_of_their_own(claim, passage, wanted):
        return None
    named = ", ".join(dict.fromkeys(q.text for q in wanted))
    return f"the numbers {named} are not in one sentence or row of the passage"


def _states(unit: Unit, wanted: Sequence[Quantity]) -> bool:
    return all(_is_stated(claimed, unit.quantities) for claimed in wanted)


def _is_stated(claimed: Quantity, stated: Sequence[Quantity]) -> bool:
    """Whether a number is stated, with its own unit where the same number has a unit."""
    alike = [other for other in stated if other.kind and other.bare == claimed.bare]
    if claimed.kind and alike:
        return is_stated(claimed, [other for other in stated if other.kind])
    return is_stated(claimed, stated)


@remembered
def _all_quantities(passage: str) -> tuple[Quantity, ...]:
    return tuple(q for unit in units(passage) for q in unit.quantities)


def _is_in(claimed: Quantity, passage: str) -> bool:
    """Whether a passage states a number, or lists so many items or rows."""
    is_count = not claimed.kind and claimed.value in _counts(passage)
    return is_count or _is_stated(claimed, _all_quantities(passage))


_LISTED = lazy_pattern(r"[^、，。；：:\s]{1,16}(?:、[^、，。；：:\s]{1,16})+")


@remembered
def _counts(passage: str) -> frozenset[float]:
    """How many items, rows and enumerated things a passage has."""
    rows = sum(bool(ROW.match(unit.text)) for unit in units(passage))
    counts = {len(_ITEM.findall(passage)), rows - 2}
    for unit in units(passage):
        for listed in _LISTED.findall(unit.text):
            ends = bool(re.search(r"[^、]{1,8}(?:和|以及|及|与)[^、]{1,8}$", listed))
            counts.add(listed.count("、") + 1 + ends)
        for listed in re.findall(r"(?:[^,.;]{1,30}, )+(?:and |or )?[^,.;]{1,30}", unit.text):
            counts |= {listed.count(", ") + 1, listed.count(", ") + 2}
        if " and " in unit.text or "和" in unit.text:
            counts.add(2)
    return frozenset(float(count) for count in counts if count > 1)


def _has_other_unit(claimed: Quantity, passage: str, context: str) -> bool:
    """Whether a number that a passage states without its unit has another unit there."""
    if claimed.kind not in _MEASURED or any(
        q.kind for q in _all_quantities(passage) if q.bare == claimed.bare
    ):
        return False
    named = {size for kind, size in units_in(f"{context}\n{passage}") if kind == claimed.kind}
    is_plain = any(q.bare == claimed.bare for q in _all_quantities(passage))
    return is_plain and bool(named) and claimed.value / (claimed.bare or 1.0) not in named


_MEASURED = frozenset(["size", "power", "energy", "mass", "length", "frequency", "voltage"])


def _is_asked(claimed: Quantity, passage: str, turn: TurnEvidence) -> bool:
    """Whether a number is the question's own, and the passage has no other in its place."""
    if not is_stated(claimed, turn.question_quantities):
        return False
    return not any(other.kind == claimed.kind for other in _all_quantities(passage))


def _are_in_sentences_of_their_own(claim: str, passage: str, wanted: Sequence[Quantity]) -> bool:
    """Whether each clause of a claim has its numbers in one sentence that shares its words, and a
    clause that names nothing itself those of the sentence of the clause before it."""
    before: Unit | None = None
    for clause in clauses(claim):
        numbers = [q for q in quantities(clause.written) if is_stated(q, wanted)]
        if not numbers:
            continue
        fitting = [
            unit
            for unit in units(passage)
            if _states(unit, numbers)
            and (unit is before or _names_something(clause.written, unit, before))
        ]
        if not fitting:
            return False
        before = fitting[0]
    return before is not None


def _names_something(clause: str, unit: Unit, before: Unit | None) -> bool:
    """Whether a clause says itself what its sentence is about, as "and sold in 1987" does not."""
    shared = {word for word in content(clause) & content(unit.text) if not word[0].isdigit()}
    if before is None:
        return bool(shared)
    if _capitals(clause) & _capitals(unit.text) - _capitals(before.text):
        return True
    is_new = not shared <= content(before.text)
    return is_new and (len(shared) > 1 or _capitals(unit.text) <= _capitals(before.text))


def _capitals(text: str) -> set[str]:
    return set(re.findall(r"\b[A-Z]\w*", text, re.ASCII))


_VERSIONED = lazy_pattern(
    r"(?:\b(?:[Vv]ersion|[Rr]elease|[Ss]ection|[Cc]hapter|v|[A-Z][A-Za-z]{2,})|版本|版|[章节]|§)\s*$"
)


_RATIO = lazy_pattern(r"(?<![\w.:])(\d+)\s*:\s*(\d)(?![\w:]|\.\d)")
"""3:1, which a clock time is not."""


def _versions(claim: str) -> frozenset[str]:
    """The decimals of a claim that number a version: 3.10 in "Python 3.10" is not 3.1."""
    text = normalize(claim)
    return frozenset(
        q.text
        for q in quantities(claim)
        if re.fullmatch(r"\d+\.\d+", q.text) and _VERSIONED.search(text[: q.start])
    )


NAME = lazy_pattern(
    r"v?\d+(?:\.\d+){2,}(?:[-+.]?\w+)*|0x[0-9A-Fa-f]+"
    r"|\d?[A-Za-z\u00c0-\u024f][A-Za-z0-9\u00c0-\u024f]*(?:[-_.&/][A-Za-z0-9]+)*(?:\+\+|\#)?"
)
"""A Latin word, a code or a version, whole."""
_SUFFIX = r"-(?:based|like|style|compatible|only|level|class|series|powered|enabled)"
_STARTS = lazy_pattern(r"(?:^|[.?!:;。！？：；]\s*|\n)[\W_]*$")
_TITLES = lazy_pattern(r"\b(?:Dr|Mr|Ms|Mrs|Prof|St|No|vs|Inc|Co|Ltd|Corp|Jr|Sr|[A-Z])\.\s*$")
_UNITS_AND_MONTHS = """
I AI OK ID IDs FAQ GB MB KB TB kW kWh MWh MW Hz kHz MHz GHz UTC am pm AM PM
EUR USD Celsius Fahrenheit Euro Euros
January February March April May June July August September October November December
"""
_NO_NAMES = frozenset(_UNITS_AND_MONTHS.split())
_SAME_NAMES = {
    spelling: names.split()[0]
    for names in (
        "nvidia 英伟达", "microsoft 微软", "google 谷歌", "apple 苹果公司", "amazon 亚马逊",
        "facebook 脸书", "alibaba 阿里巴巴", "baidu 百度", "tencent 腾讯", "huawei 华为",
        "xiaomi 小米", "bytedance 字节跳动", "intel 英特尔", "samsung 三星", "tesla 特斯拉",
        "ibm 国际商业机器", "oracle 甲骨文", "qualcomm 高通", "openai 开放人工智能",
        "china 中国", "america 美国", "japan 日本", "germany 德国", "france 法国", "britain 英国",
        "russia 俄罗斯", "india 印度", "beijing 北京", "shanghai 上海", "london 伦敦",
        "paris 巴黎", "tokyo 东京", "berlin 柏林",
        "monday 星期一 周一", "tuesday 星期二 周二", "wednesday 星期三 周三",
        "thursday 星期四 周四", "friday 星期五 周五", "saturday 星期六 周六",
        "sunday 星期日 周日 星期天",
    )
    for spelling in names.split()
}  # fmt: skip


def missing_name(
    claim: str, passage: str, context: str, turn: TurnEvidence = NO_TURN
) -> str | None:
    """A name or code of a claim that its passage does not have, as a reason."""
    known_text = f"{context}\n{passage}\n{turn.text}"
    known = _tokens(known_text)
    for name in names_in(claim, across=is_cjk(claim) != is_cjk(passage)):
        if not (_has_code(name, known_text) if _is_code(name) else _is_known(name, known)):
            return f"the name {name} is not in the passage"
    if unit := _missing_unit(claim, known_text):
        return f"the unit {unit} is not in the passage"
    if re.search(r"(?<!\w)C(?![\w+#'’])", claim) and re.search(r"(?<!\w)C(?:\+\+|#)", passage):
        return (
            None
            if re.search(r"(?<!\w)C(?![\w+#])", passage)
            else "the name C is not in the passage"
        )
    return None


def _missing_unit(claim: str, text: str) -> str:
    """A unit without a number that a text does not have where it has another of the kind."""
    spans = [(q.start, q.end) for q in quantities(claim)]
    for match in re.finditer(r"(?<![A-Za-z])[KMGTP]B(?![A-Za-z])", normalize(claim)):
        is_free = not any(start <= match.start() < end for start, end in spans)
        if is_free and match.group() not in text and re.search("[KMGTP]B", text):
            return match.group()
    return ""


def names_in(claim: str, across: bool = False) -> list[str]:
    """The names of a claim: Latin words in a Chinese one; in an English one the capitalised words
    within a sentence and the coined ones, and `across` languages the coined ones alone."""
    claim = normalize(claim)
    numbers = [(q.start, q.end) for q in quantities(claim)]
    chinese = is_cjk(claim)
    found = []
    for match in NAME.finditer(claim):
        word, at = match.group(), match.start()
        if word in _NO_NAMES or any(start <= at < end for start, end in numbers):
            continue
        before = claim[:at]
        is_start = _STARTS.search(before) and not _TITLES.search(before)
        is_capital = word[0].isupper() and len(word) > 1
        if _is_coined(word) or (is_capital and (chinese or not (is_start or across))):
            found.append(word)
    folded = fold(claim)
    return found + [name for name in _SAME_NAMES if not name.isascii() and name in folded]


def _is_coined(word: str) -> bool:
    """Written with inner capitals, digits or signs: GPT-4o, FlashAttention, NVIDIA, C++."""
    return len(word) > 1 and any(c.isupper() or c.isdigit() or c in "+#" for c in word[1:])


def _is_code(name: str) -> bool:
    return any(c.isdigit() or c in "+#" for c in name)


@remembered
def _code_pattern(code: str) -> re.Pattern[str]:
    """A code whole, with or without hyphens, a version with or without v."""
    if re.fullmatch(r"v?\d+(?:\.\w+)*(?:[-+.]\w+)*", code):
        return re.compile(rf"(?<![\w.])v?{re.escape(code.removeprefix('v'))}(?![\w+]|[-.]\w)")
    segments = re.findall(r"[a-z]+|\d+|[^a-z\d\s_-]+", code)
    body = "[-_ ]?".join(map(re.escape, segments))
    return re.compile(
        rf"(?<![a-z0-9_.]){body}s?(?![a-z0-9+#_]|[-.](?!{_SUFFIX[1:]}|\d+(?:gb?|mb?|b)\b)[a-z0-9])"
    )


def _has_code(code: str, text: str) -> bool:
    code = re.sub(rf"(?<=\d){_SUFFIX}$", "", fold(code))
    patterns = {_code_pattern(code), _code_pattern(code.removesuffix("s"))}
    return any(pattern.search(_with_variants(text)) for pattern in patterns)


@remembered
def _with_variants(text: str) -> str:
    """The text folded, with the codes that share a name: DeepSeek-V3/R1 is DeepSeek-R1 too."""
    folded = fold(normalize(text))
    shared = re.findall(r"\b([a-z]+)[- ]?[a-z]?\d+((?:/[a-z]?\d+)+)\b", folded)
    return "\n".join(
        [
            folded,
            *(f"{name}-{each}" for name, others in shared for each in others.split("/") if each),
        ]
    )


@remembered
def _tokens(text: str) -> frozenset[str]:
    """The Latin tokens of a text, whole, without punctuation, stemmed and in parts, and names."""
    folded = fold(normalize(text))
    found = set()
    for match in NAME.finditer(folded):
        found |= {
            match.group(),
            match.group().removesuffix("s"),
            *_parts(match.group()),
            *terms(match.group()),
        }
        found.add(re.sub(r"[-_.&/]", "", match.group()))
    for spelling, name in _SAME_NAMES.items():
        if spelling in folded:
            found |= {name, spelling}
    return frozenset(found)


def _is_known(name: str, known: frozenset[str]) -> bool:
    folded = fold(name)
    forms = {folded, re.sub(r"[-_.&/]", "", folded), folded.removesuffix("s"), *terms(name)[-1:]}
    forms.add(_SAME_NAMES.get(folded, folded))
    if forms & known:
        return True
    parts = _parts(folded)
    if len(parts) > 1 and all(part in known for part in parts):
        return True
    return len(folded) > 5 and any(other[:5] == folded[:5] for other in known)


def _parts(name: str) -> list[str]:
    """The parts of a compound, if each holds a letter."""
    parts = re.split(r"[-_.&/]", name)
    return parts if all(re.search("[a-z]", part) for part in parts) else []
