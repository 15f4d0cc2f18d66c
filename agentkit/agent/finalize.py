"""Finish a run's answer: verify citations, drop unsupported sentences in strict mode, apply the
output guard, and answer from the results so far where a limit was reached before an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentkit.agent.hooks import Hooks, RunInfo, call_with
from agentkit.agent.setup import Retrieval
from agentkit.answering.extractive import ExtractiveModel
from agentkit.answers import Answer
from agentkit.knowledge.citations.markers import markers, plain_sentence
from agentkit.knowledge.citations.passages import Sources
from agentkit.knowledge.citations.verify import located, prove, statements
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import Message
from agentkit.text.numbers import Quantity, is_stated, normalize, quantities
from agentkit.text.terms import Similarity, is_cjk, sentences

_REFUSALS = {
    True: "文档里没有能够支持回答的内容。",
    False: "The documents hold nothing that supports an answer to this question.",
}
_LEFT_OUT = {
    True: "（略去了 {count} 句没有依据的话：{named}。）",
    False: "({count} without support left out: {named}.)",
}
_NO_ANSWER = {
    True: "没有得出答案：运行达到了上限（{limit}），而以下工具调用没有给出结果：",
    False: "There is no answer: the run reached its {limit}, and these tool calls gave no result:",
}
_MOST_NAMED = 3
_LONGEST_NAME = 60


def drop_unsupported(answer: Answer, question: str) -> Answer:
    """The answer without its unsupported sentences, which are in `left_out`; a refusal where no
    claim is supported."""
    supported = [sentence for sentence in answer.sentences if sentence.supported]
    claims = answer.sentences or statements(answer.text, [], [])
    if not claims or len(supported) == len(answer.sentences) > 0:
        return answer
    if not supported:
        refusal = _REFUSALS[is_cjk(question or answer.text)]
        left_out = answer.unsupported
        return replace(
            answer,
            text=refusal,
            citations=(),
            sentences=(),
            left_out=left_out,
            stop_reason="refused",
        )
    kept = "".join(text for text, unsupported in answer.runs() if not unsupported)
    kept = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]{2,}", " ", kept)).strip()
    return replace(answer, text=kept, left_out=answer.unsupported)


def add_notice(answer: Answer, question: str) -> Answer:
    """The answer with a note that names what was left out of it. It is no claim of the answer."""
    count = len(answer.left_out)
    counted = f"{count} sentence{'s' if count > 1 else ''}"
    known = quantities(f"{question}\n{answer.text}")
    names = [_name_of(sentence.text, known) for sentence in answer.left_out[:_MOST_NAMED]]
    named = ", ".join(f"“{name}”" for name in names) + (", …" if count > _MOST_NAMED else "")
    chinese = is_cjk(answer.text)
    note = _LEFT_OUT[chinese].format(count=count if chinese else counted, named=named)
    return replace(answer, text=f"{answer.text}\n\n{note}")


def _name_of(sentence: str, known: Sequence[Quantity]) -> str:
    """The start of a sentence, without markers and without numbers that the answer lacks."""
    for match in [*markers(sentence, ())][::-1]:
        sentence = sentence[: match.start()].rstrip() + sentence[match.end() :]
    name = normalize(plain_sentence(sentence)).rstrip(".。!！")
    for quantity in quantities(name)[::-1]:
        if not is_stated(quantity, known):
            name = f"{name[: quantity.start]}…{name[quantity.end :]}"
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME].rstrip() + "…"


_MOST_CHARACTERS = 2000
_MOST_OF_REASON = 200


class Finalizer:
    """Finishes the answer of one run. `history` are the messages of its session."""

    def __init__(
        self,
        sources: Sources,
        knowledge: KnowledgeBase | None,
        hooks: Hooks,
        retrieval: Retrieval = Retrieval(),
        info: RunInfo = RunInfo(),
        history: Sequence[Message] = (),
    ) -> None:
        self._sources = sources
        self._knowledge = knowledge
        self._similarity: Similarity | None = knowledge.similarity if knowledge else None
        self._guard = hooks.guard_output
        self._strict = retrieval.strict
        self._extractive = ExtractiveModel(knowledge, retrieval.refuse_below)
        self._info = info
        self._history = history

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
        answer = await self._verify(answer, question)
        if self._strict and (changed := drop_unsupported(answer, question)) is not answer:
            answer = changed
            if changed.sentences:
                answer = add_notice(await self._verify(changed, question), question)
        if self._guard and (instead := await call_with(self._guard, answer, extra=self._info)):
            answer = replace(
                answer, text=instead, citations=(), sentences=(), stop_reason="refused"
            )
        return answer if answer.text == drafted else _with_final_message(answer, drafted)

    async def _verify(self, answer: Answer, question: str) -> Answer:
        earlier = [m for m in self._history if m.marker and f"[{m.marker}]" in answer.text]
        markers = {m.marker for m in (*self._history, *answer.messages) if m.marker}
        results = [*_tool_evidence(answer.messages), *(m.text for m in earlier)]
        proof = await prove(
            answer.text, self._sources, self._similarity, results, question, markers
        )
        citations = proof.citations
        if self._knowledge is not None:
            citations = await located(citations, self._knowledge)
        return replace(
            answer,
            citations=citations,
            sentences=proof.sentences,
            unresolved_markers=proof.unresolved,
        )

    async def _answer_from_results(self, answer: Answer, question: str) -> str:
        """Quotes of the passages that tools found, then their other results; which calls failed
        where there is nothing else."""
        results = [m for m in answer.messages if m.role == "tool" and not _has_failed(m)]
        others = "\n".join(m.text for m in results if not m.passages)[-_MOST_CHARACTERS:]
        passages = [passage for message in results for passage in message.passages]
        quoted, is_refusal = "", True
        if (query := _first_query(answer)) and (passages or not _failures(answer)):
            quoted, is_refusal = await self._extractive.quote(query, passages)
        if not others and is_refusal and (failures := _failures(answer)):
            return _describe_failures(failures, answer.limit, question)
        return others if others and is_refusal else f"{quoted}\n\n{others}".strip()


def _tool_evidence(messages: Sequence[Message]) -> list[str]:
    """The arguments and the result of each tool call that gave no passages. What a search was asked
    for supports nothing, and what it found is cited."""
    calls = {call.id: call for message in messages for call in message.tool_calls}
    found = []
    for message in messages:
        if message.role == "tool" and message.text and not (message.passages or message.failed):
            call = calls.get(message.tool_call_id)
            arguments = call.arguments if call and call.name != SEARCH else ""
            written = arguments if isinstance(arguments, str) else _written(arguments)
            found.append(f"{written}\n{message.text}".strip())
    return found


def _written(arguments: Mapping[str, object]) -> str:
    return "\n".join(f"{name}: {value}" for name, value in arguments.items())


def _with_final_message(answer: Answer, drafted: str) -> Answer:
    """The answer with its text in place of the model's last message."""
    messages = list(answer.messages)
    if drafted and messages and messages[-1].role == "assistant":
        del messages[-1]
    return replace(answer, messages=(*messages, Message("assistant", answer.text)))


def _failures(answer: Answer) -> list[tuple[str, str]]:
    """The calls that gave no result: the tool's name and the reason, each once."""
    names = {c.id: c.name for message in answer.messages for c in message.tool_calls}
    failed = [m for m in answer.messages if m.role == "tool" and _has_failed(m)]
    return list(dict.fromkeys((names.get(m.tool_call_id, ""), _reason(m)) for m in failed))


def _has_failed(message: Message) -> bool:
    """Whether a result is a failure; some tools return it as text."""
    return message.failed or message.text.startswith("Error:")


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
