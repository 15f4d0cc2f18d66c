"""An answer as an object or a value of a schema, from any language model.

The schema holds the answer where the model's server can do that; else it stands in the
instructions. Either way the answer is read and checked, and a faulty one goes back twice.

What an answer shall be when it is no text: an object of a pydantic model, or a value that a
JSON Schema describes. References to other files are not followed.
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

_MOST_FAULTS = 8


class Misfit(ValueError):
    """A text that is not what was asked for, in words for the model. `is_json` tells a value that
    does not fit from a text that is no value at all."""

    def __init__(self, message: str, is_json: bool) -> None:
        super().__init__(message)
        self.is_json = is_json


@dataclass(frozen=True, slots=True)
class Shape:
    """A schema, what people call it, and how a text is read by it: `read` raises Misfit."""

    name: str
    schema: Mapping[str, Any]
    read: Callable[[str], Any]


def shape_of(output: Output) -> Shape:
    """The shape of a model or schema. Raises ConfigError for a schema that is none."""
    if isinstance(output, Mapping):
        return _of_schema(output)
    return Shape(output.__name__, output.model_json_schema(), lambda text: _object(text, output))


def _object(text: str, model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        faults = error.errors(include_url=False)
        said = [(f["loc"], f["msg"]) for f in faults]
        raise Misfit(_listed(said), faults[0]["type"] != "json_invalid") from error


def _of_schema(schema: Mapping[str, Any]) -> Shape:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError as error:
        raise ConfigError(f"This is no JSON Schema: {error.message}.") from error
    validator = kind(schema, registry=Registry())

    def read(text: str) -> Any:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise Misfit(f"no JSON: {error}", is_json=False) from error
        if said := [(e.absolute_path, e.message) for e in validator.iter_errors(value)]:
            raise Misfit(_listed(said), is_json=True)
        return value

    return Shape(str(schema.get("title") or "answer of this schema"), schema, read)


def _listed(faults: list[tuple[Any, str]]) -> str:
    return "; ".join(
        f"{'.'.join(map(str, place)) or 'answer'}: {said}" for place, said in faults[:_MOST_FAULTS]
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
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run on the way to an object, as it differs from the agent's others."""

    prompt: Content | Message
    instructions: str
    schema: Mapping[str, Any] | None
    limits: Limits
    offers_tools: bool


Ask = Callable[[Attempt], Awaitable[Answer]]


async def structured(
    ask: Ask,
    prompt: Content | Message,
    shape: Shape,
    limits: Limits,
    *,
    native: bool,
    has_tools: bool,
) -> Answer:
    """Answer with `output` filled; `native` where the model can be held to a schema. The limits
    hold for all attempts together. Raises ModelError with what the model said instead."""
    told = not native or has_tools
    first = Attempt(
        prompt=prompt,
        instructions=_INSTRUCTION.format(schema=_written(shape.schema)) if told else "",
        schema=shape.schema if native else None,
        limits=limits,
        offers_tools=has_tools,
    )
    return await _repaired(ask, first, shape)


async def _repaired(ask: Ask, attempt: Attempt, shape: Shape) -> Answer:
    """The first answer that fits. Repairs offer no tools, so that a schema holds them."""
    began, answers = time.monotonic(), list[Answer]()
    while True:
        answers.append(await ask(attempt))
        try:
            return replace(_whole(answers), output=parsed(answers[-1].text, shape))
        except Misfit as error:
            faults = str(error)
        left = _left(attempt.limits, answers[-1].usage, time.monotonic() - began)
        if answers[-1].stop_reason == "refused" or len(answers) > REPAIRS or left is None:
            raise _failure(answers, shape.name, faults)
        began = time.monotonic()
        prompt = _REPAIR.format(faults=faults)
        attempt = replace(attempt, prompt=prompt, limits=left, offers_tools=False)


def parsed(text: str, shape: Shape) -> Any:
    """The value in an answer: the whole of it, in a fenced block, or among words. Raises Misfit,
    of the best candidate."""
    faults: list[Misfit] = []
    for candidate in _candidates(text):
        try:
            return shape.read(candidate)
        except Misfit as error:
            faults.append(error)
    raise next((fault for fault in faults if fault.is_json), faults[0])


def _candidates(text: str) -> Iterator[str]:
    yield text.strip()
    yield from (fence["body"].strip() for fence in _FENCE.finditer(text))
    for begin, end in ("{}", "[]"):
        start, stop = text.find(begin), text.rfind(end)
        if 0 <= start < stop:
            yield text[start : stop + 1]


def _whole(answers: Sequence[Answer]) -> Answer:
    """The last answer, with what all of them cost and said."""
    usage = sum((answer.usage for answer in answers), Usage())
    messages = tuple(message for answer in answers for message in answer.messages)
    return replace(answers[-1], usage=usage, messages=messages)


def _left(limits: Limits, used: Usage, seconds: float) -> Limits | None:
    """What a repair may use; None where nothing is left."""
    tokens = None if limits.tokens is None else limits.tokens - used.total_tokens
    time_left = None if limits.seconds is None else limits.seconds - seconds
    if (tokens is not None and tokens <= 0) or (time_left is not None and time_left <= 0):
        return None
    return replace(limits, turns=1, tokens=tokens, seconds=time_left)


def _failure(answers: Sequence[Answer], wanted: str, faults: str) -> ModelError:
    said = " ".join(answers[-1].text.split())
    said = f"{said[:_SHOWN]}..." if len(said) > _SHOWN else said
    model, times = answers[-1].model, "once" if len(answers) == 1 else f"{len(answers)} times"
    return ModelError(
        f"{model} was asked {times} and gave no {wanted} ({faults[:_SHOWN]}). It said: "
        f"{said!r}. Choose a larger model, or a simpler {wanted}.",
        model,
    )


def _written(schema: Mapping[str, Any]) -> str:
    return json.dumps(dict(schema), ensure_ascii=False)
