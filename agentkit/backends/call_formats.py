"""Read the tool calls that a model wrote as text, in the formats of the model families.

A family marks where its calls begin (`BEGINNINGS`); between the marks models mix the formats, so
one reader takes them all: JSON objects and lists, a name before JSON, tags of XML with a tag for
each parameter, Python's calls. What marks a call is passed over.
"""

from __future__ import annotations

import ast
import html
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from agentkit.backends.base import new_call_id, parse_arguments
from agentkit.messages import ToolCall
from agentkit.tools.lenient_json import InvalidJson, parse_value
from agentkit.tools.names import match_name
from agentkit.tools.repair import fit_arguments, repair_arguments
from agentkit.tools.tool import Tool

_TAGS = (
    *("tool_call", "tool_calls", "toolcall", "tools", "tool_use", "TOOLCALL"),
    *("function_call", "function_calls", "functioncall", "longcat_tool_call"),
    *("minimax:tool_call", "seed:tool_call", "｜DSML｜function_calls", "｜DSML｜tool_calls"),
)
BEGINNINGS: dict[str, str] = {
    **{f"<{tag}>": f"</{tag}>" for tag in _TAGS},
    "<|tool_calls_section_begin|>": "<|tool_calls_section_end|>",  # Kimi
    "<|tool_call_begin|>": "<|tool_call_end|>",
    "<｜tool▁calls▁begin｜>": "<｜tool▁calls▁end｜>",  # DeepSeek
    "<｜tool▁call▁begin｜>": "<｜tool▁call▁end｜>",
    "<|tool_call_start|>": "<|tool_call_end|>",  # LFM2
    "<|tool_call|>": "<|/tool_call|>",  # Granite, Phi
    "<|tool_call>": "<tool_call|>",  # Gemma
    "<start_function_call>": "<end_function_call>",
    "<|python_start|>": "<|python_end|>",  # Llama 4
    "<|START_ACTION|>": "<|END_ACTION|>",  # Command R
    "<|action_start|>": "<|action_end|>",  # InternLM
    "<|plugin|>": "<|action_end|>",
    "to=functions.": "<|call|>",  # gpt-oss without its control tokens
    "<tool_call ": "</tool_call>",
    "<function>": "",
    "[TOOL_REQUEST]": "[END_TOOL_REQUEST]",  # LM Studio
    "[TOOL_CALLS]": "",  # Mistral
    "<|python_tag|>": "",  # Llama
    "functools[": "",  # Phi
    "✿FUNCTION✿": "✿RESULT✿",  # Qwen-Agent
    "<function=": "</function>",
    "(function=": "</function>",
    "<function name=": "</function>",
    "<invoke name=": "</invoke>",
}
"""Where calls begin in a text, and where they end; "" for the end of the text."""

INNER_MARKERS = (
    *("[ARGS]", "[CALL_ID]", "<|tool_call_argument_begin|>", "<｜tool▁sep｜>", "<|constrain|>"),
    *("<|plugin|>", "✿ARGS✿"),
)
END_TOKENS = (
    *("<|eom_id|>", "<|eot_id|>", "<|im_end|>", "</s>", "<｜end▁of▁sentence｜>", "<end_of_turn>"),
    *("<|end_of_text|>", "<|endoftext|>", "<|observation|>", "<|user|>"),
)
"""What ends an answer, where a server leaves it in the text."""

RESULTS = (
    *("<tool_response", "<tool_result", "<function_result", "<|im_start|>", "<|start_header_id|>"),
    *("[TOOL_RESULTS]", "<｜tool▁outputs▁begin｜>", "<|START_TOOL_RESULT|>", "Observation:"),
)
"""What a model writes that invents the result of its call, and goes on."""

NAME_KEYS = ("name", "tool", "tool_name", "function_name", "action", "recipient_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "action_input", "params", "kwargs")
LIST_KEYS = ("tool_calls", "tool_call", "function_call", "calls")
_JSON_WORDS = {"true": True, "false": False, "null": None}

_MOST_OF_TAGS = 20_000
"""Characters of nested tags that are read, since each tag is searched for its end."""

_PREFIX = r"(?:[\w-]+:|｜DSML｜)?"
_GAP = re.compile(
    r"(?:[\s,;]+|```[\w-]*|\[/?(?:TOOL_CALLS|ARGS|END_TOOL_REQUEST|TOOL_REQUEST)\]"
    r"|<[|｜](?!DSML｜(?:invoke|param))[^<>{}]{0,40}>"
    rf"|</?{_PREFIX}(?:tool_?(?:calls?|use|code|s)|function_?calls?|invoke|\w+_call)\s*\|?>"
    r"|</function>|<function>(?=\s*(?:[{\[]|$))"
    r"|[|｜]?>|✿[A-Z]+✿:?|functools(?=\[)|" + "|".join(map(re.escape, END_TOKENS)) + ")*",
    re.IGNORECASE,
)
_NAME = r"(?P<name>[^\W\d][\w.:/-]*?)"
_BEFORE_JSON = re.compile(
    rf"(?:call:|to=)?{_NAME}(?:\[CALL_ID\](?P<id>[\w-]+))?"
    r"(?:\s|\[ARGS\]|<[|｜][^<>{}]{1,40}>|```\w*|\bjson\b|✿ARGS✿|[:=>(])*(?=\{)"
)
_KIND = re.compile(r"(?:function|tool|call)\s*(?:<[|｜][^<>{}]{1,40}>|:)\s*(?=[^\W\d])")
_ALONE = re.compile(rf"{_NAME}\s*(?:\(\s*\)|(?=[<,;]|$))")
_OPEN_TAG = re.compile(
    rf"[<(](?:{_PREFIX}function=|function name=|{_PREFIX}invoke name="
    r"|tool_call\s+(?:\w+=[\"'][^\"']*[\"']\s+)*name=)\s*[\"']?"
    r"(?P<name>[^\s<>={(\"']+)[\"']?\s*[^\s<>{]{0,2}\s*>?"
)
_CLOSE_TAG = re.compile(rf"</{_PREFIX}(?:function|invoke|tool_call)>|<function>")
_PARAMETER_TAG = (
    rf"<{_PREFIX}(?:param(?:eter)?|arg(?:ument)?)(?:=|\s+name=)\s*[\"']?(?P<key>[^\"'>\s]+)[\"']?(?P<more>[^>]*)>"
    r"(?P<value>.*?)"
)
_PARAMETER_END = rf"</{_PREFIX}(?:param(?:eter)?|arg(?:ument)?)(?:=[^>]*)?>"
_PARAMETER = re.compile(rf"{_PARAMETER_TAG}{_PARAMETER_END}", re.DOTALL)
_OPEN_PARAMETER = re.compile(
    rf"{_PARAMETER_TAG}(?=<{_PREFIX}param(?:eter)?[\s=]|</{_PREFIX}(?:function|invoke)>)", re.DOTALL
)
_ARGUMENT = re.compile(
    r"\s*<arg_key>\s*(?P<key>.*?)\s*</arg_key>\s*<arg_value>(?P<value>.*?)</arg_value>", re.DOTALL
)
_NAME_TAG = re.compile(
    r"<(?P<tag>(?:tool_|function_)?name|function)>\s*(?P<name>[^<>]+?)\s*</(?P=tag)>"
)
_BODY_TAG = re.compile(
    r"\s*<(?P<tag>arguments|parameters|input|args)>(?P<body>.*?)</(?P=tag)>", re.DOTALL
)
_CHILD_TAG = re.compile(r"<(?P<key>[\w.-]+)>(?P<value>.*?)</(?P=key)>", re.DOTALL)
_ESCAPED_TEXT = re.compile(r"(<escape>|<\|\"\|>)(?P<text>.*?)\1", re.DOTALL)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|apos|#\d+|#x[0-9a-fA-F]+);")

Arguments = Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Reading:
    """The calls of a text, and what could not be read of it, "" where all was."""

    calls: tuple[ToolCall, ...]
    rest: str = ""

    def only(self, names: Collection[str]) -> list[ToolCall]:
        """The calls where all are of these names and all was read, else []."""
        is_known = all(call.name in names for call in self.calls)
        return list(self.calls) if is_known and not self.rest else []


def read_calls(
    text: str, tools: Sequence[Tool] = (), names: Collection[str] = (), *, is_cut: bool = False
) -> Reading:
    """Read a text that consists of calls. `tools` type the values of XML and name the arguments
    of Python; `names` are further tools. `is_cut` tells that the text was cut off."""
    return _Reader(text, tools, names, is_cut).read()


class _Reader:
    """Reads one text from its start; each method for a format returns whether it took a call."""

    def __init__(
        self, text: str, tools: Sequence[Tool], names: Collection[str], is_cut: bool
    ) -> None:
        self._text = _ESCAPED_TEXT.sub(lambda found: json.dumps(found["text"]), text)
        self._schemas = {tool.name: tool.parameters for tool in tools}
        self._names = {*self._schemas, *names}
        self._is_cut = is_cut
        self._at = 0
        self._calls: list[ToolCall] = []

    def read(self) -> Reading:
        formats = (
            *(self._take_tag, self._take_name_tag, self._take_json, self._take_pairs),
            *(self._take_named, self._take_python, self._take_name),
        )
        while self._skip_gap() < len(self._text):
            if not any(take() for take in formats):
                break
        rest = self._text[self._at :].strip()
        return Reading(tuple(self._calls), rest if rest.strip("]} \n") or not self._calls else "")

    def _skip_gap(self) -> int:
        found = _GAP.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._at

    def _add(self, name: str, arguments: Arguments, end: int, call_id: str = "") -> bool:
        known = match_name(name, self._names) or name.strip()
        self._calls.append(ToolCall(call_id or new_call_id(), known, arguments))
        self._at = end
        return True

    def _take_json(self) -> bool:
        if self._text[self._at] not in "{[":
            return False
        try:
            value, end = parse_value(self._text, self._at, is_cut=self._is_cut)
        except InvalidJson:
            return False
        found = [call_from_json(each, self._names) for each in _listed(value)]
        calls = [call for call in found if call is not None]
        if not calls or len(calls) < len(found):
            return False
        self._calls += [self._with_object(call) for call in calls]
        self._at = end
        return True

    def _with_object(self, call: ToolCall) -> ToolCall:
        """The call with a text for arguments as the one argument that the tool requires."""
        required = self._schemas.get(call.name, {}).get("required", ())
        if (
            isinstance(call.arguments, str)
            and len(required) == 1
            and call.arguments[:1] not in "{["
        ):
            return replace(call, arguments={required[0]: call.arguments})
        return call

    def _take_named(self) -> bool:
        """A name, then its arguments as JSON."""
        kind = _KIND.match(self._text, self._at)
        head = _BEFORE_JSON.match(self._text, kind.end() if kind else self._at)
        if head is None:
            return False
        try:
            arguments, end = parse_value(self._text, head.end(), is_cut=self._is_cut)
        except InvalidJson:
            return False
        return isinstance(arguments, dict) and self._add(
            head["name"], arguments, end, head["id"] or ""
        )

    def _take_name(self) -> bool:
        """The name of a known tool alone: a call without arguments."""
        found = _ALONE.match(self._text, self._at)
        known = match_name(found["name"], self._names) if found else ""
        if found is None or not known:
            return False
        gap = _GAP.match(self._text, found.end())
        is_last = gap is not None and gap.end() == len(self._text)
        return is_last and self._add(known, {}, len(self._text))

    def _take_pairs(self) -> bool:
        """GLM: a name, then tags of keys and values."""
        head = re.compile(rf"{_NAME}\s*(?=<arg_key>)").match(self._text, self._at)
        if head is None:
            return False
        values: dict[str, str] = {}
        end = head.end()
        while pair := _ARGUMENT.match(self._text, end):
            values[pair["key"]] = pair["value"]
            end = pair.end()
        if not values or self._text.startswith("<arg_key>", end + self._space_at(end)):
            return False
        return self._add(head["name"], self._typed(head["name"], values), end)

    def _space_at(self, at: int) -> int:
        rest = self._text[at:]
        return len(rest) - len(rest.lstrip())

    def _take_tag(self) -> bool:
        """`<function=NAME>` or `<invoke name="NAME">` with tags of parameters, or with JSON."""
        head = _OPEN_TAG.match(self._text, self._at)
        if head is None:
            return False
        close = _CLOSE_TAG.search(self._text, head.end())
        if close and (inner := self._end_of_parameters(head.end())) > close.start():
            close = _CLOSE_TAG.search(self._text, inner)
        end = close.end() if close else len(self._text)
        body = self._text[head.end() : close.start() if close else end].strip()
        if re.match(rf"<{_PREFIX}(?:param|arg)", body):
            arguments = self._parameters(head["name"], body, is_closed=close is not None)
        elif body.startswith("{"):
            return self._take_tag_json(head["name"], head.end())
        else:
            arguments = None if body else {}
        return arguments is not None and self._add(head["name"], arguments, end)

    def _take_tag_json(self, name: str, at: int) -> bool:
        start = self._text.index("{", at)
        try:
            arguments, end = parse_value(self._text, start, is_cut=self._is_cut)
        except InvalidJson:
            return False
        return isinstance(arguments, dict) and self._add(name, arguments, end)

    def _end_of_parameters(self, at: int) -> int:
        """Where the parameters of a tag end, whose values may contain closing tags."""
        while found := _PARAMETER.match(self._text, at + self._space_at(at)):
            at = found.end()
        return at

    def _parameters(self, name: str, body: str, is_closed: bool) -> Arguments | None:
        values: dict[str, str] = {}
        is_json: dict[str, Any] = {}
        end = 0
        pattern = _PARAMETER if re.search(_PARAMETER_END, body) else _OPEN_PARAMETER
        for found in pattern.finditer(f"{body}</function>" if is_closed else body):
            values[found["key"]] = found["value"]
            end = found.end()
            if 'string="false"' in found["more"]:
                is_json[found["key"]] = _json_or_text(found["value"].strip())
        if not values or body[end:].strip() or (self._is_cut and not is_closed):
            return None
        return {**self._typed(name, values), **is_json}

    def _take_name_tag(self) -> bool:
        """`<name>NAME</name><arguments>{...}</arguments>`, or with a tag for each argument."""
        head = _NAME_TAG.match(self._text, self._at)
        if head is None:
            return False
        body = _BODY_TAG.match(self._text, head.end())
        if body is None:
            return self._add(head["name"], {}, head.end())
        arguments: Arguments | None = repair_arguments(body["body"])
        if arguments is None or not body["body"].strip().startswith("{"):
            tags = islice(_CHILD_TAG.finditer(body["body"][:_MOST_OF_TAGS]), 100)
            values = {tag["key"]: tag["value"] for tag in tags}
            arguments = self._typed(head["name"], values)
        return self._add(head["name"], arguments, body.end())

    def _take_python(self) -> bool:
        """Calls in Python's syntax up to the end, or up to the next mark."""
        rest = self._text[self._at :]
        for end in (len(rest), rest.find("<"), rest.find("```")):
            written = strip_end_tokens(rest[:end].strip()) if end > 0 else ""
            calls = python_calls(written, self._schemas, self._names) if written else None
            if calls:
                self._calls += calls
                self._at += end
                return True
        return False

    def _typed(self, name: str, values: Mapping[str, str]) -> dict[str, Any]:
        """The texts of XML as values of the types that the tool's schema gives."""
        schema = self._schemas.get(match_name(name, self._schemas), {})
        properties = schema.get("properties", {})
        raw = {key: _xml_value(value, properties.get(key)) for key, value in values.items()}
        return fit_arguments(raw, schema) if schema else raw


def call_from_json(value: Any, names: Collection[str] = ()) -> ToolCall | None:
    """The call that an object stands for: a name and arguments under the keys that models use, or
    a known name as the only key."""
    if not isinstance(value, Mapping):
        return None
    if len(value) == 1 and isinstance(only := next(iter(value.values())), Mapping):
        key = str(next(iter(value)))
        if known := match_name(key, names) if key not in ("function", *LIST_KEYS) else "":
            return ToolCall(new_call_id(), known, only)
    inner = value.get("function")
    if isinstance(inner, Mapping):
        value = {"id": value.get("id"), **inner}
    name = next((value[key] for key in NAME_KEYS if value.get(key)), inner)
    if not isinstance(name, str) or not name:
        return None
    arguments: Any = next((value[key] for key in _ARGUMENT_KEYS if key in value), {})
    if isinstance(arguments, str):
        arguments = parse_arguments(arguments)
    elif not isinstance(arguments, dict):
        arguments = {} if arguments is None else json.dumps(arguments)
    known = match_name(name, names) or name
    return ToolCall(str(value.get("id") or new_call_id()), known, arguments)


def _listed(value: Any) -> list[Any]:
    """The objects of a list of calls, or of an object that holds one."""
    if isinstance(value, Mapping) and not any(value.get(key) for key in NAME_KEYS):
        inner = next((value[key] for key in LIST_KEYS if key in value), None)
        if isinstance(inner, (list, Mapping)):
            return _listed(inner)
    return value if isinstance(value, list) else [value]


def python_calls(
    text: str, schemas: Mapping[str, Mapping[str, Any]], names: Collection[str] = ()
) -> list[ToolCall] | None:
    """The calls of `[f(a=1), g(b="x")]`, `f.call(a=1)` or `print(api.f(a=1))`: arguments are
    literals, and without a name where the schema gives one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            body = ast.parse(text, mode="exec").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    nodes: list[ast.expr] = []
    for statement in body:
        if not isinstance(statement, (ast.Expr, ast.Assign)):
            return None
        value = statement.value
        nodes += value.elts if isinstance(value, (ast.List, ast.Tuple)) else [value]
    found = [_python_call(node, schemas, names) for node in nodes]
    calls = [call for call in found if call is not None]
    return calls if calls and len(calls) == len(found) else None


def _python_call(
    node: ast.expr, schemas: Mapping[str, Mapping[str, Any]], names: Collection[str]
) -> ToolCall | None:
    if not isinstance(node, ast.Call):
        return None
    name = ast.unparse(node.func).removesuffix(".call")
    if name == "print" and len(node.args) == 1 and name not in names:
        return _python_call(node.args[0], schemas, names)
    if not re.fullmatch(r"[\w.\-]+", name):
        return None
    known = match_name(name, names) or name
    keys = list(schemas.get(known, {}).get("properties", ()))
    if len(node.args) > len(keys):
        return None
    try:
        arguments = {key: _literal(value) for key, value in zip(keys, node.args, strict=False)}
        arguments |= {word.arg: _literal(word.value) for word in node.keywords if word.arg}
    except (ValueError, TypeError, RecursionError):
        return None
    is_whole = len(arguments) == len(node.args) + len(node.keywords)
    return ToolCall(new_call_id(), known, arguments) if is_whole else None


def _literal(node: ast.expr | None) -> Any:
    """Evaluate a literal; JSON's true, false and null count as literals. Raises ValueError."""
    match node:
        case ast.Name(name) if name in _JSON_WORDS:
            return _JSON_WORDS[name]
        case ast.List(items) | ast.Tuple(items):
            return [_literal(item) for item in items]
        case ast.Dict(keys, values):
            return {str(_literal(k)): _literal(v) for k, v in zip(keys, values, strict=True)}
        case ast.expr():
            value = ast.literal_eval(node)
            if value is None or isinstance(value, (str, int, float)):
                return value
    raise ValueError("not a literal of a JSON type")


def _xml_value(text: str, schema: Any) -> Any:
    """The value of a tag: without the line breaks that the format puts around it, and without
    entities where nothing in it is unescaped. Without a type in the schema JSON is read."""
    text = text.removeprefix("\n").removesuffix("\n")
    if _ENTITY.search(text) and not re.search(r"[<>]|&(?!\w+;|#)", text):
        text = html.unescape(text)
    is_typed = isinstance(schema, Mapping) and bool(schema.keys() - {"description", "title"})
    return text if is_typed else _json_or_text(text)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def strip_end_tokens(text: str) -> str:
    """The text without white space around it and without tokens that end an answer."""
    text = text.strip()
    while token := next((token for token in END_TOKENS if text.endswith(token)), ""):
        text = text.removesuffix(token).rstrip()
    return text
