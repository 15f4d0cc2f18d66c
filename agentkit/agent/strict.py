"""Strict answers: what no passage and no tool supports is left out, and where nothing remains the
question is refused."""

from __future__ import annotations

import re
from dataclasses import replace

from agentkit.answers import Answer
from agentkit.knowledge.statements import statements
from agentkit.text import is_cjk

_REFUSALS = {
    True: "文档里没有能够支持回答的内容。",
    False: "The documents hold nothing that supports an answer to this question.",
}
_LEFT_OUT = {
    True: "（略去了 {count} 句没有依据的话。）",
    False: "({count} without support left out.)",
}


def strictly(answer: Answer, question: str) -> Answer:
    """The answer without its unsupported sentences, which it says; a refusal where none of its
    claims is supported."""
    supported = [sentence for sentence in answer.sentences if sentence.supported]
    claims = answer.sentences or statements(answer.text, [], [])
    if not claims or len(supported) == len(answer.sentences) > 0:
        return answer
    if not supported:
        refusal = _REFUSALS[is_cjk(question or answer.text)]
        return replace(answer, text=refusal, citations=(), sentences=(), stop_reason="refused")
    kept = "".join(text for text, unsupported in answer.runs() if not unsupported)
    kept = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]{2,}", " ", kept)).strip()
    count = len(answer.unsupported)
    said = f"{count} sentence{'s' if count > 1 else ''}"
    note = _LEFT_OUT[is_cjk(kept)].format(count=count if is_cjk(kept) else said)
    return replace(answer, text=f"{kept}\n\n{note}")
