"""Trust covers exactly what runs: of tools/ and mcp_servers/ nothing is executed but the bytes that
were fingerprinted."""

import os
import py_compile
import sys
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentkit._code import list_code, read_code
from agentkit.tools.loading import load_tools

_NUMBERS = count()


class Place:
    """A folder with a tool that imports a helper; the helper leaves a mark when it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir()
        self.mark = folder / "ran"
        self.name = f"helper_of_trust_{next(_NUMBERS)}"
        self.evil = f"open({str(self.mark)!r}, 'w').close()\n"

    def tool(self, where: str = ".", statement: str = "") -> None:
        """Write a tool that imports the helper from a folder."""
        search = (
            "import os, sys\nhere = os.path.dirname(__file__)\n"
            f"sys.path.insert(0, os.path.join(here, {where!r}))\n"
        )
        (self.tools / "g.py").write_text(search + (statement or f"import {self.name}\n"))

    def helper(self, folder: str, source: str) -> Path:
        path = self.tools / folder / f"{self.name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        return path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    before = list(sys.path)
    yield Place(tmp_path)
    sys.path[:] = before


def _linked(place: Place) -> Path:
    real = place.folder / "elsewhere"
    real.mkdir()
    (place.tools / "lib").symlink_to(real)
    return place.helper("lib", "")


def _hidden(place: Place) -> Path:
    return place.helper(".lib", "")


def _cached(place: Place) -> Path:
    return place.helper("__pycache__", "")


def _package(place: Place) -> Path:
    path = place.tools / place.name / "__init__.py"
    path.parent.mkdir()
    path.write_text("")
    return path


PLACES = pytest.mark.parametrize(
    ("make", "where"),
    [(_linked, "lib"), (_hidden, ".lib"), (_cached, "__pycache__"), (_package, ".")],
)


@PLACES
def test_a_helper_runs_as_it_was_fingerprinted(
    place: Place, make: Callable[[Place], Path], where: str
) -> None:
    helper = make(place)
    helper.write_text(place.evil)
    place.tool(where)
    code = read_code(place.folder)
    assert place.evil.encode() in code.files.values()
    assert load_tools(place.tools, code).problems == ()
    assert place.mark.exists()
    assert sys.modules[place.name].__file__ == str(place.tools / where / helper.name) or (
        helper.name == "__init__.py"
    )


@PLACES
def test_a_helper_changed_after_the_check_does_not_run(
    place: Place, make: Callable[[Place], Path], where: str
) -> None:
    helper = make(place)
    place.tool(where)
    code = read_code(place.folder)
    helper.write_text(place.evil)
    load_tools(place.tools, code)
    assert not place.mark.exists()
    assert code.differences(read_code(place.folder)) == [
        helper.relative_to(place.folder).as_posix()
    ]


@PLACES
def test_a_module_added_after_the_check_fails_with_the_reason(
    place: Place, make: Callable[[Place], Path], where: str
) -> None:
    place.tool(where)
    (place.tools / "lib").mkdir()
    code = read_code(place.folder)
    (place.tools / "lib").rmdir()
    make(place).write_text(place.evil)
    (problem,) = load_tools(place.tools, code).problems
    assert "not part of what was checked for trust" in problem
    assert "agentkit trust" in problem
    assert not place.mark.exists()


_LOADERS = {
    "import": "",
    "spec_from_file_location": (
        "import importlib.util as u\n"
        "s = u.spec_from_file_location('{name}', os.path.join(here, '{name}.py'))\n"
        "s.loader.exec_module(u.module_from_spec(s))\n"
    ),
    "run_path": ("import runpy\nrunpy.run_path(os.path.join(here, '{name}.py'))\n"),
}


@pytest.mark.parametrize("loader", _LOADERS)
def test_planted_bytecode_of_a_helper_does_not_run(place: Place, loader: str) -> None:
    helper = place.helper(".", place.evil)
    place.tool(".", _LOADERS[loader].format(name=place.name))
    _compile_with_time_of(helper, "#" * (len(place.evil) - 1) + "\n")
    assert load_tools(place.tools).problems == ()
    assert not place.mark.exists()


@pytest.mark.parametrize("loader", _LOADERS)
def test_no_loader_runs_a_helper_that_was_swapped(place: Place, loader: str) -> None:
    helper = place.helper(".", "")
    place.tool(".", _LOADERS[loader].format(name=place.name))
    code = read_code(place.folder)
    helper.write_text(place.evil)
    load_tools(place.tools, code)
    assert not place.mark.exists()


def test_bytecode_without_source_is_refused(place: Place) -> None:
    helper = place.helper(".", place.evil)
    py_compile.compile(str(helper), cfile=str(helper.with_suffix(".pyc")), doraise=True)
    helper.unlink()
    place.tool()
    (problem,) = load_tools(place.tools).problems
    assert "not part of what was checked" in problem
    assert not place.mark.exists()


def test_no_bytecode_is_written(place: Place) -> None:
    place.helper(".", "")
    place.tool()
    assert load_tools(place.tools).problems == ()
    assert not list(place.tools.rglob("*.pyc"))


def test_modules_elsewhere_are_not_touched(place: Place) -> None:
    place.tool(".", "import colorsys, httpx\n")
    (place.folder / "outside").mkdir()
    (place.folder / "outside" / f"{place.name}.py").write_text(place.evil)
    place.tool("../outside")
    assert load_tools(place.tools).problems == ()
    assert place.mark.exists()


def test_of_an_environment_only_the_configuration_is_listed(place: Place) -> None:
    library = place.tools / ".venv" / "lib" / "some.py"
    library.parent.mkdir(parents=True)
    library.write_text(place.evil)
    (place.tools / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (place.tools / "g.py").write_text("")
    names = [name for name, _ in list_code(place.folder)]
    assert names == ["tools/.venv/pyvenv.cfg", "tools/g.py"]


def test_a_folder_that_poses_as_an_environment_does_not_run(place: Place) -> None:
    place.helper("lib", place.evil)
    (place.tools / "lib" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    place.tool("lib")
    assert load_tools(place.tools).problems
    assert not place.mark.exists()


def test_links_that_form_a_cycle_are_listed_once(place: Place) -> None:
    (place.tools / "g.py").write_text("")
    for name in ("up", "again"):
        (place.tools / name).symlink_to(place.tools, target_is_directory=True)
    assert [name for name, _ in list_code(place.folder)] == ["tools/g.py"]


@pytest.mark.skipif(sys.platform == "win32", reason="modes of files")
def test_a_hidden_file_counts_if_it_can_be_executed(place: Place) -> None:
    for name, mode in ((".server", 0o755), (".notes", 0o644), (".swap.py", 0o644)):
        (place.tools / name).write_text("x = 1\n")
        os.chmod(place.tools / name, mode)
    assert [name for name, _ in list_code(place.folder)] == ["tools/.server", "tools/.swap.py"]


def _compile_with_time_of(helper: Path, harmless: str) -> None:
    """Leave harmful bytecode beside a harmless source of the same size and time."""
    py_compile.compile(str(helper), doraise=True)
    before = helper.stat()
    helper.write_text(harmless)
    os.utime(helper, ns=(before.st_atime_ns, before.st_mtime_ns))


_FOLDERS = ("", "lib", ".lib", "__pycache__", "linked", "environment")
_HELPERS = st.tuples(
    st.sampled_from(_FOLDERS),
    st.sampled_from(["source", "planted bytecode", "only bytecode", "package", "archive"]),
    st.sampled_from(["keep", "change", "add", "remove"]),
)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_HELPERS, min_size=1, max_size=5))
def test_what_runs_is_a_subset_of_what_was_fingerprinted(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    helpers: list[tuple[str, str, str]],
) -> None:
    place = Place(tmp_path_factory.mktemp("random"))
    _make_folders(place)
    imports = "import contextlib, importlib, sys\n"
    later: list[Callable[[], None]] = []
    for number, (folder, kind, change) in enumerate(helpers):
        name = f"{place.name}_{number}"
        directory = str(place.tools / folder)
        archive = str(Path(directory, f"{name}.zip"))
        imports += f"sys.path[:0] = [{archive!r}, {directory!r}]\nimportlib.invalidate_caches()\n"
        imports += f"with contextlib.suppress(ImportError):\n    import {name}\n"
        path = Path(directory, f"{name}.py")
        if kind == "package":
            path = Path(directory, name, "__init__.py")
        elif kind == "archive":
            path = Path(directory, f"{name}.zip")
        if change == "add":
            later.append(partial(_write, path, kind, f"{name} added"))
            continue
        _write(path, kind, f"{name} before")
        if change == "change":
            later.append(partial(_write, path, kind, f"{name} after"))
        elif change == "remove":
            later.append(partial(path.unlink, missing_ok=True))
    (place.tools / "g.py").write_text(imports)
    before = list(sys.path)
    code = read_code(place.folder)
    for act in later:
        act()
    ran = ModuleType("ran_of_trust")
    names: list[str] = []
    ran.__dict__["names"] = names
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, ran.__name__, ran)
        try:
            assert load_tools(place.tools, code).problems == ()
        finally:
            sys.path[:] = before
    hashed = b"\n".join(code.files.values()).decode(errors="replace")
    assert [name for name in names if repr(name) not in hashed] == []
    kept = [
        f"{place.name}_{number} before"
        for number, (folder, kind, change) in enumerate(helpers)
        if change == "keep" and kind in ("source", "package") and folder != "environment"
    ]
    assert set(kept) <= set(names)


def _make_folders(place: Place) -> None:
    (place.folder / "elsewhere").mkdir()
    (place.tools / "linked").symlink_to(place.folder / "elsewhere")
    for folder in _FOLDERS:
        (place.tools / folder).mkdir(exist_ok=True)
    (place.tools / "environment" / "pyvenv.cfg").write_text("home = /usr/bin\n")


def _write(path: Path, kind: str, name: str) -> None:
    """Write a module that records its name when it runs, or bytecode that does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    source = f"import ran_of_trust\nran_of_trust.names.append({name!r})\n"
    if kind == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{path.stem}.py", source)
        return
    path.write_text(source)
    if kind == "planted bytecode":
        size = path.stat().st_size
        _compile_with_time_of(path, "#" * (size - 1) + "\n")
    elif kind == "only bytecode":
        py_compile.compile(str(path), cfile=str(path.with_suffix(".pyc")), doraise=True)
        path.unlink()
