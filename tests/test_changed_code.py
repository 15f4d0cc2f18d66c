"""Changes of trusted code are found while the program runs, without reading all of it each time."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit._code import changed_files, read_code


def _trusted_helper(folder: Path) -> Path:
    path = folder / "tools" / "helper.py"
    path.parent.mkdir(parents=True)
    path.write_text("VALUE = 1\n")
    read_code(folder).activate()
    return path


def _rewrite(path: Path) -> None:
    path.write_text("VALUE = 9\n")


def _rewrite_with_the_old_times(path: Path) -> None:
    status = path.stat()
    path.write_text("VALUE = 9\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _replace_by_another_file(path: Path) -> None:
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_text("VALUE = 9\n")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


def _replace_by_a_link(path: Path) -> None:
    target = path.parents[1] / "elsewhere.py"
    target.write_text("VALUE = 9\n")
    path.unlink()
    path.symlink_to(target)


CHANGES: list[Callable[[Path], object]] = [
    _rewrite,
    _rewrite_with_the_old_times,
    _replace_by_another_file,
    _replace_by_a_link,
    Path.unlink,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_file_is_found_right_after_it_was_read(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    helper = _trusted_helper(tmp_path)
    assert changed_files(helper) == []
    change(helper)
    assert changed_files(helper) == ["tools/helper.py"]


def test_files_are_read_again_where_their_status_changed(tmp_path: Path) -> None:
    helpers = [_trusted_helper(tmp_path / str(number)) for number in range(len(CHANGES) + 1)]
    while time.time() < helpers[-1].stat().st_ctime + 2.1:  # Longer than a clock's resolution.
        time.sleep(0.1)
    assert [changed_files(helper) for helper in helpers] == [[]] * len(helpers)
    for helper, change in zip(helpers, CHANGES, strict=False):
        change(helper)
    opened: list[str] = []
    sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
    found = [changed_files(helper) for helper in helpers]
    assert found == [["tools/helper.py"]] * len(CHANGES) + [[]]
    if sys.platform != "win32":
        assert str(helpers[0]) in opened
        assert str(helpers[-1]) not in opened
