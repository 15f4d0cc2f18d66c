"""What an answer claims: its prose without code and formulas, and which sentences state something.

A heading, a question, a greeting, a refusal, an introduction that ends with a colon, a table's
head and a line of nothing but symbols claim nothing. Whether a sentence is a greeting or a
refusal is told by its first words.
"""

from __future__ import annotations

import re

from agentkit.knowledge.polarity import content
from agentkit.knowledge.quantities import quantities

_NOT_PROSE = re.compile(
    r"(?P<fence>```|~~~)[\s\S]*?(?:(?P=fence)|\Z)|`[^`\n]*`"
    r"|\$\$[\s\S]*?(?:\$\$|\Z)|\\\[[\s\S]*?(?:\\\]|\Z)"
    r"|\$(?!\s)[^$\n]+(?<!\s)\$(?!\d)"
)
_BOLD = re.compile(r"\*\*[^*\n]{1,60}\*\*[:：]?$")
_HEADING = re.compile(r"#{1,6}\s|(?:[-*_]\s*){3,}$|\|?[\s:|-]+$")
_MARKS = re.compile(r"(?:(?:\d+[.)、]|[-*+>•])[ \t]+)+")
_EMPHASIS = re.compile(r"\*\*|__(?=\w)|(?<=\w)__")
_SAYS_NOTHING = re.compile(
    r"(?:hi|hello|hey|sure|certainly|of course|thanks|thank you|you.re welcome|great question"
    r"|sorry|i apologi[sz]e|unfortunately|i hope|hope this|let me know|feel free"
    r"|if you (?:have|need|want|would)|please (?:let|see|note|refer)|sources?:|references?:"
    r"|i (?:can(?:no|')t|could not|couldn.t|do not|don.t|did not|didn.t|found no|am unable|am not)"
    r"|there is no (?:information|passage|mention)"
    r"|(?:the|these) (?:\w+ )?(?:documents?|passages?|sources?|notes)"
    r" (?:do(?:es)? not|don.t|doesn.t|did not|contains? no|gives? no|holds? no)"
    r"|(?:none of the|no) (?:\w+ )?(?:documents?|passages?|sources?|notes))(?:\b|(?<=:))"
    r"|你好|您好|好的|当然|谢谢|感谢|不客气|抱歉|对不起|很遗憾|遗憾的是|希望(?:这|以上|对)|如果(?:你|您)"
    r"|如需|请(?:告诉|注意|参阅|参考|告知)|来源[:：]|参考资料|参考文献|以上(?:就是|内容|信息)"
    r"|我(?:无法|不能|没有|没能|只能|不知道)|(?:提供的|现有的|这些|检索到的)?(?:文档|资料|材料|来源|笔记|段落)"
    r"[里中内]?(?:都|均|并)?(?:没有|未|无法|不能|不包含)",
    re.IGNORECASE,
)
_LEAST_WORDS = 2


def masked(text: str) -> str:
    """The text with code and formulas blanked out, at the same length."""
    return _NOT_PROSE.sub(lambda match: "\0" * len(match.group()), text)


def said(sentence: str) -> str:
    """A sentence without the marks of a list and of emphasis."""
    return _EMPHASIS.sub("", _MARKS.sub("", sentence.strip(), count=1)).strip()


def claims_something(sentence: str) -> bool:
    """Whether a sentence, its markers taken out, states what a source could support."""
    bare = said(masked(sentence).replace("\0", " "))
    if not bare or _HEADING.match(bare) or _BOLD.match(sentence.strip()):
        return False
    if bare.rstrip('”"')[-1:] in set(":：?？") or _SAYS_NOTHING.match(bare):
        return False
    return len(content(bare)) >= _LEAST_WORDS or bool(quantities(bare))


def is_table_head(text: str, end: int) -> bool:
    """Whether the row that ends here stands above a table's rule."""
    return bool(re.match(r"[ \t]*\n[ \t]*\|?[ \t]*:?-{2,}[\s:|-]*(?:\n|\Z)", text[end:]))
