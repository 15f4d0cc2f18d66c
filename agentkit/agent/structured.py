"""Structured output: an answer as an instance of a pydantic model or a value of a JSON Schema.

The server constrains the reply to the schema where it can; otherwise the schema is part of the
instructions. The reply is validated either way, and an invalid one goes back to the model twice.
References to other files are not resolved.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel, ValidationError

from agentkit.agent.limits import Limits
from agentkit.answers import Answer
from agentkit.errors import ConfigError, ModelError
from agentkit.messages import Content, Message, Usage

Output = type[BaseModel] | Mapping[str, Any]

_MAX_FAULTS = 8


class InvalidOutput(ValueError):
    """A reply that does not fit the schema, described for the model. `is_json` tells a value that
    does not fit from text that is not JSON."""

    def __init__(self, message: str, is_json: bool) -> None:
        super().__init__(message)
        self.is_json = is_json


@dataclass(frozen=True, slots=True)
class OutputSchema:
    """A schema, its name, and its parser, which raises InvalidOutput."""

    name: str
    schema: Mapping[str, Any]
    parse: Callable[[str], Any]


def output_schema(output: Output) -> OutputSchema:
    """The schema of a pydantic model, or a JSON Schema. Raises ConfigError if it is invalid."""
    if isinstance(output, Mapping):
        return _of_schema(output)
    return OutputSchema(
        output.__name__, output.model_json_schema(), lambda text: _object(text, output)
    )


def _object(text: str, model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        places = [(f["loc"], f["msg"]) for f in faults]
        raise InvalidOutput(_describe(places), faults[0]["type"] != "json_invalid") from error


def _of_schema(schema: Mapping[str, Any]) -> OutputSchema:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"Invalid JSON Schema: {error.message}.") from error
    validator = kind(schema, registry=Registry())

    def parse(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise InvalidOutput(f"invalid JSON: {error}", is_json=False) from error
        if faults := [(e.absolute_path, e.message) for e in validator.iter_errors(value)]:
            raise InvalidOutput(_describe(faults), is_json=True)
        return value

    return OutputSchema(str(schema.get("title") or "answer of this schema"), schema, parse)


def _describe(faults: list[tuple[Any, str]]) -> str:
    return "; ".join(
        f"{'.'.join(map(str, place)) or 'answer'}: {message}"
        for place, message in faults[:_MAX_FAULTS]
    )


REPAIRS = 2
"""How often a faulty answer goes back to the model."""

_INSTRUCTION = """\
Your final answer is one JSON value that fits this JSON Schema, and nothing beside it:
{schema}"""

_REPAIR = """\
Your answer does not fit: {faults}.
Give the whole answer again as JSON, corrected, and nothing beside it."""

_FENCE = re.compile(r"```\w*\s*\n(?P<body>.*?)```", re.DOTALL)
_MAX_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run towards structured output: what differs from the agent's usual runs."""

    prompt: Content | Message
    instructions: str
    schema: Mapping[str, Any] | None
    limits: Limits
    offers_tools: bool


Ask = Callable[[Attempt], Awaitable[Answer]]


async def run_structured(
    ask: Ask,
    prompt: Content | Message,
    schema: OutputSchema,
    limits: Limits,
    *,
    native: bool,
    has_tools: bool,
) -> Answer:
    """Answer with `output` set; `native` where the server can constrain replies to a schema. The
    limits apply to all attempts together. Raises ModelError with the model's last reply."""
    in_prompt = not native or has_tools
    first = Attempt(
        prompt=prompt,
        instructions=_INSTRUCTION.format(schema=_as_json(schema.schema)) if in_prompt else "",
        schema=schema.schema if native else None,
        limits=limits,
        offers_tools=has_tools,
    )
    return await _ask_until_valid(ask, first, schema)


async def _ask_until_valid(ask: Ask, attempt: Attempt, schema: OutputSchema) -> Answer:
    """The first valid answer. Repairs offer no tools, so that the schema applies."""
    began, answers = time.monotonic(), list[Answer]()
    while True:
        answers.append(await ask(attempt))
        try:
            return replace(_combine(answers), output=parse_output(answers[-1].text, schema))
        except InvalidOutput as error:
            faults = str(error)
        left = _remaining(attempt.limits, answers[-1].usage, time.monotonic() - began)
        if answers[-1].stop_reason == "refused" or len(answers) > REPAIRS or left is None:
            raise _failure(answers, schema.name, faults)
        began = time.monotonic()
        prompt = _REPAIR.format(faults=faults)
        attempt = replace(attempt, prompt=prompt, limits=left, offers_tools=False)


def parse_output(text: str, schema: OutputSchema) -> Any:
    """The value in a reply: the whole text, a fenced block, or JSON within prose. Raises
    InvalidOutput for the best candidate."""
    faults: list[InvalidOutput] = []
    for candidate in _candidates(text):
        try:
            return schema.parse(candidate)
        except InvalidOutput as error:
            faults.append(error)
    raise next((fault for fault in faults if fault.is_json), faults[0])


def _candidates(text: str) -> Iterator[str]:
    yield text.strip()
    yield from (fence["body"].strip() for fence in _FENCE.finditer(text))
    for begin, end in ("{}", "[]"):
        start, stop = text.find(begin), text.rfind(end)
        if 0 <= start < stop:
            yield text[start : stop + 1]


def _combine(answers: Sequence[Answer]) -> Answer:
    """The last answer, with the usage and messages of all."""
    usage = sum((answer.usage for answer in answers), Usage())
    messages = tuple(message for answer in answers for message in answer.messages)
    return replace(answers[-1], usage=usage, messages=messages)


def _remaining(limits: Limits, used: Usage, seconds: float) -> Limits | None:
    """The limits of a repair; None where a limit is reached."""
    tokens = None if limits.tokens is None else limits.tokens - used.total_tokens
    time_left = None if limits.seconds is None else limits.seconds - seconds
    if (tokens is not None and tokens <= 0) or (time_left is not None and time_left <= 0):
        return None
    return replace(limits, turns=1, tokens=tokens, seconds=time_left)


def _failure(answers: Sequence[Answer], wanted: str, faults: str) -> ModelError:
    reply = " ".join(answers[-1].text.split())
    reply = f"{reply[:_MAX_CHARACTERS]}..." if len(reply) > _MAX_CHARACTERS else reply
    model, times = answers[-1].model, "once" if len(answers) == 1 else f"{len(answers)} times"
    return ModelError(
        f"{model} was asked {times} and gave no {wanted} ({faults[:_MAX_CHARACTERS]}). It replied: "
        f"{reply!r}. Choose a larger model, or a simpler {wanted}.",
        model,
    )


def _as_json(schema: Mapping[str, Any]) -> str:
    return json.dumps(dict(schema), ensure_ascii=False)
