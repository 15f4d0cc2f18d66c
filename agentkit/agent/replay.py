"""Run an agent again on the answers that a model once gave, and say where the run differs.

The model is not asked; tools are run anew. What differs is what has changed since: prompts, tools,
their results, the documents.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from copy import copy
from dataclasses import dataclass

from agentkit.agent.agent import Agent
from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message, Record, Usage, read_call
from agentkit.tools.tool import Tool
from agentkit.tracing.files import ReadTrace

_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where the run was not the same: what it was then, and what it is now."""

    place: str
    then: str
    now: str


class ReplayModel(Model):
    """Gives the replies of a trace one after another, and keeps the requests."""

    def __init__(self, trace: ReadTrace) -> None:
        self._name = str(trace.run["model"])
        self._replies = iter(trace.of("reply"))
        self.requests: list[tuple[Message, ...]] = []

    @property
    def name(self) -> str:
        return self._name

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        self.requests.append(tuple(messages))
        reply = next(self._replies, None)
        if reply is None:
            raise ModelError("The trace holds no further answer: this run asks for more.")
        if reply["error"]:
            raise ModelError(str(reply["error"]))
        for part in _parts(reply):
            yield part


async def replay(agent: Agent, trace: ReadTrace) -> tuple[Answer | None, list[Difference]]:
    """The answer of the run made again (None where it failed) and all differences, in order."""
    model = ReplayModel(trace)
    again = copy(agent)
    again.model = model
    requests = trace.requests()
    session = Session()
    if requests:
        session.add(_before(requests[0], str(trace.run["prompt"])))
    answer, failure = None, ""
    try:
        answer = await again.run(str(trace.run["prompt"]), session)
    except ModelError as error:
        failure = str(error)
    found = [
        difference
        for number, (then, now) in enumerate(zip(requests, model.requests, strict=False), 1)
        for difference in _compared(number, then, now)
    ]
    if len(requests) != len(model.requests):
        counts = (str(len(requests)), str(len(model.requests)))
        found.append(Difference("number of requests", *counts))
    then_text = str(next((r["text"] for r in trace.of("end")), ""))
    now_text = answer.text if answer else failure
    if then_text != now_text:
        found.append(Difference("answer", then_text[:_SHOWN], now_text[:_SHOWN]))
    return answer, found


def _parts(reply: Record) -> list[ModelPart]:
    parts: list[ModelPart] = []
    if reply["reasoning"]:
        parts.append(ReasoningDelta(reply["reasoning"]))
    if reply["text"]:
        parts.append(TextDelta(reply["text"]))
    parts += [read_call(call) for call in reply["calls"]]
    if reply["usage"]:
        parts.append(Usage(**reply["usage"]))
    parts.append(Done(reply["stop_reason"] or "stop", reply["model"]))
    return parts


def _before(request: Sequence[Message], prompt: str) -> list[Message]:
    """What had been said before the prompt."""
    asked = [at for at, m in enumerate(request) if m.role == "user" and m.text == prompt]
    return [m for m in request[: asked[-1] if asked else 0] if m.role != "system"]


def _compared(number: int, then: Sequence[Message], now: Sequence[Message]) -> list[Difference]:
    """The first message that differs; those after it differ for its sake."""
    for at in range(max(len(then), len(now))):
        one = then[at] if at < len(then) else None
        other = now[at] if at < len(now) else None
        if one != other:
            role = (one or other).role  # type: ignore[union-attr]
            place = f"request {number}, message {at + 1} ({role})"
            return [Difference(place, _shown(one, other), _shown(other, one))]
    return []


def _shown(message: Message | None, beside: Message | None) -> str:
    """A message from where it differs from the one beside it."""
    if message is None:
        return "(none)"
    text = message.text or str([c.name for c in message.tool_calls])
    other = beside.text if beside else ""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    start = max(0, at - 40)
    return ("…" if start else "") + text[start : start + _SHOWN]
