"""The tools of a folder: loaded by path, a broken file reported, a changed one loaded again."""

import os
import sys
from pathlib import Path

import pytest

from agentkit.tools.loading import LoadedTools, load_tools

ADD = '''
from agentkit import tool

@tool
def {name}(a: int) -> int:
    """{doc}"""
    return a + {n}
'''


def _write(folder: Path, name: str, source: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(source, encoding="utf-8")


def _names(loaded: LoadedTools) -> list[str]:
    return [tool.name for tool in loaded.tools]


async def test_every_tool_of_every_file_is_loaded(tmp_path: Path) -> None:
    _write(tmp_path, "a.py", ADD.format(name="one", doc="One.", n=1))
    _write(tmp_path, "b.py", ADD.format(name="two", doc="Two.", n=2))
    loaded = load_tools(tmp_path)
    assert (_names(loaded), loaded.problems) == (["one", "two"], ())
    assert (await loaded.tools[1].run({"a": 1})).content == "3"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def (", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError"),
        ("1 / 0", "ZeroDivisionError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("from agentkit import tool\n@tool\ndef f(*a): 'x'", "ConfigError"),
        ("from agentkit import tool\n@tool\ndef f(a: Nowhere): 'x'", "NameError"),
        ("\x00", "null bytes"),
    ],
)
def test_a_broken_file_is_reported_and_the_rest_loads(
    tmp_path: Path, source: str, expected: str
) -> None:
    _write(tmp_path, "a.py", source)
    _write(tmp_path, "b.py", ADD.format(name="one", doc="One.", n=1))
    before = set(sys.modules)
    loaded = load_tools(tmp_path)
    assert _names(loaded) == ["one"]
    [problem] = loaded.problems
    assert str(tmp_path / "a.py") in problem
    assert expected in problem
    left = [name for name in sys.modules.keys() - before if name.startswith("agentkit_tools")]
    assert [name.endswith("_b") for name in left] == [True]


async def test_files_of_one_name_in_two_folders_are_two_modules(tmp_path: Path) -> None:
    first, second = tmp_path / "x", tmp_path / "y"
    _write(first, "same.py", ADD.format(name="one", doc="One.", n=1))
    _write(second, "same.py", ADD.format(name="one", doc="One.", n=100))
    tools = [load_tools(folder).tools[0] for folder in (first, second)]
    assert [(await tool.run({"a": 0})).content for tool in tools] == ["1", "100"]


def test_a_file_named_like_a_library_hides_none(tmp_path: Path) -> None:
    _write(tmp_path, "json.py", ADD.format(name="one", doc="One.", n=1))
    load_tools(tmp_path)
    import json

    assert json.loads("1") == 1


def test_files_that_begin_with_an_underscore_are_left_out(tmp_path: Path) -> None:
    _write(tmp_path, "_own.py", "1 / 0")
    assert load_tools(tmp_path) == load_tools(tmp_path / "missing")


def test_a_second_tool_of_one_name_is_reported(tmp_path: Path) -> None:
    _write(tmp_path, "a.py", ADD.format(name="one", doc="One.", n=1))
    _write(tmp_path, "b.py", ADD.format(name="one", doc="Other.", n=2))
    loaded = load_tools(tmp_path)
    assert [tool.description for tool in loaded.tools] == ["One."]
    assert "duplicate tool 'one'" in loaded.problems[0]


def test_one_tool_under_two_names_of_a_file_is_one_tool(tmp_path: Path) -> None:
    _write(tmp_path, "a.py", ADD.format(name="one", doc="One.", n=1) + "\nother = one\n")
    loaded = load_tools(tmp_path)
    assert (_names(loaded), loaded.problems) == (["one"], ())


def test_a_tool_that_a_file_only_imports_is_not_its_own(tmp_path: Path) -> None:
    _write(tmp_path, "a.py", "from tests.tools.test_schema import grow\n")
    assert load_tools(tmp_path).tools == ()


async def test_a_changed_file_is_loaded_anew_even_within_one_second(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        _write(tmp_path, "a.py", ADD.format(name="one", doc="One.", n=n))
        os.utime(tmp_path / "a.py", (1_000_000_000, 1_000_000_000))
        [tool] = load_tools(tmp_path).tools
        assert (await tool.run({"a": 0})).content == str(n)
    assert not (tmp_path / "__pycache__").exists()


async def test_tools_of_every_kind_of_callable_are_the_files_own(tmp_path: Path) -> None:
    source = """
import functools
from agentkit import tool

def add(a: int, b: int) -> int:
    return a + b

class Scale:
    def __call__(self, x: float) -> float:
        return 2 * x

    @tool
    def halve(self, x: float) -> float:
        return x / 2

add_one = tool(functools.partial(add, b=1))
scale = tool(name="scale")(Scale())
halve = Scale().halve
"""
    _write(tmp_path, "a.py", source)
    loaded = load_tools(tmp_path)
    assert (_names(loaded), loaded.problems) == (["add", "scale", "halve"], ())
    results = [await tool.run({name: 4}) for tool, name in zip(loaded.tools, "axx", strict=True)]
    assert [result.text for result in results] == ["5", "8.0", "2.0"]
