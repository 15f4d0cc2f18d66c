"""Rewrite a follow-up as a standalone question, and expand a question into several queries.

A rewriting is asked for at the end of the conversation itself, so that the server's prefix cache
applies; a question that stands alone needs none. Where the model follows no instructions, fails or
gives no question, a follow-up is joined with the question that it continues.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import aclosing
from typing import Literal

from agentkit.agent.limits import UsageMeter
from agentkit.agent.turn import without_thinking
from agentkit.answering.follow_up import asks, is_judged, standalone_question, stands_alone
from agentkit.answering.question import Question
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import TextDelta
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import Message, ToolCall, Usage
from agentkit.text.patterns import lazy_pattern
from agentkit.tools.tool import Tool

STANDALONE_QUESTION = """\
Rewrite the last question of this conversation, which stands below, so that it can be understood
alone: put in what "it", "that" or "and at 4 bits?" refer to. Keep its language. Do not answer it
yet: reply with the rewritten question alone, without an explanation and without a tool call.

Last question: """

QUERY_VARIANTS = """\
Write {count} other ways to ask this question of a search engine, with other words and from other
sides, one a line and nothing else, in the language of the question."""

HYPOTHETICAL_PASSAGE = """\
Write the short passage of a textbook that would answer this question, two or three sentences, in
the language of the question, and nothing beside it."""

Expansion = Literal["none", "multi", "hyde"]
"""Query expansion: none, several wordings (multi-query), or a hypothetical answer passage (HyDE,
Gao et al. 2022, arXiv:2212.10496)."""

_VARIANTS = 3
_EXPANSIONS = (QUERY_VARIANTS.format(count=_VARIANTS), HYPOTHETICAL_PASSAGE)
_MAX_ADDED = 300
"""Characters that a rewritten question may be longer than the prompt."""
_MAX_VARIANT = 300
_SILENCE_SECONDS = 10.0
"""How long a reply that has begun may be silent: it is short, and the answer waits for it."""

_LABEL = lazy_pattern(
    r"(?:"
    r"(?:sure|okay|ok|certainly|of course|got it|no problem)\b[^:：?？\n]{0,80}[:：!！.,]"
    r"|(?:here (?:is|are)|here['’]s|this is|below is)\b[^:：?？\n]{0,80}[:：]"
    r"|(?:(?:the|my|your|user(?:['’]s)?|last|latest|next|new|final|re-?written|re-?phrased"
    r"|reformulated|revised|clarified|stand-?\s?alone|self-?contained|independent|complete|full"
    r"|search|follow-?up)[ -]+){0,5}"
    r"(?:question|query|re-?write|re-?writing|re-?written|re-?phrased|reformulated|reformulation"
    r"|revised|stand-?\s?alone|output|result|answer|response|[qa])(?: is)?[ *_]*[:：]"
    r"|(?:好的?|当然)[，,。！!]"
    r"|(?:以下是|这是)?(?:我|您|你|用户|下一个|最后一?个?|最终|新)?的?(?:改写|重写|改述|重述|独立|完整|检索|搜索|查询|原)?"
    r"(?:成|为|后|之后)?的?(?:独立|完整)?的?(?:问题|问句|提问|查询|问|版本|结果|输出|改写|重写|改写后|重写后)"
    r"(?:是|为|如下)?[ *_]*[:：]"
    r"|(?:改写|重写|改述)(?:成|为|后|之后|如下)?[ *_]*[:：]"
    r"|(?:pregunta|frage|domanda|вопрос|質問|書き換え(?:後)?(?:の質問)?|질문)[^:：?？\n]{0,30}[:：]"
    r"|\d{1,2}[.)、]\s|>\s"
    r")",
    re.IGNORECASE,
)
"""What models write before the question, such as "Sure! Here it is:" or "改写后的问题："."""

_WRAPPED = lazy_pattern(
    r"\"(?P<i>[^\"]+)\"|'(?P<j>[^']+)'|“(?P<a>[^“”]+)”|‘(?P<b>[^‘’]+)’|「(?P<c>[^「」]+)」|『(?P<d>[^『』]+)』|«(?P<e>[^«»]+)»"
    r"|[(（](?P<f>[^()（）]+)[)）]|\[(?P<g>[^\[\]]+)\]|<(?P<tag>\w+)>(?P<h>[^<>]+)</(?P=tag)>"
)
"""A text within quotes, brackets or a tag."""

_LAYOUT = " \t\r\n*_#`•·–—-"
"""Marks of emphasis, headings, quotations and lists."""

_FENCE = lazy_pattern(r"```\w*\n?(?P<body>.*?)\n?```", re.DOTALL)
_NOT_A_QUESTION = lazy_pattern(
    r"(?:i(?:['’]m| am)? (?:sorry|can(?:no|['’])t|cannot|do(?:n['’]t| not)|(?:would )?need"
    r"|could not)"
    r"|sorry|unfortunately|as an ai"
    r"|(?:could|can|would) you (?:please |kindly )?(?:clarify|specify|provide|rephrase|elaborate"
    r"|tell me (?:which|what) you mean)|please (?:clarify|specify|provide)"
    r"|what (?:exactly )?(?:do|are) you (?:mean|refer)|which one do you mean"
    r"|抱歉|对不起|很抱歉|我(?:无法|不能|不确定|不知道)|请(?:您|你)?(?:明确|说明|提供|澄清|补充)|(?:请问)?[您你](?:是不是|是)?(?:指|想问|说)"
    r"|作为一个)",
    re.IGNORECASE,
)
"""How a refusal begins, or a question back to the user."""
_CITATION = lazy_pattern(r"[\[【]\s*t?\d{1,4}(?:\s*[,，、-]\s*t?\d{1,4})*\s*[\]】]")


class QueryRewriter:
    """Rewrites queries with one model; its tokens count towards the run. `conversation` is what the
    model was last sent and has answered, the system message first, and `tools` what it was offered
    with it; `options` are those of its requests. A reply that has begun and is silent for `silence`
    seconds counts as failed."""

    def __init__(
        self,
        model: Model,
        meter: UsageMeter,
        conversation: Sequence[Message] = (),
        tools: Sequence[Tool] = (),
        options: Options = Options(),
        silence: float = _SILENCE_SECONDS,
    ) -> None:
        self._model = model
        self._silence = silence
        self._meter = meter
        self._conversation = conversation
        self._tools = tools
        self._options = options

    async def standalone(self, prompt: str, earlier: Sequence[str]) -> str:
        """The prompt as a standalone question; `earlier` are the prompts before it."""
        if not earlier or Question(prompt).is_small_talk:
            return prompt
        if is_judged(prompt) and stands_alone(prompt):
            return prompt
        joined = standalone_question(prompt, earlier)
        if not (await self._model.capabilities()).instructions:
            return joined
        request = Message("user", f"{STANDALONE_QUESTION}{prompt}")
        reply = await self._complete([*self._conversation, request], self._tools)
        return read_question(reply, prompt) or joined

    async def expand(self, query: str, how: Expansion) -> list[str]:
        """The queries to search with, the question itself first."""
        if how == "none" or not (await self._model.capabilities()).instructions:
            return [query]
        variants, hypothetical = _EXPANSIONS
        instruction = hypothetical if how == "hyde" else variants
        reply = await self._complete([Message("system", instruction), Message("user", query)])
        if how == "hyde":
            return [f"{query}\n{reply}".strip()]
        lines = (line.strip(" -*·0123456789.)、") for line in reply.splitlines())
        others = [line for line in lines if 0 < len(line) <= _MAX_VARIANT and line[-1] not in ":："]
        return list(dict.fromkeys([query, *others]))[: _VARIANTS + 1]

    async def _complete(self, messages: Sequence[Message], tools: Sequence[Tool] = ()) -> str:
        """The text of the reply without thinking, or the query of a search that it calls; "" where
        the model fails."""
        pieces: list[str] = []
        query = ""
        self._meter.requests_made += 1
        try:
            async with (
                asyncio.timeout(None) as silence,
                aclosing(self._model.stream(messages, tools, self._options)) as parts,
            ):
                async for part in parts:
                    silence.reschedule(asyncio.get_running_loop().time() + self._silence)
                    match part:
                        case TextDelta(text):
                            pieces.append(text)
                        case ToolCall(name=name, arguments=dict(given)) if name == SEARCH:
                            query = query or str(given.get("query", ""))
                        case Usage():
                            self._meter.charge(part, self._model.name)
        except (ModelError, TimeoutError):
            return ""
        return without_thinking("".join(pieces))[0].strip() or query


def is_rewriting(request: Sequence[Message]) -> bool:
    """Whether the messages of a request ask for a rewriting or an expansion of a question."""
    if not request:
        return False
    return request[-1].text.startswith(STANDALONE_QUESTION) or request[0].text in _EXPANSIONS


def read_question(reply: str, prompt: str) -> str:
    """The question in a model's rewriting of a prompt, without labels and quotes; "" where the
    reply is something else: an answer, a refusal, a question back, too long, or no rewriting."""
    text = _peel(reply)
    if "\n" in text:
        lines = [_peel(line) for line in text.splitlines()]
        lines = [line for line in lines if line]
        text = next((line for line in lines if asks(line)), lines[0] if lines else "")
    if not text or len(text) > len(prompt) + _MAX_ADDED or text.casefold() == prompt.casefold():
        return ""
    if _NOT_A_QUESTION.match(text) or text[-1] in ":：":
        return ""
    is_statement = asks(prompt) or text[-1] in ".。!！" or _CITATION.search(text)
    return "" if is_statement and not asks(text) else text


def _peel(text: str) -> str:
    """A text without labels before it and without the marks around it."""
    before = None
    while text != before:
        before = text
        if fence := _FENCE.fullmatch(text.strip()):
            text = fence["body"]
        text = _json_text(text.strip(_LAYOUT))
        if label := _LABEL.match(text):
            text = text[label.end() :]
        if wrapped := _WRAPPED.fullmatch(text):
            text = next(wrapped[name] for name in "abcdefghij" if wrapped[name])
    return text


def _json_text(text: str) -> str:
    """The only text of a JSON object; any other text as it is."""
    if not text.startswith("{"):
        return text
    try:
        values = [v for v in json.loads(text).values() if isinstance(v, str)]
    except (ValueError, AttributeError, RecursionError):
        return text
    return values[0] if len(values) == 1 else text
