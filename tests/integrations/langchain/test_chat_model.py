"""What goes from LangChain to us and back keeps its meaning."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import BaseModel

from agentkit import Agent, tool
from agentkit._sync import iterate_sync
from agentkit.agent.session import Session
from agentkit.backends.base import Model, Options
from agentkit.backends.registry import FallbackModel
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ModelError, ToolError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.integrations.langchain import (
    AgentkitChatModel,
    LangChainModel,
)
from agentkit.integrations.langchain.chat_model import parse_request
from agentkit.integrations.langchain.messages import from_langchain_messages, to_langchain_messages
from agentkit.messages import ImagePart, Message, TextPart, ToolCall, Usage
from agentkit.tools.tool import Tool

HI = [Message("user", "hi")]
CONVERSATION = [
    Message("system", "Be brief."),
    Message("user", (TextPart("What is it?"), ImagePart(b"\x01\x02", "image/jpeg"))),
    Message("assistant", "Let me see.", (ToolCall("1", "look", {"at": "它"}),)),
    Message("tool", "a cat", tool_call_id="1"),
    Message("assistant", "", (ToolCall("2", "look", '{"at": '),)),
    Message("tool", "Error: no JSON", tool_call_id="2"),
    Message("user", "So?"),
]


@tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    if a < 0:
        raise ToolError("Only what is positive.")
    return a + b


async def collected(model: Model, messages: Any = HI, **more: Any) -> list[Any]:
    return [part async for part in model.stream(messages, **more)]


def test_messages_come_back_as_they_went() -> None:
    assert from_langchain_messages(to_langchain_messages(CONVERSATION)) == CONVERSATION


def test_what_langchain_writes_in_its_own_ways_is_read() -> None:
    data = "data:image/jpeg;base64,AQI="
    found = from_langchain_messages(
        [
            HumanMessage([{"type": "image_url", "image_url": {"url": data}}]),
            HumanMessage(["one", {"type": "text", "text": " two"}]),
            ChatMessage(content="three", role="user"),
            ToolMessage("it broke", tool_call_id="1", status="error"),
            AIMessage([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "four"}]),
        ]
    )
    assert found == [
        Message("user", (ImagePart(b"\x01\x02", "image/jpeg"),)),
        Message("user", "one two"),
        Message("user", "three"),
        Message("tool", "Error: it broke", tool_call_id="1"),
        Message("assistant", "four"),
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "audio", "base64": "AQI=", "mime_type": "audio/wav"},
        {"type": "file", "base64": "AQI=", "mime_type": "application/pdf"},
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(block: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"cannot convert .*(image|audio|file)") as caught:
        from_langchain_messages([HumanMessage([block])])
    assert caught.value.kind == "bad_request"


class Remembers(ScriptedModel):
    """Keeps its options."""

    options: Options

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        self.options = options
        async for part in super().stream(messages, tools, options):
            yield part


def test_the_settings_of_a_chat_model_reach_ours() -> None:
    model = Remembers(["Hello"])
    chat = AgentkitChatModel(model=model, temperature=0.5, stop=["."], seed=3)
    chat.bind_tools([add.function], tool_choice="add").invoke("hi", max_tokens=9, top_k=2)
    assert model.options == Options(
        temperature=0.5, max_tokens=9, stop=(".",), seed=3, tool_choice="add", extra={"top_k": 2}
    )
    assert model.tools_offered == [("add",)]


@pytest.mark.parametrize(
    ("choice", "ours"),
    [
        (None, "auto"),
        (False, "auto"),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        (True, "required"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
    ],
)
def test_every_way_to_choose_a_tool_is_known(choice: Any, ours: str) -> None:
    assert parse_request({"tool_choice": choice}, ()).options.tool_choice == ours


class Joke(BaseModel):
    setup: str


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_may_keep_the_raw_message(method: str) -> None:
    model = Remembers(['{"setup": "a cat"}', "no joke"])
    chain = AgentkitChatModel(model=model).with_structured_output(
        Joke, include_raw=True, method=method
    )
    good, bad = chain.invoke("joke"), chain.invoke("joke")
    assert (good["parsed"], good["parsing_error"]) == (Joke(setup="a cat"), None)
    assert good["raw"].text == '{"setup": "a cat"}'
    assert bad["parsed"] is None
    assert bad["parsing_error"] is not None
    assert model.options.schema is not None


def test_a_chat_model_tells_reasoning_usage_and_the_model_that_answered() -> None:
    parts: list[ModelPart] = [
        ReasoningDelta("hm"),
        TextDelta("yes"),
        Usage(7, 3),
        Done("length", "box:small"),
    ]  # noqa: E501, RUF100
    message = AgentkitChatModel(model=ScriptedModel([parts])).invoke("hi")
    assert message.text == "yes"
    assert message.additional_kwargs["reasoning_content"] == "hm"
    assert message.usage_metadata == {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    assert message.response_metadata["model_name"] == "box:small"
    assert message.response_metadata["finish_reason"] == "length"


def test_an_error_of_our_model_is_raised_to_langchain() -> None:
    for act in ("invoke", "stream"):
        chat = AgentkitChatModel(model=ScriptedModel([ModelError("It is down.")]))
        with pytest.raises(ModelError, match="It is down"):
            list(getattr(chat, act)("hi"))


class Endless(Model):
    name = "endless"
    closed = False

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        try:
            while True:
                yield TextDelta("word ")
                await asyncio.sleep(0.001)
        finally:
            self.closed = True


def test_whoever_stops_listening_stops_the_model() -> None:
    model = Endless()
    stream = AgentkitChatModel(model=model).stream("hi")
    assert next(stream).text == "word "
    stream.close()  # type: ignore[attr-defined]
    assert model.closed


def test_a_stream_read_in_step_is_whole_and_in_order() -> None:
    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(1000):
            yield number

    assert list(iterate_sync(numbers())) == list(range(1000))


async def test_a_langchain_model_is_one_of_ours() -> None:
    chat = GenericFakeChatModel(messages=iter([AIMessage("Hello to you")]))
    model = LangChainModel(chat)
    parts = await collected(model)
    assert "".join(p.text for p in parts if isinstance(p, TextDelta)) == "Hello to you"
    assert isinstance(parts[-2], Usage)
    assert parts[-2].estimated
    assert parts[-1] == Done("stop", "langchain:GenericFakeChatModel")
    assert (await model.capabilities()).tools is False
    with pytest.raises(ModelError, match="does not support tools"):
        await collected(model, tools=[add])
    with pytest.raises(ModelError, match="json_schema=True"):
        await collected(model, options=Options(schema={"type": "object"}))


class NotStreaming(BaseChatModel):
    """A chat model that answers in one message."""

    answer: AIMessage

    @property
    def _llm_type(self) -> str:
        return "not-streaming"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.answer)])


async def test_a_chat_model_that_does_not_stream_answers_in_one_part() -> None:
    calls = [{"id": "1", "name": "add", "args": {"a": 2}, "type": "tool_call"}]
    text, call, _, done = await collected(
        LangChainModel(NotStreaming(answer=AIMessage("Adding.", tool_calls=calls)))
    )
    assert (text, call) == (TextDelta("Adding."), ToolCall("1", "add", {"a": 2}))
    assert done == Done("tool_calls", "langchain:NotStreaming")


async def test_an_agent_runs_on_a_model_that_went_there_and_back() -> None:
    inner = ScriptedModel([[TextDelta("So: "), ToolCall("1", "add", {"a": 2, "b": 3})], "five"])
    model = LangChainModel(AgentkitChatModel(model=inner))
    session = Session()
    answer = await Agent(model, [add]).run("2 + 3?", session)
    assert (answer.text, answer.tool_calls) == ("five", ("add",))
    assert [m.text for m in session.messages] == ["2 + 3?", "So: ", "5", "five"]
    assert inner.requests[-1][-1] == Message("tool", "5", tool_call_id="1")
    assert inner.tools_offered == [("add",), ("add",)]
    assert model.name == "langchain:AgentkitChatModel"


async def test_thinking_malformed_calls_and_counts_survive_the_way_there_and_back() -> None:
    parts: list[ModelPart] = [ReasoningDelta("hm"), ToolCall("1", "add", '{"a": '), Usage(7, 3)]
    model = LangChainModel(AgentkitChatModel(model=ScriptedModel([parts])), name="x")
    assert await collected(model, tools=[add]) == [*parts, Done("tool_calls", "langchain:x")]


class Refusing(GenericFakeChatModel):
    status_code: int

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        error = RuntimeError("no")
        error.status_code = self.status_code  # type: ignore[attr-defined]
        raise error
        yield ChatGenerationChunk(message=AIMessageChunk(""))


@pytest.mark.parametrize(("status", "kind"), [(429, "rate_limited"), (401, "refused_key")])
async def test_an_error_of_a_langchain_model_has_its_kind(status: int, kind: str) -> None:
    model = LangChainModel(Refusing(messages=iter([]), status_code=status))
    with pytest.raises(
        ModelError, match=r"langchain:Refusing failed \(RuntimeError: no\)"
    ) as error:
        await collected(model)
    assert error.value.kind == kind


async def test_a_langchain_model_that_fails_gives_way_from_langchain_messages() -> None:
    broken = LangChainModel(Refusing(messages=iter([]), status_code=503))
    parts = await collected(FallbackModel([broken, ScriptedModel(["yes"])]))
    assert parts[-1] == Done("stop", "scripted")


@pytest.mark.slow
def test_only_this_package_loads_langchain() -> None:
    code = (
        "import sys, agentkit.project.project, agentkit.cli.main;"
        "print([m for m in sys.modules if m.startswith('langchain')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.slow
def test_without_langchain_the_extra_is_named() -> None:
    code = (
        "import sys; sys.modules['langchain_core'] = None\n"
        "from agentkit.errors import ConfigError\n"
        "try:\n    import agentkit.integrations.langchain\n"
        "except ConfigError as error:\n    print(error)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "agentkit-rag[langchain]" in ran.stdout


def test_a_system_message_stays_one() -> None:
    model = ScriptedModel(["yes"])
    chat: BaseChatModel = AgentkitChatModel(model=model)
    chat.invoke([SystemMessage("Be brief."), HumanMessage("hi")])
    assert model.requests[0] == (Message("system", "Be brief."), Message("user", "hi"))
