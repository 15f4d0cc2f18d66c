"""Pairs of opposites in English and Chinese, as patterns over folded text.

A list, and as such never complete: opposites that are not here pass. A pattern is the beginning of
its words (`increas`), or whole words where that would catch others.
"""

from __future__ import annotations

import re
from functools import cache

_OPPOSITES = (
    (
        r"\b(?:increas|ris(?:e|ing)|rose|grow|grew|gain)|增|上升|升[高至到]|提[高升]|扩大|变大",
        r"\b(?:decreas|fall|fell\b|drop|declin|reduc|shr[aiu]nk|cut\b)|减|下降|降[低至到]|缩[小减]|变小",
    ),
    (r"\b(?:faster|quick|fast\b|speeds? up)|快", r"\b(?:slow)|慢"),
    (
        r"\b(?:higher|highest|high\b)|[较更最]高|高于",
        r"\b(?:lower|lowest|low\b)|[较更最]低|低于",
    ),
    (
        r"\b(?:larger|largest|bigger|greater)|[较更最]大|大于",
        r"\b(?:smaller|smallest)|[较更最]小|小于",
    ),
    (r"\b(?:more\b(?! than))|[较更越]多", r"\b(?:less\b|fewer)|[较更越]少"),
    (r"\b(?:longer|longest)\b|[较更最]长", r"\b(?:shorter|shortest)\b|[较更最]短"),
    (
        r"\b(?:maxim|at most|up to)|最多|至多|最大|上限",
        r"\b(?:minim|at least)|最少|至少|最小|下限",
    ),
    (
        r"\b(?:better|best|improv)|优于|[较更变]好|提升|改善",
        r"\b(?:worse|worst)|劣于|[较更变]差|下降|恶化",
    ),
    (r"\bfirst\b", r"\blast\b"),
    (r"\b(?:succeed|success)|成功", r"\b(?:fail)|失败"),
    (
        r"\b(?:begin|began|start|open(?:s|ed)?\b)|开始|打开",
        r"\b(?:end(?:s|ed)?\b|stop|close)|结束|停止|关闭",
    ),
    (r"\bsame\b|\bidentical|\bequal|相同|一样|相等", r"\bdiffer|不同|不等"),
    (r"\bsimpl|\beas[yi]|简单|容易", r"\bcomplex|\bcomplicat|\bdifficult|\bhard\b|复杂|困难"),
    (r"\bpositive|正[数值向面]", r"\bnegative|负[数值向面]"),
    (r"\bopen[- ]source|开源", r"\bclosed[- ]source|\bproprietary|闭源"),
    (r"\bencod|编码器", r"\bdecod|解码器"),
    (r"\boverfit|过拟合", r"\bunderfit|欠拟合"),
    (r"\bodd\b|奇数", r"\beven[- ](?:dim|num|ind|row|pos)|偶数"),
    (r"\bcosin|余弦", r"\bsine\b|正弦"),
    (r"(?<!un)supervised|(?<![无自])监督", r"\bunsupervised|\bself-supervised|[无自]监督"),
    (r"\bglobal|全局", r"\blocal\b|局部"),
    (r"\bteacher|教师", r"\bstudent|学生"),
    (r"\binput|输入", r"\boutput|输出"),
    (r"\bserial|\bsequential|串行", r"\bparallel|并行"),
    (r"(?<!a)\bsynchron|同步", r"\basynchron|异步"),
    (r"\badvantage|优点|优势", r"\bdisadvantage|\bdrawback|缺点|劣势"),
    (
        r"\b(?:dawn|morning|sunrise)|清晨|早上|上午",
        r"\b(?:dusk|evening|sunset)|黄昏|晚上|下午",
    ),
    (r"\bsummer|夏", r"\bwinter|冬"),
    (r"\bnorth|北", r"\bsouth|南"),
    (r"\beast|东", r"\bwest|西"),
    (r"\bleft\b|左", r"\bright\b|右"),
    (r"\bimport", r"\bexport"),
    (r"\b(?:bought|buy|purchase)|买", r"\b(?:sold|sell|sale)|卖"),
    (r"\binside|\binternal|内部", r"\boutside|\bexternal|外部"),
    (r"\bfree\b(?! of (?!charge))|免费", r"\bcharged\b|\bpay|收费|付费"),
    (r"\b(?:work|run)s?\b|正常", r"\bout of order|\bbroken\b|故障|坏了"),
)

BEFORE = re.compile(r"\b(?:before|prior to|until)\s+(?:the\s+|an?\s+)?(\w+)|(\w{2,4}?)\s*[之以]?前")
AFTER = re.compile(r"\b(?:after|since)\s+(?:the\s+|an?\s+)?(\w+)|(\w{2,4}?)\s*[之以]?后")
"""Before and after what: opposites only when they stand with the same word."""


@cache
def opposites() -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """Each pair, compiled when it is first wanted."""
    return tuple((re.compile(one), re.compile(other)) for one, other in _OPPOSITES)


@cache
def either() -> tuple[re.Pattern[str], ...]:
    """The same with both sides in one, up to the end of the word."""
    return tuple(re.compile(f"(?:{one}|{other})[a-z]*") for one, other in _OPPOSITES)
