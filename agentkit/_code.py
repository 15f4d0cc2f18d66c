"""Code of a project folder: list it, hash it, and import only what was hashed.

`read_code` reads each file of tools/ and mcp_servers/ that may be executed, through links and in
hidden folders, once, and so each file elsewhere that it is given by name. `Code.activate` installs
an importer of those bytes: a module of these folders that is not among them fails, and no bytecode
file of them is read or written. Run as a program, `python _code.py FOLDER DIGEST NAMES KIND
...`, it starts a Python server the same way. It uses the standard library only, since a server has
its own Python.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import source_from_cache, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

CODE_FOLDERS = ("tools", "mcp_servers")
MAX_BYTES = 64_000_000
MAX_NAMED_BYTES = 500_000_000
_MAX_VISITED = 20_000
_MAX_KEPT = 1_000_000
_CLOCK_SECONDS = 2
_SETTINGS = {".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf"}
_SUFFIXES = {
    *(".py", ".pyw", ".pyc", ".pyz", ".pth", ".egg", ".whl", ".zip", ".so", ".pyd", ".dll"),
    *(".dylib", ".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".sh", ".bash", ".zsh", ".rb", ".pl"),
    *(".php", ".lua", ".jar", ".wasm", ".exe", ".bat", ".cmd", ".ps1", ".jsx", ".tsx", ".node"),
    *(".fish", ".ksh", ".pm", ".r", ".jl", ".go", ".rs", ".java", ".class", ".kts", ".groovy"),
    *(".ex", ".exs", ".clj", ".tcl", ".awk", ".cs", ".fsx", ".swift", ".dart", ".vbs", ".psm1"),
    *(".mk", ".nix"),
}
_NAMES = re.compile(
    r"\.env(?:\..*)?|\.npmrc|package\.json|(?:(?:gnu)?make|docker|just|rake|proc|gem)file",
    re.IGNORECASE,
)
NO_CODE_FOLDERS = {"node_modules", ".git", ".agentkit"}
_NOT_BELOW = (*CODE_FOLDERS, "knowledge", "agentkit.toml")
"""What is not part of the code of a project's own folder: it is covered otherwise, or is data."""
ENVIRONMENT = "pyvenv.cfg"


class CodeTooLarge(Exception):
    """The files of folders hold more than MAX_BYTES, those elsewhere more than MAX_NAMED_BYTES, or
    there are too many folders."""


class Code:
    """The bytes of the files that may be executed, by name ("tools/lib/units.py")."""

    def __init__(self, folder: Path, names: Sequence[str], files: Mapping[str, bytes]) -> None:
        self.folder = folder
        self.names = tuple(names)
        self.files = dict(files)
        base = os.path.abspath(folder)
        self._contents: dict[str, bytes] = {}
        self._unchanged: dict[str, tuple[int, ...]] = {}
        self.roots: set[str] = set()
        for name in names:
            path = os.path.normpath(os.path.join(base, name))
            self.roots |= {path, os.path.realpath(path)}
        for name, content in self.files.items():
            path = os.path.join(base, *name.split("/"))
            self._contents[path] = content
            self._contents.setdefault(os.path.realpath(path), content)
            for parent in _parents(path, self.roots):
                if os.path.islink(parent):
                    self.roots.add(os.path.realpath(parent))

    @property
    def digest(self) -> str:
        """A hash of all names and contents."""
        total = hashlib.sha256()
        for name, content in self.files.items():
            total.update(entry(name, content))
        return total.hexdigest()

    def content(self, path: str | os.PathLike[str]) -> bytes | None:
        """The contents of a file as they were read, None for a file that was not."""
        own = self._contents.get(os.path.abspath(path))
        return self._contents.get(os.path.realpath(path)) if own is None else own

    def covers(self, path: str, real: str) -> bool:
        """Whether an absolute path, and with links resolved, is in these folders, and not in the
        environment of this Python."""
        if not is_below(path, self.roots) and not is_below(real, self.roots):
            return real in self._contents
        prefix = os.path.realpath(sys.prefix)
        return not (is_below(prefix, self.roots) and is_below(real, {prefix}))

    def differences(self, other: Code) -> list[str]:
        """The names of the files that are missing in either or differ."""
        names = {*self.files, *other.files}
        return sorted(name for name in names if self.files.get(name) != other.files.get(name))

    def only(self, *names: str) -> Code:
        """The part of some of the folders."""
        own = {name: each for name, each in self.files.items() if name.split("/")[0] in names}
        return Code(self.folder, [name for name in self.names if name in names], own)

    def changed(self) -> list[str]:
        """The names of the files that came, went or differ now. Raises OSError, CodeTooLarge.

        A file is read once, and again where its status changed. As in Git, a status that is newer
        than the clock's resolution proves nothing; elsewhere than on POSIX none does.
        """
        now = dict(list_code(self.folder, self.names))
        names = {*self.files, *now}
        return sorted(n for n in names if n not in now or self._differs(n, now[n]))

    def _differs(self, name: str, path: Path) -> bool:
        if name not in self.files:
            return True
        found = path.stat()
        status = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if self._unchanged.get(name) == status:
            return False
        if _read(path) != self.files[name]:
            return True
        if os.name == "posix" and 0 <= found.st_ctime < time.time() - _CLOCK_SECONDS:
            self._unchanged[name] = status
        return False

    def activate(self) -> None:
        """Import modules of these folders from these bytes, in this process and from now on."""
        _active[os.path.abspath(self.folder), self.names] = self
        if not any(each is _Finder for each in sys.meta_path):
            places = [index for index, each in enumerate(sys.meta_path) if each is PathFinder]
            sys.meta_path.insert(places[0] if places else len(sys.meta_path), _Finder)
        if not _hooked:
            _hooked.append(True)
            sys.addaudithook(_audit)


_active: dict[tuple[str, tuple[str, ...]], Code] = {}
_hooked: list[bool] = []


def active_code(path: str | os.PathLike[str]) -> Code | None:
    """The code in use whose folders hold a path."""
    if not _active:
        return None
    own, real = os.path.abspath(path), os.path.realpath(path)
    return next((code for code in reversed(_active.values()) if code.covers(own, real)), None)


def changed_files(path: str | os.PathLike[str]) -> list[str]:
    """The files that differ from the code in use, of the folder of it that holds a path; none for
    a path that no code in use holds. Raises OSError, CodeTooLarge."""
    if (code := active_code(path)) is None:
        return []
    changed = code.changed()
    top = os.path.relpath(os.path.abspath(path), os.path.abspath(code.folder)).split(os.sep)[0]
    return [name for name in changed if top not in code.names or name.split("/")[0] == top]


def read_code(folder: Path, names: Sequence[str] = CODE_FOLDERS) -> Code:
    """Read the files of a folder that may be executed. Raises OSError, CodeTooLarge."""
    files: dict[str, bytes] = {}
    left = {False: MAX_BYTES, True: MAX_NAMED_BYTES}
    for name, path in list_code(folder, names):
        is_elsewhere = name in names or name.split("/")[0] not in names
        left[is_elsewhere] -= path.stat().st_size
        if min(left.values()) < 0:
            raise CodeTooLarge
        files[name] = _read(path)
    return Code(folder, names, files)


def _read(path: Path) -> bytes:
    """The contents of a file, and of a large one that is no Python source their hash."""
    if path.suffix in (".py", ".pyw") or path.stat().st_size <= _MAX_KEPT:
        return path.read_bytes()
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_MAX_KEPT):
            found.update(block)
    return found.digest()


def list_code(folder: Path, names: Sequence[str] = CODE_FOLDERS) -> list[tuple[str, Path]]:
    """List the name and path of each file that may be executed, sorted; links are followed.

    Left out are the bytecode of sources, hidden files and caches that are no code, and virtual
    environments but for their pyvenv.cfg: an environment is used by its own Python only. Of a
    folder whose name ends in "/", files that are no code are left out too. Raises CodeTooLarge.
    """
    found: dict[str, Path] = {}
    for name in names:
        path = folder / name
        if path.is_file():
            found[name] = path
        elif path.is_dir():
            prefix = "" if name == "./" else f"{name.rstrip('/')}/"
            walked = _walk(path, prefix, set(), name.endswith("/"))
            found |= sorted(walked, key=lambda each: each[0].split("/"))
    return list(found.items())


def entry(name: str, content: bytes) -> bytes:
    """A file as it is hashed."""
    return f"{len(name)}:{name}:{len(content)}:".encode("utf-8", "surrogateescape") + content


def _walk(folder: Path, prefix: str, seen: set[str], code_only: bool) -> Iterator[tuple[str, Path]]:
    real = os.path.realpath(folder)
    if real in seen:
        return
    seen.add(real)
    children = sorted(folder.iterdir())
    if (folder / ENVIRONMENT).is_file():
        children = [folder / ENVIRONMENT]
    elif code_only:
        left_out = NO_CODE_FOLDERS if prefix else {*_NOT_BELOW, *NO_CODE_FOLDERS}
        children = [path for path in children if path.name not in left_out]
    for path in children:
        name = f"{prefix}{path.name}"
        if len(seen) > _MAX_VISITED:
            raise CodeTooLarge
        if path.is_dir():
            yield from _walk(path, f"{name}/", seen, code_only)
        elif not path.is_file():
            continue
        elif _is_in_folder(path, name.split("/"), code_only):
            yield name, path


def _is_in_folder(path: Path, parts: Sequence[str], code_only: bool) -> bool:
    """Whether a file of a folder of code belongs to the code."""
    if path.name == ENVIRONMENT:
        return True
    if path.suffix == ".pyc" and "__pycache__" in parts:
        return False
    is_plain = not any(part.startswith(".") or part == "__pycache__" for part in parts)
    is_part = is_plain and (not code_only or (not path.suffix and len(parts) > 1))
    return is_part or is_code(path, settings=code_only)


def is_code(path: Path, settings: bool = True) -> bool:
    """Whether a file may be executed, by its endings or name, its executable bit or "#!", or
    says what is: by default also files such as TOML and .env."""
    endings = {suffix.lower() for suffix in path.suffixes}
    if endings & _SUFFIXES or (settings and endings & _SETTINGS) or _NAMES.fullmatch(path.name):
        return True
    try:
        with path.open("rb") as file:
            return bool(path.stat().st_mode & 0o111) or file.read(2) == b"#!"
    except OSError:
        return True


def is_below(path: str, roots: Iterable[str]) -> bool:
    return any(path == root or path.startswith(root.rstrip(os.sep) + os.sep) for root in roots)


def _parents(path: str, roots: set[str]) -> Iterator[str]:
    while (path := os.path.dirname(path)) and is_below(path, roots):
        yield path


def forget_modules(folder: Path) -> None:
    """Have the modules of a project's code imported again."""
    roots = [os.path.realpath(folder / name) for name in CODE_FOLDERS]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and is_below(os.path.realpath(file), roots):
            del sys.modules[name]


class CodeLoader(SourceFileLoader):
    """Loads a module from bytes that were read before; its file names and lines are the file's."""

    def __init__(self, fullname: str, path: str, content: bytes) -> None:
        super().__init__(fullname, path)
        self._content = content

    def get_data(self, path: str) -> bytes:
        return self._content if path == self.path else super().get_data(path)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        """Raise OSError, so that no bytecode is read or written."""
        raise OSError


class _Finder:
    """Finds modules as PathFinder does, and replaces or refuses those of the folders in use."""

    @staticmethod
    def find_spec(
        fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target)
        origin = spec.origin if spec else None
        if spec is None or not origin:  # Nothing of a namespace package is executed.
            return spec
        if (code := active_code(origin)) is None:
            return spec
        content = _trusted(code, origin, fullname)
        if isinstance(spec.loader, SourceFileLoader):
            return spec_from_file_location(
                fullname,
                origin,
                loader=CodeLoader(fullname, origin, content),
                submodule_search_locations=spec.submodule_search_locations,
            )
        if not origin.endswith(tuple(EXTENSION_SUFFIXES)):
            raise _refusal(origin, "it is neither Python source nor an extension module", fullname)
        if _read(Path(origin)) != content:
            raise _refusal(origin, "it has changed since", fullname)
        return spec

    @staticmethod
    def invalidate_caches() -> None:
        """PathFinder does it."""


def _trusted(code: Code, path: str, module: str = "") -> bytes:
    content = code.content(path)
    if content is None:
        raise _refusal(path, "it was not there then, or is no source file", module)
    return content


def _refusal(path: str, reason: str, module: str = "") -> ImportError:
    return ImportError(
        f"{path} is not run: it is not part of what was checked for trust ({reason}). "
        "Review it, run `agentkit trust`, and start again.",
        name=module or None,
        path=path,
    )


def _is_bytecode_of_code(path: str) -> bool:
    """Whether bytecode lies in the folders, or elsewhere and belongs to a file there."""
    try:
        source = source_from_cache(path)
    except (ValueError, NotImplementedError):
        source = path
    return active_code(path) is not None or active_code(source) is not None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Hold loaders that are called without the importer to the same bytes."""
    if event == "open":
        path, _, flags = arguments
        reads = not flags & (os.O_WRONLY | os.O_RDWR)
        is_bytecode = reads and isinstance(path, str) and path.endswith(".pyc")
        if is_bytecode and _is_bytecode_of_code(path):
            raise FileNotFoundError(2, "Bytecode of trusted folders is not used", path)
    elif event == "compile":
        source, path = arguments
        if isinstance(path, bytes):
            path = os.fsdecode(path)
        if not isinstance(source, bytes) or not isinstance(path, str) or path.startswith("<"):
            return
        code = active_code(path)
        if code is not None and _trusted(code, path) != source:
            raise _refusal(path, "it has changed since")


def has_module(folder: str, kind: str, program: str) -> bool:
    """Whether a folder may hold what `python -m PROGRAM`, or `-c PROGRAM`, imports."""
    words = [program.partition(".")[0]] if kind == "-m" else re.findall(r"[^\W\d]\w*", program)
    paths = [os.path.join(folder, word) for word in words]
    return any(os.path.isdir(path) or os.path.isfile(f"{path}.py") for path in paths)


def _main(arguments: list[str]) -> None:
    """Run a Python program as `python` would, with the code of a folder as it was hashed."""
    import runpy

    folder, digest, names, kind, *rest = arguments
    code = read_code(Path(folder), json.loads(names))
    if code.digest != digest:
        sys.exit(f"{folder}: code changed while a server was started. Try again.")
    code.activate()
    isolated = sys.flags.isolated or getattr(sys.flags, "safe_path", False)
    if not isolated:
        del sys.path[0]
    sys.modules["agentkit_code"] = sys.modules["__main__"]
    sys.modules["__main__"] = main = ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    target = rest[0]
    sys.argv = rest if kind == "script" else [kind, *rest[1:]]
    if kind == "script" and os.path.isdir(target):
        sys.path.insert(0, target)
        runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
        return
    if not isolated:
        start, own = os.getcwd(), os.path.dirname(os.path.realpath(target))
        if kind == "script" or is_below(start, code.roots) or has_module(start, kind, target):
            sys.path.insert(0, {"script": own, "-m": start, "-c": ""}[kind])
    if kind == "-m":
        runpy._run_module_as_main(target)  # type: ignore[attr-defined]
    elif kind == "-c":
        exec(compile(target, "<string>", "exec"), main.__dict__)  # nosec B102
    else:
        is_ours = active_code(target) is not None
        source = _trusted(code, target) if is_ours else Path(target).read_bytes()
        target = os.path.abspath(target)
        main.__dict__.update(__file__=target, __cached__=None)
        exec(compile(source, target, "exec"), main.__dict__)  # nosec B102


if __name__ == "__main__":
    _main(sys.argv[1:])
