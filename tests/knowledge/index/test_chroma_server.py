"""Vectors on a server: a real `chroma run`, killed, restarted and swapped under the index."""

import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from agentkit import Document, KnowledgeBase
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.index.doctor import diagnose, repair
from agentkit.knowledge.index.stores import (
    IndexOwner,
    ServerVectors,
    open_store,
    parse_server,
)
from agentkit.knowledge.index.vectors import Vectors
from tests.conftest import TermEmbedder

pytestmark = pytest.mark.slow


class ChromaServer:
    """`chroma run` on a port of its own; its data can be swapped."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with closing(socket.socket()) as chosen:
            chosen.bind(("127.0.0.1", 0))
            self._port = chosen.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, data: str = "data") -> None:
        program = Path(sys.executable).with_name("chroma")
        place = ["--host", "127.0.0.1", "--port", str(self._port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(program), "run", "--path", str(self._folder / data), *place],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env={**os.environ, "ANONYMIZED_TELEMETRY": "False"},
            )
        for _ in range(600):
            with closing(socket.socket()) as client:
                if client.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)
        pytest.fail((self._folder / "log").read_text())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def is_running(self) -> bool:
        return self._process is not None


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChromaServer]:
    server = ChromaServer(tmp_path_factory.mktemp("chroma"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(running: ChromaServer) -> Iterator[ChromaServer]:
    """The server, running with its data; a test that kills it gets it back."""
    yield running
    if not running.is_running:
        running.start()


def _documents(word: str, count: int = 20) -> list[Document]:
    return [
        Document(source=f"{word}{n}.md", text=f"# {word} {n}\n\nnumber{n} is the {word}.")
        for n in range(count)
    ]


@contextmanager
def _opened(
    index: Path, store: str, embedder: Embedder | None = None
) -> Iterator[tuple[KnowledgeBase, Vectors]]:
    """An index that searches by Chroma alone, and the vectors that it keeps there."""
    vectors = open_store(index, store)
    with closing(
        KnowledgeBase.open(index, embedder or TermEmbedder(), vectors=vectors, exact_chunks=0)
    ) as knowledge:
        yield knowledge, vectors


def _server_vectors(index: Path, store: str, **options: Any) -> ServerVectors:
    server = parse_server(store)
    return ServerVectors(index / "chroma", server, IndexOwner(index, store), **options)


def _index_in_another_process(index: Path, store: str, word: str) -> None:
    with _opened(index, store) as (knowledge, _):
        for document in _documents(word):
            knowledge.add_sync([document])


async def _sources(knowledge: KnowledgeBase, query: str) -> list[str]:
    return [hit.chunk.source for hit in await knowledge.search(query, k=1)]


@pytest.mark.slow
async def test_two_processes_write_through_one_server_and_a_third_searches_both(
    server: ChromaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [
        context.Process(target=_index_in_another_process, args=(tmp_path / word, server.url, word))
        for word in ("apple", "pear")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    for word in ("apple", "pear"):
        with _opened(tmp_path / word, server.url) as (knowledge, vectors):
            assert vectors.count() == knowledge.chunk_count == 20
            assert await _sources(knowledge, f"{word} number7") == [f"{word}7.md"]
            assert "scanning the catalog" not in caplog.text
            assert await diagnose(tmp_path / word, vectors=vectors) == []


async def test_a_killed_server_is_done_without_and_used_again_when_it_is_back(
    server: ChromaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _opened(tmp_path / "index", server.url) as (knowledge, vectors):
        await knowledge.add(_documents("apple"))
        server.kill()
        assert await _sources(knowledge, "apple number7") == ["apple7.md"]
        assert "scanning the catalog" in caplog.text
        with pytest.raises(KnowledgeError, match="Start it: chroma run --path") as refused:
            await knowledge.add(_documents("pear"))
        assert server.url in str(refused.value)
        assert knowledge.chunk_count == 20
        server.start()
        caplog.clear()
        assert await _sources(knowledge, "apple number3") == ["apple3.md"]
        assert caplog.text == ""
        await knowledge.add(_documents("pear"))
        assert vectors.count() == knowledge.chunk_count == 40


async def test_a_server_restarted_between_two_calls_is_not_noticed(
    server: ChromaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _opened(tmp_path / "index", server.url) as (knowledge, _vectors):
        await knowledge.add(_documents("apple"))
        assert await _sources(knowledge, "apple number3") == ["apple3.md"]
        server.kill()
        server.start()
        assert await _sources(knowledge, "apple number7") == ["apple7.md"]
    assert caplog.text == ""


async def test_a_server_with_other_data_is_not_believed_and_filled_by_the_next_indexing(
    server: ChromaServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with _opened(tmp_path / "index", server.url) as (knowledge, vectors):
        await knowledge.add(_documents("apple"))
        server.kill()
        server.start("others")
        assert await _sources(knowledge, "apple number7") == ["apple7.md"]
        assert "holds 0 of 20 vectors" in caplog.text
        await knowledge.add([])
        assert vectors.count() == 20
        caplog.clear()
        assert await _sources(knowledge, "apple number7") == ["apple7.md"]
        assert caplog.text == ""


async def test_a_collection_of_another_dimension_is_replaced(
    server: ChromaServer, tmp_path: Path
) -> None:
    with _opened(tmp_path / "index", server.url) as (knowledge, vectors):
        vectors.upsert(["a"], np.ones((1, 3), np.float32))
        vectors.delete(["a"])
        with pytest.raises(KnowledgeError, match="dimension"):
            await knowledge.add(_documents("apple"))
        await knowledge.add(_documents("apple"))
        assert vectors.count() == knowledge.chunk_count == 20


async def test_clearing_one_index_leaves_the_others_on_the_server(
    server: ChromaServer, tmp_path: Path
) -> None:
    names = ("apple", "pear")
    with ExitStack() as stack:
        opened = [stack.enter_context(_opened(tmp_path / name, server.url)) for name in names]
        for name, (knowledge, _) in zip(names, opened, strict=True):
            await knowledge.add(_documents(name))
        cleared, kept = (vectors for _, vectors in opened)
        cleared.clear()
        cleared.clear()
        assert (cleared.count(), kept.count()) == (0, 20)


async def test_a_copied_folder_writes_to_a_collection_of_its_own(
    server: ChromaServer, tmp_path: Path
) -> None:
    with _opened(tmp_path / "one", server.url) as (first, vectors):
        await first.add(_documents("apple"))
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        with _opened(tmp_path / "two", server.url) as (second, own):
            await second.remove([f"apple{n}.md" for n in range(10)])
            assert own.count() == second.chunk_count == 10
            assert await _sources(second, "apple number17") == ["apple17.md"]
        assert vectors.count() == first.chunk_count == 20


async def test_an_index_moves_from_its_folder_to_a_server_and_back(
    server: ChromaServer, tmp_path: Path
) -> None:
    embedder = TermEmbedder()
    for store in ("", server.url, ""):
        with _opened(tmp_path / "index", store, embedder) as (knowledge, vectors):
            await knowledge.add(_documents("apple"))
            assert await _sources(knowledge, "apple number7") == ["apple7.md"]
            assert vectors.count() == 20
    assert len(embedder.embedded) == 20


async def test_the_doctor_finds_and_repairs_what_a_server_lost(
    server: ChromaServer, tmp_path: Path
) -> None:
    with _opened(tmp_path / "index", server.url) as (knowledge, vectors):
        await knowledge.add(_documents("apple"))
        vectors.delete(next(vectors.pages())[0][:1])
        found = await diagnose(tmp_path / "index", vectors=vectors)
        assert [finding.part for finding in found] == ["chroma"]
        assert await repair(tmp_path / "index", vectors=vectors) == []
        assert vectors.count() == 20


async def test_more_vectors_than_one_request_carries_are_all_stored(
    server: ChromaServer, tmp_path: Path
) -> None:
    KnowledgeBase.open(tmp_path / "index", TermEmbedder()).close()
    with closing(_server_vectors(tmp_path / "index", server.url, batch_size=100)) as vectors:
        vectors.upsert([str(n) for n in range(250)], np.eye(250, 8, dtype=np.float32) + 0.1)
        assert vectors.count() == 250
        vectors.delete([str(n) for n in range(120)])
        assert vectors.count() == 130


def test_a_server_that_never_answers_is_waited_for_once(
    tmp_path: Path,
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        store = f"http://127.0.0.1:{silent.getsockname()[1]}"
        KnowledgeBase.open(tmp_path, TermEmbedder()).close()
        vectors = _server_vectors(tmp_path, store, answer_seconds=0.2)
        with pytest.raises(KnowledgeError, match="no answer in time"):
            vectors.count()
        silent.accept()[0].close()
        silent.setblocking(False)
        with pytest.raises(KnowledgeError, match="does not answer"):
            vectors.count()
        with pytest.raises(BlockingIOError):
            silent.accept()


class _Refusing(BaseHTTPRequestHandler):
    """Answers as a server that knows no key, and remembers the one it was shown."""

    shown: list[str | None]

    def do_GET(self) -> None:
        self.shown.append(self.headers.get("x-chroma-token"))
        body = b'{"error":"AuthorizationError","message":"Unauthorized"}'
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture
def refusing() -> Iterator[str]:
    _Refusing.shown = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_key_is_sent_from_its_variable_and_never_shown(
    refusing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_CHROMA_KEY", "very-secret")
    KnowledgeBase.open(tmp_path, TermEmbedder()).close()
    vectors = open_store(tmp_path, f"http://$MY_CHROMA_KEY@{refusing}")
    with pytest.raises(KnowledgeError, match=r"rejects the key.*MY_CHROMA_KEY") as refused:
        vectors.upsert(["a"], np.ones((1, 3), np.float32))
    vectors.close()
    assert _Refusing.shown == ["very-secret"]
    assert "very-secret" not in str(refused.value) + repr(vars(vectors))
    assert b"very-secret" not in (tmp_path / "catalog.sqlite").read_bytes()


def test_a_place_in_the_cloud_has_a_tenant_a_database_and_a_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CHROMA_API_KEY", "one")
    monkeypatch.setenv("OTHER", "two")
    found = parse_server("cloud:acme/notes")
    assert (found.url, found.tenant, found.database, found.key) == (
        "https://api.trychroma.com",
        "acme",
        "notes",
        "one",
    )
    assert parse_server("cloud:$OTHER@acme/notes").key == "two"
    monkeypatch.delenv("CHROMA_API_KEY")
    with pytest.raises(ConfigError, match="CHROMA_API_KEY"):
        parse_server("cloud:acme/notes")


@pytest.mark.parametrize(
    "store", ["chroma", "ftp://host", "http://", "http://host:port", "cloud:acme", "cloud:a/b/c"]
)
def test_what_is_no_store_is_refused_with_the_forms_there_are(store: str) -> None:
    with pytest.raises(ConfigError, match="Use http://HOST:PORT"):
        parse_server(store)


def test_a_password_in_the_settings_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="environment variable") as refused:
        parse_server("https://me:hunter2@chroma.example:8000")
    assert "hunter2" not in str(refused.value)


def test_plain_http_to_another_machine_warns_and_carries_no_key(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_CHROMA_KEY", "very-secret")
    assert parse_server("http://127.0.0.1:8000").url == "http://127.0.0.1:8000"
    assert caplog.text == ""
    parse_server("http://chroma.example:8000")
    assert "not encrypted" in caplog.text
    with pytest.raises(ConfigError, match="https://"):
        parse_server("http://$MY_CHROMA_KEY@chroma.example:8000")
