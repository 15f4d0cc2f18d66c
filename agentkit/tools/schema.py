"""Describe a callable to a model: its name, its docstring, and the JSON Schema of its arguments.

A callable is a function, a method bound to its object, a `functools.partial`, an object with
`__call__`, a dataclass or a pydantic model. Types are those of pydantic; docstrings are read in
Google, NumPy or Sphinx style. A model never sees a ToolContext, an argument that a partial fixes,
or `**options`, which get nothing.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import functools
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Optional,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from docstring_parser import parse
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    create_model,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from typing_extensions import Doc, TypedDict, is_typeddict

from agentkit.errors import ConfigError
from agentkit.tools.callables import (
    Namespace,
    callable_name,
    implementation,
    is_context,
    is_unbound,
    parameters_of,
    resolve_hint,
    signature_of,
    unresolved_name,
)

_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
_DATA_KEYS = ("default", "enum", "const", "examples")


def check_callable(value: Any) -> None:
    """Raise ConfigError for what has no arguments or no result that a tool can have."""
    if reason := _fault(value):
        raise ConfigError(reason)
    name, called = callable_name(value), implementation(value)
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise ConfigError(f"The tool {name!r} yields its result: return a list or a text instead.")
    try:
        signature_of(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The tool {name!r} has no signature that can be read ({error}): call it in a "
            "function of your own."
        ) from error
    if is_unbound(value) and not _is_in_class(value):
        raise ConfigError(unbound_fault(value))


def unbound_fault(function: Any) -> str:
    """Say how a method without its object becomes a tool."""
    name = callable_name(function)
    return (
        f"The tool {name!r} is a method without its object: pass the bound method, as in "
        f"tools=[instance.{name}]."
    )


def _fault(value: Any) -> str:
    """Say why a value is not a callable that can be a tool; "" for one."""
    kind = type(value).__name__
    if isinstance(value, type):
        if _is_data_class(value):
            return ""
        return (
            f"A tool is made from a function, not from the class {value.__name__}, whose objects "
            "have no form that a model can read: pass a method of an object, or use a dataclass."
        )
    if isinstance(value, classmethod):
        return (
            f"The class method {value.__name__!r} is not bound to its class: write @classmethod "
            "above @tool, or pass the method of the class."
        )
    if kind == "coroutine":
        return (
            f"A tool is made from a function, not from a call of {value.__name__!r}: leave out ()."
        )
    if hasattr(value, "args_schema") and hasattr(value, "ainvoke"):
        return (
            f"{value.name!r} is a tool of LangChain: convert it with "
            "agentkit.integrations.langchain.from_langchain_tool."
        )
    wrapped: Any = getattr(value, "__wrapped__", None)
    if hasattr(wrapped, "needs_approval"):
        return f"The tool {wrapped.name!r} is decorated again: write @tool above other decorators."
    if not callable(value):
        return f"A tool is made from a function, not from a value of type {kind}."
    return ""


def _is_data_class(kind: type) -> bool:
    is_named_tuple = issubclass(kind, tuple) and hasattr(kind, "_fields")
    return dataclasses.is_dataclass(kind) or issubclass(kind, BaseModel) or is_named_tuple


def _is_in_class(function: Any) -> bool:
    """Whether a function is defined in the body of a class, by its qualified name."""
    outer = function.__qualname__.rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def summary(function: Any) -> str:
    """Return the docstring without its parameter sections, as a description for the model. A
    paragraph of prose is one line, so that no sentence is cut where the source wraps it."""
    docstring = parse(_docstring(function))
    returns = docstring.returns.description if docstring.returns else None
    between = "\n\n" if docstring.blank_after_short_description else "\n"
    parts = (docstring.short_description, docstring.long_description)
    text = _unwrapped(between.join(part for part in parts if part))
    return f"{text}\n\nReturns: {_unwrapped(returns)}" if returns else text


_LAYOUT = re.compile(r"^(?:\s|[-*+•>|#]|\d+[.)]\s|~~~)", re.MULTILINE)
"""A line that is a list's item, code, a table or a heading."""


def _unwrapped(text: str) -> str:
    """The text with each paragraph of prose on one line; text with fenced code as it is."""
    if "```" in text:
        return text
    paragraphs = re.split(r"\n[ \t]*\n", text.strip())
    return "\n\n".join(
        each if _LAYOUT.search(each) else each.replace("\n", " ") for each in paragraphs
    )


def _docstring(function: Any) -> str:
    own = vars(function).get("__doc__") if isinstance(function, functools.partial) else None
    called = implementation(function)
    text = own or called.__doc__ or ""
    if isinstance(called, type) and text.startswith(f"{called.__name__}("):
        return ""  # The signature that a dataclass gets in place of a docstring.
    if not text and not inspect.isroutine(function) and not isinstance(function, functools.partial):
        return type(function).__doc__ or ""
    return text


def arguments_model(function: Any) -> type[BaseModel]:
    """Return a pydantic model of a callable's arguments. Raises ConfigError if its signature has no
    schema."""
    if isinstance(function, type) and issubclass(function, BaseModel):
        return function
    tool = callable_name(function)
    described = parse(_docstring(function)).params
    documented = {p.arg_name: _unwrapped(p.description or "") for p in described}
    factories = _default_factories(function)
    fields: dict[str, Any] = {}
    for name, parameter, hint in _typed_parameters(function):
        if is_context(hint):
            continue
        if unresolved := unresolved_name(hint):
            raise ConfigError(
                f"The tool {tool!r} has an annotation of {name!r} that cannot be resolved (name "
                f"{unresolved!r} is not defined). Import or define the type at the top of its "
                "file, outside `if TYPE_CHECKING`."
            )
        annotation = _annotated(hint, parameter.default, documented.get(name))
        default = factories.get(name, parameter.default)
        if _is_reserved(name):
            annotation = Annotated[annotation, Field(alias=name)]
            name = f"argument_{len(fields)}"
        fields[name] = (annotation, ... if default is inspect.Parameter.empty else default)
    try:
        model: type[BaseModel] = create_model(tool, __config__=_CONFIG, **fields)
    except Exception as error:
        raise _no_schema(tool, error) from error
    return model


def _no_schema(tool: str, error: Exception) -> ConfigError:
    reason = str(error).partition("\n")[0]
    return ConfigError(f"The tool {tool!r} has no schema: {reason} Use types that JSON can carry.")


def _typed_parameters(function: Any) -> Iterator[tuple[str, inspect.Parameter, Any]]:
    """Yield the parameters that a model or the run fills, with their types; a type that is not
    given is that of the default, else a text."""
    names = Namespace(function, finds_classes=True)
    parameters = list(parameters_of(function).items())[is_unbound(function) :]
    variadic = [
        str(each) for _, each in parameters if each.kind is inspect.Parameter.VAR_POSITIONAL
    ]
    if variadic or [each.kind for _, each in parameters] == [inspect.Parameter.VAR_KEYWORD]:
        text = variadic[0] if variadic else str(parameters[0][1])
        raise ConfigError(
            f"The tool {callable_name(function)!r} takes {text}, but models pass arguments by "
            "name. Replace it by named parameters; a decorator keeps them with functools.wraps."
        )
    for name, parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        default = parameter.default
        if parameter.annotation is not inspect.Parameter.empty:
            yield name, parameter, resolve_hint(function, name, parameter.annotation, names)
        elif isinstance(default, (bool, int, float, list, dict)):
            yield name, parameter, type(default)
        else:
            yield name, parameter, str


def _default_factories(function: Any) -> dict[str, Any]:
    if not (isinstance(function, type) and dataclasses.is_dataclass(function)):
        return {}
    pydantic_fields: Mapping[str, FieldInfo] = getattr(function, "__pydantic_fields__", {})
    factories: dict[str, Any] = {
        each.name: each.default_factory for each in dataclasses.fields(function)
    }
    factories |= {name: field.default_factory for name, field in pydantic_fields.items()}
    return {
        name: Field(default_factory=factory)
        for name, factory in factories.items()
        if callable(factory)
    }


def _annotated(hint: Any, default: Any, text: str | None) -> Any:
    """Return the type for pydantic: nullable where the default is None, with its description."""
    is_annotated = get_origin(hint) is Annotated
    bare, *extra = get_args(hint) if is_annotated else (hint,)
    if isinstance(bare, dataclasses.InitVar):
        bare = bare.type
    bare = _adapt(bare)
    is_nullable = bare in (Any, None, object) or type(None) in get_args(bare)
    if default is None and not is_nullable:
        bare = Optional[bare]  # noqa: UP045 - `|` does not take every form of a type.
    notes = (each.documentation if isinstance(each, Doc) else each for each in extra)
    text = text or next((note for note in notes if isinstance(note, str)), None)
    has_text = any(isinstance(each, FieldInfo) and each.description for each in (*extra, default))
    if text and not has_text:
        extra.append(Field(description=text))
    for each in extra:
        bare = Annotated[bare, each]
    return bare


def _decode(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        text = value.strip().rpartition("base64,")[2].replace("-", "+").replace("_", "/")
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error) as error:
        raise ValueError("not valid Base64") from error


_BYTES = Annotated[
    bytes, BeforeValidator(_decode), WithJsonSchema({"type": "string", "format": "base64"})
]


def _adapt(hint: Any) -> Any:
    """Replace bytes by Base64 text, and a TypedDict by the kind that pydantic takes before 3.12."""
    if hint is bytes:
        return _BYTES
    if is_typeddict(hint) and sys.version_info < (3, 12):
        return _typed_dict(hint)
    origin, parts = get_origin(hint), get_args(hint)
    adapted = tuple(map(_adapt, parts)) if parts and origin is not Literal else parts
    if adapted == parts or not all(map(_is_type_argument, parts)):
        return hint
    if origin is Annotated:
        for each in hint.__metadata__:
            adapted = (Annotated[adapted[0], each],)
        return adapted[0]
    is_union = origin is Union or getattr(origin, "__name__", "") == "UnionType"
    return Union[adapted] if is_union else origin[adapted]  # noqa: UP007


def _is_type_argument(value: Any) -> bool:
    return not isinstance(value, list)


def _typed_dict(kind: Any) -> Any:
    hints = get_type_hints(kind, include_extras=True)
    required = kind.__required_keys__
    fields = {
        name: _adapt(hint) if name in required else NotRequired[_adapt(hint)]
        for name, hint in hints.items()
    }
    create: Any = TypedDict
    return create(kind.__name__, fields)


def _is_reserved(name: str) -> bool:
    """Whether pydantic reserves a field name."""
    return name.startswith(("_", "model_")) or hasattr(BaseModel, name)


class _JsonSchema(GenerateJsonSchema):
    """Decimals are numbers, without the pattern that some servers refuse; a default that JSON
    cannot carry is left out."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        number: dict[str, Any] = super().decimal_schema(schema)["anyOf"][0]
        return number


def json_schema(
    model: type[BaseModel], mode: Literal["validation", "serialization"] = "validation"
) -> dict[str, Any]:
    """Return the JSON Schema of a model, without the titles that pydantic generates. Raises
    ConfigError for a type that JSON cannot carry."""
    try:
        found = model.model_json_schema(schema_generator=_JsonSchema, mode=mode)
    except Exception as error:
        raise _no_schema(model.__name__, error) from error
    schema: dict[str, Any] = _without_titles(found)
    schema.setdefault("properties", {})
    return schema


def result_model(function: Any) -> type[BaseModel] | None:
    """The pydantic model that a callable returns, None where it returns something else."""
    if isinstance(function, type):
        return function if issubclass(function, BaseModel) else None
    annotation = signature_of(function).return_annotation
    if annotation is inspect.Parameter.empty:
        return None
    try:
        result = resolve_hint(function, "return", annotation, Namespace(function))
    except ConfigError:
        return None  # Only arguments need their types.
    return result if isinstance(result, type) and issubclass(result, BaseModel) else None


def validate(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the callable. Raises pydantic.ValidationError."""
    checked = model.model_validate(arguments)
    fields = model.model_fields
    return {field.alias or name: getattr(checked, name) for name, field in fields.items()}


def schema_fault(schema: Mapping[str, Any], value: Any) -> str:
    """Why a value does not fit a JSON Schema, "" where it does. Raises ValueError for a schema that
    cannot be used."""
    from jsonschema.exceptions import SchemaError, best_match  # type: ignore[import-untyped]
    from jsonschema.validators import (  # type: ignore[import-untyped]
        Draft202012Validator,
        validator_for,
    )
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema)
        # Without a registry of its own, jsonschema would fetch a remote $ref.
        error = best_match(kind(schema, registry=Registry()).iter_errors(value))
    except SchemaError as invalid:
        raise ValueError(f"is invalid: {invalid.message}") from invalid
    except Unresolvable as missing:
        raise ValueError(f"is invalid: {missing}") from missing
    except Exception as failed:  # a pattern that is no regular expression, or endless recursion
        raise ValueError(f"cannot be used: {failed}") from failed
    if error is None:
        return ""
    path = ".".join(map(str, error.absolute_path))
    return f"{path}{': ' if path else ''}{error.message}"


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
