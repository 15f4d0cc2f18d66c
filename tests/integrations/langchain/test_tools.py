"""Tools of LangChain in an agent: injected arguments, images and results of every kind; and what
providers want back with a message."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    FunctionMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool
from langchain_core.tools import Tool as OldTool
from langchain_core.tools import tool as langchain_tool
from pydantic import BaseModel, Field

from agentkit import Agent, Message, Session, tool
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError
from agentkit.events import Done
from agentkit.integrations.langchain import (
    AgentkitChatModel,
    LangChainModel,
    as_langchain_tool,
    from_langchain_tool,
)
from agentkit.integrations.langchain.messages import (
    from_langchain_messages,
    to_langchain_messages,
)
from agentkit.messages import Content, ImagePart, TextPart, ToolCall

PNG = b"\x89PNG\r\n\x1a\n"
B64 = base64.b64encode(PNG).decode()


@langchain_tool
def secret(
    query: str,
    user_id: Annotated[str, InjectedToolArg] = "nobody",
    config: RunnableConfig = None,  # type: ignore[assignment]
) -> str:
    """Look up."""
    return f"{query} for {user_id}"


class Owned(BaseModel):
    """Look up."""

    query: str
    user: Annotated[str, InjectedToolArg]


@langchain_tool(args_schema=Owned)
def owned(query: str, user: str) -> str:
    """Look up."""
    return f"{query} for {user}"


@langchain_tool
def identified(query: str, call_id: Annotated[str, InjectedToolCallId]) -> str:
    """Look up."""
    return f"{query} {call_id.startswith('call_')}"


@langchain_tool
async def later(query: str, limit: Annotated[int, Field(ge=1)] = 3) -> str:
    """Look up."""
    return f"{query} {limit}"


@langchain_tool(
    args_schema={
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "additionalProperties": True,
    }
)
def from_schema(query: str, user_id: str = "nobody") -> str:
    """Look up."""
    return f"{query} for {user_id}"


class Own(BaseTool):
    name: str = "own"
    description: str = "Look up."
    owner: str = "nobody"

    def _run(self, query: str, owner: str = "nobody") -> str:
        return f"{query} of {self.owner}"


async def _result(ours: Any, arguments: dict[str, Any]) -> Message:
    model = ScriptedModel([ToolCall("1", ours.name, arguments), "ok"])
    answer = await Agent(model, [ours]).run("?")
    return next(message for message in answer.messages if message.role == "tool")


@pytest.mark.parametrize(
    ("theirs", "shown", "given", "text"),
    [
        (secret, ["query"], {"query": "q", "user_id": "admin"}, "q for nobody"),
        (secret, ["query"], {"query": "q", "config": {"tags": ["x"]}}, "q for nobody"),
        (identified, ["query"], {"query": "q", "call_id": "mine"}, "q True"),
        (later, ["query", "limit"], {"query": "q", "limit": 2, "state": {}}, "q 2"),
        (from_schema, ["query"], {"query": "q", "user_id": "admin"}, "q for nobody"),
        (Own(), ["query", "owner"], {"query": "q", "run_manager": 1}, "q of nobody"),
        (OldTool("old", lambda text: f"got {text}", "Old."), ["__arg1"], {"__arg1": "q"}, "got q"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_a_model_sets_only_the_arguments_that_it_sees(
    theirs: BaseTool, shown: list[str], given: dict[str, Any], text: str
) -> None:
    ours = from_langchain_tool(theirs)
    assert list(ours.parameters["properties"]) == shown
    assert (await _result(ours, given)).text.partition("\n(Ignored")[0] == text


async def test_arguments_that_a_model_does_not_see_are_given_by_the_application() -> None:
    with pytest.raises(ConfigError, match=r"'owned' has arguments .*: user\. .*injected="):
        from_langchain_tool(owned)
    ours = from_langchain_tool(owned, injected={"user": "ada"})
    text = (await _result(ours, {"query": "q", "user": "admin"})).text
    assert text == "q for ada\n(Ignored unknown arguments: user. It takes: query.)"


def _returning(value: Any, **options: Any) -> BaseTool:
    return StructuredTool.from_function(lambda: value, name="give", description="Give.", **options)


IMAGE = (TextPart("see"), ImagePart(PNG))
CONTENT_AND_ARTIFACT = {"response_format": "content_and_artifact"}


@pytest.mark.parametrize(
    ("theirs", "content"),
    [
        (_returning("text"), "text"),
        (_returning({"a": [1]}), '{"a": [1]}'),
        (_returning(("got 3", {"raw": 3}), **CONTENT_AND_ARTIFACT), "got 3"),
        (_returning([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        (
            _returning(
                [
                    {"type": "text", "text": "see"},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{B64}"}},
                ]
            ),
            IMAGE,
        ),
        (
            _returning(
                [
                    {"type": "text", "text": "see"},
                    {"type": "image", "base64": B64, "mime_type": "image/png"},
                ]
            ),
            IMAGE,
        ),
        (
            _returning(
                ([{"type": "text", "text": "see"}, {"type": "image", "base64": B64}], PNG),
                **CONTENT_AND_ARTIFACT,
            ),
            IMAGE,
        ),
        (
            _returning(
                [
                    {"type": "text", "text": "see"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": B64},
                    },
                ]
            ),
            IMAGE,
        ),
        (
            _returning([{"type": "image", "url": "https://example.org/a.png"}]),
            "[image: https://example.org/a.png]",
        ),
        (
            _returning([{"type": "file", "base64": B64, "mime_type": "application/pdf"}]),
            "[file, which cannot be shown]",
        ),
    ],
    ids=range(10),
)
async def test_a_result_of_a_langchain_tool_reaches_the_model(
    theirs: BaseTool, content: Content
) -> None:
    assert (await _result(from_langchain_tool(theirs), {})).content == content


async def test_an_image_of_our_tool_reaches_langchain() -> None:
    @tool
    def picture() -> list[Any]:
        """Draw."""
        return ["see", ImagePart(PNG)]

    call = {"type": "tool_call", "id": "1", "name": "picture", "args": {}}
    message = as_langchain_tool(picture).invoke(call)
    block = {"type": "image", "base64": B64, "mime_type": "image/png"}
    assert message.content == [{"type": "text", "text": "see"}, block]


async def test_images_of_tools_follow_the_results() -> None:
    chat = SignedThinking()
    calls = (ToolCall("1", "a", {}), ToolCall("2", "b", {}))
    talk = [
        Message("user", "?"),
        Message("assistant", "", calls),
        Message("tool", IMAGE, tool_call_id="1"),
        Message("tool", "Error: no", tool_call_id="2", failed=True),
    ]
    async for _ in LangChainModel(chat).stream(talk):
        pass
    [sent] = chat.received
    kinds = ["HumanMessage", "AIMessage", "ToolMessage", "ToolMessage", "HumanMessage"]
    assert [type(message).__name__ for message in sent] == kinds
    assert sent[4].content[-1] == {"type": "image", "base64": B64, "mime_type": "image/png"}
    assert isinstance(sent[3], ToolMessage)
    assert sent[3].status == "error"
    assert from_langchain_messages(to_langchain_messages(talk))[2] == talk[2]


def test_calls_of_before_calls_had_ids_are_read() -> None:
    old = {"function_call": {"name": "look", "arguments": '{"a": 1}'}}
    call, result = from_langchain_messages(
        [AIMessage("", additional_kwargs=old), FunctionMessage(content="found", name="look")]
    )
    assert call.tool_calls == (ToolCall("call_look", "look", {"a": 1}),)
    assert (result.role, result.text, result.tool_call_id) == ("tool", "found", "call_look")


@pytest.mark.parametrize(
    ("block", "content"),
    [
        ({"type": "image_url", "image_url": f"data:image/png;base64,{B64}"}, (ImagePart(PNG),)),
        ({"type": "input_image", "image_url": f"data:image/png;base64,{B64}"}, (ImagePart(PNG),)),
        ({"type": "input_text", "text": "x"}, "x"),
        ({"type": "output_text", "text": "x"}, "x"),
        ({"type": "text-plain", "text": "x"}, "x"),
        ({"text": "x"}, "x"),
        ({"type": "json", "json": {"a": "é"}}, '{"a": "é"}'),
    ],
)
@pytest.mark.parametrize("kind", [HumanMessage, ToolMessage])
def test_parts_of_every_spelling_are_read(
    kind: Any, block: dict[str, Any], content: Content
) -> None:
    message = kind([block], **({"tool_call_id": "1"} if kind is ToolMessage else {}))
    assert from_langchain_messages([message])[0].content == content


def test_calls_among_the_parts_of_a_message_are_read() -> None:
    block: dict[str, Any] = {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": 1}}
    [message] = from_langchain_messages([AIMessage([{"type": "text", "text": "So."}, block])])
    assert (message.text, message.tool_calls) == ("So.", (ToolCall("t1", "look", {"a": 1}),))


def test_an_image_in_a_tool_message_is_read() -> None:
    block = {"type": "image", "base64": B64, "mime_type": "image/png"}
    theirs = ToolMessage([{"type": "text", "text": "see"}, block], tool_call_id="1")
    assert from_langchain_messages([theirs]) == [Message("tool", IMAGE, tool_call_id="1")]


class SignedThinking(BaseChatModel):
    """Thinks with a signature, and keeps what it is sent."""

    received: list[list[BaseMessage]] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "signed"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        raise NotImplementedError

    def _stream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> Iterator[ChatGenerationChunk]:
        self.received.append(messages)
        thinking = {"type": "thinking", "thinking": "hm", "signature": "s1", "index": 0}
        contents: list[Any] = [[thinking], [{"type": "text", "text": "Yes.", "index": 1}]]
        for content in contents:
            yield ChatGenerationChunk(message=AIMessageChunk(content=content))
        last = AIMessageChunk(content="", additional_kwargs={"thought": "t1"})
        yield ChatGenerationChunk(message=last)

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages):
            yield chunk


async def test_what_a_provider_wants_back_goes_back_to_it_alone() -> None:
    chat = SignedThinking()
    agent = Agent(LangChainModel(chat))
    session = Session()
    for prompt in ("?", "And?"):
        assert (await agent.run(prompt, session=session)).text == "Yes."
    sent = next(message for message in chat.received[1] if isinstance(message, AIMessage))
    assert isinstance(sent.content, list)
    assert [block["type"] for block in sent.content if isinstance(block, dict)] == [
        "thinking",
        "text",
    ]
    assert sent.content[0]["signature"] == "s1"  # type: ignore[index]
    assert sent.additional_kwargs == {"thought": "t1"}
    [other] = to_langchain_messages([session.messages[-1]], "langchain:another")
    assert (other.content, other.additional_kwargs) == ("Yes.", {})


async def test_what_our_provider_wants_back_goes_through_langchain() -> None:
    class Signed(ScriptedModel):
        async def stream(self, *args: Any, **options: Any) -> Any:
            yield ToolCall("1", "look", {}, provider_data={"p": {"signature": "s1"}})
            yield Done("tool_calls", "p:m", {"p": {"reasoning_content": "hm"}})

    message = await AgentkitChatModel(model=Signed([])).ainvoke([HumanMessage("?")])
    [ours] = from_langchain_messages([message])
    assert ours.provider_data == {"p": {"reasoning_content": "hm"}}
    assert ours.tool_calls[0].provider_data == {"p": {"signature": "s1"}}
