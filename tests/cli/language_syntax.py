"""What a message's expression is made of, as Python's syntax has it: f-strings as templates, the
places where a name gets its value, the arguments of a call."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache


@cache
def own_nodes(top: ast.AST) -> list[ast.AST]:
    """Everything in a function or module that stands in no function inside it."""
    found = list(ast.iter_child_nodes(top))
    for node in found:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found += ast.iter_child_nodes(node)
    return found


@cache
def speaking(top: ast.AST) -> list[ast.AST]:
    """What may say something."""
    kinds = ast.Call | ast.AugAssign | ast.Assign | ast.Return
    return [each for each in own_nodes(top) if isinstance(each, kinds)]


@cache
def giving(top: ast.AST) -> list[ast.AST]:
    """What may give a name its value."""
    kinds = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr | ast.Call
    loops = ast.For | ast.AsyncFor | ast.comprehension
    return [each for each in own_nodes(top) if isinstance(each, kinds | loops)]


def is_message(text: str) -> bool:
    """Whether there is something to translate."""
    return sum(map(str.isalpha, text)) >= 2


def escaped(text: str) -> str:
    """As a template writes it."""
    return text.replace("{", "{{").replace("}", "}}")


def texts(node: ast.expr) -> Iterator[str]:
    """What an expression says by itself, as templates."""
    match node:
        case ast.Constant(str(text)):
            yield escaped(text).strip()
        case ast.JoinedStr():
            yield template(node)
        case ast.Call(ast.Name("counted"), [_, ast.Constant(noun)]):
            yield from (f"{{0}} {noun!s}", f"{{0}} {noun!s}s")


def template(joined: ast.JoinedStr) -> str:
    number = -1
    pieces = []
    for value in joined.values:
        if isinstance(value, ast.Constant):
            pieces.append(escaped(str(value.value)))
        else:
            number += 1
            pieces.append(f"{{{number}}}")
    return "".join(pieces).strip()


def imports_of(tree: ast.Module) -> Iterator[tuple[str, tuple[str, str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agentkit"):
            module = (node.module or "").removeprefix("agentkit").removeprefix(".")
            yield from ((each.asname or each.name, (module, each.name)) for each in node.names)


def assigned(name: str, top: ast.AST) -> Iterator[ast.expr]:
    """What a name stands for: what is assigned to it, or looped over."""
    for node in giving(top):
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


def parts_of(node: ast.expr) -> Iterable[ast.expr]:
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


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    every = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
    names = [each.arg for each in every]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


def arguments(call: ast.Call, wanted: Iterable[int | str]) -> Iterator[ast.expr]:
    wanted = set(wanted)
    yield from (each for at, each in enumerate(call.args) if at in wanted)
    yield from (each.value for each in call.keywords if each.arg in wanted)


def name_of(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
