"""Vectors in a folder: what is stored is found, and damage is distinguished from absence. In this
process and in a child the same holds; in a child Chroma may end its process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import psutil
import pytest

from agentkit._child import ChildFailed
from agentkit.documents import Document
from agentkit.knowledge.index.chroma_process import ChromaProcess
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.knowledge_base import KnowledgeBase
from tests.conftest import TermEmbedder

_FOUR = np.eye(4, dtype=np.float32)


@pytest.fixture(params=[Vectors, ChromaProcess])
def vectors(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Vectors]:
    with closing(request.param(tmp_path / "chroma")) as opened:
        opened.upsert(["a", "b", "c", "d"], _FOUR)
        yield opened


def test_the_nearest_comes_first_with_its_cosine(vectors: Vectors) -> None:
    near = vectors.query(np.array([0.6, 0.8, 0, 0], np.float32), 2)
    assert [id_ for id_, _ in near] == ["b", "a"]
    np.testing.assert_allclose([cosine for _, cosine in near], [0.8, 0.6], atol=1e-5)


def test_a_vector_of_a_known_id_is_replaced(vectors: Vectors) -> None:
    vectors.upsert(["a"], _FOUR[3:])
    assert vectors.count() == 4
    assert {id_ for id_, _ in vectors.query(_FOUR[3], 2)} == {"a", "d"}


def test_deleting_twice_takes_away_once(vectors: Vectors) -> None:
    vectors.delete(["a", "b"])
    vectors.delete(["a"])
    assert vectors.count() == 2


def test_a_closed_store_opens_again_when_it_is_used(vectors: Vectors, tmp_path: Path) -> None:
    vectors.close()
    assert vectors.count() == 4
    vectors.close()
    with closing(Vectors(tmp_path / "chroma")) as again:
        assert again.count() == 4


def test_a_damaged_store_does_not_work_until_it_is_cleared(
    vectors: Vectors, tmp_path: Path
) -> None:
    assert vectors.works()
    vectors.close()
    (tmp_path / "chroma" / "chroma.sqlite3").write_bytes(b"damaged" * 500)
    assert not vectors.works()
    vectors.clear()
    vectors.works()  # In this process Chroma fails once more after an opening that failed.
    assert vectors.works()
    assert vectors.count() == 0


def test_a_failing_call_leaves_the_other_indexes_of_the_child_open(tmp_path: Path) -> None:
    with closing(ChromaProcess(tmp_path / "one")) as one, closing(ChromaProcess(tmp_path)) as other:
        one.upsert(["a"], _FOUR[:1])
        with pytest.raises(ChildFailed, match="dimension"):
            one.upsert(["b"], np.ones((1, 3), np.float32))
        other.upsert(["c", "d"], _FOUR[:2])
        assert (one.count(), other.count()) == (1, 2)


@pytest.mark.slow
def test_the_next_call_starts_a_child_that_was_killed_again(tmp_path: Path) -> None:
    with closing(ChromaProcess(tmp_path / "chroma")) as vectors:
        vectors.upsert(["a", "b", "c", "d"], _FOUR)
        for child in psutil.Process().children():
            if "serve(calls)" in " ".join(child.cmdline()):
                child.kill()
                child.wait()
        assert vectors.count() == 4


@pytest.mark.slow
async def test_a_chroma_that_ends_its_process_is_replaced_by_a_scan_and_rebuilt(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    documents = [Document(f"{i}.md", f"pump number {i} weighs {i} kg") for i in range(1200)]
    path = tmp_path / "index"
    with KnowledgeBase.open(path, embedder, exact_chunks=0) as kb:
        await kb.add(documents)
    for file in (path / "chroma").rglob("header.bin"):
        file.write_bytes(file.read_bytes()[:50])
    with KnowledgeBase.open(path, embedder, exact_chunks=0) as kb:
        assert (await kb.search("pump number 77"))[0].chunk.source == "77.md"
        await kb.add([Document("seal.md", "seal number 5")])
        assert (await kb.search("seal number 5"))[0].chunk.source == "seal.md"
    with closing(ChromaProcess(path / "chroma")) as vectors:
        assert vectors.count() == 1201


_PROGRAM = """
import asyncio, json, sys
from agentkit import Document, KnowledgeBase

async def main():
    with KnowledgeBase.open(sys.argv[1], exact_chunks=0) as kb:
        await kb.add([Document("a.md", "The pump weighs 40 kg."), Document("b.md", "Rain falls.")])
        hits = await kb.search("How heavy is the pump?")
        print(json.dumps([hits[0].chunk.source, "chromadb" in sys.modules]))

asyncio.run(main())
"""


@pytest.mark.slow
def test_a_program_that_indexes_and_searches_never_loads_chroma(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path / "index")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(done.stdout) == ["a.md", False]
