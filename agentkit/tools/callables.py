"""Read the name, parameters and type hints of a callable, also hints that are strings, and find its
ToolContext parameter.

A callable is a function, a method bound to its object, a `functools.partial`, an object with
`__call__`, a dataclass or a pydantic model.
"""

from __future__ import annotations

import builtins
import functools
import gc
import inspect
import sys
from collections import ChainMap
from collections.abc import Iterator, Mapping
from types import CodeType, SimpleNamespace
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from typing_extensions import TypeVar

from agentkit.errors import ConfigError
from agentkit.tools.context import RunContext, ToolContext

_CONTEXTS = {"ToolContext": ToolContext, "RunContext": RunContext}


def implementation(value: Any) -> Any:
    """Return the function or class that carries the hints and the docstring of a callable."""
    while True:
        if isinstance(value, functools.partial):
            value = value.func
        elif inspect.ismethod(value) or isinstance(value, (staticmethod, classmethod)):
            value = value.__func__
        elif isinstance(value, type) or inspect.isroutine(value) or not callable(value):
            return value
        else:
            value = type(value).__call__


def callable_name(value: Any) -> str:
    """Return the name that a callable has as a tool: a function's or a class's own."""
    if isinstance(value, functools.partial) and "__name__" not in vars(value):
        return callable_name(value.func)
    name: str = getattr(value, "__name__", "") or type(value).__name__
    return "lambda" if name == "<lambda>" else name


def is_unbound(function: Any) -> bool:
    """Whether a function is a method without its object."""
    if not (inspect.isfunction(function) or inspect.ismethoddescriptor(function)):
        return False
    return next(iter(parameters_of(function)), "") in ("self", "cls")


def is_async(function: Any) -> bool:
    """Whether a call returns a coroutine, as far as that is known without calling."""
    called = implementation(function)
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


def signature_of(function: Any) -> inspect.Signature:
    if sys.version_info >= (3, 14):  # Names that are not defined stay references.
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def parameters_of(function: Any) -> Mapping[str, inspect.Parameter]:
    """Return the parameters that a call fills: without those that a partial fixes by name."""
    fixed: set[str] = set()
    inner = function
    while isinstance(inner, functools.partial):
        fixed |= inner.keywords.keys()
        inner = inner.func
    found = signature_of(function).parameters
    return {name: each for name, each in found.items() if name not in fixed}


def bind_positional(function: Any, arguments: dict[str, Any]) -> Any:
    """Take the arguments that must be passed by position out of `arguments`, and return the
    callable with them."""
    code = getattr(function, "__code__", None)
    if code is not None and not code.co_posonlyargcount and not hasattr(function, "__wrapped__"):
        return function
    found = parameters_of(function).values()
    first = [each.name for each in found if each.kind is inspect.Parameter.POSITIONAL_ONLY]
    return functools.partial(function, *map(arguments.pop, first)) if first else function


class _Unresolved:
    """Stands for a name that is not defined at run time, such as one that only type checkers
    import."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *_: Any, **__: Any) -> _Unresolved:
        return self

    def __getitem__(self, _: Any) -> _Unresolved:
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _CONTEXTS.get(name) or _Unresolved(f"{self.name}.{name}")

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007


class Namespace(ChainMap[str, Any]):
    """The names that a callable's annotations can use: of the functions and classes around it, of
    its module, and the built-in ones. A name that is not defined is an _Unresolved; with
    `finds_classes` it may be a class that a function around the callable left behind."""

    def __init__(self, function: Any, finds_classes: bool = False) -> None:
        self._finds_classes = finds_classes
        target = inspect.unwrap(implementation(function))
        self._module = getattr(target, "__module__", None) or ""
        self._outer = _outer_names(getattr(target, "__qualname__", ""))
        generic = {each.__name__: each for each in getattr(target, "__type_params__", ())}
        scopes: list[Any] = [generic, _closure(target)]
        if inspect.ismethod(function):
            owner = function.__self__
            scopes += map(vars, (owner if isinstance(owner, type) else type(owner)).__mro__)
        own = getattr(target, "__globals__", None)
        scopes += _running_scopes(self._module, self._outer)
        kinds = target.__mro__ if isinstance(target, type) else ()
        modules = [sys.modules.get(kind.__module__) for kind in kinds]
        scopes += [own] if own is not None else [vars(each) for each in modules if each]
        super().__init__(*scopes, vars(builtins))

    def __missing__(self, name: str) -> Any:
        found = _CONTEXTS.get(name)
        if found is None and self._finds_classes:
            found = _local_class(self._module, self._outer, name)
        return found or _Unresolved(name)


def _outer_names(qualified: str) -> list[str]:
    """Return the qualified names of the functions and classes around one, innermost first."""
    parts = qualified.replace(".<locals>", "").split(".")[:-1]
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)]


def _closure(target: Any) -> dict[str, Any]:
    names = getattr(getattr(target, "__code__", None), "co_freevars", ())
    found = {}
    for name, cell in zip(names, getattr(target, "__closure__", None) or (), strict=False):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # Not assigned yet.
            continue
    return found


def _running_scopes(module: str, outer: list[str]) -> Iterator[dict[str, Any]]:
    """Yield the local names of the functions and classes around a callable that are running."""
    frame = sys._getframe() if outer else None
    while frame is not None:
        name = frame.f_code.co_qualname.replace(".<locals>", "")
        if name in outer and frame.f_globals.get("__name__") == module:
            yield dict(frame.f_locals)
        frame = frame.f_back


def _local_class(module: str, outer: list[str], name: str) -> Any:
    """Return the last class of that name that the functions around a callable defined: a string
    annotation does not keep it in the closure once they have returned."""
    if not outer:
        return None
    wanted = {f"{place}.{name}" for place in outer}
    found = None
    for each in gc.get_objects():
        # isinstance() would ask proxies for the class of an object that may be gone.
        is_near = issubclass(type(each), type) and each.__module__ == module
        if is_near and each.__qualname__.replace(".<locals>", "") in wanted:
            found = each
    return found


def resolve_hint(function: Any, name: str, annotation: Any, names: Namespace) -> Any:
    """Evaluate an annotation, also one that is a string or contains strings."""
    holder = SimpleNamespace(__annotations__={name: annotation})
    try:
        return get_type_hints(holder, globalns={}, localns=names, include_extras=True)[name]
    except Exception as error:  # An annotation is an expression: it can raise anything.
        raise ConfigError(
            f"The tool {callable_name(function)!r} has an annotation of {name!r} that cannot be "
            f"resolved ({error}). Import or define the type at the top of its file."
        ) from error


def unresolved_name(hint: Any) -> str:
    """Return a name in a type that is not defined, "" without one."""
    if isinstance(hint, _Unresolved):
        return hint.name
    parts = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    return next(filter(None, map(unresolved_name, parts)), "")


def is_context(hint: Any) -> bool:
    """Whether an annotation is a context, bare, of some type of deps, or optional."""
    return any((get_origin(e) or e) in _CONTEXTS.values() for e in (hint, *get_args(hint)))


def context_parameter(function: Any) -> str | None:
    """Return the name of the ToolContext parameter, if any."""
    return _read_context(function)[0]


def needs_deps(function: Any) -> bool:
    """Whether a callable's context names a type of deps, such as ToolContext[Database]."""
    return _read_context(function)[1]


_contexts: dict[int, tuple[CodeType, str | None, bool]] = {}
"""By the identity of a function's code, which is the same in each run's own closures."""


def _read_context(function: Any) -> tuple[str | None, bool]:
    """The name of the ToolContext parameter, and whether it names a type of deps."""
    if isinstance(function, type):
        return None, False
    code = getattr(inspect.unwrap(implementation(function)), "__code__", None)
    is_cached = code is not None and not isinstance(function, functools.partial)
    if is_cached and id(code) in _contexts:
        return _contexts[id(code)][1:]
    found: tuple[str | None, bool] = (None, False)
    names = Namespace(function)
    for name, parameter in parameters_of(function).items():
        if parameter.annotation is inspect.Parameter.empty:
            continue
        hint = resolve_hint(function, name, parameter.annotation, names)
        if is_context(hint):
            contexts = [e for e in (hint, *get_args(hint)) if get_origin(e) in _CONTEXTS.values()]
            deps = [kind for context in contexts for kind in get_args(context)]
            found = name, any(not _accepts_none(kind) for kind in deps)
            break
    if is_cached and code is not None:
        _contexts[id(code)] = code, *found
    return found


def _accepts_none(kind: Any) -> bool:
    is_open = kind in (object, type(None), Any) or isinstance(kind, TypeVar)
    return is_open or type(None) in get_args(kind)
