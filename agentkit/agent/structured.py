"""Structured output: an answer as a value of a Python type or of a JSON Schema.

The server constrains the reply to the schema where it can; otherwise the schema is part of the
instructions. The reply is validated either way, and an invalid one goes back to the model twice.
A type that is not a JSON object, such as `list[City]`, is requested as `{"result": …}`, since
servers constrain replies to objects only. References to other files are not resolved.
"""

from __future__ import annotations

import json
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args, get_origin

import typing_extensions
from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from agentkit.agent.turn import without_thinking
from agentkit.answers import Answer
from agentkit.errors import ConfigError, LimitReached, ModelError
from agentkit.tools.lenient_json import find_values
from agentkit.tools.repair import fit_value

REPAIRS = 2
"""How often a faulty answer goes back to the model."""

_MAX_FAULTS = 8
_MAX_CHARACTERS = 200

_INSTRUCTION = """\
Your final answer is one JSON value that fits this JSON Schema, and nothing beside it:
{schema}"""

_REPAIR = """\
Your answer does not fit: {faults}.
Give the whole answer again as JSON, corrected, and nothing beside it."""

_REJECTION = """\
Your answer is not accepted: {faults}
Give the whole answer again, corrected."""

_MAX_WRAPPERS = 3
_CALL_KEYS = ("arguments", "parameters", "input", "args")
_MOST_VALUES = 50
_FENCE = re.compile(r"```\w*\s*\n(?P<body>.*?)```", re.DOTALL)
_MODULE = re.compile(r"\b[A-Za-z_]\w*\.(?=[A-Za-z_])")


class InvalidOutput(ValueError):
    """A reply that does not fit the schema, described for the model. `is_json` tells a value that
    does not fit from text that is not JSON."""

    def __init__(self, message: str, is_json: bool) -> None:
        super().__init__(message)
        self.is_json = is_json


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """The output that a run is asked for: its name, and its schema on the wire, None for text.

    `read` converts JSON to the output and `read_text` a reply that holds no JSON, where the type
    has such a form; both raise InvalidOutput. `keys` are those of an object that ignores others,
    `value_schema` is the schema of the output itself."""

    name: str
    schema: Mapping[str, Any] | None
    read: Callable[[str], Any]
    read_text: Callable[[str], Any] | None = None
    keys: frozenset[str] = frozenset()
    value_schema: Mapping[str, Any] = field(default_factory=dict)

    @property
    def instructions(self) -> str:
        """The instructions for a model that cannot be constrained to the schema."""
        return _INSTRUCTION.format(schema=json.dumps(self.schema, ensure_ascii=False))

    def parse(self, text: str, *, is_cut: bool = False) -> Any:
        """The value in a reply: the whole text, a fenced block, JSON within prose or JSON that can
        be repaired; of several values the last that fits. Nothing is added to a reply that was cut
        off (`is_cut`). Raises InvalidOutput for the best candidate."""
        faults: list[InvalidOutput] = []
        for candidate in _candidates(text, is_cut, self.keys, self.value_schema):
            try:
                return self.read(candidate)
            except InvalidOutput as error:
                faults.append(error)
        if self.read_text:
            try:
                return self.read_text(without_thinking(text)[0].strip())
            except InvalidOutput as error:
                faults.append(error)
        raise next((fault for fault in faults if fault.is_json), faults[0])


def output_schema(output: object) -> OutputSchema:
    """The schema of a type, or a JSON Schema. Raises ConfigError where it is neither."""
    if isinstance(output, Mapping):
        return _of_json_schema(output)
    if output is str:
        return OutputSchema("str", None, str)
    return _of_type(output)


def repair_prompt(faults: str) -> str:
    """The message to the model about an answer that does not fit."""
    return _REPAIR.format(faults=faults)


def rejection_prompt(faults: str) -> str:
    """The message to the model about an answer that an output check rejects."""
    return _REJECTION.format(faults=faults)


def output_error(
    answer: Answer, requests: int, wanted: str, faults: str, limit: str = ""
) -> ModelError:
    """The error for a model that gave no valid output in so many answers, or LimitReached."""
    reply = " ".join(answer.text.split())
    reply = f"{reply[:_MAX_CHARACTERS]}..." if len(reply) > _MAX_CHARACTERS else reply
    times = "once" if requests == 1 else f"{requests} times"
    advice = f"Choose a larger model, or a simpler {wanted}."
    if limit:
        advice = f"The run reached its {limit}: raise it, or choose a larger model."
    return (LimitReached if limit else ModelError)(
        f"{answer.model} was asked {times} and gave no {wanted} ({faults[:_MAX_CHARACTERS]}). It "
        f"replied: {reply!r}. {advice}",
        answer.model,
    )


def _of_type(output: Any) -> OutputSchema:
    name = _type_name(output)
    try:
        if sys.version_info < (3, 12):
            output = _without_typing(output)
        adapter = TypeAdapter[Any](output)
        schema = adapter.json_schema()
        if _is_object(schema):
            read_json = partial(_validated, adapter.validate_json)
            return OutputSchema(
                name, schema, read_json, keys=_keys(schema), value_schema=_root_with(schema)
            )
        config = ConfigDict(extra="forbid")
        wrapper = create_model("answer", __config__=config, result=(output, ...))
        schema = wrapper.model_json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        reason = error.message.partition("\n")[0]
        raise ConfigError(f"{name} cannot be an output: {reason}") from error

    def read(text: str) -> Any:
        try:
            return _validated(wrapper.model_validate_json, text).result
        except InvalidOutput as error:
            try:
                return _validated(adapter.validate_json, text)
            except InvalidOutput:
                raise error from None

    inner = {"$defs": schema.get("$defs", {}), **schema["properties"]["result"]}
    read_text = partial(_validated, adapter.validate_strings)
    return OutputSchema(name, schema, read, read_text, value_schema=inner)


def _validated(validate: Callable[[str], Any], text: str) -> Any:
    try:
        return validate(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        places = [(fault["loc"], fault["msg"]) for fault in faults]
        raise InvalidOutput(_describe(places), faults[0]["type"] != "json_invalid") from error


def _root(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema that a recursive type refers to, else the schema."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    root: Mapping[str, Any] = schema.get("$defs", {}).get(name, schema)
    return root


def _root_with(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"$defs": schema.get("$defs", {}), **_root(schema)}


def _is_object(schema: Mapping[str, Any]) -> bool:
    return bool(_root(schema).get("type") == "object")


def _keys(schema: Mapping[str, Any]) -> frozenset[str]:
    root = _root(schema)
    is_open = bool(root.get("additionalProperties"))
    return frozenset() if is_open else frozenset(root.get("properties", ()))


def _without_typing(kind: Any) -> Any:
    """A type in which each `typing.TypedDict` is one of `typing_extensions`, since pydantic takes
    those of typing only from Python 3.12 on."""
    if typing.is_typeddict(kind):
        fields: dict[str, Any] = {}
        for name, hint in typing.get_type_hints(kind, include_extras=True).items():
            is_marked = get_origin(hint) in (typing.NotRequired, typing.Required)
            inner = _without_typing(get_args(hint)[0] if is_marked else hint)
            is_required = name in kind.__required_keys__
            fields[name] = inner if is_required else typing_extensions.NotRequired[inner]
        return typing_extensions.TypedDict(kind.__name__, fields)  # type: ignore[operator]
    if isinstance(kind, types.GenericAlias):
        return types.GenericAlias(get_origin(kind), tuple(map(_without_typing, get_args(kind))))
    return kind


def _type_name(output: Any) -> str:
    """A type as it is written in code, without modules: "list[City]"."""
    is_class = isinstance(output, type) and not hasattr(output, "__args__")
    return output.__name__ if is_class else _MODULE.sub("", str(output))


def _of_json_schema(schema: Mapping[str, Any]) -> OutputSchema:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"Invalid JSON Schema: {error.message}.") from error
    validator = kind(schema, registry=Registry())

    def read(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidOutput(f"invalid JSON: {error}", is_json=False) from error
        if faults := [(e.absolute_path, e.message) for e in validator.iter_errors(value)]:
            raise InvalidOutput(_describe(faults), is_json=True)
        return value

    name = str(schema.get("title") or "answer of this schema")
    return OutputSchema(name, schema, read, value_schema=schema)


def _describe(faults: list[tuple[Any, str]]) -> str:
    return "; ".join(
        f"{'.'.join(map(str, place)) or 'answer'}: {message}"
        for place, message in faults[:_MAX_FAULTS]
    )


def _candidates(
    text: str, is_cut: bool, keys: frozenset[str], schema: Mapping[str, Any]
) -> Iterator[str]:
    """The JSON texts that a reply may mean, the likeliest first."""
    text = without_thinking(text)[0].strip().lstrip("\ufeff") or text.strip()
    fences = [fence["body"].strip() for fence in _FENCE.finditer(text)][::-1]
    whole = [(value, part) for part in (text, *fences) if (value := _json_value(part)) is not None]
    if not any(_is_wrapper(value, keys) for value, _ in whole):
        yield from (text, *fences)
    values = [value for value, _ in whole]
    for part in (*fences, text):
        values += _values_in(part, is_cut)[::-1]
    for value in values:
        yield from map(json.dumps, _readings(value, keys))
    objects = [value for value in _values_in(text, is_cut) if isinstance(value, dict)]
    if schema.get("type") == "array" and len(objects) > 1:
        yield json.dumps(objects)  # One object a line.
        return
    for value in values:
        for reading in _readings(value, keys):
            if (fitted := fit_value(reading, schema)) != reading:
                yield json.dumps(fitted)
    yield text


def _values_in(text: str, is_cut: bool) -> list[Any]:
    """The objects in a text, and its list where it has one that is not a citation like [1]."""
    found = list(find_values(text, is_cut=is_cut))
    lists = [(value, start, end) for value, start, end in found if isinstance(value, list)]
    is_marker = len(lists) == 1 and re.fullmatch(r"\[\d+\]", text[lists[0][1] : lists[0][2]])
    takes_lists = len(lists) == 1 and not is_marker
    values = [value for value, _, _ in found if takes_lists or not isinstance(value, list)]
    return values[-_MOST_VALUES:]


def _json_value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_wrapper(value: Any, keys: frozenset[str]) -> bool:
    """Whether an object holds the output rather than being it: one key that is not the output's
    with more in it, a tool call, or a schema. What fits such an object besides would be wrong."""
    if not isinstance(value, dict) or not keys:
        return False
    if len(value) == 1 and not keys & value.keys():
        return isinstance(next(iter(value.values())), (dict, list))
    inner = _wrapped(value)
    is_own = bool(keys & {*_CALL_KEYS, "properties", "function"} & value.keys())
    return len(value) > 1 and not is_own and bool(inner) and isinstance(inner[0], (dict, str))


def _readings(value: Any, keys: frozenset[str], depth: int = 0) -> Iterator[Any]:
    """What a value may stand for: itself, or what is in its wrapper: JSON in a text, a list of
    one object, an object of one key, a tool call, or the schema given back with values."""
    if depth > _MAX_WRAPPERS:
        return
    inner: list[Any] = []
    match value:
        case str():
            inner = _values_in(value, is_cut=False)[::-1]
        case [dict() as one]:
            inner = [one]
        case dict():
            inner = _wrapped(value)
    if _is_wrapper(value, keys):
        yield from _readings(inner[0], keys, depth + 1)
    yield value
    for each in inner:
        yield from _readings(each, keys, depth + 1)


def _wrapped(value: Mapping[str, Any]) -> list[Any]:
    if len(value) == 1:
        return list(value.values())
    function = value.get("function")
    call = function if isinstance(function, Mapping) else value
    if isinstance(call.get("name"), str) or value.get("type") in ("function", "tool_use"):
        return [call[key] for key in _CALL_KEYS if key in call]
    return [value["properties"]] if value.get("type") == "object" and "properties" in value else []
