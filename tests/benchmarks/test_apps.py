"""Each application takes at most what the same one takes with pydantic-ai."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.apps import OURS, PEERS, ROOT, Size, measure, programs, table


@pytest.mark.parametrize("name", programs())
def test_application_is_no_longer_than_its_peer(name: str) -> None:
    own = measure(OURS / f"{name}.py", "agentkit")
    peer = measure(PEERS / f"{name}.py", "pydantic_ai")
    assert own.lines <= peer.lines
    assert own.imports <= peer.imports
    assert (own.deep_imports, own.casts) == (0, 0)


def test_table_of_the_documentation_is_current() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert table() in page, "Put what `python benchmarks/apps.py` prints into docs/benchmarks.md."


def test_comments_docstrings_and_blank_lines_are_not_counted(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        '"""A program."""\n\nimport a\nfrom a.b import (\n    c,\n)\n\n# A comment\n'
        'text = """\none\n\ntwo\n"""  # type: ignore\nvalue = cast(int, c)\n'
    )
    assert measure(program, "a") == Size(lines=10, imports=2, deep_imports=1, casts=2)
