"""Whether a passage supports a claim: its words, numbers, names and polarity, in that order.

Pure functions on text: no model, about a millisecond per sentence. Cosines of an embedder, where
turn, replace words across scripts and for a paraphrase that shares few. The meaning is not
checked: a claim that recombines the true words of a passage into an untruth is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agentkit.knowledge.citations.alignment import misalignment
from agentkit.knowledge.citations.evidence import (
    NO_TURN,
    TurnEvidence,
    missing_name,
    missing_number,
)
from agentkit.knowledge.citations.passages import remembered
from agentkit.knowledge.citations.polarity import clauses, content, opposed_across
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import is_cjk, numbers, sentences

_ENOUGH_WORDS = 0.3
_ENOUGH_SIMILARITY = {
    (True, True): 0.9,
    (False, False): 0.84,
    (True, False): 0.855,
    (False, True): 0.83,
}
"""The least cosine that supports, by whether claim and passage are CJK. It separates the claims of
the development set on their own passage from those on another one."""
_FAULTY = 0.25


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
    claim: str,
    passage: str,
    context: str = "",
    cosines: Sequence[float] | None = None,
    turn: TurnEvidence = NO_TURN,
) -> SupportVerdict:
    """Whether a passage supports a claim. `context` is the title and headings above it; `cosines`
    are the similarities of the claim to each of `pieces(claim, passage)`; `turn` is the turn's
    other evidence."""
    parts = _parts_of(passage)
    if not parts or not claim.strip():
        return SupportVerdict(False, 0.0, "there is nothing to compare")
    if (at := find_whole(claim.strip(), passage)) is not None:
        return SupportVerdict(True, 1.0, "", (at, at + len(claim.strip())))
    across = is_cjk(claim) != is_cjk(passage)
    scores = _scores(claim, parts, context, cosines, across)
    best = max(range(len(parts)), key=scores.__getitem__)
    score = max(scores[best], 0.0 if across else 0.9 * _share(claim, passage, context))
    nearest = _nearest_clause(claim, passage, cosines)
    fault = (
        missing_number(claim, passage, context, turn)
        or missing_name(claim, passage, context, turn)
        or _too_different(score, across and cosines is None)
        or (_opposition(claim, passage, nearest) if across else None)
        or misalignment(claim, passage, context)
    )
    span = sentences(passage)[best]
    if fault:
        return SupportVerdict(False, min(score, _FAULTY), fault, span)
    return SupportVerdict(True, min(1.0, score), "", span)


_CUT_BEFORE = lazy_pattern(r"\w$|\w[-./:,]$", re.ASCII)
_NEGATED_BEFORE = frozenset("不没未非无勿")
_CUT_AFTER = lazy_pattern(r"\w|[-./:,]\w|[+#]", re.ASCII)


def find_whole(quote: str, passage: str) -> int | None:
    """Where a passage has a quote that cuts no word, number or version at its ends."""
    at = passage.find(quote)
    while at >= 0:
        end = at + len(quote)
        before = passage[max(0, at - 2) : at]
        is_cut = re.match(r"\w", quote, re.ASCII) and _CUT_BEFORE.search(before)
        is_cut = is_cut or (re.search(r"\w$", quote, re.ASCII) and _CUT_AFTER.match(passage, end))
        if not is_cut and before[-1:] not in _NEGATED_BEFORE:
            return at
        at = passage.find(quote, at + 1)
    return None


def is_computed(claim: str, result: str) -> bool:
    """Whether every significant number of a claim (a decimal, or three digits and more) is in a
    tool's result, rounded as in the claim. A result has fields, no sentences to compare."""
    significant = [number for number in numbers(claim) if "." in number or len(number) >= 3]
    computed = [float(number) for number in numbers(result) if number.count(".") < 2]
    return bool(significant) and all(
        number.count(".") < 2
        and any(round(value, len(number.partition(".")[2])) == float(number) for value in computed)
        for number in significant
    )


def needs_similarity(
    claim: str, passage: str, context: str = "", turn: TurnEvidence = NO_TURN
) -> bool:
    """Whether words alone are not enough, so that an embedder should compare."""
    if missing_number(claim, passage, context, turn) or missing_name(claim, passage, context, turn):
        return False
    return is_cjk(claim) != is_cjk(passage) or _share(claim, passage, context) < _ENOUGH_WORDS


@remembered
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


def _opposition(claim: str, passage: str, nearest: str) -> str | None:
    found = opposed_across(claim, passage, nearest)
    return {"negated": "the passage denies it", "opposite": "the passage says the opposite"}.get(
        found or ""
    )
