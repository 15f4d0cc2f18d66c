"""Generation with small models of several kinds and random weights."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.huggingface.generator import Generation, GenerationEnd, Generator
from agentkit.backends.huggingface.load import LoadedModel, Source
from agentkit.errors import ModelError

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.slow

SIZE = {"vocab_size": 49152, "hidden_size": 32, "eos_token_id": 2, "bos_token_id": 1}
LLAMA = {
    **SIZE,
    "num_hidden_layers": 3,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
KINDS: dict[str, Callable[[], Any]] = {
    "rotary positions": lambda: transformers.LlamaConfig(**LLAMA),
    "sliding window": lambda: transformers.Gemma3TextConfig(
        **LLAMA,
        sliding_window=4,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    ),
    "positions by bias": lambda: transformers.BloomConfig(**SIZE, n_layer=2, n_head=4),
    "learned positions": lambda: transformers.GPT2Config(**SIZE, n_layer=2, n_head=4),
    "a state": lambda: transformers.MambaConfig(**SIZE, num_hidden_layers=2, state_size=8),
}
PROMPTS = [[5, 6, 7], [9] * 20, [11, 12], [13, 14, 15, 16], [9] * 19 + [8]]


class Request:
    """An answer asked of a generator, and what it emits."""

    def __init__(self, loaded: LoadedModel, ids: list[int], limit: int, **options: Any) -> None:
        self.pieces: queue.Queue[str | GenerationEnd | ModelError] = queue.Queue()
        options = {"temperature": 0.0, **options}
        self.generation = Generation(loaded, ids, limit, Options(**options), self.pieces.put)

    def result(self) -> tuple[str, GenerationEnd | ModelError]:
        """The whole text, and how it ended."""
        text = ""
        while isinstance(piece := self.pieces.get(timeout=60), str):
            text += piece
        return text, piece


Ask = Callable[..., Request]


def asking(generator: Generator, loaded: LoadedModel) -> Ask:
    def ask(ids: list[int], limit: int, **options: Any) -> Request:
        request = Request(loaded, ids, limit, **options)
        generator.submit(request.generation)
        return request

    return ask


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    torch.set_num_threads(1)
    return transformers.AutoTokenizer.from_pretrained(smollm2_folder)


def tiny(tokenizer: Any, kind: str) -> LoadedModel:
    """A model of that kind with random weights, the same ones each time."""
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(KINDS[kind]()).float().eval()
    model.generation_config.eos_token_id = 2
    return LoadedModel(Source("hf:tiny", "tiny"), tokenizer, model, None)


def generator_of(loaded: LoadedModel, kept_tokens: int = 8192, batching: bool = False) -> Generator:
    return Generator(loaded, max_batch=3, kept_tokens=kept_tokens, batching=batching)


@pytest.fixture(scope="module")
def loaded(tokenizer: Any) -> LoadedModel:
    return tiny(tokenizer, "rotary positions")


@pytest.fixture(params=[False, True], ids=["in turn", "batching"])
def ask(loaded: LoadedModel, request: pytest.FixtureRequest) -> Iterator[Ask]:
    """Ask a generator that answers in turn, and one with continuous batching."""
    generator = generator_of(loaded, batching=request.param)
    yield asking(generator, loaded)
    generator.close()


def generated(loaded: LoadedModel, ids: list[int], limit: int) -> str:
    """What transformers' own generate writes."""
    prompt = torch.tensor([ids])
    ones = torch.ones_like(prompt)
    output = loaded.model.generate(
        prompt, attention_mask=ones, max_new_tokens=limit, do_sample=False, pad_token_id=0
    )
    text: str = loaded.tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True)
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_what_generate_writes(tokenizer: Any, kind: str) -> None:
    loaded = tiny(tokenizer, kind)
    generator = generator_of(loaded)
    ask = asking(generator, loaded)
    expected = [generated(loaded, ids, 9) for ids in PROMPTS]
    asked = [ask(ids, 9) for ids in PROMPTS]
    assert [request.result()[0] for request in asked] == expected
    generator.close()


def test_answers_at_the_same_time_are_what_each_is_alone(loaded: LoadedModel, ask: Ask) -> None:
    limits = (2, 15, 6, 9, 4)
    expected = [generated(loaded, i, n) for i, n in zip(PROMPTS, limits, strict=True)]
    asked = [ask(i, n) for i, n in zip(PROMPTS, limits, strict=True)]
    results = [request.result() for request in asked]
    assert [text for text, _ in results] == expected
    assert [end.tokens for _, end in results if isinstance(end, GenerationEnd)] == [*limits]


def test_a_cancelled_answer_says_no_more_and_the_next_one_is_generated(ask: Ask) -> None:
    long = ask(PROMPTS[0], 4000)
    assert isinstance(long.pieces.get(timeout=60), str)
    long.generation.cancelled.set()
    assert ask(PROMPTS[3], 2).result()[1] == GenerationEnd(2, "length")
    emitted = long.pieces.qsize()
    assert ask(PROMPTS[0], 5).result()[1] == GenerationEnd(5, "length")
    assert long.pieces.qsize() == emitted
    assert not any(isinstance(piece, GenerationEnd) for piece in list(long.pieces.queue))


def test_an_answer_is_cancelled_while_its_prompt_is_read(loaded: LoadedModel) -> None:
    generator = generator_of(loaded)
    reading = threading.Event()
    lengths: list[int] = []

    def hook(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        lengths.append(kwargs["input_ids"].shape[1])
        reading.set()
        long.generation.cancelled.wait(60)

    handle = loaded.model.register_forward_pre_hook(hook, with_kwargs=True)
    long = Request(loaded, [20 + n % 50 for n in range(3000)], 5)
    generator.submit(long.generation)
    assert reading.wait(60)
    long.generation.cancelled.set()
    assert asking(generator, loaded)(PROMPTS[0], 1).result()[1] == GenerationEnd(1, "length")
    handle.remove()
    assert sum(lengths) < 3000
    assert long.pieces.empty()
    generator.close()


def test_an_answer_that_fails_fails_alone(ask: Ask) -> None:
    def broken(ids: Any, scores: Any) -> Any:
        raise MemoryError

    good = ask(PROMPTS[0], 5)
    bad = ask(PROMPTS[1], 5, extra={"logits_processor": [broken]})
    error = bad.result()[1]
    assert isinstance(error, ModelError)
    assert "Memory ran out" in str(error)
    assert good.result()[1] == GenerationEnd(5, "length")


def test_after_a_failed_pass_the_next_answer_is_generated(loaded: LoadedModel, ask: Ask) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")

    hook = loaded.model.register_forward_pre_hook(fail)
    error = ask(PROMPTS[0], 9).result()[1]
    hook.remove()
    assert "Memory ran out" in str(error)
    assert ask(PROMPTS[0], 4).result()[1] == GenerationEnd(4, "length")


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_writes_the_same_alone_and_beside_others(ask: Ask, seed: int) -> None:
    options = {"temperature": 1.0, "seed": seed, "extra": {"top_p": 0.9, "top_k": 40}}
    alone = ask(PROMPTS[0], 8, **options).result()
    beside = [ask(PROMPTS[1], 8, temperature=1.0), ask(PROMPTS[0], 8, **options)]
    assert [request.result() for request in beside][1] == alone


def test_a_seed_leaves_the_random_numbers_of_the_process_alone(loaded: LoadedModel) -> None:
    generator = generator_of(loaded)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    asking(generator, loaded)(PROMPTS[0], 3, temperature=1.0, seed=1).result()
    assert torch.equal(torch.rand(1), expected)
    generator.close()


@pytest.mark.parametrize("kind", ["rotary positions", "sliding window"])
def test_the_beginning_of_a_chat_is_read_once(tokenizer: Any, kind: str) -> None:
    loaded = tiny(tokenizer, kind)
    kept, bare = generator_of(loaded, kept_tokens=100), generator_of(loaded, kept_tokens=0)
    ids = PROMPTS[1]
    for longer in (ids, [*ids, 4, 5, 6], [*ids, 4, 9], ids[:7], [30, *ids]):
        results = [asking(each, loaded)(longer, 6).result() for each in (kept, bare)]
        assert results[0] == results[1]
    assert bare.prefilled_tokens == 20 + 23 + 22 + 7 + 21
    assert kept.prefilled_tokens == 20 + 3 + 1 + 1 + 21
    for generator in (kept, bare):
        generator.close()


def test_a_sequence_over_the_limit_is_not_kept(loaded: LoadedModel) -> None:
    generator = generator_of(loaded, kept_tokens=10)
    for _ in range(2):
        asking(generator, loaded)(PROMPTS[1], 2).result()
    assert generator.prefilled_tokens == 40
    generator.close()


def test_a_closed_generator_refuses_answers(loaded: LoadedModel) -> None:
    generator = generator_of(loaded)
    generator.close()
    with pytest.raises(ModelError, match="was closed"):
        asking(generator, loaded)(PROMPTS[0], 1)
