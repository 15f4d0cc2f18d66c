"""docs/api.md, made from the signatures and docstrings of the public names: `python -m
tests.api_page` writes it, and a test fails when it is stale."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from textwrap import indent

import griffe

import agentkit

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "api.md"
MARK = "<!-- Below this line: python -m tests.api_page -->\n"
GROUPS = {
    "Agents": ("agent", "answers"),
    "Events": ("events",),
    "Messages": ("messages",),
    "Tools": ("tools",),
    "Models": ("backends", "answering"),
    "Knowledge": ("knowledge", "documents"),
    "MCP": ("mcp",),
    "Projects": ("project",),
    "Errors": ("errors",),
}
"""The modules and packages of each section."""
_WIDTH = 90
_NOT_SHOWN = ("Generic", "Protocol", "Setup", "TypedDict")


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """The whole page: its head as it stands, and the sections anew."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0] if PAGE.exists() else ""
    package = griffe.load("agentkit", search_paths=[str(ROOT)], allow_inspection=False)
    names = {name: _target(package[name]) for name in agentkit.__all__}
    sections = [
        f"\n## {title}\n\n" + "\n".join(_entry(name, found) for name, found in section)
        for title, modules in GROUPS.items()
        if (section := [(n, o) for n, o in names.items() if o.path.split(".")[1] in modules])
    ]
    return head + MARK + "".join(sections)


def _target(found: griffe.Object | griffe.Alias) -> griffe.Object:
    return found.final_target if isinstance(found, griffe.Alias) else found


def _entry(name: str, found: griffe.Object) -> str:
    """One name: its signature, its docstring and its members."""
    about, members = "", ""
    if isinstance(found, griffe.Class):
        code = _call(f"class {name}", _constructor(found), "")
        bases = [base for base in map(str, found.bases) if not base.startswith(_NOT_SHOWN)]
        about = f"A subclass of {', '.join(f'`{base}`' for base in bases)}." if bases else ""
        members = "\n".join(_members(found))
    elif isinstance(found, griffe.Function):
        code = _function(name, found)
    else:
        code = f"{name} = {found.value}" if isinstance(found, griffe.Attribute) else name
    parts = [f"### {name}", f"```py\n{code}\n```", _text(found), about, members]
    return "\n\n".join(part for part in parts if part) + "\n"


def _constructor(found: griffe.Class) -> list[griffe.Parameter] | None:
    """The parameters of a class, None for one that is not called."""
    if any(str(base).startswith(("Protocol", "TypedDict")) for base in found.bases):
        return None
    made = found.all_members.get("__init__")
    function = _target(made) if made else None
    return list(function.parameters) if isinstance(function, griffe.Function) else []


def _members(found: griffe.Class) -> Iterator[str]:
    """The public methods and properties; of a class without a constructor also the attributes."""
    has_fields = _constructor(found) is None
    for name, member in found.all_members.items():
        target = _target(member)
        if name.startswith("_") or not target.path.startswith("agentkit."):
            continue
        if isinstance(target, griffe.Function):
            yield _item(_function(name, target, width=10_000), target)
        elif isinstance(target, griffe.Attribute) and (has_fields or "property" in target.labels):
            yield _item(f"{name}: {target.annotation}", target)


def _item(code: str, found: griffe.Object) -> str:
    text = _text(found)
    return f"- `{code}`" + (f"\n{indent(text, '  ')}" if text else "")


def _function(name: str, found: griffe.Function, width: int = _WIDTH) -> str:
    """A function with what it is called by: `async`, or `with` for a context manager."""
    decorators = {str(decorator.value) for decorator in found.decorators}
    word = "async " if "async" in found.labels else ""
    word = "with " if "contextmanager" in decorators else word
    shown = (found.overloads or [found])[0]
    returns = f" -> {shown.returns}" if shown.returns and word != "with " else ""
    return _call(word + name, list(shown.parameters), returns, width)


def _call(
    name: str, parameters: list[griffe.Parameter] | None, returns: str, width: int = _WIDTH
) -> str:
    """A call with its parameters, each on a line of its own where one line does not hold them."""
    if parameters is None:
        return name + returns
    written = list(_parameters(parameters))
    line = f"{name}({', '.join(written)}){returns}"
    if len(line) <= width or not written:
        return line
    return "\n".join([f"{name}(", *(f"    {each}," for each in written), f"){returns}"])


def _parameters(parameters: Iterable[griffe.Parameter]) -> Iterator[str]:
    kinds = griffe.ParameterKind
    is_keyword = False
    for each in parameters:
        if each.name in ("self", "cls"):
            continue
        if each.kind is kinds.keyword_only and not is_keyword:
            is_keyword = True
            yield "*"
        stars = {kinds.var_keyword: "**", kinds.var_positional: "*"}.get(
            each.kind or kinds.keyword_only, ""
        )
        is_keyword = is_keyword or stars == "*"
        annotation = f": {each.annotation}" if each.annotation else ""
        equals = " = " if annotation else "="
        default = f"{equals}{each.default}" if each.default is not None and not stars else ""
        yield f"{stars}{each.name}{annotation}{default}"


def _text(found: griffe.Object) -> str:
    return found.docstring.value.strip() if found.docstring else ""


if __name__ == "__main__":
    main()
