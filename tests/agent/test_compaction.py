"""A conversation fits its model's window before it is full, and grows at its end only."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from agentkit import Agent, Limits, Session, tool
from agentkit.agent.compaction import (
    SUMMARIZE,
    SUMMARY_HEADING,
    compact_messages,
    truncate,
)
from agentkit.backends.base import tokens_of_all
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.documents import Chunk, Passage
from agentkit.errors import ModelError
from agentkit.events import Compacted, Done, ModelPart
from agentkit.messages import Message, ToolCall, Usage
from tests.agent.scripts import answer_of


def _count(text: str) -> int:
    return len(text)


class Narrow(ScriptedModel):
    """A scripted model with a window, a tokenizer of one token a character, and a summary."""

    def __init__(
        self,
        script: Iterator[Turn],
        window: int | None,
        summary: str = "They spoke of memory [1].",
    ) -> None:
        self._script = script
        self._window = window
        self._summary = summary
        self.summaries = 0
        super().__init__(self._turn)

    def _turn(self, messages: Sequence[Message]) -> Turn:
        if messages[0].text == SUMMARIZE:
            self.summaries += 1
            return self._summary
        return next(self._script)

    async def context_window(self) -> int | None:
        return self._window

    def count_tokens(self, text: str) -> int:
        return len(text)

    @property
    def answered_requests(self) -> list[tuple[Message, ...]]:
        return [r for r in self.requests if r[0].text != SUMMARIZE]


@tool
def lines(count: int) -> str:
    """Give lines."""
    return "\n".join(f"line {n} of many." for n in range(count))


def _size(messages: Sequence[Message]) -> int:
    return tokens_of_all(messages, _count)


async def test_between_compactions_each_request_extends_the_one_before() -> None:
    turns = (ToolCall(str(n), "lines", {"count": n}) for n in range(1, 40))
    model = Narrow(turns, 8000)
    events = [e async for e in Agent(model, [lines], limits=Limits(turns=30)).stream("go on")]
    compactions = sum(isinstance(e, Compacted) for e in events)
    breaks = sum(
        later[: len(earlier)] != earlier
        for earlier, later in zip(
            model.answered_requests, model.answered_requests[1:], strict=False
        )
    )
    assert 0 < compactions == breaks < 10


async def test_no_request_is_ever_larger_than_the_window() -> None:
    turns = (ToolCall(str(n), "lines", {"count": 40}) for n in range(40))
    model = Narrow(turns, 6000)
    await Agent(model, [lines], limits=Limits(turns=30)).run("go on")
    assert max(map(_size, model.answered_requests)) < 6000


async def test_old_turns_become_a_summary_that_keeps_its_citations() -> None:
    model = Narrow(iter([f"answer {n} " + "words " * 100 for n in range(20)]), 4000)
    agent, session = Agent(model), Session()
    for n in range(10):
        await agent.run(f"question {n}", session)
    assert model.summaries >= 1
    system = model.answered_requests[-1][0].text
    assert system.count(SUMMARY_HEADING) == 1
    assert "They spoke of memory [1]." in system
    assert len([m for m in session.messages if m.role == "user"]) == 10


async def test_a_summary_goes_into_the_next_summary() -> None:
    reported = [
        Message("system", f"Rules.\n\n{SUMMARY_HEADING}\nfirst"),
        Message("user", "old " * 50),
    ]
    reported += [Message("assistant", "words " * 50), Message("user", "now?")]

    async def summarise(old: Any) -> str:
        return "second"

    short = await compact_messages(reported, 400, _count, summarise)
    assert short[0].text == f"Rules.\n\n{SUMMARY_HEADING}\nfirst\nsecond"
    assert short[1:] == [Message("user", "now?")]


async def test_a_long_summary_is_summarised_again() -> None:
    earlier = "They spoke of memory [1]. " * 60
    reported = [
        *(Message("system", f"Rules.\n\n{SUMMARY_HEADING}\n{earlier}"), Message("user", "old")),
        *(Message("assistant", "words " * 300), Message("user", "now?")),
    ]
    given: list[Message] = []

    async def summarise(old: Sequence[Message]) -> str:
        given.extend(old)
        return "all of it"

    short = await compact_messages(reported, 400, _count, summarise)
    assert short[0].text == f"Rules.\n\n{SUMMARY_HEADING}\nall of it"
    assert given[0].text == earlier.strip()


async def test_tool_results_are_shortened_before_anything_is_summarised() -> None:
    long = "First sentence. " + "more " * 300
    passage = Passage("7", Chunk("c", "d", "a.md", "", "H", long, 40, 40 + len(long)))
    reported = [
        *(Message("system", "Rules."), Message("user", "old?")),
        Message("assistant", "", (ToolCall("1", "search_knowledge", {}),)),
        Message("tool", tool_call_id="1", passages=(passage,)),
        *(Message("assistant", "yes [7]"), Message("user", "now?")),
    ]

    async def never(old: Sequence[Message]) -> str:
        raise AssertionError("nothing needs a summary")

    short = await compact_messages(reported, 700, _count, never)
    (kept,) = short[3].passages
    assert kept.marker == "7"
    assert kept.chunk.text.startswith("First sentence. more")
    assert len(kept.chunk.text) < 300
    assert (kept.chunk.start, kept.chunk.end) == (40, 40 + len(kept.chunk.text))
    assert len(short[3].text) < 400


async def test_what_cannot_fit_says_so_and_names_the_next_step() -> None:
    async def summarise(old: Any) -> str:
        return ""

    with pytest.raises(
        ModelError, match=r"take \d+ tokens.*room for 100.*larger context"
    ) as caught:
        await compact_messages([Message("user", "x" * 500)], 100, _count, summarise, "tiny")
    assert caught.value.kind == "too_long"


async def test_one_result_never_takes_the_whole_window() -> None:
    model = Narrow(iter([ToolCall("1", "lines", {"count": 5000}), "done"]), 8000)
    answer = await Agent(model, [lines]).run("all lines")
    result = answer.messages[2].text
    assert len(result) < 4000
    assert "characters left out" in result


def test_a_result_that_fits_is_left_alone() -> None:
    assert truncate("short", 100, _count) == "short"


async def test_a_server_with_a_smaller_window_than_it_stated_is_asked_again_with_less() -> None:
    refusal = ModelError("context full", "m", "too_long")
    turns: Iterator[Turn] = iter(["words " * 200, refusal, "short answer"])
    model = Narrow(turns, None)
    agent, session = Agent(model), Session()
    await agent.run("tell me much", session)
    events = [e async for e in agent.stream("and now?", session)]
    assert any(isinstance(e, Compacted) for e in events)
    assert answer_of(events).text == "short answer"
    assert "They spoke of memory" in model.answered_requests[-1][0].text


async def test_the_servers_own_count_comes_before_a_guess() -> None:
    class Reporting(Narrow):
        def _parts(self, turn: Any, messages: Sequence[Message]) -> list[ModelPart]:
            parts = [p for p in super()._parts(turn, messages) if not isinstance(p, Usage | Done)]
            return [
                *parts,
                Usage(2 * _size(messages), 10),
                Done("tool_calls" if turn else "stop", "m"),
            ]

    def calls() -> Iterator[Turn]:
        return iter([*(ToolCall(str(n), "lines", {"count": 60 + n}) for n in range(3)), "done"])

    async def compactions(model: Any) -> int:
        events = [e async for e in Agent(model, [lines]).stream("?")]
        return sum(isinstance(e, Compacted) for e in events)

    assert await compactions(Narrow(calls(), 6000)) == 0
    assert await compactions(Reporting(calls(), 6000)) == 1
