"""`agentkit config` as a user meets it, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from subprocess import CompletedProcess

import pexpect
import pytest

from agentkit.project.trust import is_trusted, trust
from tests.cli.process import run_agentkit

pytestmark = pytest.mark.slow

KEY = "sk-this-is-secret"
FILE = """\
model = "work:small"  # ours

[providers.work]
base_url = "https://me:pass@llm.example.org/v1"
api_key_env = "WORK_KEY"
extra_body = {api_key = "sk-this-is-secret", top_k = 3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trusted project with a provider of its own."""
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "agentkit.toml").write_text(FILE, encoding="utf-8")
    trust(folder)
    return folder


def _config(folder: Path, *arguments: str, given: str = "", **more: str) -> CompletedProcess[str]:
    """Run it; whatever happens, no key and no traceback is printed."""
    keyring = {
        "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
        "XDG_DATA_HOME": str(folder.parent / "data"),
    }
    done = run_agentkit("config", *arguments, "-C", folder, stdin=given, env={**keyring, **more})
    for output in (done.stdout, done.stderr):
        assert KEY not in output
        assert "Traceback" not in output
    return done


def test_show_prints_toml_and_who_gave_each_value(folder: Path) -> None:
    shown = _config(folder, "show", "--origin", AGENTKIT_KNOWLEDGE__RESULTS="8").stdout
    file = folder / "agentkit.toml"
    lines = shown.splitlines()
    assert f'model = "work:small"  # {file}' in lines
    assert "knowledge.results = 8  # AGENTKIT_KNOWLEDGE__RESULTS" in lines
    assert "limits.turns = 12  # default" in lines
    assert "# limits.seconds is not set" in lines
    assert tomllib.loads(shown)["knowledge"]["results"] == 8
    assert "#" not in _config(folder, "show", "model").stdout


def test_show_of_one_key_or_table_prints_that_alone(folder: Path) -> None:
    assert _config(folder, "show", "limits.turns").stdout == "limits.turns = 12\n"
    assert set(tomllib.loads(_config(folder, "show", "limits").stdout)) == {"limits"}
    wrong = _config(folder, "show", "limit")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "Did you mean 'limits'" in wrong.stderr


def test_show_as_json_names_key_value_and_origin(folder: Path) -> None:
    found = json.loads(_config(folder, "show", "--json", WORK_KEY=KEY).stdout)
    by_key = {each["key"]: each for each in found["settings"]}
    assert by_key["knowledge.results"] == {
        "key": "knowledge.results",
        "value": 5,
        "origin": "default",
    }
    assert {"provider": "work", "state": "set (from env WORK_KEY)"} in found["keys"]


def test_a_key_is_never_printed_only_where_it_comes_from(folder: Path) -> None:
    shown = _config(folder, "show", WORK_KEY=KEY, OPENAI_API_KEY=KEY).stdout
    assert "# providers.openai.api_key: set (from env OPENAI_API_KEY)" in shown
    assert "# providers.work.api_key: set (from env WORK_KEY)" in shown
    assert 'base_url = "https://llm.example.org/v1"' in shown
    assert 'extra_body.api_key = "(not shown)"' in shown
    assert "extra_body.top_k = 3" in shown
    assert "# providers.work.api_key: not set" in _config(folder, "show").stdout


def test_a_key_in_a_file_is_shown_as_its_path_or_as_what_is_wrong_with_it(
    folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    file.write_text(KEY, encoding="utf-8")
    file.chmod(0o600)
    _config(folder, "set", "providers.work.api_key_file", str(file))
    assert f"set (from file {file})" in _config(folder, "show").stdout
    file.chmod(0o644)
    assert f"chmod 600 {file}" in _config(folder, "show").stdout


def test_set_says_what_it_wrote_and_unset_takes_it_back(folder: Path) -> None:
    file = folder / "agentkit.toml"
    done = _config(folder, "set", "knowledge.results", "8")
    assert done.stdout == f"{file}: knowledge.results = 8\n"
    assert file.read_text(encoding="utf-8") == FILE + "\n[knowledge]\nresults = 8\n"
    assert is_trusted(folder)
    assert _config(folder, "show", "knowledge.results").stdout == "knowledge.results = 8\n"
    assert "is removed" in _config(folder, "unset", "knowledge.results").stdout
    assert _config(folder, "unset", "knowledge.results").returncode == 3


def test_set_says_when_another_layer_comes_before_it(folder: Path) -> None:
    done = _config(folder, "set", "limits.turns", "4", AGENTKIT_LIMITS__TURNS="9")
    assert "comes from AGENTKIT_LIMITS__TURNS" in done.stderr
    assert _config(folder, "set", "limits.turns", "4").stderr == ""
    assert "agentkit.toml" in _config(folder, "set", "--user", "limits.turns", "5").stderr


def test_a_key_is_no_setting_and_its_refusal_says_where_it_belongs(folder: Path) -> None:
    for name in ("providers.work.api_key", "api_key", "providers.work.api_key_env"):
        done = _config(folder, "set", name, KEY)
        assert (done.returncode, done.stdout) == (3, "")
        assert "api_key_env" in done.stderr
    assert (folder / "agentkit.toml").read_text(encoding="utf-8") == FILE


def test_a_folder_that_is_not_trusted_shows_and_uses_no_file(folder: Path) -> None:
    (folder / "agentkit.toml").write_text(FILE + "# changed\n", encoding="utf-8")
    shown = _config(folder, "show", "model", "--origin")
    assert shown.stdout == 'model = "auto"  # default\n'
    assert f"agentkit trust {folder}" in shown.stderr
    assert "not trusted" in _config(folder, "path").stdout
    assert _config(folder, "set", "limits.turns", "4").returncode == 0
    assert not is_trusted(folder)


def test_path_names_both_files(folder: Path) -> None:
    lines = _config(folder, "path").stdout.splitlines()
    assert lines[0].endswith("config.toml (does not exist)")
    assert lines[1] == str(folder / "agentkit.toml")


def test_schema_prints_the_schema_that_is_shipped() -> None:
    shipped = Path(__file__).parents[2] / "docs" / "agentkit.schema.json"
    assert run_agentkit("config", "schema").stdout == shipped.read_text(encoding="utf-8")


def test_a_key_goes_into_the_keyring_is_found_and_comes_out_again(folder: Path) -> None:
    done = _config(folder, "key", "set", "work", given=KEY + "\n")
    assert done.returncode == 0, done.stderr
    assert "The key of work@https://llm.example.org is in the keyring" in done.stdout
    assert "# providers.work.api_key: set (from keyring)" in _config(folder, "show").stdout
    variable = _config(folder, "key", "set", "work", given=KEY, WORK_KEY="k")
    assert "env WORK_KEY takes precedence" in variable.stderr
    assert _config(folder, "key", "remove", "work").returncode == 0
    assert "# providers.work.api_key: not set" in _config(folder, "show").stdout
    assert _config(folder, "key", "remove", "work").returncode == 3


@pytest.mark.parametrize(
    ("provider", "given", "expected"),
    [
        ("wrk", KEY, "Did you mean 'work'"),
        ("ollama", KEY, "Unknown provider"),
        ("work", "", "Invalid key"),
        ("work", KEY + " and more", "Invalid key"),
    ],
)
def test_what_cannot_be_a_key_or_take_one_is_refused(
    folder: Path, provider: str, given: str, expected: str
) -> None:
    done = _config(folder, "key", "set", provider, given=given)
    assert (done.returncode, done.stdout) == (3, "")
    assert expected in done.stderr


def test_without_a_keyring_that_encrypts_the_other_ways_are_named(folder: Path) -> None:
    done = _config(
        folder,
        "key",
        "set",
        "work",
        given=KEY,
        PYTHON_KEYRING_BACKEND="keyring.backends.fail.Keyring",
    )
    assert done.returncode == 3
    assert "api_key_file" in done.stderr


def test_a_key_that_is_typed_is_not_echoed(folder: Path) -> None:
    terminal = pexpect.spawn(
        sys.executable,
        ["-m", "agentkit", "config", "key", "set", "work", "-C", str(folder)],
        encoding="utf-8",
        timeout=60,
        dimensions=(24, 200),
        env={
            **os.environ,
            "PYTHON_KEYRING_BACKEND": "keyrings.alt.file.PlaintextKeyring",
            "XDG_DATA_HOME": str(folder.parent / "data"),
        },
    )
    terminal.expect("Key of work: ")
    terminal.sendline(KEY)
    terminal.expect(pexpect.EOF)
    assert "is in the keyring" in terminal.before
    assert KEY not in terminal.before


def test_who_stops_reading_early_is_no_failure(folder: Path) -> None:
    command = (
        f"{sys.executable} -m agentkit config show -C {folder} | true; echo ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


def test_show_loads_no_heavy_library(folder: Path) -> None:
    heavy = ("torch", "chromadb", "mcp", "openai", "numpy", "keyring", "tomlkit", "asyncio")
    code = (
        "import sys\nfrom agentkit.cli.main import command_line\n"
        f"command_line()(['config', 'show', '-C', {str(folder)!r}], standalone_mode=False)\n"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
