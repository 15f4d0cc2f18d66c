"""Replay a trace: run an agent on the model replies of an earlier run and report the differences.

The model is not called; tools run again. Differences come from changed prompts, tools, tool results
or documents. Structured output is validated by its JSON Schema, so that the reason why an answer
did not fit may be in other words.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

from agentkit.agent.agent import Agent
from agentkit.agent.compaction import SUMMARIZE
from agentkit.agent.query_rewriting import is_rewriting
from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message, Record, Usage, read_call
from agentkit.tools.tool import Tool
from agentkit.tracing.trace import ReadTrace

_MAX_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference between the traced run and the replay."""

    place: str
    then: str
    now: str


class ReplayModel(Model):
    """Gives the replies of a trace in order, and records the requests."""

    def __init__(self, trace: ReadTrace) -> None:
        self._name = str(trace.run["model"])
        self._replies = iter(trace.of("reply"))
        self._constrains = any("schema" in record["options"] for record in trace.of("request"))
        self._follows = "output" in trace.run or any(map(_is_auxiliary, trace.requests()))
        self.requests: list[tuple[Message, ...]] = []

    @property
    def name(self) -> str:
        return self._name

    async def capabilities(self) -> Capabilities:
        """Without instructions where the traced run asked its model for nothing but answers."""
        return Capabilities(json_schema=self._constrains, instructions=self._follows)

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        self.requests.append(tuple(messages))
        reply = next(self._replies, None)
        if reply is None:
            raise ModelError("The trace has no further reply: this run makes more requests.")
        if reply["error"]:
            raise ModelError(str(reply["error"]))
        for part in _parts(reply):
            yield part


async def replay(agent: Agent, trace: ReadTrace) -> tuple[Answer | None, list[Difference]]:
    """Replay a trace: the answer, None if the run failed, and the differences in order. The replay
    is not traced."""
    model = ReplayModel(trace)
    again = copy(agent)
    again.model, again.tracing = model, None
    requests = trace.requests()
    session = Session()
    if answering := [request for request in requests if not _is_auxiliary(request)]:
        session.add(_messages_before(answering[0], str(trace.run["prompt"])))
    answer, failure = None, ""
    try:
        output: Any = trace.run.get("output")  # the schema of structured output
        answer = await again.run(str(trace.run["prompt"]), session, output=output)
    except ModelError as error:
        failure = str(error)
    found = [
        difference
        for number, (then, now) in enumerate(zip(requests, model.requests, strict=False), 1)
        for difference in _first_difference(number, then, now)
    ]
    if len(requests) != len(model.requests):
        counts = (str(len(requests)), str(len(model.requests)))
        found.append(Difference("number of requests", *counts))
    then_text = str(next((r["text"] for r in trace.of("end")), ""))
    now_text = answer.text if answer else failure
    if then_text != now_text:
        found.append(Difference("answer", then_text[:_MAX_CHARACTERS], now_text[:_MAX_CHARACTERS]))
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


def _is_auxiliary(request: Sequence[Message]) -> bool:
    """Whether a request rewrites a question or summarises turns."""
    return is_rewriting(request) or (bool(request) and request[0].text == SUMMARIZE)


def _messages_before(request: Sequence[Message], prompt: str) -> list[Message]:
    """The messages before the prompt."""
    prompts = [at for at, m in enumerate(request) if m.role == "user" and m.text == prompt]
    return [m for m in request[: prompts[-1] if prompts else 0] if m.role != "system"]


def _first_difference(
    number: int, then: Sequence[Message], now: Sequence[Message]
) -> list[Difference]:
    """The first message that differs; later ones differ as a consequence."""
    for at in range(max(len(then), len(now))):
        one = then[at] if at < len(then) else None
        other = now[at] if at < len(now) else None
        if one != other:
            role = (one or other).role  # type: ignore[union-attr]
            place = f"request {number}, message {at + 1} ({role})"
            return [Difference(place, _excerpt(one, other), _excerpt(other, one))]
    return []


def _excerpt(message: Message | None, other_message: Message | None) -> str:
    """A message from the place where it differs from the other one."""
    if message is None:
        return "(none)"
    text = message.prompt_text or str([c.name for c in message.tool_calls])
    other = other_message.prompt_text if other_message else ""
    at = next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    start = max(0, at - 40)
    return ("…" if start else "") + text[start : start + _MAX_CHARACTERS]
