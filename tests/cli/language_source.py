"""The messages of the source, as templates: followed from where they are said back to where they
are written, through variables, the results of functions and the arguments given to them.

It knows no types: a method is any method of that name. What is computed otherwise is not found.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple

from agentkit import errors

PACKAGE = Path(errors.__file__).parent
ERRORS = {name for name, each in vars(errors).items() if isinstance(each, type)}
FAULTS = {"Unfit", "Passed", "Failed", "Unsupported", "_Dropped", "Retried", "PassingError"}
OURS = {
    *("translated", "titled", "spoken", "labelled", "marked", "say", "Command"),
    *("Finding", "ok", "broken", "mendable"),
}
"""A single word that these are called with is a message too."""

SAID: dict[str, set[int | str]] = {
    **{name: {0} for name in ERRORS | FAULTS | {"translated", "BadParameter"}},
    "spoken": set(range(9)),
    "labelled": {0},
    "marked": {0, 2},
    "say": {0},
    "warn": {0},
    "Command": {0, 3, 5},
    "Dial": {1},
    "Finding": {0, 1, 2, 3, "next_step"},
    "broken": {0, 2},
    "Terminal": {2},
    "Verdict": {2, "reason"},
    "_supported": {3},
    "replace": {"reason"},
    "Part": {2},
    "Checked": {2},
    "Offer": {3, "missing"},
    "titled": {0},
}
"""What is called with a message, and which arguments are one."""

LISTS = {"notices", "warnings", "problems"}
"""Lists of messages."""

METHODS = {"fault"}
"""Methods that are called from other modules with a message."""

FOR_MODELS = ("tools/builtin", "mcp/prompts.py", "mcp/library.py", "mcp/served.py")
"""What only a model or a program reads."""


class Module(NamedTuple):
    """A file: what it imports, by the name it has here."""

    name: str
    tree: ast.Module
    imports: dict[str, tuple[str, str]]


class Place(NamedTuple):
    """A function, None for the top of a module."""

    module: Module
    function: ast.FunctionDef | ast.AsyncFunctionDef | None


class Said(NamedTuple):
    """An expression whose words are said, as a whole or as a value in a message."""

    node: ast.expr
    place: Place
    may_be_a_word: bool = False

    @property
    def key(self) -> tuple[int, bool]:
        return id(self.node), self.may_be_a_word

    def also(self, node: ast.expr) -> Said:
        return self._replace(node=node)


@dataclass
class Source:
    """The package, read."""

    modules: dict[str, Module] = field(default_factory=dict)
    functions: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    said: dict[tuple[str, str], set[int | str]] = field(default_factory=lambda: defaultdict(set))
    """Which arguments of a function are messages, by its module and name."""

    def messages(self) -> set[str]:
        """Every message. Functions that hand a message on are found one behind the other."""
        found: set[str] = set()
        known = -1
        while known != sum(map(len, self.said.values())):
            known = sum(map(len, self.said.values()))
            found = set(self._found())
        return set(filter(is_message, found))

    def _found(self) -> Iterator[str]:
        """What the expressions say that are messages, or lead to one. Each is looked at once."""
        waiting = [root for place in self._places() for root in self._roots(place)]
        seen = set()
        while waiting:
            said = waiting.pop()
            if said.key not in seen:
                seen.add(said.key)
                for text in _texts(said.node):
                    yield from (text,) if " " in text or said.may_be_a_word else ()
                waiting += self._behind(said)

    def _places(self) -> Iterator[Place]:
        functions = (place for every in self.functions.values() for place in every)
        for place in (*(Place(each, None) for each in self.modules.values()), *functions):
            if not place.module.name.replace(".", "/").startswith(FOR_MODELS):
                yield place

    def _roots(self, place: Place) -> Iterator[Said]:
        """The expressions that are messages here."""
        for node in _telling(place.function or place.module.tree):
            match node:
                case ast.Call(ast.Attribute(of, "append"), [told]) if _name(of) in LISTS:
                    yield Said(told, place)
                case ast.Call(ast.Name("map"), [ast.Name("translated"), told, *_]):
                    yield Said(told, place)
                case ast.Call(func):
                    is_ours = _name(func) in OURS
                    for each in _arguments(node, self._wanted(node, place)):
                        yield Said(each, place, is_ours)
                case ast.AugAssign(of, _, told) if _name(of) in LISTS:
                    yield Said(told, place)
                case ast.Assign([target], told) if "reason" in map(_name, ast.walk(target)):
                    yield Said(told, place)

    def _wanted(self, call: ast.Call, place: Place) -> set[int | str]:
        name = _name(call.func)
        wanted = set(SAID.get(name, ()))
        for each in self._called(call, place):
            wanted |= self.said[each.module.name, name]
        return wanted

    def _called(self, call: ast.Call, place: Place) -> list[Place]:
        """The functions that a call may call."""
        name = _name(call.func)
        every = self.functions.get(name, [])
        here = [each for each in every if each.module is place.module]
        if isinstance(call.func, ast.Attribute):
            is_own = _name(call.func.value) in ("self", "cls")
            return here if is_own else every if name in METHODS else []
        origin, _ = place.module.imports.get(name, (place.module.name, name))
        return [each for each in every if each.module.name == origin]

    def _behind(self, said: Said) -> Iterator[Said]:
        """The expressions that an expression takes its words from."""
        match said.node:
            case ast.JoinedStr(values):
                values = [each.value for each in values if isinstance(each, ast.FormattedValue)]
                yield from (Said(each, said.place) for each in values)
            case ast.Name(name):
                yield from self._of_name(name, said)
            case ast.Call() as call:
                yield from self._of_call(call, said)
            case node:
                yield from (said.also(each) for each in _parts(node))

    def _of_call(self, call: ast.Call, said: Said) -> Iterator[Said]:
        match call:
            case ast.Call(ast.Attribute(ast.Constant(), "join"), given):
                yield from map(said.also, given)
            case ast.Call(ast.Attribute(ast.Name() as of, "get"), [_, *given]):
                yield from map(said.also, [of, *given])
            case ast.Call(ast.Attribute(of, "items" | "values")):
                yield said.also(of)
            case ast.Call(ast.Name("str" | "next" | "escape" | "harmless"), given):
                yield from map(said.also, given)
            case ast.Call(ast.Name() | ast.Attribute(ast.Name("self"))):
                for called in self._called(call, said.place):
                    for node in own_nodes(called.function or ast.Pass()):
                        if isinstance(node, ast.Return | ast.Yield) and node.value:
                            yield Said(node.value, called, said.may_be_a_word)

    def _of_name(self, name: str, said: Said) -> Iterator[Said]:
        module, function = said.place
        if function and name in (parameters := _parameters(function)):
            self.said[module.name, function.name] |= {parameters.index(name), name}
        inside = list(_assigned(name, function)) if function else []
        yield from map(said.also, inside)
        origin, given = module.imports.get(name, (module.name, name))
        if not inside and origin in self.modules:
            top = Place(self.modules[origin], None)
            for value in _assigned(given, top.module.tree):
                yield Said(value, top, said.may_be_a_word)


def read() -> Source:
    """The package's source."""
    source = Source()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = source.modules[name] = Module(name, tree, dict(_imports(tree)))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                source.functions[node.name].append(Place(module, node))
    return source


@cache
def own_nodes(top: ast.AST) -> list[ast.AST]:
    """Everything in a function or module that stands in no function inside it."""
    found = list(ast.iter_child_nodes(top))
    for node in found:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += ast.iter_child_nodes(node)
    return found


@cache
def _telling(top: ast.AST) -> list[ast.AST]:
    return [
        each for each in own_nodes(top) if isinstance(each, ast.Call | ast.AugAssign | ast.Assign)
    ]


@cache
def _giving(top: ast.AST) -> list[ast.AST]:
    return [
        each
        for each in own_nodes(top)
        if isinstance(
            each,
            ast.Assign
            | ast.AnnAssign
            | ast.AugAssign
            | ast.NamedExpr
            | ast.For
            | ast.AsyncFor
            | ast.comprehension
            | ast.Call,
        )
    ]


def is_message(text: str) -> bool:
    return sum(map(str.isalpha, text)) >= 2


def escaped(text: str) -> str:
    """As a template writes it."""
    return text.replace("{", "{{").replace("}", "}}")


def _texts(node: ast.expr) -> Iterator[str]:
    match node:
        case ast.Constant(str(text)):
            yield escaped(text).strip()
        case ast.JoinedStr():
            yield _template(node)
        case ast.Call(ast.Name("counted"), [_, ast.Constant(noun)]):
            yield from (f"{{0}} {noun}", f"{{0}} {noun}s")


def _template(joined: ast.JoinedStr) -> str:
    number = -1
    pieces = []
    for value in joined.values:
        if isinstance(value, ast.Constant):
            pieces.append(escaped(str(value.value)))
        else:
            number += 1
            pieces.append(f"{{{number}}}")
    return "".join(pieces).strip()


def _imports(tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agentkit"):
            module = (node.module or "").removeprefix("agentkit").removeprefix(".")
            yield from ((each.asname or each.name, (module, each.name)) for each in node.names)


def _assigned(name: str, top: ast.AST) -> Iterator[ast.expr]:
    """What a name stands for: what is assigned to it, or looped over."""
    for node in _giving(top):
        match node:
            case ast.Assign(targets, value) if any(_names(each, name) for each in targets):
                yield value
            case ast.AnnAssign(ast.Name(id=found), _, ast.expr() as value) if found == name:
                yield value
            case ast.AugAssign(ast.Name(id=found), _, value) if found == name:
                yield value
            case ast.NamedExpr(ast.Name(id=found), value) if found == name:
                yield value
            case ast.For(target, value) | ast.AsyncFor(target, value) if _names(target, name):
                yield value
            case ast.comprehension(target, value) if _names(target, name):
                yield value
            case ast.Call(ast.Attribute(ast.Name(id=found), "append"), [value]) if found == name:
                yield value


def _names(target: ast.expr, name: str) -> bool:
    return any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(target))


def _parts(node: ast.expr) -> Iterable[ast.expr]:
    """The expressions of which one is the value, or of which it is a list."""
    match node:
        case ast.IfExp(_, yes, no):
            return yes, no
        case ast.BoolOp(_, values) | ast.List(values) | ast.Tuple(values) | ast.Set(values):
            return values
        case ast.Dict(keys, values):
            return [*filter(None, keys), *values]
        case ast.BinOp(left, ast.Add() | ast.BitOr(), right):
            return left, right
        case (
            ast.Await(value)
            | ast.Starred(value)
            | ast.Subscript(value)
            | ast.GeneratorExp(value)
            | ast.ListComp(value)
            | ast.NamedExpr(_, value)
        ):
            return (value,)
    return ()


def _parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    every = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    names = [each.arg for each in every]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def _arguments(call: ast.Call, wanted: Iterable[int | str]) -> Iterator[ast.expr]:
    wanted = set(wanted)
    yield from (each for at, each in enumerate(call.args) if at in wanted)
    yield from (each.value for each in call.keywords if each.arg in wanted)


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
