"""The language of a text, by its script, and for Latin script by its function words."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache

from agentkit.text.patterns import lazy_pattern

_SCRIPTS = {
    "Japanese": "\u3040-\u30ff",
    "Korean": "\uac00-\ud7af",
    "Chinese": "\u4e00-\u9fff",
    "Russian": "\u0400-\u04ff",
    "Arabic": "\u0600-\u06ff",
    "Hebrew": "\u0590-\u05ff",
    "Greek": "\u0370-\u03ff",
    "Hindi": "\u0900-\u097f",
    "Thai": "\u0e00-\u0e7f",
    "Khmer": "\u1780-\u17ff",
    "Latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
}
_LETTERS = {name: lazy_pattern(f"[{span}]") for name, span in _SCRIPTS.items()}
_LETTERS_OF_A_WORD = 5
"""A Latin word has about so many letters; a CJK character counts as one word."""
_KANA = 0.1
"""The share of kana from which on a text in Chinese characters is Japanese."""

_WORDS = {
    "English": "the and of to is in that for with are this be as on it not or from by an can",
    "German": "der die und das ist nicht ein eine mit von zu den für auf im des dem werden sich",
    "French": "le la les et des est une un du pour dans que qui sur avec pas par au plus ou",
    "Spanish": "el la los las de y en es un una que por con para del se no al como más",
    "Portuguese": "o os as de e em um uma que por com para do da não se no na como mais",
    "Italian": "il lo la gli di e in un una che per con del della non si al come più è",
    "Dutch": "de het een en van is dat niet op te in voor met zijn aan door als ook naar",
    "Polish": "i w na z do się że jest nie to o jak dla od przez po są oraz ale lub",
    "Turkish": "ve bir bu için ile da de olarak olan gibi daha çok en ya ne var kadar değil",
    "Vietnamese": "và của là có cho các được trong không một với những người này khi để từ",
}
_FUNCTION_WORDS = {name: frozenset(words.split()) for name, words in _WORDS.items()}
_LEAST_SHARE = 0.06
"""The share of function words that a text of a language has at least."""


@lru_cache(maxsize=2000)
def language_of(text: str) -> str:
    """The English name of a text's language, "" where it is not certain."""
    letters = {name: len(pattern.findall(text)) for name, pattern in _LETTERS.items()}
    letters["Latin"] //= _LETTERS_OF_A_WORD
    if letters["Japanese"] > _KANA * (letters["Chinese"] + letters["Japanese"]):
        letters["Japanese"] += letters.pop("Chinese")
    script = max(letters, key=lambda name: letters[name])
    if not letters[script]:
        return ""
    if script != "Latin":
        return script
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    shares = {
        name: sum(words[word] for word in known) / words.total()
        for name, known in _FUNCTION_WORDS.items()
    }
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] >= _LEAST_SHARE else ""
