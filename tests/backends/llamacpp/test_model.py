"""GGUF files in this process: tokens, windows, cancellation, the socket, signals and errors."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Capabilities, Options
from agentkit.backends.llamacpp import (
    Engine,
    LlamaCppModel,
    Package,
    completion_parts,
    find_file,
    request_body,
    server_client,
)
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Done, ReasoningDelta, TextDelta
from agentkit.messages import ImagePart, Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.backends.tiny_gguf import WINDOW, write_tiny_gguf

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")

pytestmark = pytest.mark.slow
HI = [Message("user", "Name three colours.")]
GREEDY = Options(temperature=0.0, max_tokens=4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf", reason="gguf is not installed")
    return write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture(scope="module")
def shared(smollm2_gguf: Path) -> Iterator[LlamaCppModel]:
    model = LlamaCppModel("smollm2", max_context=512, threads=1)
    yield model
    asyncio.run(model.close())


@pytest.fixture
async def small(tiny: Path) -> AsyncIterator[LlamaCppModel]:
    model = LlamaCppModel(str(tiny), threads=1)
    yield model
    await model.close()


async def test_text_comes_token_by_token_with_true_counts(shared: LlamaCppModel) -> None:
    parts = await collected(shared.stream(HI, (), GREEDY))
    assert sum(isinstance(part, TextDelta) for part in parts) > 1
    assert parts[-2] == Usage(34, 4)
    assert parts[-1] == Done("length", "gguf:smollm2")


async def test_a_forced_call_is_made(shared: LlamaCppModel, lookup: Tool) -> None:
    options = replace(GREEDY, tool_choice="required", max_tokens=60)
    parts = await collected(shared.stream(HI, [lookup], options))
    [made] = [part for part in parts if isinstance(part, ToolCall)]
    assert made.name == "lookup"
    assert set(made.arguments) == {"city"}
    assert parts[-1] == Done("tool_calls", "gguf:smollm2")


async def test_tokens_are_counted_by_the_model_once_it_is_loaded(shared: LlamaCppModel) -> None:
    assert LlamaCppModel("smollm2").count_tokens("abcdef") == 2
    assert await shared.context_window() == 512
    assert shared.count_tokens("Hello world") == 2


async def test_a_prompt_beyond_the_window_is_refused(shared: LlamaCppModel) -> None:
    with pytest.raises(ModelError, match=r"prompt of \d+ tokens .* window is 512 .*max_context"):
        await collected(shared.stream([Message("user", "hi " * 1000)]))


async def test_leaving_while_the_prompt_is_read_stops_the_model(shared: LlamaCppModel) -> None:
    async def request() -> None:
        await collected(shared.stream([Message("user", "hi " * 400)], (), Options(max_tokens=400)))

    task = asyncio.create_task(request())
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(150):
        after = await collected(shared.stream(HI, (), replace(GREEDY, max_tokens=1)))
    assert isinstance(after[-1], Done)


async def test_a_schema_that_llama_cpp_does_not_know_is_one_clear_line(
    shared: LlamaCppModel,
) -> None:
    with pytest.raises(ModelError, match=r"unrecognized type foo.*JSON Schema") as raised:
        await collected(shared.stream(HI, (), Options(schema={"type": "foo"})))
    assert "\n" not in str(raised.value)


async def test_the_models_own_window_bounds_max_context(small: LlamaCppModel) -> None:
    assert await small.context_window() == WINDOW
    assert await small.capabilities() == Capabilities(forced_tools=True, json_schema=True)


async def test_images_are_refused(small: LlamaCppModel) -> None:
    with pytest.raises(ModelError, match="reads no images"):
        await collected(small.stream([Message("user", (ImagePart(b""),))]))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such sockets")
def test_no_port_is_opened_and_the_socket_is_the_users_alone(tiny: Path) -> None:
    engine = Engine("gguf:tiny", tiny, 64, 1)
    assert engine.address.startswith("unix://")
    path = Path(engine.address.removeprefix("unix://"))
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    with server_client(engine.address, "guessed") as client:
        assert client.post("/tokenize", json={"content": "hi"}).status_code == 401
    del engine
    assert not path.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")
def test_loading_leaves_the_signal_handlers_as_they_were(tiny: Path) -> None:
    received: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        engine = Engine("gguf:tiny", tiny, 64, 1)
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    del engine


async def test_a_file_of_another_format_is_named() -> None:
    model = LlamaCppModel(__file__)
    with pytest.raises(ModelError, match="is not a GGUF file"):
        await collected(model.stream(HI))
    await model.close()


def test_a_missing_package_names_the_command_that_brings_it() -> None:
    absent = {"smollm2": Package("no_such_module", "no-such-module")}
    with pytest.raises(ModelError, match="agentkit models pull smollm2"):
        find_file("smollm2", absent)


async def test_without_xllamacpp_the_extra_is_named(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    model = LlamaCppModel(str(tiny))
    with pytest.raises(ConfigError, match=r"pip install 'agentkit-rag\[gguf\]'"):
        await collected(model.stream(HI))
    await model.close()


def test_a_seeded_answer_takes_nothing_from_the_cache(lookup: Tool) -> None:
    assert request_body(HI, (), Options(seed=1))["cache_prompt"] is False
    body = request_body(HI, [lookup], Options(tool_choice="lookup", extra={"top_k": 3}))
    assert body["cache_prompt"] is True
    assert body["top_k"] == 3
    call = body["response_format"]["json_schema"]["schema"]
    assert call["properties"]["name"] == {"const": "lookup"}


NATIVE = (
    "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}({{ c.function.name }} {{ c.function.arguments | tojson }})"
    "{% endfor %}{% endfor %}"
)
SINGLE = (
    "{% for m in messages %}{% if m.tool_calls and m.tool_calls | length != 1 %}"
    "{{ raise_exception('only single tool-calls at once') }}{% endif %}{% endfor %}"
)
CALLS = tuple(ToolCall(city, "lookup", {"city": city}) for city in ("Rome", "Oslo"))
TALK = [
    Message("user", "Where?"),
    Message("assistant", "", CALLS),
    *(Message("tool", "sunny", tool_call_id=call.id) for call in CALLS),
]


@pytest.mark.parametrize(
    ("template", "is_native"),
    [
        (NATIVE, True),
        ("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", False),
        (SINGLE + NATIVE, True),
    ],
    ids=["tools and calls", "no tools", "one call at once"],
)
async def test_tools_are_described_by_the_models_own_template_where_it_takes_them(
    tmp_path: Path, lookup: Tool, template: str, is_native: bool
) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    path = write_tiny_gguf(tmp_path / "tiny.gguf", template, 2048)
    model = LlamaCppModel(str(path), threads=1, max_context=2048)
    engine = Engine("gguf:tiny", path, 2048, 1)
    assert engine.takes_tools == is_native
    # The template may refuse a conversation, and llama.cpp cannot read what random weights write as
    # calls: then tools stand in the prompt. A byte is a token, and that description is long.
    parts = await collected(model.stream(TALK, [lookup], GREEDY))
    [usage] = [part for part in parts if isinstance(part, Usage)]
    assert usage.input_tokens > 300
    await model.close()


async def test_calls_that_llama_cpp_reads_come_in_pieces(lookup: Tool) -> None:
    async def chunks() -> AsyncIterator[Any]:
        for delta in (
            {"reasoning_content": "hm", "content": None},
            {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "lookup"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '{"city": '}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": '"Rome"}'}}]},
        ):
            yield {"choices": [{"delta": delta}]}
        yield {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]}
        yield {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}

    assert await collected(completion_parts(chunks(), "gguf:x", [lookup])) == [
        ReasoningDelta("hm"),
        ToolCall("a", "lookup", {"city": "Rome"}),
        Usage(3, 2),
        Done("tool_calls", "gguf:x"),
    ]
