"""The room of a prompt: whose word on the window counts, how tokens are counted, and that a step
costs the same at the end of a run as at its beginning."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, Limits, Session, tool
from agentkit.agent.compaction import Window
from agentkit.agent.prompt import Prompt
from agentkit.backends.base import Model, Options
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.registry import FallbackModel, get_model
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.events import Compacted, Done, ModelPart, TextDelta
from agentkit.messages import ImagePart, Message, TextPart, ToolCall, Usage
from agentkit.settings.schema import ProviderSettings
from agentkit.tools.tool import Tool
from tests.agent.scripts import call
from tests.backends.tiny_gguf import WINDOW, write_tiny_gguf
from tests.servers import obedient
from tests.servers.running import serving


class Sized(Model):
    """A model of a given window whose tokens are characters; it summarises in a word."""

    def __init__(self, window: int | None, name: str = "sized") -> None:
        self._window = window
        self.asked_window = self.counted = 0
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def context_window(self) -> int | None:
        self.asked_window += 1
        return self._window

    def count_tokens(self, text: str) -> int:
        self.counted += len(text)
        return len(text)

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        yield TextDelta("short")
        yield Done("stop", self.name)


def _messages(*lengths: int) -> list[Message]:
    return [Message("assistant" if n % 2 else "user", "x" * size) for n, size in enumerate(lengths)]


async def _compacts(
    model: Any, messages: Sequence[Message], tools: Any = (), options: Options = Options()
) -> Compacted | None:
    window = Window(model, options)
    return await window.fit(window.prompt(messages, tools))


async def test_a_prompt_within_the_window_is_left_alone() -> None:
    assert await _compacts(Sized(1000), _messages(200, 200, 100)) is None


async def test_a_prompt_beyond_the_window_is_compacted() -> None:
    done = await _compacts(Sized(1000), _messages(500, 500, 100))
    assert isinstance(done, Compacted)
    assert done.tokens_after < 750 < done.tokens_before


async def test_where_nobody_knows_the_window_nothing_is_cut() -> None:
    assert await _compacts(Sized(None), _messages(10**6, 10**6)) is None


async def test_room_is_left_for_the_answer_that_is_asked_for() -> None:
    reported = _messages(300, 300, 250)
    assert await _compacts(Sized(1000), reported) is not None
    assert await _compacts(Sized(1000), reported, options=Options(max_tokens=50)) is None


async def test_the_descriptions_of_tools_take_room() -> None:
    @tool
    def wordy(a: int) -> int:
        """Do."""
        return a

    long = replace(wordy, description="d" * 1500)
    assert await _compacts(Sized(1000), _messages(200, 200, 100), [wordy]) is None
    assert await _compacts(Sized(1000), _messages(200, 200, 100), [long]) is not None


async def test_the_window_is_asked_for_once_in_a_run() -> None:
    model = Sized(1000)
    window = Window(model)
    prompt = window.prompt(_messages(10), ())
    for _ in range(5):
        await window.fit(prompt)
        await window.allowance(prompt, 1)
    assert model.asked_window == 1


async def test_a_servers_word_on_the_window_is_believed() -> None:
    server = obedient.ObedientOpenAI()
    with serving(server.app) as url:
        model = OpenAIModel("small", provider="test", base_url=f"{url}/v1")
        assert await model.context_window() == obedient.WINDOW
        window = Window(model)
        prompt = window.prompt(_messages(3 * obedient.WINDOW, 9, 30), ())
        done = await window.fit(prompt)
        await model.close()
    assert done is not None
    assert done.tokens_after < obedient.WINDOW


async def test_a_model_in_this_process_counts_with_its_own_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    pytest.importorskip("gguf", reason="gguf is not installed")
    model = LlamaCppModel(str(write_tiny_gguf(tmp_path / "tiny.gguf")), threads=1)
    window = Window(model)
    prompt = window.prompt(_messages(WINDOW // 4), ())
    await window.fit(prompt)
    assert window.size == WINDOW
    assert prompt.tokens >= model.count_tokens("x" * (WINDOW // 4))
    await model.close()


async def test_of_several_models_the_greatest_window_and_the_greatest_count_are_taken() -> None:
    several = FallbackModel([Sized(1000, "a"), Sized(4000, "b"), ScriptedModel([], "c")])
    assert await several.context_window() == 4000
    assert several.count_tokens("abcdef") == 6
    assert await _compacts(several, _messages(900, 900, 100)) is None


def test_a_prompt_counts_text_calls_and_images() -> None:
    prompt = Prompt([], len)
    prompt.add([Message("user", (TextPart("ab"), ImagePart(b"x")))])
    with_image = prompt.tokens
    assert with_image > 1000
    prompt.add([Message("assistant", "", (ToolCall("1", "look", {"city": "Rome"}),))])
    assert prompt.tokens - with_image > len("look Rome")


def test_the_cheap_bound_is_never_below_the_count() -> None:
    prompt = Prompt(_messages(10, 3000, 40), lambda text: len(text.encode()), overhead=77)
    for text in ("é" * 50, "深度学习" * 20, "plain"):
        prompt.add([Message("tool", text)])
        assert prompt.at_most >= prompt.tokens
        prompt.add([Message("assistant", text, (call("look", city=text),))])
        assert prompt.at_most >= prompt.tokens


def test_the_servers_count_takes_the_place_of_ours() -> None:
    prompt = Prompt(_messages(100), len)
    prompt.learn(Usage(500, 1))
    assert prompt.tokens == 500
    prompt.add(_messages(10))
    assert 510 <= prompt.tokens < 530
    prompt.learn(Usage(3, 1, estimated=True))
    assert prompt.tokens > 500


@tool
def step(n: int) -> str:
    """Take a step."""
    return f"step {n}"


class Counting(ScriptedModel):
    """Counts the characters that it is given to count."""

    def __init__(self, steps: int, window: int | None) -> None:
        self.counted = self.calls = 0
        self._window = window
        turns: list[Turn] = [[call("step", str(n), n=n), Usage(0, 1)] for n in range(steps)]
        super().__init__([*turns, [TextDelta("done"), Usage(0, 1)]])

    async def context_window(self) -> int | None:
        return self._window

    def count_tokens(self, text: str) -> int:
        self.counted += len(text)
        self.calls += 1
        return len(text) // 4


async def _counted(steps: int, window: int | None) -> tuple[int, int]:
    model = Counting(steps, window)
    limits = Limits(turns=steps + 2, tool_calls=steps + 2)
    answer = await Agent(model, [step], limits=limits).run("go")
    assert answer.text == "done"
    return model.calls, model.counted


@pytest.mark.parametrize("window", [None, 10**7, 20_000])
async def test_a_step_counts_no_more_at_the_end_of_a_run_than_at_its_beginning(
    window: int | None,
) -> None:
    """However long the run, each message is counted about once: no history is counted again."""
    for steps in (50, 200):
        calls, characters = await _counted(steps, window)
        assert calls <= 4 * steps + 10
        assert characters <= 100 * steps + 2000


async def test_the_messages_of_a_run_are_the_same_objects_in_every_request() -> None:
    turns = [call("step", str(n), n=n) for n in range(5)]
    model = ScriptedModel([*turns, "done"])
    await Agent(model, [step]).run("go")
    last = model.requests[-1]
    for request in model.requests:
        assert all(one is other for one, other in zip(request, last, strict=False))


async def test_the_next_run_of_a_session_extends_the_last_request_of_the_one_before() -> None:
    model = ScriptedModel([call("step", n=1), "one", call("step", "2", n=2), "two"])
    agent, session = Agent(model, [step]), Session()
    await agent.run("first", session)
    await agent.run("second", session)
    for before, after in pairwise(model.requests):
        assert after[: len(before)] == before


@pytest.mark.parametrize(
    ("max_context", "window"), [(None, obedient.WINDOW), (500, 500), (10**6, obedient.WINDOW)]
)
async def test_max_context_of_the_settings_bounds_an_openai_compatible_window(
    max_context: int | None, window: int
) -> None:
    server = obedient.ObedientOpenAI()
    with serving(server.app) as url:
        settings = ProviderSettings(base_url=f"{url}/v1", max_context=max_context)
        model = get_model("mine:small", {"mine": settings})
        assert await model.context_window() == window
        await model.close()


async def test_max_context_bounds_a_window_that_nobody_states() -> None:
    settings = ProviderSettings(max_context=900, api_key_env="PATH")
    model = get_model("openai:gpt-5-mini", {"openai": settings})
    assert await model.context_window() == 900
