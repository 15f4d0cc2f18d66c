"""Vectors in a folder: what is stored is found, and damage is distinguished from absence."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from agentkit.knowledge.index.vectors import Vectors

_FOUR = np.eye(4, dtype=np.float32)


@pytest.fixture
def vectors(tmp_path: Path) -> Iterator[Vectors]:
    with closing(Vectors(tmp_path / "chroma")) as opened:
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
    vectors.works()  # Chroma fails once more after an opening that failed.
    assert vectors.works()
    assert vectors.count() == 0
