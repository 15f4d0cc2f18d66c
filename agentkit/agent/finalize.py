"""Finish a run's answer: verify citations, drop unsupported sentences in strict mode, apply the
output guard, and answer from the results so far where a limit was reached before an answer."""

from __future__ import annotations

import re
from dataclasses import replace

from agentkit.agent.hooks import Hooks, RunInfo, call_with
from agentkit.answering.extractive import ExtractiveModel
from agentkit.answers import Answer
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.citations.verify import located, prove, statements
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import Message
from agentkit.text.terms import Similarity, is_cjk, sentences

_REFUSALS = {
    True: "文档里没有能够支持回答的内容。",
    False: "The documents hold nothing that supports an answer to this question.",
}
_LEFT_OUT = {
    True: "（略去了 {count} 句没有依据的话。）",
    False: "({count} without support left out.)",
}
_NO_ANSWER = {
    True: "没有得出答案：运行达到了上限（{limit}），而以下工具调用没有给出结果：",
    False: "There is no answer: the run reached its {limit}, and these tool calls gave no result:",
}


def drop_unsupported(answer: Answer, question: str) -> Answer:
    """The answer without its unsupported sentences and with a note of their number; a refusal where
    no claim is supported."""
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
    counted = f"{count} sentence{'s' if count > 1 else ''}"
    note = _LEFT_OUT[is_cjk(kept)].format(count=count if is_cjk(kept) else counted)
    return replace(answer, text=f"{kept}\n\n{note}")


_MOST_CHARACTERS = 2000
_MOST_OF_REASON = 200


class Finalizer:
    """Finishes the answer of one run."""

    def __init__(
        self,
        sources: Sources,
        knowledge: KnowledgeBase | None,
        hooks: Hooks,
        strict: bool,
        info: RunInfo = RunInfo(),
    ) -> None:
        self._sources = sources
        self._knowledge = knowledge
        self._similarity: Similarity | None = knowledge.similarity if knowledge else None
        self._guard = hooks.guard_output
        self._strict = strict
        self._info = info

    @property
    def withholds_text(self) -> bool:
        """Whether text is withheld until it is checked: a guard or strict mode may change it."""
        return bool(self._guard or self._strict)

    async def finalize(self, answer: Answer, question: str) -> Answer:
        """The final answer; its last message has the same text."""
        drafted = answer.text
        if answer.stop_reason == "paused" and self.withholds_text:
            return replace(answer, text="")
        if answer.stop_reason == "limit" and not drafted:
            answer = replace(answer, text=await self._answer_from_results(answer, question))
        answer = await self._verify(answer)
        if self._strict and (changed := drop_unsupported(answer, question)) is not answer:
            answer = await self._verify(changed) if changed.sentences else changed
        if self._guard and (instead := await call_with(self._guard, answer, extra=self._info)):
            answer = replace(
                answer, text=instead, citations=(), sentences=(), stop_reason="refused"
            )
        return answer if answer.text == drafted else _with_final_message(answer, drafted)

    async def _verify(self, answer: Answer) -> Answer:
        results = [m.text for m in answer.messages if m.role == "tool" and m.text and not m.failed]
        proof = await prove(answer.text, self._sources, self._similarity, results)
        citations = proof.citations
        if self._knowledge is not None:
            citations = await located(citations, self._knowledge)
        return replace(answer, citations=citations, sentences=proof.sentences)

    async def _answer_from_results(self, answer: Answer, question: str) -> str:
        """Quotes of the passages that tools found, then their other results; which calls failed
        where there is nothing else."""
        results = [m for m in answer.messages if m.role == "tool" and not m.failed]
        others = "\n".join(m.text for m in results if not m.passages)[-_MOST_CHARACTERS:]
        passages = [passage for message in results for passage in message.passages]
        quoted, is_refusal = "", True
        if (query := _first_query(answer)) and (passages or not _failures(answer)):
            quoted, is_refusal = await ExtractiveModel(self._similarity).quote(query, passages)
        if not others and is_refusal and (failures := _failures(answer)):
            return _describe_failures(failures, answer.limit, question)
        return others if others and is_refusal else f"{quoted}\n\n{others}".strip()


def _with_final_message(answer: Answer, drafted: str) -> Answer:
    """The answer with its text in place of the model's last message."""
    messages = list(answer.messages)
    if drafted and messages and messages[-1].role == "assistant":
        del messages[-1]
    return replace(answer, messages=(*messages, Message("assistant", answer.text)))


def _failures(answer: Answer) -> list[tuple[str, str]]:
    """The calls that gave no result: the tool's name and the reason, each once."""
    names = {c.id: c.name for message in answer.messages for c in message.tool_calls}
    failed = [m for m in answer.messages if m.role == "tool" and m.failed]
    return list(dict.fromkeys((names.get(m.tool_call_id, ""), _reason(m)) for m in failed))


def _reason(message: Message) -> str:
    """The first sentence of a failure, for people; the rest tells the model what to do."""
    text = message.text.removeprefix("Error: ").strip()
    start, end = next(iter(sentences(text)), (0, 0))
    reason = " ".join(text[start:end].split())
    return reason if len(reason) <= _MOST_OF_REASON else f"{reason[:_MOST_OF_REASON]} …"


def _describe_failures(failures: list[tuple[str, str]], limit: str, question: str) -> str:
    """Say that there is no answer, and which tools failed."""
    head = _NO_ANSWER[is_cjk(question)].format(limit=limit)
    return "\n".join([head, *(f"- {tool}: {reason}" for tool, reason in failures)])


def _first_query(answer: Answer) -> str:
    """The query of the run's first search of the documents, "" where there was none."""
    for message in answer.messages:
        for call in message.tool_calls:
            if call.name == SEARCH and not isinstance(call.arguments, str):
                return str(call.arguments.get("query", ""))
    return ""
