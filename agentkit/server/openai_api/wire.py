"""The requests of OpenAI's API, as pydantic models; what clients send in addition is ignored.

What the server cannot do is refused with the name of the field, since a client that asked for it
would take the answer for something else.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from agentkit.messages import ImagePart, TextPart, ToolCall
from agentkit.server.errors import ApiError
from agentkit.tools.tool import Tool, external_tool

MOST_TOOLS = 128
_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
_DATA_URL = re.compile(r"data:(image/(?:png|jpeg|jpg|webp|gif));base64,(.*)", re.DOTALL)


def _check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        Draft202012Validator.check_schema(schema)
    except (SchemaError, RecursionError) as error:
        reason = getattr(error, "message", "it is nested too deeply")
        raise ValueError(f"is not a JSON Schema: {reason[:200]}") from error
    return schema


JsonSchema = Annotated[dict[str, Any], AfterValidator(_check_schema)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Wire(BaseModel):
    """A part of a request."""

    model_config = ConfigDict(extra="ignore", str_max_length=50_000_000)


class Part(Wire):
    """A part of a message: text, an image, or what the server does not take."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: Any = None


class CalledFunction(Wire):
    name: str = Field(pattern=_NAME)
    arguments: str = ""


class Call(Wire):
    """A tool call that the client sends back in an assistant's message."""

    id: str = Field(min_length=1, max_length=200)
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(Wire):
    """A message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    tool_calls: list[Call] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_call_id: str | None = None


class Function(Wire):
    """A tool of the client."""

    name: str = Field(pattern=_NAME)
    description: str | None = None
    parameters: JsonSchema | None = None

    def as_tool(self, name: str) -> Tool:
        """A tool of this run, under a name that no other tool has."""
        schema = self.parameters or {"type": "object", "properties": {}}
        return external_tool(name, self.description or "", schema)


class ChatTool(Wire):
    type: Literal["function"]
    function: Function


class NamedFunction(Wire):
    name: str = Field(pattern=_NAME)


class NamedTool(Wire):
    type: Literal["function"]
    function: NamedFunction


class NamedSchema(Wire):
    name: str = "answer"
    schema_: JsonSchema = Field(alias="schema", default_factory=dict)


class ResponseFormat(Wire):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: NamedSchema | None = None


class StreamOptions(Wire):
    include_usage: bool | None = None


Choice = Literal["none", "auto", "required"]


class Sampling(Wire):
    """What every request may say about how the model answers."""

    model: str = Field(default="", max_length=500)
    stream: bool | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, ge=0, le=1)
    parallel_tool_calls: bool | None = None

    def extra(self, *names: str) -> dict[str, Any]:
        """The fields that go to the model's server as they are."""
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}


class ChatRequest(Sampling):
    """The body of /v1/chat/completions."""

    messages: list[ChatMessage] = Field(min_length=1)
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(default=None, ge=1, le=2**31)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=2**31)
    stop: str | list[str] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    n: int | None = None
    tools: list[ChatTool] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_choice: Choice | NamedTool | None = None
    response_format: ResponseFormat | None = None
    presence_penalty: Number | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: Number | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    functions: Any = None

    def check(self) -> None:
        """Refuse what the server cannot do. Raises ApiError."""
        if self.n not in (None, 1):
            raise unsupported("n", "One answer is given for a request: leave n out, or send 1.")
        if self.logprobs:
            raise unsupported("logprobs", "Log probabilities are not available.")
        if self.modalities and self.modalities != ["text"]:
            raise unsupported("modalities", "Answers are text.")
        if self.functions is not None:
            raise unsupported("functions", "Send tools in place of functions.")


def unsupported(param: str, message: str) -> ApiError:
    """The error for a field that the server does not support."""
    return ApiError(400, message, "unsupported_value", param=param)


def named_tool(name: str, functions: Iterable[Function]) -> str:
    """The tool that `tool_choice` names. Raises ApiError where the client has no such tool."""
    if name not in [each.name for each in functions]:
        message = f"tool_choice names {name[:100]!r}, which is none of tools."
        raise ApiError(400, message, "invalid_value", param="tool_choice")
    return name


def read_parts(parts: Iterable[Part], param: str) -> tuple[TextPart | ImagePart, ...]:
    """The parts of a message. Raises ApiError for a kind that the server does not take."""
    return tuple(_read_part(part, param) for part in parts)


def _read_part(part: Part, param: str) -> TextPart | ImagePart:
    if part.type in ("text", "input_text", "output_text", "refusal"):
        return TextPart(part.text or part.refusal or "")
    if part.type in ("image_url", "input_image"):
        given = part.image_url
        return read_image(given.get("url") if isinstance(given, Mapping) else given, param)
    raise unsupported(
        param, f"Parts of type {part.type[:50]!r} are not taken. Send text, or images as data URLs."
    )


def read_image(url: Any, param: str) -> ImagePart:
    """An image of a data URL; no other address is fetched. Raises ApiError."""
    found = _DATA_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        message = "Send images as data URLs: data:image/png;base64,... Nothing is fetched."
        raise ApiError(400, message, "invalid_image", param=param)
    try:
        data = base64.b64decode(found[2], validate=True)
    except (binascii.Error, ValueError) as error:
        reason = "The image is not valid base64."
        raise ApiError(400, reason, "invalid_image", param=param) from error
    return ImagePart(data, found[1].replace("jpg", "jpeg"))


def wire_call(call: ToolCall, name: str, arguments: str) -> dict[str, Any]:
    """A call of a client's tool, as a message has it."""
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}
