"""New projects: complete, explained, trusted unless other code is there, nothing overwritten."""

import ast
import json
import os
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from agentkit import Project
from agentkit.errors import ConfigError
from agentkit.mcp.config import read_config
from agentkit.project.scaffold import (
    FILES,
    TEMPLATES,
    loose_documents,
    make_project,
)
from agentkit.project.trust import is_trusted, trust
from agentkit.settings.profile import Profile
from agentkit.settings.schema import Settings
from agentkit.settings.sources import merge_layers, text_layer
from agentkit.tools.loading import load_tools
from tests.conftest import unprivileged

TOML = (TEMPLATES / "agentkit.toml").read_text(encoding="utf-8")
UNCOMMENTED = re.sub(r"(?m)^#(?=[\w\[])", "", TOML)


def _fields(model: Any, values: Any) -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, field, value given) of every key, tables by any name seen through."""
    for name, field in model.model_fields.items():
        if field.annotation is Profile:  # It is described in docs/backends.md.
            continue
        inner = [
            kind for kind in (field.annotation, *get_args(field.annotation)) if _is_table(kind)
        ]
        given = values.get(name, PydanticUndefined)
        if not inner:
            yield name, field, given
        elif field.annotation is inner[0]:
            yield from _fields(inner[0], given)
        else:
            for table in given.values():
                yield from _fields(inner[0], table)


def _is_table(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def test_a_new_project_has_every_part_and_is_trusted(tmp_path: Path) -> None:
    made = make_project(tmp_path / "deep" / "app")
    assert made.new == FILES
    assert made.kept == ()
    assert made.trusted
    assert is_trusted(made.folder)
    assert Project.exists(made.folder)
    assert all((made.folder / part.path).read_bytes() for part in FILES)


def test_every_template_belongs_to_a_part() -> None:
    assert {path.name for path in TEMPLATES.iterdir()} == {part.template for part in FILES}


def test_the_settings_as_they_are_written_are_the_defaults() -> None:
    assert merge_layers([text_layer(TOML, "template")]).settings == Settings()


def test_every_setting_is_there_and_shows_its_default_where_it_has_one() -> None:
    fields = list(_fields(Settings, tomllib.loads(UNCOMMENTED)))
    assert [name for name, _, given in fields if given is PydanticUndefined] == []
    differing = [
        name
        for name, field, given in fields
        if (usual := field.get_default(call_default_factory=True)) not in (None, PydanticUndefined)
        and given != usual
    ]
    assert differing == []


def test_every_setting_that_is_uncommented_is_one() -> None:
    merge_layers([text_layer(UNCOMMENTED, "template")])


def test_the_sample_tool_can_be_called_and_says_what_is_wrong(tmp_path: Path) -> None:
    make_project(tmp_path)
    loaded = load_tools(tmp_path / "tools")
    assert loaded.problems == ()
    (tool,) = loaded.tools
    assert tool.name == "split_bill"
    assert tool.function(total=90, people=3, tip_percent=10) == 33.0
    with pytest.raises(ValueError, match="at least 1"):
        tool.function(total=1, people=0)


def test_the_sample_tool_is_valid_python() -> None:
    ast.parse((TEMPLATES / "split_bill.py.txt").read_text(encoding="utf-8"))


def test_the_example_of_a_server_is_disabled_and_plain_json(tmp_path: Path) -> None:
    make_project(tmp_path)
    json.loads((tmp_path / "mcp_servers" / "mcp.json").read_text(encoding="utf-8"))
    config = read_config(tmp_path)
    assert config.warnings == ()
    assert [server.disabled for server in config.servers] == [True]


async def test_the_sample_note_answers_how_documents_are_added(tmp_path: Path) -> None:
    make_project(tmp_path)
    async with Project.open(tmp_path, model="extractive") as project:
        assert [tool.name for tool in project.agent.tools if tool.name == "split_bill"]
        answer = await project.agent.run("How do I add my documents?")
    assert "Put files into the folder `knowledge/`" in answer.text
    assert answer.citations[0].chunk.source == "welcome.md"


async def test_the_sample_note_is_not_indexed_beside_other_documents(tmp_path: Path) -> None:
    make_project(tmp_path)
    own = tmp_path / "knowledge" / "own.md"
    async with Project.open(tmp_path, model="extractive") as project:
        own.write_text("# Plans\n\nAdd documents to the plan by Friday.\n", encoding="utf-8")
        report = await project.index()
        assert (report.added, report.removed) == (("own.md",), ("welcome.md",))
        assert [found.source for found in await project.knowledge.documents()] == ["own.md"]
        own.unlink()
        await project.index()
        assert [found.source for found in await project.knowledge.documents()] == ["welcome.md"]


def test_what_is_there_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    own = {
        "agentkit.toml": 'model = "extractive"\n',
        ".gitignore": "mine\n",
        "tools/own.py": "x = 1\n",
    }
    for name, text in own.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    made = make_project(tmp_path)
    assert [part.path for part in made.new] == [
        "knowledge/welcome.md", "mcp_servers/mcp.json", "questions.jsonl",
    ]  # fmt: skip
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in own} == own
    assert not (tmp_path / "tools" / "split_bill.py").exists()


def test_a_second_time_there_is_nothing_to_make(tmp_path: Path) -> None:
    make_project(tmp_path)
    again = make_project(tmp_path)
    assert again.new == ()
    assert again.trusted


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").symlink_to(tmp_path / "elsewhere.toml")
    made = make_project(tmp_path)
    assert "agentkit.toml" not in [part.path for part in made.new]
    assert not (tmp_path / "elsewhere.toml").exists()


def test_code_of_another_origin_is_not_trusted_by_the_way(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "stranger.py").write_text("print('boo')", encoding="utf-8")
    assert not make_project(tmp_path).trusted
    assert not is_trusted(tmp_path)


def test_code_that_the_user_has_trusted_stays_trusted(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "own.py").write_text("x = 1\n", encoding="utf-8")
    trust(tmp_path)
    assert make_project(tmp_path).trusted


def test_a_trust_that_cannot_be_remembered_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    assert not make_project(tmp_path / "app").trusted


def test_a_sample_note_does_not_join_documents_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "own.md").write_text("# Mine", encoding="utf-8")
    make_project(tmp_path)
    assert not (tmp_path / "knowledge" / "welcome.md").exists()
    assert not (tmp_path / "questions.jsonl").exists()


def test_documents_that_lie_beside_are_seen_and_taken_in(tmp_path: Path) -> None:
    for name in ("b.pdf", "a.md", "c.TXT", "code.py", ".hidden.md", "LICENSE"):
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "link.md").symlink_to(tmp_path / "a.md")
    loose = loose_documents(tmp_path)
    assert [path.name for path in loose] == ["a.md", "b.pdf", "c.TXT"]
    make_project(tmp_path, loose)
    assert sorted(path.name for path in (tmp_path / "knowledge").iterdir()) == [
        "a.md", "b.pdf", "c.TXT",
    ]  # fmt: skip
    assert loose_documents(tmp_path) == []


def test_documents_in_subfolders_are_seen_and_keep_their_place(tmp_path: Path) -> None:
    for name in ("notes/2026/a.md", ".git/b.md", "node_modules/c/d.md", "venv/e.md", "tools/f.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    (tmp_path / "venv" / "pyvenv.cfg").touch()
    loose = loose_documents(tmp_path)
    assert loose == [tmp_path / "notes" / "2026" / "a.md"]
    make_project(tmp_path, loose)
    assert (tmp_path / "knowledge" / "notes" / "2026" / "a.md").is_file()


def test_a_document_of_the_same_name_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "a.md").write_text("inside", encoding="utf-8")
    (tmp_path / "a.md").write_text("outside", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.md already exists. Rename"):
        make_project(tmp_path, loose_documents(tmp_path))
    assert (tmp_path / "knowledge" / "a.md").read_text(encoding="utf-8") == "inside"
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == "outside"


def test_a_folder_that_cannot_be_written_is_named(shared_folder: Path) -> None:
    shared_folder.chmod(0o500)
    with unprivileged(), pytest.raises(ConfigError, match="cannot be created: Permission denied"):
        make_project(shared_folder / "app")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="app cannot be created: File exists"):
        make_project(tmp_path / "app")


@pytest.mark.parametrize("part", ["knowledge", ".agentkit/index"])
def test_documents_or_an_index_make_a_project(tmp_path: Path, part: str) -> None:
    assert not Project.exists(tmp_path)
    os.makedirs(tmp_path / part)
    assert Project.exists(tmp_path)


def test_an_editor_finds_the_schema_that_the_settings_name(tmp_path: Path) -> None:
    make_project(tmp_path)
    first = (tmp_path / "agentkit.toml").read_text(encoding="utf-8").splitlines()[0]
    schema = tmp_path / first.removeprefix("#:schema ")
    assert "knowledge" in json.loads(schema.read_text(encoding="utf-8"))["properties"]
