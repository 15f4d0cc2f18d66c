"""Changing one setting: what else stands in the file stays, and so does the folder's trust."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError
from agentkit.project.trust import fingerprint, is_trusted, settings_file, trust
from agentkit.settings.dotted_keys import parse_key
from agentkit.settings.edit import SettingsFile
from agentkit.settings.schema import SCHEMA_FILE, SCHEMA_LINE
from agentkit.settings.sources import read_settings, user_file
from tests.conftest import unprivileged

FILE = """\
# My app, 我的应用
model = "extractive"   # the reader

[knowledge]  # what it knows
# results = 5
strict = true
results = 3   # few

[providers.work]
base_url = "http://127.0.0.1:9/v1"
extra_body = { top_k = 3 }  # sampling

[limits]
turns = 4
"""


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    (tmp_path / "agentkit.toml").write_text(FILE, encoding="utf-8", newline="")
    trust(tmp_path)
    return settings_file(tmp_path)


def _set(file: SettingsFile, key: str, text: str) -> str:
    file.set(parse_key(key), text)
    return file.path.read_bytes().decode()


def test_a_changed_value_leaves_every_other_character(file: SettingsFile) -> None:
    after = _set(file, "knowledge.results", "8")
    assert after == FILE.replace("results = 3   # few", "results = 8   # few")


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        ("instructions", "Be short.", 'instructions = "Be short."'),
        ("model", '["a:x", "b:y"]', 'model = ["a:x", "b:y"]   # the reader'),
        ("knowledge.strict", "no", "strict = false"),
        ("knowledge.max_file_mb", "5", "max_file_mb = 5.0"),
        ("knowledge.rerank", "model", 'rerank = "model"'),
        ("traces.keep", "0", "keep = 0"),
        ("tools.builtin", '["date"]', 'builtin = ["date"]'),
        ("providers.work.extra_body.top_k", "4", "extra_body = { top_k = 4 }  # sampling"),
        ("providers.my-box.kind", "ollama", "[providers.my-box]"),
        ('prices."openai:gpt-5.1"', "{input = 1, output = 2}", '[prices."openai:gpt-5.1"]'),
    ],
)
def test_a_set_value_holds_and_all_other_lines_stay(
    file: SettingsFile, key: str, text: str, line: str
) -> None:
    after = _set(file, key, text)
    assert line in after.splitlines()
    changed = key.rpartition(".")[2]
    kept = [each for each in FILE.splitlines() if not each.startswith((changed, "extra_body"))]
    assert [each for each in kept if each not in after.splitlines()] == []
    found = read_settings(file.path.parent)
    assert any(k[: len(parse_key(key))] == parse_key(key) for k in found.origins)


@pytest.mark.parametrize(
    "text",
    [
        "knowledge.results = 3\nknowledge.strict = true\n",
        "knowledge = {results = 3, strict = true}\n",
        "[knowledge]\nresults = 3\n[providers.a]\n[limits]\n[providers.b]\n",
        "[knowledge]\r\nresults = 3 # few\r\nstrict = true\r\n",
        "\ufeff[knowledge]\nresults = 3\n",
        "[knowledge]",
    ],
)
def test_any_layout_can_be_changed_or_is_left_as_it_is(file: SettingsFile, text: str) -> None:
    file.path.write_bytes(text.encode())
    before: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))
    after = _set(file, "knowledge.results", "8").removeprefix("\ufeff")
    before["knowledge"]["results"] = 8
    assert tomllib.loads(after) == before
    assert ("\r\n" in after) == ("\r\n" in text)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("knowledge.results", "80", "must be at most 50"),
        ("knowledge.result", "8", "Did you mean 'knowledge.results'"),
        ("knowledge.retrieve", "often", "'always', 'auto' or 'never'"),
        ("knowledge", "8", "knowledge: must be a table"),
        ("prices.x.input", "8", "prices.x.output: is missing"),
        ("providers.work.api_key", "k-secret", "agentkit config key set work"),
        ("providers.work.api_key_env", "k-secret", "not the key"),
    ],
)
def test_what_would_not_be_valid_is_not_written(
    file: SettingsFile, key: str, text: str, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        _set(file, key, text)
    assert message in str(raised.value)
    assert "secret" not in str(raised.value)
    assert file.path.read_text(encoding="utf-8") == FILE
    assert sorted(path.name for path in file.path.parent.glob("*.tmp")) == []


def test_a_trusted_folder_stays_trusted(file: SettingsFile, tmp_path: Path) -> None:
    _set(file, "knowledge.results", "8")
    assert is_trusted(tmp_path)
    file.unset(("knowledge", "results"))
    assert is_trusted(tmp_path)


def test_a_folder_that_was_not_trusted_is_not_afterwards(
    file: SettingsFile, tmp_path: Path
) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "theirs.py").write_text("x = 1", encoding="utf-8")
    _set(file, "knowledge.results", "8")
    assert not is_trusted(tmp_path)


def test_trust_covers_the_change_and_nothing_that_slips_in_beside_it(
    file: SettingsFile, tmp_path: Path
) -> None:
    after = FILE.replace("turns = 4", "turns = 5")
    expected = fingerprint(tmp_path, after.encode())
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "theirs.py").write_text("x = 1", encoding="utf-8")
    assert fingerprint(tmp_path, after.encode()) != expected
    (tmp_path / "tools" / "theirs.py").unlink()
    assert _set(file, "limits.turns", "5") == after
    assert fingerprint(tmp_path) == expected


def test_a_new_file_is_trusted_and_names_the_schema_that_lies_there(tmp_path: Path) -> None:
    after = _set(settings_file(tmp_path), "knowledge.results", "8")
    assert after.startswith(SCHEMA_LINE)
    assert is_trusted(tmp_path)
    assert (tmp_path / SCHEMA_FILE).is_file()
    assert read_settings(tmp_path).settings.knowledge.results == 8


def test_the_users_file_holds_for_every_folder(tmp_path: Path) -> None:
    settings_file(None).set(("knowledge", "results"), "8")
    assert user_file().read_text(encoding="utf-8") == "[knowledge]\nresults = 8\n"
    assert read_settings(tmp_path).origin(("knowledge", "results")) == str(user_file())


def test_an_unset_key_falls_back_and_one_that_is_not_there_is_an_error(
    file: SettingsFile, tmp_path: Path
) -> None:
    file.unset(("knowledge", "results"))
    assert file.path.read_text(encoding="utf-8") == FILE.replace("results = 3   # few\n", "")
    assert read_settings(tmp_path).settings.knowledge.results == 5
    with pytest.raises(ConfigError, match=r"knowledge\.results is not in .*agentkit\.toml"):
        file.unset(("knowledge", "results"))
    file.unset(("providers", "work"))
    assert read_settings(tmp_path).settings.providers == {}


def test_a_wrong_value_can_be_set_right(file: SettingsFile) -> None:
    file.path.write_text("[knowledge]\nresults = 800\n", encoding="utf-8")
    assert _set(file, "knowledge.results", "8") == "[knowledge]\nresults = 8\n"


def test_a_link_stays_a_link_and_the_mode_stays(tmp_path: Path) -> None:
    real = tmp_path / "real.toml"
    real.write_text(FILE, encoding="utf-8")
    real.chmod(0o640)
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "agentkit.toml").symlink_to(real)
    _set(settings_file(folder), "limits.turns", "5")
    assert (folder / "agentkit.toml").is_symlink()
    assert "turns = 5" in real.read_text(encoding="utf-8")
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_file_that_cannot_be_written_is_as_it_was(shared_folder: Path) -> None:
    path = shared_folder / "agentkit.toml"
    path.write_text(FILE, encoding="utf-8")
    shared_folder.chmod(0o555)
    with unprivileged(), pytest.raises(ConfigError, match=r"agentkit\.toml cannot be written"):
        settings_file(shared_folder).set(("limits", "turns"), "5")
    assert path.read_text(encoding="utf-8") == FILE
