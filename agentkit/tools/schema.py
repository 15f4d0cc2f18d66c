"""JSON Schema of a function's arguments, from its signature and docstring, and their validation.

Docstrings may be in Google, NumPy or Sphinx style. Types are those of pydantic.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args, get_type_hints

from docstring_parser import parse
from pydantic import BaseModel, ConfigDict, Field, create_model

from agentkit.errors import ConfigError
from agentkit.tools.context import ToolContext

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
_DATA_KEYS = ("default", "enum", "const", "examples")
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """Return a pydantic model of a function's arguments, without its ToolContext parameter. Raises
    ConfigError if the signature has no schema."""
    hints = _type_hints(function)
    descriptions = {p.arg_name: p.description for p in parse(function.__doc__ or "").params}
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if _is_context(hints.get(name)):
            continue
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"The tool {function.__name__!r} takes {parameter}, but models pass arguments by "
                "name. Replace it by named parameters."
            )
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        annotation = hints.get(name, str)
        if text := descriptions.get(name):
            annotation = Annotated[annotation, Field(description=text)]
        if _is_reserved(name):
            annotation = Annotated[annotation, Field(alias=name)]
            name = f"argument_{len(fields)}"
        fields[name] = (annotation, default)
    try:
        return create_model(function.__name__, __config__=_CONFIG, **fields)
    except Exception as error:
        raise ConfigError(f"The tool {function.__name__!r} has no schema: {error}") from error


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"The tool {function.__name__!r} has an annotation that cannot be resolved ({error}). "
            "Import or define the type at the top of its file."
        ) from error


def _is_context(hint: Any) -> bool:
    return hint is ToolContext or ToolContext in get_args(hint)


def _is_reserved(name: str) -> bool:
    """Whether pydantic reserves a field name."""
    return name.startswith(("_", "model_")) or hasattr(BaseModel, name)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model, without the titles that pydantic generates."""
    schema: dict[str, Any] = _without_titles(model.model_json_schema())
    schema.setdefault("properties", {})
    return schema


def result_model(function: Callable[..., Any]) -> type[BaseModel] | None:
    """The pydantic model that a function returns, None where it returns something else."""
    result = _type_hints(function).get("return")
    return result if isinstance(result, type) and issubclass(result, BaseModel) else None


@lru_cache(maxsize=1024)
def context_parameter(function: Callable[..., Any]) -> str | None:
    """Return the name of the ToolContext parameter, if any."""
    return next((name for name, hint in _type_hints(function).items() if _is_context(hint)), None)


def summary(function: Callable[..., Any]) -> str:
    """Return the docstring without its parameter sections, as a description for the model."""
    docstring = parse(function.__doc__ or "")
    returns = docstring.returns.description if docstring.returns else None
    parts = (docstring.short_description, docstring.long_description)
    text = "\n\n".join(part for part in parts if part)
    return f"{text}\n\nReturns: {returns}" if returns else text


def validate(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the function. Raises pydantic.ValidationError."""
    checked = model.model_validate(arguments)
    fields = model.model_fields
    return {field.alias or name: getattr(checked, name) for name, field in fields.items()}


def _without_titles(value: Any, of_properties: bool = False) -> Any:
    """Remove `title` keywords, except in data and as names of properties."""
    if isinstance(value, dict):
        return {
            key: item
            if key in _DATA_KEYS and not of_properties
            else _without_titles(item, key in ("properties", "$defs") and not of_properties)
            for key, item in value.items()
            if of_properties or key != "title"
        }
    return [_without_titles(item) for item in value] if isinstance(value, list) else value
