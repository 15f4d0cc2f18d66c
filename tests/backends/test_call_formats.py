"""Calls in text as the model families write them, from public bug reports and chat templates."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest

from agentkit import tool
from agentkit.backends.text_tool_calls import TextCallParser
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

Made = list[tuple[str, Any]]


@tool
def get_weather(city: str, days: int = 1, detailed: bool = False, note: str = "") -> str:
    """Weather of a city."""
    return f"{city} {days} {detailed} {note}".strip()


@tool
def now() -> str:
    """The time."""
    return "12:00"


@tool
def search(query: str) -> str:
    """Search."""
    return query


TOOLS = [get_weather, now, search]
ROME = ("get_weather", {"city": "Rome", "days": 2})
JSON = '{"city": "Rome", "days": 2}'
QWEN = (
    "<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n<parameter=days>\n2\n"
    "</parameter>\n</function>"
)
INVOKE = (
    '<invoke name="get_weather">\n<parameter name="city">Rome</parameter>\n'
    '<parameter name="days">2</parameter>\n</invoke>'
)
GLM = "<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n<arg_key>days</arg_key>\n"
GLM = f"{GLM}<arg_value>2</arg_value>"
KIMI = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
    f"<|tool_call_argument_begin|>{JSON}<|tool_call_end|><|tool_calls_section_end|>"
)
DSML = (
    '<｜DSML｜{0}><｜DSML｜invoke name="get_weather"><｜DSML｜parameter name="city" string="true">'
    'Rome</｜DSML｜parameter><｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>'
    "</｜DSML｜invoke></｜DSML｜{0}>"
)

ONE_CALL = {
    "Hermes": f'<tool_call>\n{{"name": "get_weather", "arguments": {JSON}}}\n</tool_call>',
    "Hermes, Python's quotes": (
        "<tool_call>{'name': 'get_weather', 'arguments': {'city': 'Rome', 'days': 2}}</tool_call>"
    ),
    "Hermes, a trailing comma": (
        f'<tool_call>{{"name": "get_weather", "arguments": {JSON},}}</tool_call>'
    ),
    "Hermes, a bracket missing": (
        f'<tool_call>{{"name": "get_weather", "arguments": {JSON}</tool_call>'
    ),
    "Hermes, a bracket too many": (
        f'<tool_call>{{"name": "get_weather", "arguments": {JSON}}}}}</tool_call>'
    ),
    "Hermes in a fence within": (
        f'<tool_call>\n```json\n{{"name": "get_weather", "arguments": {JSON}}}\n```\n</tool_call>'
    ),
    "Hermes, a name before JSON": f"<tool_call>get_weather{JSON}</tool_call>",
    "Hermes, a name on a line": f"<tool_call>\nget_weather\n{JSON}\n</tool_call>",
    "Hermes, the name as the key": f'<tool_call>{{"get_weather": {JSON}}}</tool_call>',
    "Hermes in Python's syntax": '<tool_call>get_weather(city="Rome", days=2)</tool_call>',
    "Qwen 2.5 Coder": f'<tools>\n{{"name": "get_weather", "arguments": {JSON}}}\n</tools>',
    "Qwen3-Coder": f"<tool_call>\n{QWEN}\n</tool_call>",
    "Qwen3-Coder without the opening tag": f"{QWEN}\n</tool_call>",
    "Qwen3-Coder without the closing tags": f"<tool_call>\n{QWEN.removesuffix('</function>')}",
    "Qwen3-Coder on one line": (
        "<function=get_weather><parameter=city>Rome</parameter><parameter=days>2</parameter>"
        "</function>"
    ),
    "Qwen3-Coder, quotes around names": QWEN.replace("=get_weather", '="get_weather"'),
    "Qwen3-Coder, parameters not closed": (
        "<function=get_weather>\n<parameter=city>\nRome\n<parameter=days>\n2\n</function>"
    ),
    "Qwen3-Coder with JSON": f"<tool_call>\n<function=get_weather>\n{JSON}\n</function>",
    "GLM 4.5": f"<tool_call>get_weather\n{GLM}\n</tool_call>",
    "GLM 4.7": f"<tool_call>get_weather{GLM}</tool_call>".replace("\n", ""),
    "GLM, not closed": f"<tool_call>get_weather\n{GLM}\n",
    "GLM 4": f"get_weather\n{JSON}",
    "Kimi K2": KIMI,
    "Kimi K2 without a section": KIMI.replace("<|tool_calls_section_begin|>", "").replace(
        "<|tool_calls_section_end|>", ""
    ),
    "Kimi K2, not closed": KIMI.partition("<|tool_call_end|>")[0],
    "MiniMax M2": f"<minimax:tool_call>\n{INVOKE}\n</minimax:tool_call>",
    "MiniMax M1": (
        f'<tool_calls>\n{{"name": "get_weather", "arguments": {JSON}}}\n</tool_calls>'
    ),
    "Seed-OSS": f"<seed:tool_call>\n{QWEN}\n</seed:tool_call>",
    "LongCat": (
        f'<longcat_tool_call>{{"name": "get_weather", "arguments": {JSON}}}</longcat_tool_call>'
    ),
    "Claude": f"<function_calls>\n{INVOKE}\n</function_calls>",
    "Claude without the outer tag": INVOKE,
    "Claude 2": (
        "<function_calls><invoke><tool_name>get_weather</tool_name><parameters><city>Rome</city>"
        "<days>2</days></parameters></invoke></function_calls>"
    ),
    "a name and arguments in tags": (
        f"<tool_call><name>get_weather</name><arguments>{JSON}</arguments></tool_call>"
    ),
    "DeepSeek V3": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n"
        f"```json\n{JSON}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>"
    ),
    "DeepSeek V3.1": (
        f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{JSON}"
        "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"
    ),
    "DeepSeek without the outer marks": (
        f"<｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{JSON}<｜tool▁call▁end｜>"
    ),
    "DeepSeek V3.2": DSML.format("function_calls"),
    "DeepSeek V4": DSML.format("tool_calls"),
    "gpt-oss": (
        f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{JSON}<|call|>"
    ),
    "gpt-oss after its analysis": (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary "
        f"to=functions.get_weather <|constrain|>json<|message|>{JSON}<|call|>"
    ),
    "gpt-oss, the recipient in the role": (
        f"<|start|>assistant to=functions.get_weather<|channel|>commentary json<|message|>{JSON}"
    ),
    "gpt-oss on the analysis channel": (
        f"<|channel|>analysis to=functions.get_weather code<|message|>{JSON}<|call|>"
    ),
    "Llama 3.1, JSON": f'{{"name": "get_weather", "parameters": {JSON}}}',
    "Llama 3.1, Python's tag": f'<|python_tag|>{{"name": "get_weather", "parameters": {JSON}}}',
    "Llama 3.1, a function tag": f"<function=get_weather>{JSON}</function>",
    "Llama 3.1, a function tag that is not closed": f"<function=get_weather>{JSON}",
    "Llama 3.3 on Groq": f"get_weather{JSON}</function>",
    "Llama 3.3 on Groq, no bracket": f"<function=get_weather={JSON}</function>",
    "Llama 3.3 on Groq, no sign": f"<function=get_weather{JSON}</function>",
    "Llama 3.3 on Groq, an opening tag at the end": f"<function=get_weather>{JSON}<function>",
    "Llama 3.3 on Groq, a parenthesis": f"(function=get_weather>{JSON}</function>",
    "Llama 4": '[get_weather(city="Rome", days=2)]',
    "Llama 4 between its tags": '<|python_start|>[get_weather(city="Rome", days=2)]<|python_end|>',
    "Mistral, v3": f'[TOOL_CALLS][{{"name": "get_weather", "arguments": {JSON}}}]</s>',
    "Mistral, v11": f"[TOOL_CALLS]get_weather[ARGS]{JSON}",
    "Mistral, v11 with an id": f"[TOOL_CALLS]get_weather[CALL_ID]abcdefghi[ARGS]{JSON}",
    "Mistral, one object": f'[TOOL_CALLS]{{"name": "get_weather", "arguments": {JSON}}}',
    "Granite 3": f'<|tool_call|>[{{"name": "get_weather", "arguments": {JSON}}}]',
    "Granite 20B": f'<function_call> {{"name": "get_weather", "arguments": {JSON}}}',
    "Phi 4": f'functools[{{"name": "get_weather", "arguments": {JSON}}}]',
    "Phi 4 mini": f'<|tool_call|>[{{"name": "get_weather", "arguments": {JSON}}}]<|/tool_call|>',
    "Gemma 3": '```tool_code\nget_weather(city="Rome", days=2)\n```',
    "Gemma 3, printed": '```tool_code\nprint(default_api.get_weather(city="Rome", days=2))\n```',
    "Gemma 3, by position": '```tool_code\nget_weather("Rome", 2)\n```',
    "FunctionGemma": (
        "<start_function_call>call:get_weather{city:<escape>Rome<escape>,days:2}<end_function_call>"
    ),
    "Gemma 4": '<|tool_call>call:get_weather{city:<|"|>Rome<|"|>,days:2}<tool_call|>',
    "Command R": (
        '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "get_weather", '
        f'"parameters": {JSON}}}]<|END_ACTION|>'
    ),
    "Command R+": f'Action: ```json\n[{{"tool_name": "get_weather", "parameters": {JSON}}}]\n```',
    "InternLM": (
        '<|action_start|><|plugin|>\n{"name": "get_weather", "parameters": '
        f"{JSON}}}<|action_end|>"
    ),
    "LFM2": '<|tool_call_start|>[get_weather(city="Rome", days=2)]<|tool_call_end|>',
    "Nemotron": f'<TOOLCALL>[{{"name": "get_weather", "arguments": {JSON}}}]</TOOLCALL>',
    "Olmo 3": '<function_calls>\nget_weather(city="Rome", days=2)\n</function_calls>',
    "LM Studio": (
        f'[TOOL_REQUEST]{{"name": "get_weather", "arguments": {JSON}}}[END_TOOL_REQUEST]'
    ),
    "Qwen-Agent": f"✿FUNCTION✿: get_weather\n✿ARGS✿: {JSON}\n✿RESULT✿",
    "ReAct": f"Thought: I look.\nAction: get_weather\nAction Input: {JSON}",
    "ReAct with an invented observation": (
        f"Action: get_weather\nAction Input: {JSON}\nObservation: sunny\nFinal Answer: It is sunny."
    ),
    "ReAct in bold": f"**Action:** get_weather\n**Action Input:** {JSON}",
    "ReAct with a fence": f"Action: get_weather\nAction Input:\n```json\n{JSON}\n```",
    "a structured action": (
        f'Action:\n```json\n{{"action": "get_weather", "action_input": {JSON}}}\n```'
    ),
    "Devstral": f'{{"tool_calls": [{{"name": "get_weather", "arguments": {JSON}, "id": "x"}}]}}',
    "a function object": (
        f'{{"type": "function", "function": {{"name": "get_weather", "arguments": {JSON}}}}}'
    ),
    "a tool_use object": f'{{"type": "tool_use", "name": "get_weather", "input": {JSON}}}',
    "arguments as a JSON string": (
        '{"name": "get_weather", "arguments": "{\\"city\\": \\"Rome\\", \\"days\\": 2}"}'
    ),
    "a fence": f'```json\n{{"name": "get_weather", "arguments": {JSON}}}\n```',
    "a fence of XML": f"```xml\n<tool_call>\n{QWEN}\n</tool_call>\n```",
    "gpt-oss without control tokens": f"to=functions.get_weather json{JSON}",
    "attributes of the tag": f'<tool_call id="1" name="get_weather">{JSON}</tool_call>',
    "a space in the tag": (
        f'<tool_call >{{"name": "get_weather", "arguments": {JSON}}}</tool_call>'
    ),
    "tags of arguments": (
        '<tool_call name="get_weather"><arg name="city">Rome</arg><arg name="days">2</arg>'
        "</tool_call>"
    ),
    "a name, then a fence": f"get_weather\n```json\n{JSON}\n```",
    "a tag around the name": f"<function>get_weather</function>\n<arguments>{JSON}</arguments>",
    "the name as the only key": f'{{"get_weather": {JSON}}}',
    "ReAct with Python's arguments": 'Action: get_weather\nAction Input: city="Rome", days=2',
    "an invented result": (
        f'<tool_call>{{"name": "get_weather", "arguments": {JSON}}}</tool_call>\n<tool_response>'
        "sunny</tool_response>\nIt is sunny."
    ),
    "an invented turn": (
        f'<tool_call>{{"name": "get_weather", "arguments": {JSON}}}</tool_call><|im_end|>\n'
        "<|im_start|>user\nsunny"
    ),
    "JSON after a line of words": (
        f'Let me look that up.\n\n{{"name": "get_weather", "parameters": {JSON}}}'
    ),
    "Python after a line of words": 'I will look.\n[get_weather(city="Rome", days=2)]',
}  # fmt: skip


def read_pieces(*pieces: str, stop: str = "stop", tools: list[Tool] = TOOLS) -> tuple[str, Made]:
    """The text and the calls that the parser makes of pieces of text."""
    parser = TextCallParser(tools)
    parts: list[ModelPart] = [*map(TextDelta, pieces), Done(stop, "m")]  # type: ignore[arg-type]
    found = [out for part in parts for out in parser.feed(part)]
    text = "".join(part.text for part in found if isinstance(part, TextDelta))
    return text, [(part.name, part.arguments) for part in found if isinstance(part, ToolCall)]


WORDS = ("Let me look that up.", "I will look.", "Thought: I look.")


@pytest.mark.parametrize("written", ONE_CALL.values(), ids=ONE_CALL)
def test_a_call_is_read_and_not_shown(written: str) -> None:
    text, calls = read_pieces(written)
    assert [(name, dict(arguments)) for name, arguments in calls] == [ROME]
    assert text.strip() in ("", *WORDS)


@pytest.mark.parametrize("written", ONE_CALL.values(), ids=ONE_CALL)
def test_a_call_is_read_however_it_is_cut_into_pieces(written: str) -> None:
    draw = random.Random(written)
    whole = read_pieces(written)
    assert read_pieces(*written) == whole
    for size in (2, 3, 5, 7, 11):
        assert (
            read_pieces(*(written[at : at + size] for at in range(0, len(written), size))) == whole
        )
    cuts = sorted(draw.sample(range(len(written) + 1), 6))
    edges = [0, *cuts, len(written)]
    assert read_pieces(*(written[a:b] for a, b in pairwise(edges))) == whole


HERMES_NOW = '<tool_call>{"name": "now", "arguments": {}}</tool_call>'
SEVERAL: dict[str, tuple[str, str, Made]] = {
    "words, then a call": (f"Sure, I look.\n<tool_call>\n{QWEN}\n</tool_call>", "Sure, I look.",
                           [ROME]),
    "two of Qwen in one tag": (f"<tool_call>\n{QWEN}\n{QWEN}\n</tool_call>", "", [ROME, ROME]),
    "two of Qwen in two tags": (f"<tool_call>\n{QWEN}\n</tool_call>\n" * 2, "", [ROME, ROME]),
    "two of Kimi": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        f"<|tool_call_argument_begin|>{JSON}<|tool_call_end|><|tool_call_begin|>functions.now:1"
        "<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>",
        "", [ROME, ("now", {})]),
    "two of Mistral": (f"[TOOL_CALLS]get_weather[ARGS]{JSON}[TOOL_CALLS]now[ARGS]{{}}", "",
                       [ROME, ("now", {})]),
    "two of MiniMax": (f"<minimax:tool_call>\n{INVOKE}\n<invoke name=\"now\">\n</invoke>\n"
                       "</minimax:tool_call>", "", [ROME, ("now", {})]),
    "two of ReAct": (f"Action: get_weather\nAction Input: {JSON}\nAction: now\nAction Input: ",
                     "", [ROME, ("now", {})]),
    "two statements": ('```tool_code\nget_weather(city="Rome", days=2)\nnow()\n```', "",
                       [ROME, ("now", {})]),
    "no arguments, Hermes": (HERMES_NOW, "", [("now", {})]),
    "no arguments, Qwen": ("<tool_call>\n<function=now>\n</function>\n</tool_call>", "",
                           [("now", {})]),
    "no arguments, GLM": ("<tool_call>now\n</tool_call>", "", [("now", {})]),
    "no arguments, gpt-oss": ("<|channel|>commentary to=functions.now<|message|>", "",
                              [("now", {})]),
    "a final channel": ("<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final"
                        "<|message|>It is noon.<|return|>", "It is noon.", []),
    "a preamble, then a call": (
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary "
        f"to=functions.get_weather<|message|>{JSON}<|call|>", "I look.", [ROME]),
    "an argument of ReAct without JSON": ("Action: search\nAction Input: weather in Rome", "",
                                          [("search", {"query": "weather in Rome"})]),
    "an end token": (f"{HERMES_NOW}<|im_end|>", "", [("now", {})]),
    "a closing tag in an argument": (
        '<tool_call>{"name": "search", "arguments": {"query": "what is </tool_call>"}}</tool_call>',
        "", [("search", {"query": "what is </tool_call>"})]),
    "a closing tag in a parameter": (
        "<tool_call><function=search><parameter=query>a </function> b</parameter></function>"
        "</tool_call>", "", [("search", {"query": "a </function> b"})]),
    "entities": (
        "<tool_call><function=search><parameter=query>a &lt; b &amp;&amp; c</parameter></function>"
        "</tool_call>", "", [("search", {"query": "a < b && c"})]),
    "entities that are quoted": (
        "<tool_call><function=search><parameter=query><b>&amp;</b></parameter></function>"
        "</tool_call>", "", [("search", {"query": "<b>&amp;</b>"})]),
    "Python's literals": (
        "<tool_call><function=get_weather><parameter=city>Rome</parameter><parameter=detailed>True"
        "</parameter></function></tool_call>", "",
        [("get_weather", {"city": "Rome", "detailed": True})]),
    "a number in a text": (
        "<tool_call><function=get_weather><parameter=city>00185</parameter></function></tool_call>",
        "", [("get_weather", {"city": "00185"})]),
    "a text of several lines": (
        "<tool_call><function=search><parameter=query>\na\n\nb\n</parameter></function></tool_call>",
        "", [("search", {"query": "a\n\nb"})]),
    "a backtick that is none": (f"I don`t know. {HERMES_NOW}", "I don`t know.", [("now", {})]),
    "a text for the one argument": ('{"action": "search", "action_input": "Rome"}', "",
                                    [("search", {"query": "Rome"})]),
    "a wild name": ('<tool_call>{"name": "functions.get_weather", "arguments": '
                    f"{JSON}}}</tool_call>", "", [ROME]),
}  # fmt: skip


@pytest.mark.parametrize(("written", "text", "calls"), SEVERAL.values(), ids=SEVERAL)
def test_words_and_several_calls_are_kept_apart(written: str, text: str, calls: Made) -> None:
    for pieces in ([written], list(written)):
        found, made = read_pieces(*pieces)
        assert [(name, dict(arguments)) for name, arguments in made] == calls
        assert found.strip() == text


QUOTED = {
    "a fence among words": f"Write it so:\n```xml\n<tool_call>\n{QWEN}\n</tool_call>\n```\nDone.",
    "a fence at the end": 'Hermes:\n\n```json\n{"name": "now", "arguments": {}}\n```',
    "a fence of tildes": f"So:\n~~~\n{HERMES_NOW}\n~~~\n",
    "a fence that is not closed": f"So:\n```\n{HERMES_NOW}",
    "a fence within a line": 'Sure! ```json\n{"name": "now", "arguments": {}}\n```',
    "a fence in a list": f"1. So:\n   ```\n   {HERMES_NOW}\n   ```\n2. Done.",
    "backticks": f"It writes `{HERMES_NOW}` in its text.",
    "backticks around a mark": "Qwen uses `<tool_call>` and Mistral `[TOOL_CALLS]`.",
    "a mark in prose": "The tag <tool_call> opens a call, and </tool_call> closes it.",
    "a mark in quotes": 'The tag "<tool_call>" opens a call.',
    "a token in prose": "Llama's token <|python_tag|> begins a call.",
    "a token of gpt-oss in prose": "Its <|channel|> names the channel.\nThen <|start|> begins one.",
    "Mistral's mark in prose": "[TOOL_CALLS] is the mark of Mistral.",
    "a list": "[1] says so.\n[get_weather] is the tool.",
    "JSON of something else": '{"name": "Rome", "people": 3}',
    "an action in prose": "Action: none is needed.\nThe rest follows.",
    "an action of no tool": "Action: sleep\nAction Input: 8 hours",
    "a call in prose": 'You would write get_weather(city="Rome") in Python.',
    "a tool's name alone": "now",
    "a tool's name in a fence": "```\nget_weather\n```",
    "a tool's name": "get_weather is the tool for that.",
    "JSON that words follow": '{"name": "now", "arguments": {}} is how a call looks.',
    "code": "```python\nfunctools.partial(f)\nx = functools[0]\n```",
}


@pytest.mark.parametrize("written", QUOTED.values(), ids=QUOTED)
def test_what_only_quotes_a_call_stays_an_answer(written: str) -> None:
    assert read_pieces(written) == (written, [])
    assert read_pieces(*written) == (written, [])


def test_calls_in_thinking_that_nothing_follows_are_made() -> None:
    parser = TextCallParser(TOOLS)
    parts: list[ModelPart] = [
        ReasoningDelta("I should look.\n"),
        ReasoningDelta(ONE_CALL["Hermes"]),
        Done("stop", "m"),
    ]
    found = [out for part in parts for out in parser.feed(part)]
    assert [(c.name, dict(c.arguments)) for c in found if isinstance(c, ToolCall)] == [ROME]  # type: ignore[arg-type]
    assert found[-1] == Done("tool_calls", "m")


def test_calls_in_thinking_that_an_answer_follows_are_not_made() -> None:
    parser = TextCallParser(TOOLS)
    parts: list[ModelPart] = [
        ReasoningDelta(ONE_CALL["Hermes"]),
        TextDelta("It is noon."),
        Done("stop", "m"),
    ]
    found = [out for part in parts for out in parser.feed(part)]
    assert not any(isinstance(part, ToolCall) for part in found)


USES = [
    {"recipient_name": "functions.get_weather", "parameters": {"city": "Rome", "days": 2}},
    {"recipient_name": "functions.now", "parameters": {}},
]
NATIVE: dict[str, tuple[ToolCall, Made]] = {
    "a wild name": (ToolCall("1", "functions.now:0", {}), [("now", {})]),
    "parallel calls in one": (ToolCall("1", "multi_tool_use.parallel", {"tool_uses": USES}),
                              [ROME, ("now", {})]),
    "JSON in the name": (ToolCall("1", f"get_weather{JSON}", {}), [ROME]),
    "Python in the name": (ToolCall("1", 'get_weather(city="Rome", days=2)', {}), [ROME]),
    "no tool": (ToolCall("1", "fly", {"a": 1}), [("fly", {"a": 1})]),
    "a use of no tool": (
        ToolCall("1", "multi_tool_use.parallel", {"tool_uses": [{"recipient_name": "fly"}]}),
        [("multi_tool_use.parallel", {"tool_uses": [{"recipient_name": "fly"}]})]),
}  # fmt: skip


@pytest.mark.parametrize(("call", "calls"), NATIVE.values(), ids=NATIVE)
def test_a_call_that_the_server_reported_gets_the_name_of_its_tool(
    call: ToolCall, calls: Made
) -> None:
    found = [one for one in TextCallParser(TOOLS).feed(call) if isinstance(one, ToolCall)]
    assert [(one.name, one.arguments) for one in found] == calls
    assert len({one.id for one in found}) == len(found)
    assert found[0].id == "1"
