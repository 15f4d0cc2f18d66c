"""Whether a passage supports a claim: its words, numbers, names and polarity, in that order.

Pure functions on text: no model, about a millisecond per sentence. Cosines of an embedder, where
given, replace words across scripts and for a paraphrase that shares few. The meaning is not
checked: a claim that recombines the true words of a passage into an untruth is accepted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from agentkit.knowledge.citations.polarity import clauses, content, opposed, opposed_across
from agentkit.text.numbers import Quantity, is_stated, quantities
from agentkit.text.terms import fold, is_cjk, numbers, sentences, terms

_ENOUGH_WORDS = 0.3
_ENOUGH_SIMILARITY = {
    (True, True): 0.905,
    (False, False): 0.84,
    (True, False): 0.855,
    (False, True): 0.83,
}
"""The least cosine that supports, by whether claim and passage are CJK. It separates the claims of
the development set on their own passage from those on another one."""
_FAULTY = 0.25
_ANCHOR = 0.015
_MOST_ANCHORS = 3
"""Numbers and names are checked apart; each one in both lowers the cosine that is needed."""
_NAME = re.compile(r"\d?[A-Za-z\u00c0-\u024f][A-Za-z0-9\u00c0-\u024f]*(?:[-_.&][A-Za-z0-9]+)*")
_ITEM = re.compile(r"^[ \t]*(?:\d+[.)]|[-*+])[ \t]+\S", re.MULTILINE)
_ROW = re.compile(r"^[ \t]*\|(?![\s:|-]+$).*\|[ \t]*$", re.MULTILINE)
_STARTS = re.compile(r"(?:^|[.?!:;。！？：；]\s*|\n)[\W_]*$")
_TITLES = re.compile(r"\b(?:Dr|Mr|Ms|Mrs|Prof|St|No|vs|Inc|Co|Ltd|Corp|Jr|Sr|[A-Z])\.\s*$")
_UNITS_AND_MONTHS = """
I AI OK ID IDs FAQ GB MB KB TB kW kWh MWh MW Hz kHz MHz GHz UTC am pm AM PM
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


@dataclass(frozen=True, slots=True)
class SupportVerdict:
    """The verdict of a passage on a claim. `score` is from 0 to 1; `span` is the range of the
    passage's best sentence, None where it has none; `reason` says what is wrong."""

    supported: bool
    score: float
    reason: str = ""
    span: tuple[int, int] | None = None


def pieces(claim: str, passage: str) -> list[str]:
    """The parts of a passage that an embedder compares with a claim: its sentences and, across
    languages, their clauses."""
    parts = _parts_of(passage)
    if is_cjk(claim) == is_cjk(passage):
        return parts
    return parts + [clause for part in parts for clause in _clauses_of(part)]


def judge(
    claim: str, passage: str, context: str = "", cosines: Sequence[float] | None = None
) -> SupportVerdict:
    """Whether a passage supports a claim. `context` is the title and headings above it; `cosines`
    are the similarities of the claim to each of `pieces(claim, passage)`."""
    parts = _parts_of(passage)
    if not parts or not claim.strip():
        return SupportVerdict(False, 0.0, "there is nothing to compare")
    if (at := passage.find(claim.strip())) >= 0:
        return SupportVerdict(True, 1.0, "", (at, at + len(claim.strip())))
    across = is_cjk(claim) != is_cjk(passage)
    scores = _scores(claim, parts, context, cosines, across)
    best = max(range(len(parts)), key=scores.__getitem__)
    score = max(scores[best], 0.0 if across else 0.9 * _share(claim, passage, context))
    nearest = _nearest_clause(claim, passage, cosines)
    fault = (
        _missing_number(claim, passage, context)
        or _missing_name(claim, passage, context)
        or _too_different(score, across and cosines is None)
        or _opposition(claim, passage, nearest, across)
    )
    span = sentences(passage)[best]
    if fault:
        return SupportVerdict(False, min(score, _FAULTY), fault, span)
    return SupportVerdict(True, min(1.0, score), "", span)


def is_computed(claim: str, result: str) -> bool:
    """Whether every significant number of a claim (a decimal, or three digits and more) is in a
    tool's result, rounded as in the claim. A result has fields, no sentences to compare."""
    significant = [number for number in numbers(claim) if "." in number or len(number) >= 3]
    given = [float(number) for number in numbers(result) if number.count(".") < 2]
    return bool(significant) and all(
        number.count(".") < 2
        and any(round(value, len(number.partition(".")[2])) == float(number) for value in given)
        for number in significant
    )


def needs_similarity(claim: str, passage: str, context: str = "") -> bool:
    """Whether words alone are not enough, so that an embedder should compare."""
    if _missing_number(claim, passage, context) or _missing_name(claim, passage, context):
        return False
    return is_cjk(claim) != is_cjk(passage) or _share(claim, passage, context) < _ENOUGH_WORDS


@lru_cache(maxsize=1_000)
def _parts_of(passage: str) -> list[str]:
    return [passage[start:end] for start, end in sentences(passage)]


def _clauses_of(part: str) -> list[str]:
    found = [clause.written for clause in clauses(part)]
    return found if len(found) > 1 else []


def _scores(
    claim: str, parts: Sequence[str], context: str, cosines: Sequence[float] | None, across: bool
) -> list[float]:
    """The score of each sentence: shared words, or a cosine on the same scale."""
    words = [_share(claim, part, context) for part in parts]
    if cosines is None:
        return words
    least = _ENOUGH_SIMILARITY[is_cjk(claim), is_cjk("".join(parts))]
    if across:
        least -= _ANCHOR * min(_MOST_ANCHORS, len(quantities(claim)) + len(names_in(claim, across)))
    near = [_rescaled(cosine, least) for cosine in cosines]
    if not across:
        return [max(word, cosine) for word, cosine in zip(words, near, strict=True)]
    rest = iter(near[len(parts) :])
    return [
        max(whole, *(next(rest) for _ in _clauses_of(part)), 0.0)
        for whole, part in zip(near, parts, strict=False)
    ]


def _nearest_clause(claim: str, passage: str, cosines: Sequence[float] | None) -> str:
    """The smallest piece with the highest cosine, "" without an embedder."""
    texts = pieces(claim, passage)
    if cosines is None or len(cosines) != len(texts):
        return ""
    parts = _parts_of(passage)
    whole = {part for part in parts if _clauses_of(part)}
    small = [(cosine, text) for cosine, text in zip(cosines, texts, strict=True)]
    return max((pair for pair in small if pair[1] not in whole), default=(0.0, ""))[1]


def _rescaled(cosine: float, least: float) -> float:
    """A cosine on the scale of shared words: the least that supports becomes _ENOUGH_WORDS."""
    return max(0.0, _ENOUGH_WORDS + (1 - _ENOUGH_WORDS) * (cosine - least) / (1 - least))


def _share(claim: str, passage: str, context: str) -> float:
    """The share of the claim's words that are in the passage or the headings above it."""
    wanted = content(claim)
    if not wanted:
        return 0.0
    return len(wanted & (content(passage) | content(context))) / len(wanted)


def _too_different(score: float, has_no_embedder: bool) -> str | None:
    if has_no_embedder:
        return None if score else "it is in another language, and nothing compares the two"
    return "no sentence there says this" if score < _ENOUGH_WORDS else None


def _missing_number(claim: str, passage: str, context: str) -> str | None:
    stated = _stated(f"{context}\n{passage}")
    for claimed in quantities(claim):
        if not is_stated(claimed, stated) and not _is_counted(claimed, passage):
            return f"the number {claimed.text} is not in the passage"
    return None


def _is_counted(claimed: Quantity, passage: str) -> bool:
    """Whether a small number is the number of items or rows that a passage lists."""
    rows = len(_ROW.findall(passage))
    return not claimed.kind and claimed.value in {len(_ITEM.findall(passage)), rows - 1} - {0, 1}


@lru_cache(maxsize=1_000)
def _stated(text: str) -> tuple[Quantity, ...]:
    return tuple(quantities(text))


def _missing_name(claim: str, passage: str, context: str) -> str | None:
    known = _tokens(f"{context}\n{passage}")
    for name in names_in(claim, across=is_cjk(claim) != is_cjk(passage)):
        if not _is_known(name, known):
            return f"the name {name} is not in the passage"
    return None


def names_in(claim: str, across: bool = False) -> list[str]:
    """The names of a claim: Latin words in a Chinese one; in an English one the capitalised words
    within a sentence and the coined ones, and `across` languages the coined ones alone."""
    claim = unicodedata.normalize("NFKC", claim)
    numbers = [(q.start, q.end) for q in quantities(claim)]
    chinese = is_cjk(claim)
    found = []
    for match in _NAME.finditer(claim):
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
    """Written with inner capitals or digits: GPT-4o, FlashAttention, NVIDIA."""
    return len(word) > 1 and any(c.isupper() or c.isdigit() for c in word[1:])


@lru_cache(maxsize=1_000)
def _tokens(text: str) -> frozenset[str]:
    """The Latin tokens of a text, whole, without punctuation, stemmed and in parts, and names."""
    folded = fold(text)
    found = set()
    for match in _NAME.finditer(folded):
        found |= {match.group(), *_parts(match.group()), *terms(match.group())}
        found.add(re.sub(r"[-_.&]", "", match.group()))
    for spelling, name in _SAME_NAMES.items():
        if spelling in folded:
            found |= {name, spelling}
    return frozenset(found)


def _is_known(name: str, known: frozenset[str]) -> bool:
    folded = fold(name)
    forms = {folded, re.sub(r"[-_.&]", "", folded), folded.removesuffix("s"), *terms(name)[-1:]}
    forms.add(_SAME_NAMES.get(folded, folded))
    if forms & known:
        return True
    parts = _parts(folded)
    if len(parts) > 1 and all(part in known for part in parts):
        return True
    return len(folded) > 5 and any(other[:5] == folded[:5] for other in known)


def _parts(name: str) -> list[str]:
    """The parts of a compound, if each holds a letter."""
    parts = re.split(r"[-_.&]", name)
    return parts if all(re.search("[a-z]", part) for part in parts) else []


def _opposition(claim: str, passage: str, nearest: str, across: bool) -> str | None:
    found = opposed_across(claim, passage, nearest) if across else opposed(claim, passage)
    return {"negated": "the passage denies it", "opposite": "the passage says the opposite"}.get(
        found or ""
    )
