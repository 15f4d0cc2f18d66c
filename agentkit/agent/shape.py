"""What an answer shall be when it is no text: an object of a pydantic model, or a value that a
JSON Schema describes. References to other files are not followed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from agentkit.errors import ConfigError

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
