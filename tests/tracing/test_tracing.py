"""Each run as records: in files of the user's own, as spans, and run again."""

import errno
import json
import os
import random
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from agentkit import Agent, KnowledgeBase, Session, tool
from agentkit.agent.replay import replay
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Document
from agentkit.errors import ConfigError, ModelError
from agentkit.messages import Record, ToolCall
from agentkit.tools.tool import Tool
from agentkit.tracing.otel import OtelSinks
from agentkit.tracing.trace import ReadTrace, TraceFiles, Tracing, read_trace
from tests.conftest import TermEmbedder


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def _script() -> ScriptedModel:
    return ScriptedModel([ToolCall("1", "add", {"a": 1, "b": 2}), "three"])


@pytest.fixture
def files(tmp_path: Path) -> TraceFiles:
    return TraceFiles(tmp_path / "traces", keep=3)


async def _traced(
    files: TraceFiles,
    prompt: str = "1 + 2?",
    model: ScriptedModel | None = None,
    tools: tuple[Tool, ...] = (add,),
    session: Session | None = None,
) -> ReadTrace:
    agent = Agent(model or _script(), tools, tracing=Tracing(files))
    await agent.run(prompt, session)
    return read_trace(files.paths()[-1])


async def test_a_trace_holds_requests_replies_tools_and_the_end(files: TraceFiles) -> None:
    trace = await _traced(files)
    kinds = [record["kind"] for record in trace.records]
    assert kinds == ["run", "request", "reply", "tool", "request", "reply", "end"]
    assert trace.of("tool")[0]["result"] == "3"
    assert trace.of("reply")[0]["calls"] == [
        {"id": "1", "name": "add", "arguments": {"a": 1, "b": 2}}
    ]
    assert trace.of("end")[0]["text"] == "three"


async def test_a_request_is_written_once_and_read_back_whole(files: TraceFiles) -> None:
    trace = await _traced(files)
    assert [len(record["messages"]) for record in trace.of("request")] == [2, 2]
    assert [len(request) for request in trace.requests()] == [2, 4]
    assert trace.requests()[1][:2] == trace.requests()[0]


async def test_only_the_owner_can_read_a_trace_and_the_oldest_go(files: TraceFiles) -> None:
    for n in range(5):
        await _traced(files, f"question {n}")
    assert len(files.paths()) == 3
    assert stat.S_IMODE(files.paths()[0].stat().st_mode) == 0o600


def test_of_two_runs_in_one_second_the_last_is_the_one_written_last(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path)
    for at, name in enumerate(("f", "0", "a")):
        path = tmp_path / f"20260101-120000-{name}.jsonl"
        path.write_text("", encoding="utf-8")
        os.utime(path, ns=(at, at))
    assert files.find("last").stem == "20260101-120000-a"
    assert [path.stem[-1] for path in files.paths()] == ["f", "0", "a"]


async def test_a_failed_request_is_in_the_trace(files: TraceFiles) -> None:
    with pytest.raises(ModelError):
        await _traced(files, model=ScriptedModel([ModelError("no server")]))
    trace = read_trace(files.paths()[-1])
    assert trace.of("reply")[0]["error"] == "ModelError: no server"


async def test_a_trace_that_a_crash_cut_short_is_still_read(files: TraceFiles) -> None:
    await _traced(files)
    path = files.paths()[-1]
    path.write_text(path.read_text(encoding="utf-8")[:-30], encoding="utf-8")
    assert read_trace(path).of("end") == []


@pytest.mark.parametrize("seed", range(40))
async def test_a_damaged_trace_is_read_up_to_the_damage_or_refused(
    seed: int, files: TraceFiles
) -> None:
    await _traced(files)
    path, chance = files.paths()[-1], random.Random(seed)
    whole, content = read_trace(path), bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 3)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    path.write_bytes(content)
    with suppress(ConfigError):
        found = read_trace(path)
        assert len(found.records) <= len(whole.records)
        assert len(found.requests()) <= 2
        await replay(Agent("extractive", [add]), found)


class FullDisk:
    """A sink whose disk is full after some records."""

    def __init__(self, room: int) -> None:
        self._room = room

    def write(self, record: Record) -> None:
        self._room -= 1
        if self._room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")

    def close(self) -> None: ...


@pytest.mark.parametrize("room", [0, 2])
async def test_a_run_goes_on_where_its_trace_cannot_be_written(
    room: int, files: TraceFiles, caplog: pytest.LogCaptureFixture
) -> None:
    tracing = Tracing(lambda _: FullDisk(room), files)
    answer = await Agent(ScriptedModel(["three"]), tracing=tracing).run("1 + 2?")
    assert answer.text == "three"
    assert caplog.text.count("No space left") == 1
    assert read_trace(files.paths()[-1]).of("end")


async def test_a_run_made_again_on_the_same_answers_is_the_same(files: TraceFiles) -> None:
    session = Session()
    await Agent(ScriptedModel(["hello"])).run("hi", session)
    trace = await _traced(files, session=session)
    answer, differences = await replay(Agent("extractive", [add]), trace)
    assert answer is not None
    assert answer.text == "three"
    assert differences == []


@pytest.mark.parametrize(
    "follow_up",
    [
        ScriptedModel(["In which month is PyCon?", "In May [1]."]),
        ExtractiveModel(),
    ],
    ids=["rewritten by the model", "joined"],
)
async def test_a_replayed_follow_up_searches_as_the_run_did(
    files: TraceFiles, tmp_path: Path, embedder: TermEmbedder, follow_up: Model
) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add([Document("py.md", "# PyCon\n\nPyCon takes place in May.", "PyCon")])
    session = Session()
    await Agent(ExtractiveModel(), knowledge=knowledge).run("When is PyCon?", session)
    agent = Agent(follow_up, knowledge=knowledge, tracing=Tracing(files))
    await agent.run("and in which month?", session)
    stored = files.paths()
    _, differences = await replay(agent, read_trace(stored[-1]))
    assert differences == []
    assert files.paths() == stored
    knowledge.close()


async def test_a_replay_says_where_a_tool_now_gives_something_else(files: TraceFiles) -> None:
    trace = await _traced(files)

    @tool(name="add")
    def changed(a: int, b: int) -> int:
        """Add."""
        return a + b + 1

    _, differences = await replay(Agent("extractive", [changed]), trace)
    assert [d.place for d in differences] == ["request 2, message 4 (tool)"]
    assert (differences[0].then, differences[0].now) == ("3", "4")


async def test_a_replay_that_asks_for_more_than_was_answered_says_so(files: TraceFiles) -> None:
    trace = await _traced(files)
    path = files.paths()[-1]
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(lines[:4]), encoding="utf-8")
    answer, differences = await replay(Agent("extractive", [add]), read_trace(path))
    assert answer is None
    assert "no further reply" in differences[-1].now
    assert trace.run["prompt"] == "1 + 2?"


def test_a_file_that_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"kind": "other"}), encoding="utf-8")
    with pytest.raises(ConfigError, match="not a trace"):
        read_trace(tmp_path / "x.jsonl")


@pytest.mark.parametrize("content", [False, True])
async def test_spans_follow_the_conventions_and_hold_texts_only_on_request(
    content: bool,
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(OtelSinks(provider, content=content))
    await Agent(_script(), [add], tracing=tracing).run("a secret sum")
    spans = exporter.get_finished_spans()
    assert sorted(span.name for span in spans) == [
        "chat scripted",
        "chat scripted",
        "execute_tool add",
        "invoke_agent agentkit",
    ]
    root = next(span for span in spans if span.name.startswith("invoke_agent"))
    assert root.attributes
    parents = {span.parent and span.parent.span_id for span in spans if span is not root}
    assert parents == {root.context.span_id}
    assert root.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert isinstance(tokens := root.attributes["gen_ai.usage.input_tokens"], int)
    assert tokens > 0
    assert ("a secret sum" in str([span.attributes for span in spans])) is content
