"""Hybrid search: filters narrow both retrievers, scripts meet, copies are shown once."""

import unicodedata
from collections.abc import Iterator
from contextlib import closing
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit import Document, KnowledgeBase
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.search.dense import Nearest, scripts
from agentkit.knowledge.search.filters import Filters, pattern
from agentkit.knowledge.search.lookup import Lookup
from agentkit.knowledge.search.retriever import E5, fused, spread
from tests.conftest import TermEmbedder

PURR = {"tags": ["pets", "cats"], "date": "2024-03-01"}
BARK = {"topics": ["dogs"], "date": date(2025, 1, 2), "author": "Ann"}
ANIMALS = [
    Document("cats/purr.md", "# Cats\n\nCats purr when they are content.", metadata=PURR),
    Document(
        "cats/old/fur.md",
        "# Fur\n\nCats shed fur in spring.",
        metadata={"tags": "pets, fur", "date": "2021"},
    ),
    Document("dogs/bark.md", "# Dogs\n\nDogs bark when cats run.", metadata=BARK),
    Document("birds.md", "# Birds\n\nBirds sing when cats sleep."),
]


@pytest.fixture
def kb(tmp_path: Path, embedder: TermEmbedder) -> Iterator[KnowledgeBase]:
    opened = KnowledgeBase.open(tmp_path / "index", embedder)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("filters", "sources"),
    [
        (Filters(("cats/*",)), {"cats/purr.md"}),
        (Filters(("cats/**",)), {"cats/purr.md", "cats/old/fur.md"}),
        (Filters(("**/fur.md", "birds.md")), {"cats/old/fur.md", "birds.md"}),
        (Filters(("[b-d]*/????.md",)), {"cats/purr.md", "dogs/bark.md"}),
        (Filters(title="fUR"), {"cats/old/fur.md"}),
        (Filters(tags=("Pets",)), {"cats/purr.md", "cats/old/fur.md"}),
        (Filters(tags=("pets", "fur")), {"cats/old/fur.md"}),
        (Filters(tags=("dogs",)), {"dogs/bark.md"}),
        (Filters(after=date(2024, 3, 1)), {"cats/purr.md", "dogs/bark.md"}),
        (Filters(before=date(2024, 3, 1)), {"cats/purr.md", "cats/old/fur.md"}),
        (Filters(metadata={"author": "ann"}), {"dogs/bark.md"}),
        (Filters(("dogs/*",), tags=("pets",)), set()),
    ],
)
async def test_a_filter_leaves_all_that_it_allows_and_nothing_else(
    kb: KnowledgeBase, filters: Filters, sources: Any
) -> None:
    await kb.add(ANIMALS)
    hits = await kb.search("Why do cats purr?", 10, filters=filters)
    assert {hit.chunk.source for hit in hits} == sources


async def test_a_narrow_filter_gives_the_best_of_the_allowed_however_far_they_are(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    near = [Document(f"near/{n}.md", f"cats purr softly number{n}") for n in range(120)]
    far = [Document(f"far/{n}.md", f"granite basalt {'quartz ' * n}") for n in range(3)]
    for limit in (20_000, 0):
        with closing(KnowledgeBase.open(tmp_path, embedder, exact_chunks=limit)) as kb:
            await kb.add([*near, *far])
            hits = await kb.search("cats purr softly", 5, filters=Filters(("far/*",)))
        assert {hit.chunk.source for hit in hits} == {"far/0.md", "far/1.md", "far/2.md"}


@pytest.mark.parametrize("glob", ["", "/etc/*", "../notes", "a\\b", "notes[", "[z-a]"])
def test_a_glob_that_can_match_nothing_is_refused(glob: str) -> None:
    with pytest.raises(KnowledgeError):
        pattern(glob)


async def test_a_bad_glob_is_reported_to_the_searcher(kb: KnowledgeBase) -> None:
    await kb.add(ANIMALS)
    with pytest.raises(KnowledgeError, match="relative"):
        await kb.search("cats", filters=Filters(("/notes/*.md",)))


async def test_a_small_index_is_searched_without_chroma(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    class Unsearched(Vectors):
        def query(self, vector: np.ndarray, k: int) -> list[tuple[str, float]]:
            raise AssertionError

    vectors = Unsearched(tmp_path / "chroma")
    with closing(KnowledgeBase.open(tmp_path, embedder, vectors=vectors)) as kb:
        await kb.add(ANIMALS)
        assert (await kb.search("cats purr"))[0].chunk.source == "cats/purr.md"


async def test_chroma_and_the_exact_scan_find_the_same(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    found = []
    for limit in (20_000, 0):
        with closing(KnowledgeBase.open(tmp_path, embedder, exact_chunks=limit)) as kb:
            await kb.add([*ANIMALS, Document("zh.md", "猫在满足的时候会打呼噜。")])
            found.append([hit.chunk.id for hit in await kb.search("猫为什么打呼噜", 5)])
    assert found[0] == found[1] != []


async def test_what_is_written_later_is_found_and_what_is_removed_is_not(kb: KnowledgeBase) -> None:
    await kb.add(ANIMALS)
    await kb.search("cats purr")
    await kb.add([Document("new.md", "zebras graze on plains")])
    assert (await kb.search("zebras graze"))[0].chunk.source == "new.md"
    await kb.remove(["new.md"])
    assert "new.md" not in {hit.chunk.source for hit in await kb.search("zebras graze", 10)}


async def test_traditional_characters_and_full_width_meet_simplified_and_half_width(
    kb: KnowledgeBase,
) -> None:
    texts = {
        "a.md": "神經網絡由許多節點組成",
        "b.md": "ＧＰＵ 有 ８０ ＧＢ 显存",
        "c.md": "天气很好",
    }
    await kb.add([Document(source, text) for source, text in texts.items()])
    assert (await kb.search("神经网络的节点"))[0].chunk.source == "a.md"
    assert (await kb.search("80 GB GPU 顯存"))[0].chunk.source == "b.md"


async def test_copies_of_a_file_take_one_place(kb: KnowledgeBase) -> None:
    copies = [Document(f"copy{n}.md", "Cats purr when they are content.") for n in range(60)]
    await kb.add([*copies, *ANIMALS[2:]])
    sources = [hit.chunk.source for hit in await kb.search("Why do cats purr?", 3)]
    assert len([source for source in sources if source.startswith("copy")]) == 1
    assert {"dogs/bark.md", "birds.md"} < set(sources)


async def test_a_near_copy_comes_after_another_passage_nearly_as_good(kb: KnowledgeBase) -> None:
    await kb.add(ANIMALS)
    hits = await kb.search("Why do cats purr?", 3)
    first, second, third = hits
    vectors = {hit.chunk.id: np.eye(3, dtype=np.float32)[n] for n, hit in enumerate(hits)}
    vectors[second.chunk.id] = vectors[first.chunk.id]
    scores = {hit.chunk.id: hit.score for hit in spread([first, second, third], vectors)}
    assert scores[second.chunk.id] == pytest.approx(second.score / 2, abs=1e-3)
    assert scores[third.chunk.id] == third.score


def test_a_passage_in_another_script_is_not_beaten_by_chance_words() -> None:
    near = Nearest({}, mean=0.75, deviation=0.02, count=500, lead=0.04)
    cosines = {1: 0.80, 2: 0.79, 3: 0.78, 4: 0.77, 5: 0.77, 6: 0.81}
    by_chance = {1: 0.18, 2: 0.17, 3: 0.19, 4: 0.15, 5: 0.15}
    scores = fused(near, cosines, by_chance, {6: 0.0}, E5)
    assert max(scores, key=scores.__getitem__) == 6
    scores = fused(near, cosines, by_chance | {1: 0.6}, {6: 0.0}, E5)
    assert max(scores, key=scores.__getitem__) == 1


def test_scores_lie_between_0_and_1_and_keep_their_order_at_the_ends() -> None:
    near = Nearest({}, mean=0.75, deviation=0.02, count=500, lead=0.0)
    cosines = {n: n / 100 for n in range(60, 101, 5)}
    scores = fused(near, cosines, dict.fromkeys(cosines, 0.7), {}, E5)
    ordered = [scores[n] for n in sorted(cosines)]
    assert ordered[0] > 0
    assert ordered[-1] <= 1
    assert all(low < high for low, high in pairwise(ordered))


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("How are pumps cleaned?", "guide.md"),
        ("Which version changed how pumps are cleaned?", "docs/CHANGELOG.md"),
    ],
)
async def test_a_changelog_comes_first_only_where_a_change_is_asked_for(
    kb: KnowledgeBase, query: str, first: str
) -> None:
    await kb.add(
        [
            Document("docs/CHANGELOG.md", "Which version: how pumps are cleaned changed."),
            Document("guide.md", "How pumps are cleaned: with water."),
            Document("other.md", "Valves are closed by hand."),
        ]
    )
    assert (await kb.search(query))[0].chunk.source == first


async def test_code_in_a_chinese_document_is_in_its_script(kb: KnowledgeBase) -> None:
    prose = "泵的清洗方法如下，每月一次，用水冲洗即可。" * 30
    await kb.add([Document("zh.md", f"{prose}\n\n```\nx = wash(p)\ny = x + 1\n```\n\n{prose}")])
    lookup = Lookup(Catalog(kb.path / "catalog.sqlite"))
    assert set(scripts(lookup, lookup.active_numbers()).values()) == {True}


@pytest.mark.parametrize("query", ["thanks", "谢谢", "ok"])
async def test_fillers_alone_find_nothing(kb: KnowledgeBase, query: str) -> None:
    await kb.add(ANIMALS)
    assert await kb.search(query) == []


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '""',
        "'",
        "cats AND",
        "cats OR OR dogs",
        "NOT",
        "NEAR(",
        "NEAR(cats dogs, 2)",
        "*",
        "cats*",
        "^cats",
        "-cats",
        "terms : cats",
        "{terms} : (",
        "((((",
        "🙂🙂",
        "？！…。",
        "a\0b",
        "\ud800cats",
        pytest.param(" ".join(f"word{n}" for n in range(20_000)), id="many words"),
        pytest.param("x" * 100_000, id="one long word"),
        pytest.param("猫" * 20_000, id="one long run of CJK"),
    ],
)
async def test_a_query_is_never_read_as_full_text_syntax(kb: KnowledgeBase, query: str) -> None:
    await kb.add(ANIMALS)
    assert len(await kb.search(query, 3)) == 3


def test_a_full_text_search_for_no_terms_has_no_hits(tmp_path: Path) -> None:
    with closing(Catalog(tmp_path / "catalog.sqlite")) as catalog:
        assert Lookup(catalog).matching([], 10) == []
        assert Lookup(catalog).matching(['"', "", "a b"], 10) == []


@pytest.mark.parametrize("match", ["", "AND", '"', "NEAR(", "nocolumn : a"])
def test_a_query_that_sqlite_cannot_parse_is_not_reported_as_damage(
    tmp_path: Path, match: str
) -> None:
    with (
        closing(Catalog(tmp_path / "catalog.sqlite")) as catalog,
        pytest.raises(KnowledgeError, match="rejected a query") as raised,
    ):
        catalog.rows("SELECT rowid FROM full_text WHERE full_text MATCH ?", (match,))
    assert "doctor" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "word", "times"),
    [
        ("У нас живёт кот. Который час? Котлета.", "кот", 1),
        ("Das Öl ist teuer. Heizöl auch. Rohöl steigt.", "Öl", 1),
        ("Er geht über die Brücke. Gegenüber steht er.", "über", 1),
        ("Ο νόμος ισχύει. Η αστρονόμος γράφει.", "νόμος", 1),
        ("C is old. C++ and C# are newer.", "C", 1),
        ("C is old. C++ and C# are newer.", "C++", 1),
        ("Version 1.2.3 came after 1.2.3.4 and 11.2.3.", "1.2.3", 1),
        ("Version v1.2.3 is out, rev1.2.3 is not.", "1.2.3", 1),
        ("猫cat猫，catalog", "cat", 1),
        ("พนักงานลาป่วยได้สามสิบวันต่อปี", "ลาป่วย", 1),
        ("បុគ្គលិកមានសិទ្ធិឈប់សម្រាក", "ឈប់សម្រាក", 1),
        ("ພະນັກງານລາພັກໄດ້", "ລາພັກ", 1),
        ("هذه الشَّرِكَةُ كبيرة.", "الشركة", 1),
        ("הַשָּׁלוֹם בא.", "השלום", 1),
        ("हिन्दी में लिखा है।", "हिन्दी", 1),
        ("İSTANBUL şubesi açılır.", "istanbul", 1),
        ("The soft\u00adware runs.", "software", 1),
        ("The soft\u200bware runs.", "software", 1),
    ],
)
async def test_whole_words_are_found_in_any_script(
    kb: KnowledgeBase, text: str, word: str, times: int
) -> None:
    await kb.add([Document("a.txt", text, "a", format="text")])
    assert (await kb.find_all(word)).times == times


@pytest.mark.parametrize("name", ["Übersicht.md", "가격표.md"])
async def test_a_source_is_found_by_its_name_in_either_normal_form(
    kb: KnowledgeBase, name: str
) -> None:
    await kb.add([Document(unicodedata.normalize("NFD", name), "Pumpe 420 Euro")])
    composed = unicodedata.normalize("NFC", name)
    for glob in (composed, f"{composed[:2]}*", unicodedata.normalize("NFD", name)):
        assert await kb.search("Pumpe", filters=Filters((glob,)))
    assert (await kb.document(composed)).text == "Pumpe 420 Euro"


@pytest.mark.parametrize(
    "metadata",
    [
        {"date": "2024-03-05T10:00:00Z"},
        {"date": "05.03.2024"},
        {"date": "March 5, 2024"},
        {"date": "5 March 2024"},
        {"date": "5. März 2024"},
        {"date": "Tue, 05 Mar 2024 10:00:00 +0100"},
        {"date": "2024年3月5日"},
        {"date": "03/25/2024"},
        {"Date": "2024-03-05"},
        {"created": "2024-03-05"},
        {"file creation date": "2024-03-05 17:22"},
        {"last_modified": "2024-03-05", "date": ""},
    ],
)
def test_a_date_is_read_however_it_is_written(metadata: dict[str, Any]) -> None:
    march = Filters(after=date(2024, 3, 1), before=date(2024, 3, 31))
    assert march.accept("a.md", "a", metadata)
    assert not Filters(after=date(2024, 4, 1)).accept("a.md", "a", metadata)


@pytest.mark.parametrize("written", ["soon", "2024-13-40", "99/99/2024", "", None])
def test_what_names_no_day_is_outside_every_period(written: Any) -> None:
    assert not Filters(after=date(1, 1, 1)).accept("a.md", "a", {"date": written})


@pytest.mark.parametrize(
    "metadata",
    [{"tags": "#alpha #beta"}, {"tags": ["#alpha"]}, {"Tags": ["alpha"]}, {"tags": "alpha beta"}],
)
def test_a_tag_is_read_however_it_is_written(metadata: dict[str, Any]) -> None:
    assert Filters(tags=("alpha",)).accept("a.md", "a", metadata)
    assert not Filters(tags=("gamma",)).accept("a.md", "a", metadata)
