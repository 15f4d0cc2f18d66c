"""The messages of the source, as templates: followed from where they are said back to where they
are written, through variables, the results of functions and the arguments given to them.

It knows no types: a method is any method of that name. What is computed otherwise is not found.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from agentkit import errors
from tests.cli.language_syntax import (
    arguments,
    assigned,
    imports_of,
    is_message,
    name_of,
    own_nodes,
    parameters,
    parts_of,
    speaking,
    texts,
)

PACKAGE = Path(errors.__file__).parent
ERRORS = {name for name, each in vars(errors).items() if isinstance(each, type)}
FAULTS = {"Unfit", "Passed", "Failed", "Unsupported", "_Dropped", "Retried", "TransientError"}
OURS = {
    *("translated", "titled", "spoken", "labelled", "marked", "say", "Command"),
    *("Finding", "ok", "from_error", "_repairable"),
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
    "from_error": {0, 2},
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

TELLING = {"mcp.checks", "cli.config:_state", "evaluation.report:faults_of"}
"""Modules and functions that return messages."""

VALUE_ERRORS = ("cli.", "settings")
"""Modules whose ValueErrors are told."""

METHODS = {"fault"}
"""Methods that are called from other modules with a message."""

FOR_MODELS = ("tools.builtin", "mcp.prompts", "mcp.library", "mcp.served")
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

    @property
    def names(self) -> set[str]:
        """The module's name, and the function's in it."""
        name = self.module.name
        return {name, f"{name}:{self.function.name}"} if self.function else {name}


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
                for text in texts(said.node):
                    yield from (text,) if " " in text or said.may_be_a_word else ()
                waiting += self._behind(said)

    def _places(self) -> Iterator[Place]:
        functions = (place for every in self.functions.values() for place in every)
        for place in (*(Place(each, None) for each in self.modules.values()), *functions):
            if not place.module.name.startswith(FOR_MODELS):
                yield place

    def _roots(self, place: Place) -> Iterator[Said]:
        """The expressions that are messages here."""
        for node in speaking(place.function or place.module.tree):
            match node:
                case ast.Call(ast.Attribute(of, "append"), [told]) if name_of(of) in LISTS:
                    yield Said(told, place)
                case ast.Call(ast.Name("map"), [ast.Name("translated"), told, *_]):
                    yield Said(told, place)
                case ast.Call(func):
                    is_ours = name_of(func) in OURS
                    for each in arguments(node, self._wanted(node, place)):
                        yield Said(each, place, is_ours)
                case ast.AugAssign(of, _, told) if name_of(of) in LISTS:
                    yield Said(told, place)
                case ast.Return(ast.expr() as told) if TELLING & place.names:
                    yield Said(told, place)
                case ast.Assign([target], told) if "reason" in map(name_of, ast.walk(target)):
                    yield Said(told, place)

    def _wanted(self, call: ast.Call, place: Place) -> set[int | str]:
        name = name_of(call.func)
        wanted = set(SAID.get(name, ()))
        if name == "ValueError" and place.module.name.startswith(VALUE_ERRORS):
            wanted.add(0)
        for each in self._called(call, place):
            wanted |= self.said[each.module.name, name]
        return wanted

    def _called(self, call: ast.Call, place: Place) -> list[Place]:
        """The functions that a call may call."""
        name = name_of(call.func)
        every = self.functions.get(name, [])
        here = [each for each in every if each.module is place.module]
        if isinstance(call.func, ast.Attribute):
            is_own = name_of(call.func.value) in ("self", "cls")
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
                yield from (said.also(each) for each in parts_of(node))

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
        if function and name in (given := parameters(function)):
            self.said[module.name, function.name] |= {given.index(name), name}
        inside = list(assigned(name, function)) if function else []
        yield from map(said.also, inside)
        origin, there = module.imports.get(name, (module.name, name))
        if not inside and origin in self.modules:
            top = Place(self.modules[origin], None)
            for value in assigned(there, top.module.tree):
                yield Said(value, top, said.may_be_a_word)


def read() -> Source:
    """The package's source."""
    source = Source()
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        module = source.modules[name] = Module(name, tree, dict(imports_of(tree)))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                source.functions[node.name].append(Place(module, node))
    return source
