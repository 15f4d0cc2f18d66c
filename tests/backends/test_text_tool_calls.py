"""Tool calls and thinking in text, in every format, split anywhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.backends.base import Options
from agentkit.backends.text_tool_calls import THINK, TextCallParser, parse_text_calls
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ToolCall, Usage
from agentkit.tools.names import UNREADABLE
from agentkit.tools.tool import Tool

NAMES = ("lookup", "add", "web.search")
Split = tuple[str, str, list[tuple[str, object]]]

PARIS = ("lookup", {"city": "Paris"})
SUM = ("add", {"a": 1, "b": 2})
DS = "<｜tool▁calls▁begin｜>{}<｜tool▁calls▁end｜>"
DS_CALL = "<｜tool▁call▁begin｜>{}<｜tool▁call▁end｜>"
FENCED = "function<｜tool▁sep｜>{}\n```json\n{}\n```"

# text written, text left, thinking, calls
CASES: list[tuple[str, str, str, list[tuple[str, object]]]] = [
    # plain text
    ("", "", "", []),
    ("Hello, world.", "Hello, world.", "", []),
    ("  two\n\nlines \n", "  two\n\nlines \n", "", []),
    ("你好，世界 🌍", "你好，世界 🌍", "", []),
    ("a < b and <tool", "a < b and <tool", "", []),
    ("[1] says so, [2] too", "[1] says so, [2] too", "", []),
    ("[lookup it up]", "[lookup it up]", "", []),
    ('{"answer": 42}', '{"answer": 42}', "", []),
    ('{"name": "Ada", "age": 36}', '{"name": "Ada", "age": 36}', "", []),
    ("```python\nprint(1)\n```", "```python\nprint(1)\n```", "", []),
    ('```json\n{"a": 1}\n```', '```json\n{"a": 1}\n```', "", []),
    ("lookup(city=1)", "lookup(city=1)", "", []),
    ("   ", "   ", "", []),
    # thinking
    ("<think>hm</think>Yes.", "Yes.", "hm", []),
    ("\n<think>\nhm\n</think>\n\nYes.", "Yes.", "hm", []),
    ("<think>\n\n</think>\n\nYes.\n", "Yes.\n", "", []),
    ("<think>never closed", "", "never closed", []),
    ("<think>a</think><think>b</think>c", "c", "ab", []),
    ("<think>a < b </thin</think>c", "c", "a < b </thin", []),
    ("The tag <think> opens.", "The tag <think> opens.", "", []),
    ("<thinking> is a word", "<thinking> is a word", "", []),
    ('<think>x</think>\n<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}</tool_call>',
     "", "x", [PARIS]),
    ('<think>x</think>{"name":"lookup","parameters":{"city":"Paris"}}', "", "x", [PARIS]),
    # Hermes and Qwen
    ('<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}</tool_call>', "", "", [PARIS]),
    ('<tool_call>\n{"name": "lookup", "arguments": {"city": "Paris"}}\n</tool_call>',
     "", "", [PARIS]),
    ('<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}</tool_call>\n'
     '<tool_call>{"name":"add","arguments":{"a":1,"b":2}}</tool_call>', "", "", [PARIS, SUM]),
    ('<tool_call>\n{"name":"lookup","arguments":{"city":"Paris"}}\n'
     '{"name":"add","arguments":{"a":1,"b":2}}\n</tool_call>', "", "", [PARIS, SUM]),
    ('Let me see.\n<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}</tool_call>\n',
     "Let me see.", "", [PARIS]),
    ('A\n<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}</tool_call>\nB',
     "A\n\nB", "", [PARIS]),
    ('<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}', "", "", [PARIS]),
    ('<tool_call>{"name":"lookup","arguments":{"city":"Paris"}}<|im_end|>', "", "", [PARIS]),
    ('<tool_call>{"name":"lookup","arguments":"{\\"city\\": \\"Paris\\"}"}</tool_call>',
     "", "", [PARIS]),
    ('<tool_call>{"name":"lookup","arguments":"Paris"}</tool_call>', "", "", [("lookup", "Paris")]),
    ('<tool_call>{"name":"lookup","arguments":null}</tool_call>', "", "", [("lookup", {})]),
    ('<tool_call>{"name":"lookup"}</tool_call>', "", "", [("lookup", {})]),
    ('<tool_call>{"name":"unknown","arguments":{}}</tool_call>', "", "", [("unknown", {})]),
    ('<tool_call>{"name":"lookup","arguments":{"city":"a\nb"}}</tool_call>',
     "", "", [("lookup", {"city": "a\nb"})]),
    ('<tool_call>{"name":"lookup","arguments":{"city":"北京"}}</tool_call>',
     "", "", [("lookup", {"city": "北京"})]),
    ('<tool_call>{"name":"lookup","argum</tool_call>', "", "",
     [(UNREADABLE, '<tool_call>{"name":"lookup","argum</tool_call>')]),
    ("<tool_call>lookup Paris</tool_call> ok", "ok", "",
     [(UNREADABLE, "<tool_call>lookup Paris</tool_call>")]),
    ('<tool_call>{"name":"lookup","arg', "", "",
     [(UNREADABLE, '<tool_call>{"name":"lookup","arg')]),
    ("<tool_call>[]</tool_call>", "", "", [(UNREADABLE, "<tool_call>[]</tool_call>")]),
    ("<tool_call></tool_call>", "", "", [(UNREADABLE, "<tool_call></tool_call>")]),
    ('<tool_call>{"function":{"name":"lookup","arguments":{"city":"Paris"}}}</tool_call>',
     "", "", [PARIS]),
    # Llama 3, JSON
    ('{"name": "lookup", "parameters": {"city": "Paris"}}', "", "", [PARIS]),
    ('\n{"name": "lookup", "parameters": {"city": "Paris"}}<|eot_id|>', "", "", [PARIS]),
    ('{"type": "function", "name": "lookup", "parameters": {"city": "Paris"}}', "", "", [PARIS]),
    ('{"type":"function","function":{"name":"lookup","arguments":{"city":"Paris"}}}',
     "", "", [PARIS]),
    ('{"parameters": {"city": "Paris"}, "name": "lookup"}', "", "", [PARIS]),
    ('{"name":"lookup","parameters":{"city":"Paris"}}; {"name":"add","parameters":{"a":1,"b":2}}',
     "", "", [PARIS, SUM]),
    ('[{"name":"lookup","arguments":{"city":"Paris"}},{"name":"add","arguments":{"a":1,"b":2}}]',
     "", "", [PARIS, SUM]),
    ('<|python_tag|>{"name": "lookup", "parameters": {"city": "Paris"}}', "", "", [PARIS]),
    ('<|python_tag|>lookup.call(city="Paris")<|eom_id|>', "", "", [PARIS]),
    ("<|python_tag|>print(1)", "", "", [(UNREADABLE, "<|python_tag|>print(1)")]),
    ('{"name": "other", "parameters": {"city": "Paris"}}',
     '{"name": "other", "parameters": {"city": "Paris"}}', "", []),
    ('{"name": "lookup", "parameters": {"city": "Paris"}} is how I would call it.',
     '{"name": "lookup", "parameters": {"city": "Paris"}} is how I would call it.', "", []),
    ('{"name": "lookup", "parameters": {"city": "P', "", "",
     [(UNREADABLE, '{"name": "lookup", "parameters": {"city": "P')]),
    # Llama, pythonic
    ('[lookup(city="Paris")]', "", "", [PARIS]),
    ("[lookup(city='Paris'), add(a=1, b=2)]", "", "", [PARIS, SUM]),
    ("[add(a=[1, -2.5], b={'x': true, 'y': null})]", "", "",
     [("add", {"a": [1, -2.5], "b": {"x": True, "y": None}})]),
    ("[add()]", "", "", [("add", {})]),
    ('[web.search(q="x")]', "", "", [("web.search", {"q": "x"})]),
    ('[lookup(city="C:\\d")]', "", "", [("lookup", {"city": "C:\\d"})]),
    ('[lookup("Paris")]', '[lookup("Paris")]', "", []),
    ("[lookup(city=open('x'))]", "[lookup(city=open('x'))]", "", []),
    ("[lookup(city=b'x')]", "[lookup(city=b'x')]", "", []),
    ("[lookup(**x)]", "[lookup(**x)]", "", []),
    ("[lookup(city='Paris'), other()]", "[lookup(city='Paris'), other()]", "", []),
    ("[lookup(city='Par", "[lookup(city='Par", "", []),
    # Mistral
    ('[TOOL_CALLS][{"name":"lookup","arguments":{"city":"Paris"}}]', "", "", [PARIS]),
    ('[TOOL_CALLS] [{"name":"lookup","arguments":{"city":"Paris"},"id":"abc"},'
     '{"name":"add","arguments":{"a":1,"b":2}}]</s>', "", "", [PARIS, SUM]),
    ('[TOOL_CALLS]lookup[ARGS]{"city":"Paris"}', "", "", [PARIS]),
    ('[TOOL_CALLS]lookup[CALL_ID]a1b2[ARGS]{"city":"Paris"}', "", "", [PARIS]),
    ('[TOOL_CALLS]lookup[ARGS]{"city":"Paris"}[TOOL_CALLS]add[ARGS]{"a":1,"b":2}</s>',
     "", "", [PARIS, SUM]),
    ('[TOOL_CALLS]lookup{"city":"Paris"}', "", "", [PARIS]),
    ('Sure.[TOOL_CALLS]lookup[ARGS]{"city":"Paris"}', "Sure.", "", [PARIS]),
    ('[TOOL_CALLS]lookup[ARGS]{"city":', "", "",
     [(UNREADABLE, '[TOOL_CALLS]lookup[ARGS]{"city":')]),
    ("[TOOL_CALLS]nothing", "", "", [(UNREADABLE, "[TOOL_CALLS]nothing")]),
    # DeepSeek
    (DS.format(DS_CALL.format(FENCED.format("lookup", '{"city":"Paris"}'))), "", "", [PARIS]),
    (DS.format(DS_CALL.format('lookup<｜tool▁sep｜>{"city":"Paris"}')), "", "", [PARIS]),
    (DS.format(
        DS_CALL.format(FENCED.format("lookup", '{"city":"Paris"}')) + "\n"
        + DS_CALL.format(FENCED.format("add", '{"a":1,"b":2}'))), "", "", [PARIS, SUM]),
    ("Wait.\n" + DS.format(DS_CALL.format('add<｜tool▁sep｜>{"a":1,"b":2}'))
     + "<｜end▁of▁sentence｜>", "Wait.", "", [SUM]),
    ('<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>lookup<｜tool▁sep｜>{"city":"Paris"}',
     "", "", [PARIS]),
    (DS.format("none"), "", "", [(UNREADABLE, DS.format("none"))]),
    (DS.format(DS_CALL.format("lookup<｜tool▁sep｜>{oops")), "", "",
     [(UNREADABLE, DS.format(DS_CALL.format("lookup<｜tool▁sep｜>{oops")))]),
    # fenced
    ('```json\n{"name": "lookup", "arguments": {"city": "Paris"}}\n```', "", "", [PARIS]),
    ('```\n{"name": "lookup", "arguments": {"city": "Paris"}}\n```\n', "", "", [PARIS]),
    ('```json\n[{"name":"add","arguments":{"a":1,"b":2}}]\n```', "", "", [SUM]),
    ('```json\n{"name": "lookup", "arguments": {"city": "Paris"}}\n```\nThat was JSON.',
     '```json\n{"name": "lookup", "arguments": {"city": "Paris"}}\n```\nThat was JSON.', "", []),
    ('See:\n```json\n{"name": "lookup", "arguments": {}}\n```',
     'See:\n```json\n{"name": "lookup", "arguments": {}}\n```', "", []),
]  # fmt: skip


def read(pieces: Iterable[str], names: Iterable[str] = NAMES, thinking: bool = False) -> Split:
    """Text, thoughts and calls of what the parser makes of the pieces."""
    parser = TextCallParser(called=tuple(names))
    return summed(fed(parser, *([THINK] if thinking else []), *pieces))


def fed(parser: TextCallParser, *pieces: str) -> list[ModelPart]:
    """All parts of an answer with this text."""
    parts: list[ModelPart] = [*map(TextDelta, pieces), Done("stop", "m")]
    return [found for part in parts for found in parser.feed(part)]


def summed(parts: Iterable[ModelPart]) -> Split:
    text, thought = "", ""
    calls: list[tuple[str, object]] = []
    for part in parts:
        match part:
            case TextDelta(piece):
                text += piece
            case ReasoningDelta(piece):
                thought += piece
            case ToolCall(_, name, arguments):
                calls.append((name, arguments))
    return text, thought, calls


@pytest.mark.parametrize(("written", "text", "thought", "calls"), CASES)
def test_text_thinking_and_calls_are_separated(
    written: str, text: str, thought: str, calls: list[tuple[str, object]]
) -> None:
    assert read([written]) == (text, thought, calls)


@pytest.mark.parametrize("written", [case[0] for case in CASES])
def test_character_by_character_gives_the_same(written: str) -> None:
    assert read(written) == read([written])


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_split_gives_the_same(data: st.DataObject) -> None:
    written = "".join(
        data.draw(st.lists(st.sampled_from([case[0] for case in CASES]), min_size=1, max_size=3))
    )
    cuts = data.draw(st.lists(st.integers(0, len(written)), max_size=12))
    edges = [0, *sorted(cuts), len(written)]
    pieces = [written[a:b] for a, b in pairwise(edges)]
    thinking = data.draw(st.booleans())
    assert read(pieces, thinking=thinking) == read([written], thinking=thinking)


@given(st.text(alphabet="<tool_cal>/[]{}\"':,(=) \n`TOOLCALSjsn12｜▁", max_size=60))
@settings(max_examples=300, deadline=None)
def test_noise_raises_nothing_and_is_split_alike(noise: str) -> None:
    assert read(noise) == read([noise])


@pytest.mark.parametrize("written", [case[0] for case in CASES if not case[2]])
def test_without_tools_nothing_is_a_call(written: str) -> None:
    assert read([written], names=())[2] == []


def test_plain_text_is_yielded_at_once() -> None:
    parser = TextCallParser(called=NAMES)
    assert parser.feed(TextDelta("Hello")) == [TextDelta("Hello")]
    assert parser.feed(TextDelta(", you")) == [TextDelta(", you")]


def test_a_marker_opened_by_the_prompt_begins_the_thinking() -> None:
    assert read(["hm", "</think>", "\nYes"], thinking=True) == ("Yes", "hm", [])


def test_each_call_gets_an_id_of_its_own() -> None:
    call = '<tool_call>{"name":"add","arguments":{}}</tool_call>'
    parts = fed(TextCallParser(called=NAMES), call + call)
    assert len({part.id for part in parts if isinstance(part, ToolCall)}) == 2


def test_an_id_that_the_model_gives_is_preserved() -> None:
    written = '[TOOL_CALLS][{"name":"add","arguments":{},"id":"abc123xyz"}]'
    assert fed(TextCallParser(called=NAMES), written)[0] == ToolCall("abc123xyz", "add", {})


def test_deep_nesting_cannot_be_read() -> None:
    deep = '<tool_call>{"name":"add","arguments":' + "[" * 100_000 + "</tool_call>"
    assert read([deep]) == ("", "", [(UNREADABLE, deep)])


ADD = Tool("add", "Add two numbers.", {"type": "object"}, lambda: "")
LOOKUP = Tool("lookup", "Look a city up.", {"type": "object"}, lambda: "")
WRITTEN = '<tool_call>{"name":"add","arguments":{"a":1}}</tool_call>'


async def parsed(*parts: ModelPart, options: Options = Options()) -> list[ModelPart]:
    async def answer() -> AsyncGenerator[ModelPart, None]:
        for part in (*parts, Usage(1, 1), Done("stop", "m")):
            yield part

    return [part async for part in parse_text_calls(answer(), [ADD, LOOKUP], options)]


@pytest.mark.parametrize(
    ("options", "calls"),
    [
        (Options(), ["add"]),
        (Options(tool_choice="add"), ["add"]),
        (Options(tool_choice="required", schema={"type": "object"}), ["add"]),
        (Options(tool_choice="none"), []),
        (Options(schema={"type": "object"}), []),
    ],
)
async def test_the_options_decide_whether_text_can_be_a_call(
    options: Options, calls: list[str]
) -> None:
    parts = await parsed(TextDelta(WRITTEN), options=options)
    text, _, found = summed(parts)
    assert [name for name, _ in found] == calls
    assert text == ("" if calls else WRITTEN)
    assert parts[-1] == Done("tool_calls" if calls else "stop", "m")


BARE = '{"name":"add","arguments":{"a":1}}'


@pytest.mark.parametrize("written", [WRITTEN, BARE])
@pytest.mark.parametrize("native_first", [True, False])
async def test_a_call_the_server_reports_replaces_the_same_call_in_the_text(
    written: str, native_first: bool
) -> None:
    native = ToolCall("native", "add", {"a": 1})
    order: list[ModelPart] = (
        [native, TextDelta(written)] if native_first else [TextDelta(written), native]
    )
    parts = await parsed(*order)
    assert [part for part in parts if isinstance(part, ToolCall)] == [native]
    assert summed(parts)[0] == ""


async def stalling(*pieces: str, then: str = "") -> tuple[list[str], list[ModelPart]]:
    """The text that came before the server went on, and all parts."""
    go_on = asyncio.Event()

    async def answer() -> AsyncGenerator[ModelPart, None]:
        for piece in pieces:
            yield TextDelta(piece)
        await go_on.wait()
        yield TextDelta(then)
        yield Done("stop", "m")

    parts: list[ModelPart] = []
    early: list[str] = []
    async for part in parse_text_calls(answer(), [LOOKUP], patience=0):
        parts.append(part)
        if "".join(p.text for p in parts if isinstance(p, TextDelta)) == "".join(pieces).strip():
            early = ["".join(pieces).strip()]
            go_on.set()
    return early, parts


@pytest.mark.parametrize(
    ("pieces", "then", "text", "calls"),
    [
        (["Half an ", "answer"], " comes.", "Half an answer comes.", []),
        (["a < b <"], " c", "a < b < c", []),
        (["is `"], "x` then", "is `x` then", []),
        (["Yes: <tool"], "box>", "Yes: <toolbox>", []),
        (["{"], '"a": 1}', '{"a": 1}', []),
        (["look", "up"], " it", "lookup it", []),
        (
            ['{"name": "lookup", '],
            '"arguments": {"city": "Rome"}}',
            '{"name": "lookup",',
            ["lookup"],
        ),
        (["So <tool_"], 'call>{"name": "lookup"}</tool_call>', "So <tool_", ["lookup"]),
    ],
)
async def test_held_text_is_released_where_the_server_stalls_and_a_call_in_it_is_found(
    pieces: list[str], then: str, text: str, calls: list[str]
) -> None:
    early, parts = await asyncio.wait_for(stalling(*pieces, then=then), 30)
    assert early == ["".join(pieces).strip()]
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)).strip() == text
    assert [part.name for part in parts if isinstance(part, ToolCall)] == calls
