"""The turns of a session as the page shows them: question, tool calls, passages, checked answer.

The session's messages hold its texts and what tools found; what only the run knew (verdicts on
sentences, quotes, reasoning, time, error) is a note behind the turn's messages. A turn of another
program, such as `agentkit chat`, has no note: its markers are resolved, its sentences not judged.
Offsets in texts count characters (Unicode code points).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, Field

from agentkit.agent.pending import Pending
from agentkit.agent.session import Session
from agentkit.agent.session_record import Note
from agentkit.agent.tool_runner import INTERRUPTED as CALL_STOPPED
from agentkit.agent.tool_runner import failed_result
from agentkit.answers import Answer
from agentkit.backends.base import images
from agentkit.documents import Chunk, Passage
from agentkit.knowledge.citations.markers import markers, numbers_in
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message, Record, ToolCall

TurnState = Literal["running", "done", "stopped", "failed", "paused"]
CallState = Literal["running", "done", "failed", "waiting", "denied"]

MOST_RESULT = 20_000
"""Characters of a tool's result that are sent; the session has the whole one."""

MOST_NESTED_RESULT = 2_000
"""Characters of the result of a sub-agent's call that are kept with the turn."""

INTERRUPTED = {
    "message": "The server ended while it wrote this answer. Ask again to get the rest.",
    "type": "api_error",
    "code": "interrupted",
    "next": "Ask again to get the rest.",
}


BEGUN: Record = {"begun": True}
"""The note before a turn's question. Without a note behind the turn, its run was interrupted."""


class SourcePassage(BaseModel):
    """A passage that the model was shown: `text` is `document[start:end]`."""

    marker: str
    document: str
    source: str
    title: str
    heading: str
    page: int | None
    part: str
    start: int
    end: int
    text: str
    context: str
    cited: bool = False
    relevance: float | None = None
    format: str


class CitationRecord(BaseModel):
    """A marker of the answer. `quote`, `document[start:end]`, is what supports the claim; where
    nothing does, the range is that of the passage."""

    marker: str
    passage: SourcePassage
    quote: str | None = None
    start: int
    end: int
    page: int | None = None
    supported: bool | None = None


class SentenceRecord(BaseModel):
    """A claim of the answer, `text[start:end]`. `supported` is null where it was not judged."""

    start: int
    end: int
    supported: bool | None
    reason: str = ""
    markers: list[str] = []


class CallRecord(BaseModel):
    """A tool call. `schema` is the JSON Schema of the arguments while the call waits for approval,
    null where they cannot be changed. `passages` are the markers of what it found."""

    id: str
    name: str
    arguments: dict[str, Any] | str
    result: str = ""
    ok: bool | None = None
    state: CallState = "running"
    parameters: dict[str, Any] | None = Field(default=None, serialization_alias="schema")
    seconds: float | None = None
    progress: str = ""
    passages: list[str] = []


class TurnUsage(BaseModel):
    """Tokens of a turn."""

    input_tokens: int = 0
    output_tokens: int = 0


class Turn(BaseModel):
    """A question and what came of it. `attachments` are the names of its files, `images` is the
    number of its images, and `run` the id of a run that goes on or can be resumed."""

    index: int
    question: str
    attachments: list[str] = []
    images: int = 0
    state: TurnState = "running"
    run: str | None = None
    text: str = ""
    reasoning: str = ""
    tools: list[CallRecord] = []
    citations: list[CitationRecord] = []
    passages: list[SourcePassage] = []
    sentences: list[SentenceRecord] = []
    usage: TurnUsage = TurnUsage()
    seconds: float | None = None
    model: str = ""
    stop_reason: str = ""
    error: dict[str, Any] | None = None

    def record(self) -> Record:
        """The turn as JSON values."""
        return self.model_dump(mode="json", by_alias=True)


def run_id_of(session_id: str, index: int) -> str:
    """The id of the run that answers a turn: the same after a restart of the server."""
    return f"{session_id}.{index}"


def parse_run_id(run_id: str) -> tuple[str, int]:
    """The session and the turn of a run; ("", 0) for what is no id of a run."""
    session_id, _, index = run_id.rpartition(".")
    return (session_id, int(index)) if index.isascii() and index.isdigit() else ("", 0)


def passage_record(
    chunk: Chunk, marker: str = "", relevance: float | None = None, *, cited: bool = False
) -> SourcePassage:
    """A chunk as the page shows it."""
    return SourcePassage(
        marker=marker,
        document=chunk.document_id,
        source=chunk.source,
        title=chunk.title,
        heading=chunk.heading,
        page=chunk.page,
        part=chunk.part,
        start=chunk.start,
        end=chunk.end,
        text=chunk.text,
        context=chunk.context,
        cited=cited,
        relevance=relevance,
        format=format_of(chunk.source),
    )


def format_of(source: str) -> str:
    """The kind of a file by its suffix, such as "pdf"; "" without one."""
    return PurePosixPath(source).suffix[1:].lower()


def call_record(call: ToolCall, result: Message | None = None) -> CallRecord:
    """A call with the message of its result; without one it runs."""
    given = call.arguments
    record = CallRecord(
        id=call.id, name=call.name, arguments=given if isinstance(given, str) else dict(given)
    )
    if result is None:
        return record
    return record.model_copy(
        update={
            "result": shortened(result.text),
            "ok": not result.failed,
            "state": "failed" if result.failed else "done",
            "passages": [passage.marker for passage in result.passages],
        }
    )


def shortened(text: str, most: int = MOST_RESULT) -> str:
    """The beginning of a tool's result."""
    if len(text) <= most:
        return text
    return f"{text[:most]}\n… ({len(text) - most} more characters)"


def answer_note(answer: Answer[Any]) -> Record:
    """What a turn's note keeps of an answer."""
    return {
        "text": answer.text,
        "model": answer.model,
        "stop_reason": answer.stop_reason,
        "usage": {
            "input_tokens": answer.usage.input_tokens,
            "output_tokens": answer.usage.output_tokens,
        },
        "sentences": [
            {
                "start": each.start,
                "end": each.end,
                "supported": each.supported,
                "reason": each.reason,
                "markers": list(each.markers),
            }
            for each in answer.sentences
        ],
        "citations": [
            {
                "marker": each.marker,
                "quote": each.quote,
                "start": each.start,
                "end": each.end,
                "page": each.page if each.page is not None else each.chunk.page,
                "supported": each.supported,
            }
            for each in answer.citations
        ],
    }


def call_note(call: CallRecord) -> Record:
    """What a turn's note keeps of a call that ended: of a sub-agent's, which no message has, all of
    it."""
    if "/" not in call.id:
        return {"state": call.state, "seconds": call.seconds, "arguments": call.arguments}
    kept = call.model_copy(update={"result": shortened(call.result, MOST_NESTED_RESULT)})
    return kept.model_dump(mode="json", exclude={"parameters", "progress"})


def first_message(session: Session, index: int) -> int | None:
    """The position of a turn's question among the messages; None for a turn that there is not."""
    starts = [at for at, message in enumerate(session.messages) if message.role == "user"]
    return starts[index] if index < len(starts) else None


def turns_of(session: Session) -> list[Turn]:
    """The turns of a session, as it is stored."""
    starts = [at for at, message in enumerate(session.messages) if message.role == "user"]
    ends = [*starts, len(session.messages)][1:]
    return [
        _turn(session, index, session.messages[start:end], _note(session.notes, start, end))
        for index, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


def stopped_messages(pending: Pending) -> Iterator[Message]:
    """The messages of a turn that waited, its open calls as stopped."""
    yield pending.message
    for call, outcome in zip(pending.message.tool_calls, pending.outcomes, strict=True):
        yield outcome if isinstance(outcome, Message) else failed_result(call, CALL_STOPPED)


def _note(notes: Sequence[Note], start: int, end: int) -> Mapping[str, Any]:
    """The last note on a turn, which is behind its messages; that of an interrupted one where a
    note before it says that a run began, and none how it ended."""
    for note in reversed(notes):
        if start < note.after <= end and "turn" in note.record:
            return dict(note.record["turn"])
    has_begun = any(note.after == start and note.record == BEGUN for note in notes)
    return {"state": "stopped", "error": INTERRUPTED} if has_begun else {}


def _turn(
    session: Session, index: int, messages: Sequence[Message], note: Mapping[str, Any]
) -> Turn:
    is_last = messages[-1] is session.messages[-1]
    pending = session.pending if is_last else None
    text = note.get("text") or _text(messages)
    passages = {p.marker: p for p in passages_of(messages, pending)}
    citations = [
        CitationRecord(**each, passage=passage)
        for each in note.get("citations", ())
        if (passage := _cited_passage(each["marker"], passages, session.sources))
    ] or (_resolved(text, session.sources, passages) if "citations" not in note else [])
    cited = {citation.marker for citation in citations}
    kept = {key: note[key] for key in _OF_NOTE if key in note}
    state = "paused" if pending else note.get("state", _state(messages))
    interrupted = INTERRUPTED if state == "stopped" and not note else None
    return Turn(
        index=index,
        **_question(messages[0]),
        run=run_id_of(session.id, index) if pending else None,
        text=text,
        tools=list(_with_notes(_calls(messages, pending), note.get("calls", {}))),
        citations=citations,
        passages=[p.model_copy(update={"cited": p.marker in cited}) for p in passages.values()],
        **{"state": state, "error": interrupted, **kept},
    )


_OF_NOTE = ("reasoning", "sentences", "usage", "seconds", "model", "stop_reason", "error")


def _text(messages: Sequence[Message]) -> str:
    """The answer: the last text of the assistant, which may be a part of one."""
    last = messages[-1]
    return last.text if last.role == "assistant" and not last.tool_calls else ""


def _state(messages: Sequence[Message]) -> TurnState:
    """The state of a turn without a note: what another program wrote is done."""
    return "done" if _text(messages) else "stopped"


def new_turn(index: int, question: Message) -> Turn:
    """A turn whose answer has not begun."""
    return Turn(index=index, **_question(question), passages=list(passages_of([question])))


def _question(message: Message) -> dict[str, Any]:
    """A question with the names of its files and the number of its images."""
    names = dict.fromkeys(passage.chunk.source for passage in message.passages)
    return {
        "question": message.text,
        "attachments": list(names),
        "images": len(images(message)),
    }


def passages_of(
    messages: Iterable[Message], pending: Pending | None = None
) -> Iterator[SourcePassage]:
    """The passages that a turn showed to the model, each once."""
    seen: set[str] = set()
    outcomes = [each for each in pending.outcomes if isinstance(each, Message)] if pending else []
    for message in (*messages, *outcomes):
        for passage in message.passages:
            if passage.marker not in seen:
                seen.add(passage.marker)
                yield record_of(passage)


def record_of(passage: Passage) -> SourcePassage:
    return passage_record(passage.chunk, passage.marker, passage.relevance)


def _calls(messages: Sequence[Message], pending: Pending | None) -> Iterator[CallRecord]:
    """The calls of a turn with their results, and those that wait."""
    results = {message.tool_call_id: message for message in messages if message.role == "tool"}
    for message in messages:
        for call in message.tool_calls:
            record = call_record(call, results.get(call.id))
            lost = {"state": "failed", "ok": False} if call.id not in results else {}
            yield record.model_copy(update=lost)
    if pending is None:
        return
    waiting = {call.id: call for call in pending.waiting}
    for call, outcome in zip(pending.message.tool_calls, pending.outcomes, strict=True):
        if isinstance(outcome, Message):
            yield call_record(call, outcome)
        elif call.id not in waiting:  # a sub-agent's, in which others wait
            yield call_record(call)
    for call in waiting.values():
        yield call_record(call).model_copy(update={"state": "waiting"})


def _with_notes(calls: Iterable[CallRecord], notes: Mapping[str, Any]) -> Iterator[CallRecord]:
    """The calls with what the run knew of them, each followed by those of a sub-agent inside it."""
    for call in calls:
        yield _noted(call, notes)
        for key, noted in notes.items():
            if key.startswith(f"{call.id}/"):
                lost = {"state": "failed", "ok": False} if noted["state"] == "running" else {}
                yield CallRecord(**noted | lost)


def _noted(call: CallRecord, notes: Mapping[str, Any]) -> CallRecord:
    """A call with what the run knew of it: a denial, its time, and arguments that were changed."""
    noted = notes.get(call.id)
    if noted is None or call.state not in ("done", "failed"):
        return call
    state = "denied" if noted["state"] == "denied" else call.state
    return call.model_copy(
        update={"state": state, "seconds": noted["seconds"], "arguments": noted["arguments"]}
    )


def _cited_passage(
    marker: str, shown: Mapping[str, SourcePassage], sources: Sources
) -> SourcePassage | None:
    """A cited passage, which an earlier turn may have shown."""
    if marker in shown:
        return shown[marker].model_copy(update={"cited": True})
    chunk = sources.find(marker)
    return None if chunk is None else passage_record(chunk, marker, cited=True)


def _resolved(
    text: str, sources: Sources, shown: Mapping[str, SourcePassage]
) -> list[CitationRecord]:
    """The citations of a text that nobody judged: its markers."""
    groups = markers(text, sources.texts()) if len(sources) else ()
    numbers = dict.fromkeys(n for match in groups for n in numbers_in(match.group()))
    return [
        CitationRecord(marker=n, passage=p, start=p.start, end=p.end, page=p.page)
        for n in numbers
        if (p := _cited_passage(n, shown, sources))
    ]
