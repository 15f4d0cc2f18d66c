"""Structured output: an answer as a value of a Python type or of a JSON Schema.

The server constrains the reply to the schema where it can; otherwise the schema is part of the
instructions. The reply is validated either way, and an invalid one goes back to the model twice.
A type that is not a JSON object, such as `list[City]`, is requested as `{"result": …}`, since
servers constrain replies to objects only. References to other files are not resolved.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from agentkit.answers import Answer
from agentkit.errors import ConfigError, LimitReached, ModelError

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
    has such a form; both raise InvalidOutput."""

    name: str
    schema: Mapping[str, Any] | None
    read: Callable[[str], Any]
    read_text: Callable[[str], Any] | None = None

    @property
    def instructions(self) -> str:
        """The instructions for a model that cannot be constrained to the schema."""
        return _INSTRUCTION.format(schema=json.dumps(self.schema, ensure_ascii=False))

    def parse(self, text: str) -> Any:
        """The value in a reply: the whole text, a fenced block, or JSON within prose. Raises
        InvalidOutput for the best candidate."""
        faults: list[InvalidOutput] = []
        readers = [(self.read, candidate) for candidate in _candidates(text)]
        if self.read_text:
            readers.append((self.read_text, text.strip()))
        for read, candidate in readers:
            try:
                return read(candidate)
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
        adapter = TypeAdapter[Any](output)
        schema = adapter.json_schema()
        if _is_object(schema):
            return OutputSchema(name, schema, lambda text: _validated(adapter.validate_json, text))
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

    return OutputSchema(name, schema, read, lambda text: _validated(adapter.validate_strings, text))


def _validated(validate: Callable[[str], Any], text: str) -> Any:
    try:
        return validate(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        places = [(fault["loc"], fault["msg"]) for fault in faults]
        raise InvalidOutput(_describe(places), faults[0]["type"] != "json_invalid") from error


def _is_object(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is of an object; a recursive type is a reference to one."""
    name = str(schema.get("$ref", "")).rpartition("/")[2]
    return bool(schema.get("$defs", {}).get(name, schema).get("type") == "object")


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

    return OutputSchema(str(schema.get("title") or "answer of this schema"), schema, read)


def _describe(faults: list[tuple[Any, str]]) -> str:
    return "; ".join(
        f"{'.'.join(map(str, place)) or 'answer'}: {message}"
        for place, message in faults[:_MAX_FAULTS]
    )


def _candidates(text: str) -> Iterator[str]:
    yield text.strip()
    yield from (fence["body"].strip() for fence in _FENCE.finditer(text))
    for begin, end in ("{}", "[]"):
        start, stop = text.find(begin), text.rfind(end)
        if 0 <= start < stop:
            yield text[start : stop + 1]
