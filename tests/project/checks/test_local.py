"""The doctor on the machine and the folder: packages, permissions, secrets, room."""

import os
import tempfile
import tomllib
from pathlib import Path

import pytest

from agentkit.findings import Finding, for_folder
from agentkit.project.checks import local
from agentkit.project.checks.local import TerminalInfo
from agentkit.project.scaffold import make_project
from agentkit.project.trust import trust
from agentkit.settings.schema import ProviderSettings, Settings
from agentkit.tools.builtin.python_sandbox import why_unconfined
from tests.conftest import unprivileged

HERE = TerminalInfo(True, "utf-8", "256 colours", 80)


def _only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_this_python_is_in_order() -> None:
    finding = _only(local.python())
    assert finding.level == "ok"
    assert "SQLite" in finding.message


def test_the_packages_that_agentkit_needs_are_there() -> None:
    finding = _only(local.packages())
    assert finding.level == "ok"
    assert "chromadb" in finding.message


def test_sources_that_are_not_installed_are_reported_to_be_so() -> None:
    finding = _only(local.packages("no-such-distribution"))
    assert (finding.level, finding.next_step) == ("note", "pip install no-such-distribution")
    assert local.extras("no-such-distribution") == []


def test_a_package_in_the_wrong_version_and_a_missing_one_are_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made-1.0.dist-info"
    made.mkdir()
    (made / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: made\nVersion: 1.0\nProvides-Extra: more\n"
        "Provides-Extra: old\nRequires-Dist: rich<1\nRequires-Dist: not-there>=2\n"
        "Requires-Dist: none-here; python_version < '3'\n"
        "Requires-Dist: nowhere; extra == 'more'\nRequires-Dist: typer<0.1; extra == 'old'\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    findings = local.packages("made")
    assert {finding.level for finding in findings} == {"problem"}
    assert [finding.message.split()[0] for finding in findings] == ["rich", "not-there"]
    there, wrong, missing = local.extras("made")
    assert there.message == "installed: old"
    assert wrong.level == "warning"
    assert wrong.message.startswith("old: typer is ")
    assert (missing.level, missing.message) == ("note", "not installed: more")
    assert 'pip install "made[more]"' in missing.next_step


def test_every_extra_says_what_it_gives() -> None:
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    offered = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(offered) - {"all", "dev", "test"} == set(local.EXTRAS)


@pytest.mark.parametrize(
    ("where", "level", "message"),
    [
        (HERE, "ok", "UTF-8, 256 colours, 80 columns"),
        (TerminalInfo(True, "utf-8", "", 50), "ok", "no colours"),
        (TerminalInfo(False, "utf-8", "", 80), "ok", "a pipe"),
        (TerminalInfo(True, "utf-8", "", 80, is_dumb=True), "note", "dumb"),
        (TerminalInfo(True, "ascii", "", 80), "warning", "encoding is ascii"),
        (TerminalInfo(False, "latin-1", "", 80), "warning", "encoding is latin-1"),
    ],
)
def test_the_terminal_is_judged_by_what_it_can_show(
    where: TerminalInfo, level: str, message: str
) -> None:
    finding = _only(local.terminal(where))
    assert finding.level == level
    assert message in finding.message


def test_a_folder_that_is_no_project_names_both_ways(tmp_path: Path) -> None:
    finding = _only(local.project(tmp_path))
    assert finding.level == "note"
    assert f"agentkit init {tmp_path}" in finding.next_step
    assert "agentkit demo" in finding.next_step


def test_the_next_step_of_an_untrusted_folder_names_it_quoted(tmp_path: Path) -> None:
    folder = tmp_path / "my notes"
    folder.mkdir()
    (folder / "agentkit.toml").write_text("# ours", encoding="utf-8")
    assert _only(local.trust(folder)).next_step.endswith(f"agentkit trust '{folder}'")


def test_a_command_for_the_current_folder_does_not_name_it() -> None:
    assert for_folder("agentkit init", Path()) == "agentkit init"
    assert for_folder("agentkit kb show", Path("x"), "-C") == "agentkit kb show -C x"


def test_documents_are_counted(tmp_path: Path) -> None:
    folder = make_project(tmp_path).folder
    assert _only(local.project(folder)).message.endswith(", 1 document")
    (folder / "knowledge" / "welcome.md").unlink()
    assert _only(local.project(folder)).message == "knowledge/ is empty"


def test_documents_that_cannot_be_read_are_named(shared_folder: Path) -> None:
    knowledge = shared_folder / "knowledge"
    knowledge.mkdir()
    (knowledge / "closed.md").write_text("x", encoding="utf-8")
    (knowledge / "closed.md").chmod(0)
    with unprivileged():
        finding = _only(local.project(shared_folder))
    assert finding.level == "warning"
    assert "closed.md" in finding.message


def test_a_folder_inside_that_cannot_be_entered_is_a_problem(shared_folder: Path) -> None:
    closed = shared_folder / "knowledge" / "closed"
    closed.mkdir(parents=True)
    closed.chmod(0)
    with unprivileged():
        finding = _only(local.project(shared_folder))
    assert (finding.level, finding.next_step) == ("problem", "Change its permissions.")
    assert "closed: Permission denied" in finding.message


def test_trust_is_reported_and_what_gives_it(tmp_path: Path) -> None:
    assert _only(local.trust(tmp_path)).message.startswith("not needed")
    (tmp_path / "agentkit.toml").write_text("", encoding="utf-8")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "x.py").write_text("x = 1", encoding="utf-8")
    finding = _only(local.trust(tmp_path))
    assert finding.level == "warning"
    assert "tools/x.py" in finding.message
    assert "agentkit trust" in finding.next_step
    trust(tmp_path)
    assert _only(local.trust(tmp_path)).level == "ok"


def test_settings_that_cannot_be_read_are_a_problem_of_trust(shared_folder: Path) -> None:
    (shared_folder / "agentkit.toml").write_text("", encoding="utf-8")
    (shared_folder / "agentkit.toml").chmod(0)
    with unprivileged():
        assert _only(local.trust(shared_folder)).level == "problem"


def test_a_folder_that_cannot_be_written_keeps_its_index_or_gets_none(
    shared_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, tempfile.gettempdir())
    with unprivileged():
        assert _only(local.writable(shared_folder)).level == "ok"
    shared_folder.chmod(0o500)
    with unprivileged():
        finding = _only(local.writable(shared_folder))
    assert finding.level == "problem"
    assert finding.next_step == f"chmod u+rwx {shared_folder}"
    shared_folder.chmod(0o700)
    (shared_folder / ".agentkit" / "index").mkdir(parents=True)
    (shared_folder / ".agentkit").chmod(0o555)
    with unprivileged():
        assert _only(local.writable(shared_folder)).level == "warning"
    (shared_folder / ".agentkit").chmod(0)
    with unprivileged():
        assert _only(local.writable(shared_folder)).level == "problem"


def test_a_disk_with_room_is_in_order_and_a_full_one_is_not(tmp_path: Path) -> None:
    assert _only(local.disk(tmp_path)).level in ("ok", "warning")
    assert _only(local.free_space(999e6)).level == "warning"
    assert _only(local.free_space(1e6)).level == "problem"
    assert _only(local.free_space(5e9)).message == "5 GB free"


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_files_with_keys_that_others_may_read_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    own = tmp_path / "config" / "agentkit" / "oauth.json"
    servers = tmp_path / "mcp_servers" / "mcp.json"
    for path in (own, servers, tmp_path / ".env", tmp_path / "server.env", tmp_path / "work.key"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("k-secret", encoding="utf-8")
        path.chmod(0o644)
    servers.write_text(
        '{"mcpServers": {"s": {"command": "x", "envFile": "server.env"}}}', encoding="utf-8"
    )
    work = ProviderSettings(api_key_file=str(tmp_path / "work.key"))
    settings = Settings(providers={"work": work})
    findings = local.secrets(tmp_path, settings)
    assert sorted(f.next_step.removeprefix("chmod 600 ") for f in findings) == sorted(
        str(tmp_path / name)
        for name in (".env", "server.env", "work.key", "config/agentkit/oauth.json")
    )
    assert "k-secret" not in repr(findings)
    for finding in findings:
        os.chmod(finding.next_step.removeprefix("chmod 600 "), 0o600)
    assert _only(local.secrets(tmp_path, settings)).level == "ok"


def test_what_cannot_be_kept_for_the_user_is_reported(
    shared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", tempfile.gettempdir())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shared_folder / "config"))
    shared_folder.chmod(0o500)
    with unprivileged():
        findings = local.writable(Path(tempfile.gettempdir()))
    assert [finding.level for finding in findings] == ["warning"]
    assert "trust is not stored" in findings[0].message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tools", "level", "effect"),
    [
        ({"builtin": ["python"]}, "problem", "is off"),
        ({"builtin": ["python"], "python_unconfined": True}, "warning", "runs unconfined"),
    ],
)
def test_a_machine_that_cannot_confine_code_is_named(
    tools: dict[str, object], level: str, effect: str
) -> None:
    settings = Settings.model_validate({"tools": tools})
    finding = _only(local.sandbox(settings, ways=()))
    assert (finding.level, effect in finding.message) == (level, True)
    assert "bubblewrap" in finding.next_step


@pytest.mark.slow
def test_a_machine_that_confines_code_is_in_order() -> None:
    if why_unconfined():
        pytest.skip(why_unconfined())
    used = Settings.model_validate({"tools": {"builtin": ["python"]}})
    assert _only(local.sandbox(used)).level == "ok"
