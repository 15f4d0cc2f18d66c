"""Many chats at once, with small models of many kinds and random weights: fast, and as strict."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.huggingface_engine import Engine
from agentkit.backends.huggingface_load import Loaded
from agentkit.backends.huggingface_row import Outcome, Request
from agentkit.backends.huggingface_source import Source
from agentkit.errors import ModelError

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")

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


class Listener:
    """Hears what a request is told."""

    def __init__(self) -> None:
        self.said: queue.Queue[str | Outcome | Exception] = queue.Queue()
        self.request: Request | None = None

    def ask(self, engine: Engine, ids: list[int], limit: int, **options: Any) -> Listener:
        options = {"temperature": 0.0, **options}
        self.request = Request(ids, limit, Options(**options), self.said.put)
        engine.submit(self.request)
        return self

    def piece(self) -> str | Outcome | Exception:
        return self.said.get(timeout=60)

    def answer(self) -> tuple[str, Outcome | Exception]:
        """The whole text, and how it ended."""
        text = ""
        while isinstance(piece := self.piece(), str):
            text += piece
        return text, piece

    def stop(self) -> None:
        assert self.request is not None
        self.request.stopped.set()


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    torch.set_num_threads(1)
    return transformers.AutoTokenizer.from_pretrained(smollm2_folder)


def tiny(tokenizer: Any, kind: str) -> Loaded:
    """A model of that kind with random weights, the same ones each time."""
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(KINDS[kind]()).float().eval()
    model.generation_config.eos_token_id = 2
    return Loaded(Source("hf:tiny", "tiny"), tokenizer, model, None)


@pytest.fixture(scope="module")
def loaded(tokenizer: Any) -> Loaded:
    return tiny(tokenizer, "rotary positions")


@pytest.fixture
def engine(loaded: Loaded) -> Iterator[Engine]:
    made = Engine(loaded, rows=3)
    yield made
    made.close()


def generated(loaded: Loaded, ids: list[int], limit: int) -> str:
    """What transformers' own generate writes."""
    given = torch.tensor([ids])
    ones = torch.ones_like(given)
    made = loaded.model.generate(
        given, attention_mask=ones, max_new_tokens=limit, do_sample=False, pad_token_id=0
    )
    text: str = loaded.tokenizer.decode(made[0, len(ids) :], skip_special_tokens=True)
    return text


@pytest.mark.parametrize("kind", KINDS)
def test_alone_and_in_a_batch_a_model_writes_what_generate_writes(
    tokenizer: Any, kind: str
) -> None:
    loaded = tiny(tokenizer, kind)
    engine = Engine(loaded)
    expected = [generated(loaded, ids, 9) for ids in PROMPTS]
    assert [Listener().ask(engine, ids, 9).answer()[0] for ids in PROMPTS] == expected
    asked = [Listener().ask(engine, ids, 9) for ids in PROMPTS]
    assert [listener.answer()[0] for listener in asked] == expected
    engine.close()


def test_answers_of_unequal_length_leave_the_others_as_they_are(engine: Engine) -> None:
    limits = (2, 15, 6, 9, 4)
    alone = [Listener().ask(engine, i, n).answer() for i, n in zip(PROMPTS, limits, strict=True)]
    asked = [Listener().ask(engine, i, n) for i, n in zip(PROMPTS, limits, strict=True)]
    assert [listener.answer() for listener in asked] == alone
    assert [outcome.tokens for _, outcome in alone if isinstance(outcome, Outcome)] == [*limits]


def test_a_late_request_joins_and_may_be_done_first(engine: Engine) -> None:
    early = Listener().ask(engine, PROMPTS[0], 400)
    early.piece()
    _, outcome = Listener().ask(engine, PROMPTS[1], 3).answer()
    assert outcome == Outcome(3, "length")
    assert not any(isinstance(piece, Outcome) for piece in list(early.said.queue))
    early.stop()


def test_a_cancelled_chat_leaves_the_others_going_and_its_place_free(engine: Engine) -> None:
    expected = Listener().ask(engine, PROMPTS[1], 60).answer()
    long = [Listener().ask(engine, ids, 2000) for ids in (PROMPTS[0], PROMPTS[2])]
    stays = Listener().ask(engine, PROMPTS[1], 60)
    waits = Listener().ask(engine, PROMPTS[3], 2)
    for listener in long:
        listener.piece()
        listener.stop()
    assert waits.answer()[1] == Outcome(2, "length")
    assert stays.answer() == expected
    heard = [listener.said.qsize() for listener in long]
    Listener().ask(engine, PROMPTS[0], 5).answer()
    assert [listener.said.qsize() for listener in long] == heard


def test_a_chat_that_fails_fails_alone(engine: Engine) -> None:
    def broken(ids: Any, scores: Any) -> Any:
        raise MemoryError

    good = Listener().ask(engine, PROMPTS[0], 5)
    bad = Listener().ask(engine, PROMPTS[1], 5, extra={"logits_processor": [broken]})
    error = bad.answer()[1]
    assert isinstance(error, ModelError)
    assert "Memory ran out" in str(error)
    assert good.answer()[1] == Outcome(5, "length")


def test_a_pass_that_fails_is_told_to_all_in_it_and_the_next_works(loaded: Loaded) -> None:
    engine = Engine(loaded)
    hook = loaded.model.register_forward_pre_hook(failing_after(3), with_kwargs=True)
    asked = [Listener().ask(engine, ids, 9) for ids in PROMPTS[:2]]
    assert all(isinstance(listener.answer()[1], ModelError) for listener in asked)
    hook.remove()
    assert Listener().ask(engine, PROMPTS[0], 4).answer()[1] == Outcome(4, "length")
    engine.close()


def failing_after(passes: int) -> Callable[..., None]:
    left = iter(range(passes))

    def hook(*_: Any) -> None:
        if next(left, None) is None:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory")

    return hook


@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_writes_the_same_alone_and_beside_others(engine: Engine, seed: int) -> None:
    options = {"temperature": 1.0, "seed": seed, "extra": {"top_p": 0.9, "top_k": 40}}
    alone = Listener().ask(engine, PROMPTS[0], 8, **options).answer()
    asked = [Listener().ask(engine, ids, 8, **options) for ids in (PROMPTS[1], PROMPTS[0])]
    assert [listener.answer() for listener in asked][1] == alone


def test_a_long_prompt_is_read_in_parts_and_the_others_go_on(engine: Engine) -> None:
    steady = Listener().ask(engine, PROMPTS[0], 400)
    steady.piece()
    heard = steady.said.qsize()
    _, outcome = Listener().ask(engine, [20 + n % 50 for n in range(3000)], 1).answer()
    assert outcome == Outcome(1, "length")
    assert steady.said.qsize() > heard + 3
    steady.stop()


@pytest.mark.parametrize("kind", ["rotary positions", "sliding window"])
def test_what_a_chat_reads_again_is_not_read_again(tokenizer: Any, kind: str) -> None:
    loaded = tiny(tokenizer, kind)
    kept, bare = Engine(loaded, kept_tokens=100), Engine(loaded, kept_tokens=0)
    ids = PROMPTS[1]
    for longer in (ids, [*ids, 4, 5, 6], [*ids, 4, 9], ids[:7], [30, *ids]):
        answers = [Listener().ask(engine, longer, 6).answer() for engine in (kept, bare)]
        assert answers[0] == answers[1]
    assert bare.forward.prefilled == 20 + 23 + 22 + 7 + 21
    assert kept.forward.prefilled == 20 + 3 + 1 + 1 + 21
    for engine in (kept, bare):
        engine.close()


def test_more_than_is_allowed_is_not_kept(loaded: Loaded) -> None:
    engine = Engine(loaded, kept_tokens=10)
    for _ in range(2):
        Listener().ask(engine, PROMPTS[1], 2).answer()
    assert engine.forward.prefilled == 40
    engine.close()


def test_a_closed_engine_says_so(loaded: Loaded) -> None:
    engine = Engine(loaded)
    engine.close()
    with pytest.raises(ModelError, match="was closed"):
        Listener().ask(engine, PROMPTS[0], 1)
