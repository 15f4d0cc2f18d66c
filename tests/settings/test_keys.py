"""Where a provider's key is found, in which order, and that it never shows."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import fail, null
from keyrings.alt.file import PlaintextKeyring

from agentkit.backends.registry import get_model, require_keys
from agentkit.errors import ConfigError, ModelError
from agentkit.knowledge.embedders.registry import close_embedder, get_embedder
from agentkit.messages import Message
from agentkit.project.project import Project
from agentkit.settings.keys import (
    find_key,
    is_stored,
    key_origin,
    keyring_account,
    remove_key,
    store_key,
)
from agentkit.settings.schema import ProviderSettings
from agentkit.settings.sources import user_folder
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply

URL = "https://llm.example.org/v1"


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KeyringBackend]:
    """A keyring of files under this test's folder, chosen as a user would."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyrings.alt.file.PlaintextKeyring")
    yield from _used(PlaintextKeyring())


def _used(backend: KeyringBackend) -> Iterator[KeyringBackend]:
    before = keyring.get_keyring()
    keyring.set_keyring(backend)
    yield backend
    keyring.set_keyring(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("k-file\n", encoding="utf-8")
    path.chmod(0o600)
    return path


async def test_the_variable_comes_first_then_the_file_then_the_keyring(
    openai_server: OpenAIServer,
    file: Path,
    chosen: KeyringBackend,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = openai_server.url
    store_key(keyring_account("work", url), "k-ring")
    by_file = ProviderSettings(base_url=url, api_key_env="WORK_KEY", api_key_file=str(file))
    by_variable = ProviderSettings(base_url=url, api_key_env="WORK_KEY")
    monkeypatch.setenv("WORK_KEY", "k-env")
    await _ask(by_file)
    monkeypatch.delenv("WORK_KEY")
    await _ask(by_file)
    await _ask(by_variable)
    await _ask(ProviderSettings(base_url=url))
    assert openai_server.keys == ["Bearer k-env", "Bearer k-file", "Bearer k-ring", "Bearer k-ring"]


async def _ask(settings: ProviderSettings) -> None:
    model = get_model("work:small", {"work": settings})
    await collected(model.stream([Message("user", "hi")]))
    await model.close()


async def test_an_embedders_key_is_found_like_a_models(
    openai_server: OpenAIServer, file: Path
) -> None:
    work = ProviderSettings(base_url=openai_server.url, api_key_file=str(file))
    embedder = get_embedder("work:small", {"work": work})
    await embedder.embed_queries(["hi"])
    await close_embedder(embedder)
    assert openai_server.keys == ["Bearer k-file"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_that_others_may_read_is_refused_with_the_command(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {file}"):
        find_key("work", ProviderSettings(api_key_file=str(file)), URL)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "Invalid key"),
        (b"k-secret one\n", "Invalid key"),
        (b"k-secret\nand more\n", "Invalid key"),
        (b"k-secret\x1b[2J", "Invalid key"),
        (b"\xff\xfe", "not UTF-8 text"),
        ("k-secret密钥".encode(), "Invalid key"),
        (b"k-secret" * 1000, "Invalid key"),
    ],
)
def test_an_invalid_key_is_named_by_its_place_and_not_repeated(
    content: bytes, message: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as raised:
        find_key("work", ProviderSettings(api_key_file=str(file)), URL)
    assert str(file) in str(raised.value)
    assert "k-secret" not in str(raised.value)


def test_a_missing_file_a_folder_and_a_pipe_are_named(file: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    for path in (tmp_path / "nowhere", tmp_path, pipe):
        with pytest.raises(ConfigError, match=f"{path} "):
            find_key("work", ProviderSettings(api_key_file=str(path)), URL)


@pytest.mark.parametrize("key", ["k-secret\r\nX-Other: 1", "k-secret\x00", "k secret"])
def test_a_key_that_would_break_the_request_is_refused_before_it_is_sent(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\x00" in key:
        key = key.replace("\x00", "\x7f")
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(ConfigError, match="Invalid key in the variable OPENAI_API_KEY") as raised:
        require_keys("openai:small")
    assert "secret" not in str(raised.value)


def test_white_space_around_a_key_is_no_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", " k-1\r\n")
    key = find_key("work", ProviderSettings(api_key_env="K"), URL)
    assert key is not None
    assert key.value == "k-1"


def test_a_key_does_not_show_in_its_own_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("K", "k-secret")
    found = repr(find_key("work", ProviderSettings(api_key_env="K"), URL))
    assert "env K" in found
    assert "secret" not in found


def test_a_key_of_the_keyring_goes_to_the_address_it_was_stored_for_alone(
    chosen: KeyringBackend,
) -> None:
    store_key(keyring_account("work", URL), "k-ring")
    settings = ProviderSettings()
    assert key_origin("work", settings, "https://llm.example.org/v2") == "keyring"
    for other in ("https://other.example.org/v1", "http://llm.example.org/v1", None):
        assert key_origin("work", settings, other) == ""
    assert key_origin("home", settings, URL) == ""


def test_the_list_of_accounts_holds_no_key(chosen: KeyringBackend) -> None:
    store_key(keyring_account("work", "https://me:pw@llm.example.org/v1"), "k-secret")
    text = (user_folder() / "keys.json").read_text(encoding="utf-8")
    assert "work@https://llm.example.org" in text
    assert "secret" not in text
    assert "pw" not in text


def test_a_removed_key_is_gone_and_removing_none_is_an_error(chosen: KeyringBackend) -> None:
    store_key("work", "k-ring")
    remove_key("work")
    assert not is_stored("work")
    assert chosen.get_password("agentkit", "work") is None
    with pytest.raises(ConfigError, match="holds no key of work"):
        remove_key("work")


def test_a_key_that_went_from_the_keyring_says_how_to_store_it_again(
    chosen: KeyringBackend,
) -> None:
    store_key(keyring_account("work", URL), "k-ring")
    chosen.delete_password("agentkit", keyring_account("work", URL))
    with pytest.raises(ConfigError, match="agentkit config key set work"):
        find_key("work", ProviderSettings(), URL)


def test_a_keyring_that_does_not_encrypt_must_be_chosen(
    chosen: KeyringBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHON_KEYRING_BACKEND")
    with pytest.raises(ConfigError, match="no keyring that encrypts"):
        store_key("work", "k-secret")
    assert chosen.get_password("agentkit", "work") is None


@pytest.mark.parametrize(
    ("backend", "message"),
    [(null.Keyring(), "does not store keys"), (fail.Keyring(), "refused the key")],  # type: ignore[no-untyped-call]
)
def test_a_keyring_that_stores_nothing_is_an_error(
    backend: KeyringBackend, message: str, chosen: KeyringBackend
) -> None:
    keyring.set_keyring(backend)
    with pytest.raises(ConfigError, match=message):
        store_key("work", "k-secret")
    assert not is_stored("work")


async def test_a_key_reaches_no_error_and_no_file_of_the_project(
    openai_server: OpenAIServer, file: Path, tmp_path: Path
) -> None:
    body = json.dumps({"error": {"message": "I saw k-file"}})
    openai_server.replies(Reply(raw=body, status=401), Reply())
    app = tmp_path / "app"
    (app / "knowledge").mkdir(parents=True)
    (app / "knowledge" / "note.md").write_text("# Note\n\nA fact.", encoding="utf-8")
    work = {"base_url": openai_server.url, "api_key_file": str(file), "max_retries": 0}
    options = {"providers": {"work": work}, "model": "work:small"}
    async with Project.open(app, overrides=options) as project:
        with pytest.raises(ModelError) as raised:
            await project.agent.run("What?")
        await project.agent.run("What?")
    assert openai_server.keys == ["Bearer k-file"] * 2
    assert "k-file" not in f"{raised.value}{raised.value.report}"
    written = [path for path in (app / ".agentkit").rglob("*") if path.is_file()]
    assert any("traces" in path.parts for path in written)
    assert [path for path in written if b"k-file" in path.read_bytes()] == []
