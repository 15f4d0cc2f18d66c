"""What refusals in the wordings of real servers teach, and what they must not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.errors import ModelError
from agentkit.events import TextDelta
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply, error, text

HI = [Message("user", "hi")]
OPTIONS = Options(temperature=0.0, max_tokens=20, seed=7, stop=("END",))
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
CALL = ToolCall("call_PTLP8xhu3uwZk4l3nlnrrJha", "lookup", {"city": "Rome"})
CALLED = [
    Message("user", "hi"),
    Message("assistant", "", (CALL,)),
    Message("tool", "sunny", tool_call_id=CALL.id),
]


_open: list[OpenAIModel] = []


@pytest.fixture(autouse=True)
async def _close_models() -> AsyncIterator[None]:
    yield
    while _open:
        await _open.pop().close()


def model_at(server: OpenAIServer, name: str = "m", **more: Any) -> OpenAIModel:
    _open.append(OpenAIModel(name, provider="p", base_url=server.url, max_retries=0, **more))
    return _open[-1]


def refusing(server: OpenAIServer, message: str, status: int, *accepts: Any) -> None:
    """Let the server refuse with the message until each of `accepts` holds for the body."""

    def answer(body: dict[str, Any]) -> Reply:
        if all(accepted(body) for accepted in accepts):
            return Reply(text("ok"))
        raw = message if message.startswith(("{", "[")) else error(message)
        return Reply(status=status, raw=raw, content_type="application/json")

    server.answer = answer


def lacks(field: str) -> Any:
    return lambda body: field not in body


def text_of(parts: list[Any]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


FIELDS = {
    "OpenAI, value": (
        "temperature",
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) "
        "value is supported.",
    ),
    "OpenAI, parameter": (
        "stop",
        "Unsupported parameter: 'stop' is not supported with this model.",
    ),
    "Azure": ("stream_options", "Unrecognized request argument supplied: stream_options"),
    "pydantic, detail": (
        "seed",
        '{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not '
        'permitted","input":7}]}',
    ),
    "Mistral, nested": (
        "stream_options",
        '{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body",'
        '"stream_options","include_usage"],"msg":"Extra inputs are not permitted"}]}}',
    ),
    "Fireworks": ("stream_options", "Extra inputs are not permitted, field: 'stream_options'"),
    "Moonshot": ("temperature", "invalid temperature: only 1 is allowed for this model"),
    "Groq": ("seed", "property 'seed' is unsupported, did you mean 'speed'?"),
    "Google": (
        "seed",
        '[{"error":{"code":400,"message":"Invalid JSON payload received. Unknown name \\"seed\\": '
        'Cannot find field.","status":"INVALID_ARGUMENT"}}]',
    ),
    "Python": ("seed", "create() got an unexpected keyword argument 'seed'"),
    "xAI": ("stop", '{"code":"invalid","error":"Argument not supported on this model: stop"}'),
    "DashScope": (
        "stop",
        "<400> InternalError.Algo.InvalidParameter: Parameter stop is not supported",
    ),
    "nested JSON": (
        "temperature",
        '{"error":{"message":"Provider returned error","metadata":{"raw":"{\\"error\\":{\\"message'
        '\\":\\"`temperature` is deprecated for this model.\\"}}"}}}',
    ),
    "a parameter alone": (
        "temperature",
        '{"error":{"message":"Bad request","param":"temperature","code":"unsupported_parameter"}}',
    ),
    "Chinese": ("seed", "参数 seed 不支持"),
    "additional properties": (
        "stream_options",
        "Additional properties are not allowed ('stream_options' was unexpected)",
    ),
    "LiteLLM": (
        "seed",
        "litellm.UnsupportedParamsError: cohere does not support parameters: ['seed'], for "
        "model=command-r.",
    ),
    "Perplexity": ("stop", "At body -> stop: Extra inputs are not permitted"),
    "Bedrock": ("temperature", "`temperature` may only be set to 1 when thinking is enabled."),
    "NVIDIA": (
        "seed",
        '{"type":"about:blank","status":400,"title":"Bad Request","detail":"Unsupported '
        'parameter(s): seed"}',
    ),
    "a list": (
        "stream_options",
        '{"error":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs '
        'are not permitted"}]}',
    ),
    "a condition": ("stream_options", "stream_options is only allowed when stream is true"),
    "zod": ("stream_options", "Unrecognized key(s) in object: 'stream_options'"),
    "Rust, with what is taken": (
        "stream_options",
        "Failed to deserialize the JSON body: unknown field `stream_options`, expected one of "
        "`model`, `messages`, `temperature`, `max_tokens`, `stop`, `seed` at line 1 column 99",
    ),
    "pydantic, as text": (
        "seed",
        "1 validation error for ChatCompletionRequest\nseed\n  Extra inputs are not permitted "
        "[type=extra_forbidden, input_value=7, input_type=int]",
    ),
    "thinking": ("temperature", "Thinking mode does not support temperature parameter"),
    "sequences": ("stop", "Stop sequences are not supported by this model"),
    "Cerebras": ("seed", '{"message":"body.seed: property \'body.seed\' is unsupported"}'),
}


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize(("field", "message"), FIELDS.values(), ids=FIELDS)
async def test_a_field_that_is_refused_is_left_out_from_then_on(
    openai_server: OpenAIServer, field: str, message: str, status: int
) -> None:
    refusing(openai_server, message, status, lacks(field))
    model = model_at(openai_server)
    assert text_of(await collected(model.stream(HI, options=OPTIONS))) == "ok"
    assert len(openai_server.requests) == 2
    assert set(openai_server.requests[0]) - set(openai_server.requests[1]) == {field}
    assert text_of(await collected(model.stream(HI, options=OPTIONS))) == "ok"
    again = model_at(openai_server)
    assert text_of(await collected(again.stream(HI, options=OPTIONS))) == "ok"
    assert len(openai_server.requests) == 4


TOKENS = {
    "the other is named": "Unsupported parameter: 'max_tokens' is not supported with this model. "
    "Use 'max_completion_tokens' instead.",
    "only one is named": "Unrecognized request argument supplied: max_tokens",
    "both are refused": "Extra inputs are not permitted: max_tokens, max_completion_tokens",
}


@pytest.mark.parametrize("message", TOKENS.values(), ids=TOKENS)
async def test_the_limit_of_tokens_is_sent_under_its_other_name(
    openai_server: OpenAIServer, message: str
) -> None:
    refusing(openai_server, message, 400, lacks("max_tokens"))
    await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    assert openai_server.requests[-1]["max_completion_tokens"] == 20


async def test_a_limit_that_is_refused_as_new_is_sent_under_its_old_name(
    openai_server: OpenAIServer,
) -> None:
    message = "Unrecognized request argument supplied: max_completion_tokens"
    refusing(openai_server, message, 400, lacks("max_completion_tokens"))
    profile = {"max_tokens_field": "max_completion_tokens"}
    refusing(openai_server, message, 400, lacks("max_completion_tokens"))
    azure = OpenAIModel("gpt-35", provider="azure", base_url=openai_server.url, max_retries=0)
    _open.append(azure)
    await collected(azure.stream(HI, options=OPTIONS))
    assert openai_server.requests[-1]["max_tokens"] == 20
    with pytest.raises(ModelError, match="max_completion_tokens"):
        await collected(model_at(openai_server, profile=profile).stream(HI, options=OPTIONS))


async def test_a_refusal_without_words_drops_the_field_most_servers_refuse(
    openai_server: OpenAIServer,
) -> None:
    refusing(openai_server, "Bad Request", 400, lacks("stream_options"))
    assert text_of(await collected(model_at(openai_server).stream(HI))) == "ok"
    assert len(openai_server.requests) == 2


async def test_a_long_description_of_a_tool_is_cut(
    openai_server: OpenAIServer, lookup: Tool
) -> None:
    def short(body: Mapping[str, Any]) -> bool:
        return len(body["tools"][0]["function"]["description"]) <= 1024

    message = "Invalid 'tools[0].function.description': string too long. Expected a string with "
    refusing(openai_server, f"{message}maximum length 1024.", 400, short)
    long = replace(lookup, description="word " * 400)
    assert text_of(await collected(model_at(openai_server).stream(HI, [long]))) == "ok"


async def test_a_limit_that_is_refused_under_both_names_is_left_out(
    openai_server: OpenAIServer,
) -> None:
    fields = ("max_tokens", "max_completion_tokens")

    def answer(body: dict[str, Any]) -> Reply:
        sent = next((field for field in fields if field in body), "")
        return Reply(status=400, raw=error(f"Unknown parameter: {sent}")) if sent else Reply()

    openai_server.answer = answer
    await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    assert len(openai_server.requests) <= 4
    assert not set(fields) & set(openai_server.requests[-1])


ZERO = {
    "TGI": "Input validation error: `temperature` must be strictly positive",
    "Zhipu": "temperature参数非法，取值范围(0,1]: temperature must be greater than 0",
    "MiniMax": "invalid params, temperature must be in (0.0, 1.0]",
}


@pytest.mark.parametrize("message", ZERO.values(), ids=ZERO)
async def test_a_temperature_of_zero_becomes_a_small_one(
    openai_server: OpenAIServer, message: str
) -> None:
    refusing(openai_server, message, 400, lambda body: body["temperature"] > 0)
    await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    assert 0 < openai_server.requests[-1]["temperature"] <= 0.01


def content(body: Mapping[str, Any], role: str) -> list[Any]:
    return [m.get("content") for m in body["messages"] if m["role"] == role]


def wire_ids(body: Mapping[str, Any]) -> set[str]:
    made = {c["id"] for m in body["messages"] for c in m.get("tool_calls") or ()}
    return made | {m["tool_call_id"] for m in body["messages"] if m["role"] == "tool"}


MESSAGES = {
    "ids of nine": (
        "Tool call id was call_PTLP8xhu3uwZk4l3nlnrrJha but must be a-z, A-Z, 0-9, with a length "
        "of 9.",
        lambda body: all(len(each) == 9 for each in wire_ids(body)) and len(wire_ids(body)) == 1,
    ),
    "ids of 24 at most": (
        "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum "
        "length 24, but got a string with length 29 instead.",
        lambda body: all(len(each) <= 24 for each in wire_ids(body)),
    ),
    "reasoning, DeepSeek": (
        "Missing `reasoning_content` field in the assistant message at message index 1.",
        lambda body: "reasoning_content" in body["messages"][1],
    ),
    "reasoning, Moonshot": (
        "thinking is enabled but reasoning_content is missing in assistant tool call message at "
        "index 1",
        lambda body: body["messages"][1].get("reasoning_content"),
    ),
    "reasoning, V4": (
        "The `reasoning_content` in the thinking mode must be passed back to the API.",
        lambda body: body["messages"][1].get("reasoning_content"),
    ),
    "signature": (
        "Function call is missing a thought_signature in functionCall parts.",
        lambda body: body["messages"][1]["tool_calls"][0].get("extra_content"),
    ),
    "null content": (
        "invalid message content type: <nil>",
        lambda body: None not in content(body, "assistant"),
    ),
    "null content, pydantic": (
        '{"detail":[{"loc":["body","messages",1,"content"],"msg":"Input should be a valid string",'
        '"type":"string_type"}]}',
        lambda body: None not in content(body, "assistant"),
    ),
    "empty content": (
        "messages.1: text content blocks must be non-empty",
        lambda body: all(content(body, "assistant")),
    ),
    "tools are needed": (
        "Requests which have tool_use or tool_result blocks in messages must define tools.",
        lambda body: body.get("tools"),
    ),
}


@pytest.mark.parametrize(("message", "accepts"), MESSAGES.values(), ids=MESSAGES)
async def test_messages_take_the_form_that_a_refusal_names(
    openai_server: OpenAIServer, message: str, accepts: Any
) -> None:
    refusing(openai_server, message, 400, accepts)
    assert text_of(await collected(model_at(openai_server).stream(CALLED))) == "ok"
    assert len(openai_server.requests) <= 3


ORDER = {
    "Mistral": "Unexpected role 'user' after role 'tool'",
    "Jinja": "Conversation roles must alternate user/assistant/user/assistant/...",
    "Ministral": "After the optional system message, conversation roles must alternate user and "
    "assistant roles except for tool calls and results.",
    "the start": "Invalid request: messages must end with a user message after an assistant's",
    "unnamed": '{"error":{"code":"1214","message":"messages 参数非法。请检查文档。"}}',
}


@pytest.mark.parametrize("status", [400, 500])
@pytest.mark.parametrize("message", ORDER.values(), ids=ORDER)
async def test_an_answer_stands_between_a_result_and_a_question(
    openai_server: OpenAIServer, message: str, status: int
) -> None:
    def accepts(body: Mapping[str, Any]) -> bool:
        roles = [each["role"] for each in body["messages"]]
        return roles == ["user", "assistant", "tool", "assistant", "user"]

    refusing(openai_server, message, status, accepts)
    conversation = [*CALLED, Message("user", "go on")]
    assert text_of(await collected(model_at(openai_server).stream(conversation))) == "ok"


SYSTEM = {
    "first": "System message must be at the beginning.",
    "one": "invalid params, only one system message is supported",
    "none": "System role not supported",
    "Gemma": "Developer instruction is not enabled for models/gemma-3-27b-it",
    "o1-mini": "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
}


@pytest.mark.parametrize(("kind", "message"), SYSTEM.items(), ids=SYSTEM)
async def test_system_messages_stand_where_a_server_takes_them(
    openai_server: OpenAIServer, kind: str, message: str
) -> None:
    expected = ["system", "user"] if kind in ("first", "one") else ["user"]

    def accepts(body: Mapping[str, Any]) -> bool:
        return [each["role"] for each in body["messages"]] == expected

    refusing(openai_server, message, 400, accepts)
    conversation = [Message("system", "be brief"), *HI, Message("system", "summary"), *HI]
    assert text_of(await collected(model_at(openai_server).stream(conversation))) == "ok"
    sent = json.dumps(openai_server.requests[-1]["messages"])
    assert "be brief" in sent
    assert "summary" in sent


TOOLS = {
    "Ollama": "registry.ollama.ai/library/gemma:2b does not support tools",
    "vLLM": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser',
    "llama.cpp": "tools param requires --jinja flag",
    "OpenRouter": "No endpoints found that support tool use.",
    "roles": "Unsupported role: tool. Supported roles: system, user, assistant",
    "a role": "messages[2]: role 'tool' is not supported",
    "a model": "`tools` is not supported with this model",
}


@pytest.mark.parametrize("message", TOOLS.values(), ids=TOOLS)
async def test_tools_that_a_model_does_not_take_are_described_in_the_prompt(
    openai_server: OpenAIServer, lookup: Tool, message: str
) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        if "tools" in body:
            return Reply(status=404 if "endpoints" in message else 400, raw=error(message))
        assert "<tools>" in body["messages"][0]["content"]
        return Reply(
            text('<tool_call>{"name": "lookup", "arguments": {"city": "Rome"}}</tool_call>')
        )

    openai_server.answer = answer
    parts = await collected(model_at(openai_server).stream(CALLED, [lookup]))
    [found] = [part for part in parts if isinstance(part, ToolCall)]
    assert (found.name, found.arguments) == ("lookup", {"city": "Rome"})


FORMATS = {
    "json_object": "This response_format type is unavailable now",
    "none": "'response_format' is not supported by this model",
    "Groq": "This model does not support response format `json_schema`.",
    "strict": "Invalid schema for response_format 'answer': In context=(), 'minItems' is not "
    "permitted.",
}


@pytest.mark.parametrize(("kind", "message"), FORMATS.items(), ids=FORMATS)
async def test_a_schema_is_sent_in_the_form_that_is_taken(
    openai_server: OpenAIServer, kind: str, message: str
) -> None:
    def accepts(body: Mapping[str, Any]) -> bool:
        sent = body.get("response_format")
        if kind == "none" or sent is None:
            return sent is None and "JSON Schema" in body["messages"][0]["content"]
        if kind == "strict":
            return not sent["json_schema"]["strict"]
        return bool(sent["type"] == "json_object")

    refusing(openai_server, message, 400, accepts)
    options = Options(schema=SCHEMA)
    assert text_of(await collected(model_at(openai_server).stream(HI, options=options))) == "ok"


SHOWN = {
    "a value out of range": ("Invalid 'temperature': decimal above maximum value. Expected a value "
                             "<= 2, but got 3.", Options(temperature=3.0)),
    "a limit that is too large": ("max_tokens is too large: 99999. This model supports at most "
                                  "4096 completion tokens.", Options(max_tokens=99999)),
    "nothing that is sent": ("Unknown parameter: 'colour'.", Options()),
    "a word in a sentence": ("Please stop sending so many requests, this model is gone.", OPTIONS),
    "an unnamed fault": ("no", OPTIONS),
}  # fmt: skip


@pytest.mark.parametrize(("message", "options"), SHOWN.values(), ids=SHOWN)
async def test_an_error_that_names_no_form_is_shown_at_once(
    openai_server: OpenAIServer, message: str, options: Options
) -> None:
    refusing(openai_server, message, 400, lambda body: False)
    with pytest.raises(ModelError, match=message[:8]):
        await collected(model_at(openai_server).stream(HI, options=options))
    assert len(openai_server.requests) == 1


@pytest.mark.parametrize("where", ["extra_body", "options"])
async def test_a_field_that_the_user_has_set_is_kept_and_its_refusal_shown(
    openai_server: OpenAIServer, where: str
) -> None:
    refusing(openai_server, "Unsupported parameter: 'top_k'", 400, lacks("top_k"))
    extra = {"top_k": 5}
    model = model_at(openai_server, extra_body=extra if where == "extra_body" else None)
    options = Options(extra=extra if where == "options" else {})
    with pytest.raises(ModelError, match="top_k"):
        await collected(model.stream(HI, options=options))
    assert len(openai_server.requests) == 1


async def test_none_in_the_extra_body_takes_a_field_out(openai_server: OpenAIServer) -> None:
    model = model_at(openai_server, extra_body={"stream_options": None, "top_k": 5})
    await collected(model.stream(HI))
    assert "stream_options" not in openai_server.requests[0]
    assert openai_server.requests[0]["top_k"] == 5


@pytest.mark.parametrize("status", [401, 403, 429, 503])
async def test_other_errors_teach_nothing(openai_server: OpenAIServer, status: int) -> None:
    refusing(openai_server, "'temperature' is not supported", status, lacks("temperature"))
    with pytest.raises(ModelError):
        await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    assert len(openai_server.requests) == 1


async def test_a_server_that_refuses_everything_is_asked_a_few_times(
    openai_server: OpenAIServer, lookup: Tool
) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        message = "Unsupported: " + ", ".join(f"'{field}'" for field in body)
        return Reply(status=400, raw=error(f"{message}; roles must alternate; tool schema invalid"))

    openai_server.answer = answer
    options = Options(temperature=0.0, max_tokens=5, seed=1, stop=("x",), schema=SCHEMA)
    with pytest.raises(ModelError):
        await collected(model_at(openai_server).stream(CALLED, [lookup], options))
    assert len(openai_server.requests) <= 9


async def test_a_change_that_does_not_help_is_forgotten(openai_server: OpenAIServer) -> None:
    refusing(openai_server, "'seed' is not supported", 400, lambda body: False)
    with pytest.raises(ModelError):
        await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    openai_server.answer = None
    await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    assert openai_server.requests[-1]["seed"] == 7


async def test_what_was_learned_counts_for_that_model_alone(openai_server: OpenAIServer) -> None:
    refusing(openai_server, "'seed' is not supported", 400, lacks("seed"))
    await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    openai_server.answer = None
    await collected(model_at(openai_server, "other").stream(HI, options=OPTIONS))
    assert openai_server.requests[-1]["seed"] == 7


async def test_an_error_within_the_stream_teaches_too(openai_server: OpenAIServer) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        fault = {"message": "'seed' is not supported by this model"}
        return Reply([], finish=None, usage=None, error=fault) if "seed" in body else Reply()

    openai_server.answer = answer
    parts = await collected(model_at(openai_server).stream(HI, options=OPTIONS))
    assert text_of(parts) == "Hello"
