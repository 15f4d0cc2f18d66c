"""A function's signature and docstring as a JSON Schema, and arguments checked against it.

Docstrings may be in Google, NumPy or Sphinx style. The types are pydantic's.
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

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """The pydantic model of a function's arguments, its ToolContext parameter left out.

    Raises ConfigError where the signature cannot be a schema.
    """
    hints = _hints(function)
    described = {p.arg_name: p.description for p in parse(function.__doc__ or "").params}
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if _is_context(hints.get(name)):
            continue
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"The tool {function.__name__!r} takes {parameter}. "
                "Give each argument a name of its own, for the model passes arguments by name."
            )
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        annotation = hints.get(name, str)
        if text := described.get(name):
            annotation = Annotated[annotation, Field(description=text)]
        if _is_taken(name):
            annotation = Annotated[annotation, Field(alias=name)]
            name = f"argument_{len(fields)}"
        fields[name] = (annotation, default)
    try:
        return create_model(function.__name__, __config__=_CONFIG, **fields)
    except Exception as error:
        raise ConfigError(f"The tool {function.__name__!r} has no schema: {error}") from error


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"The tool {function.__name__!r} has an annotation that cannot be read ({error}): "
            "import or define the type at the top of its file."
        ) from error


def _is_context(hint: Any) -> bool:
    return hint is ToolContext or ToolContext in get_args(hint)


def _is_taken(name: str) -> bool:
    """Whether pydantic keeps a field's name to itself."""
    return name.startswith(("_", "model_")) or hasattr(BaseModel, name)


_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=False)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a model's fields, without the titles that pydantic invents."""
    schema: dict[str, Any] = _without_titles(model.model_json_schema())
    schema.setdefault("properties", {})
    return schema


@lru_cache(maxsize=1024)
def context_parameter(function: Callable[..., Any]) -> str | None:
    """The name of the parameter that takes the ToolContext, if there is one."""
    return next((name for name, hint in _hints(function).items() if _is_context(hint)), None)


def summary(function: Callable[..., Any]) -> str:
    """The docstring without its parameter sections: what the model reads of the tool."""
    docstring = parse(function.__doc__ or "")
    returns = docstring.returns.description if docstring.returns else None
    parts = (docstring.short_description, docstring.long_description)
    text = "\n\n".join(part for part in parts if part)
    return f"{text}\n\nReturns: {returns}" if returns else text


def validated(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments as the function's own types. Raises pydantic.ValidationError."""
    checked = model.model_validate(arguments)
    known = type(checked).model_fields
    return {field.alias or name: getattr(checked, name) for name, field in known.items()}


_DATA = ("default", "enum", "const", "examples")


def _without_titles(value: Any, of_properties: bool = False) -> Any:
    """A copy without `title` keywords; a property that is itself called title stays, and so does
    what is data."""
    if isinstance(value, dict):
        return {
            key: item
            if key in _DATA and not of_properties
            else _without_titles(item, key in ("properties", "$defs") and not of_properties)
            for key, item in value.items()
            if of_properties or key != "title"
        }
    return [_without_titles(item) for item in value] if isinstance(value, list) else value
