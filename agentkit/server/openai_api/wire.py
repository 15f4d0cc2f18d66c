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

from jsonschema import Draft202012Validator, FormatChecker  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
from jsonschema.validators import validator_for  # type: ignore[import-untyped]
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from agentkit.backends.base import parse_arguments
from agentkit.messages import ImagePart, TextPart, ToolCall, image_part
from agentkit.server.errors import ApiError
from agentkit.tools.tool import Tool, external_tool

MOST_TOOLS = 128
_NAME = r"^[A-Za-z0-9_.-]{1,64}$"
_DATA_URL = re.compile(r"data:[^,]*;base64,(.*)", re.DOTALL | re.IGNORECASE)
_THOUGHTS = ("thinking", "redacted_thinking", "reasoning")
"""Parts in which clients send back what a model thought."""

_NO_FORMATS = FormatChecker(())
"""A pattern for another language's regular expressions is valid: the client checks its calls."""


def _check_schema(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        kind = validator_for(schema, default=Draft202012Validator)
        kind.check_schema(schema, format_checker=_NO_FORMATS)
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


def _read_arguments(given: Any) -> Any:
    return parse_arguments(given or "") if given is None or isinstance(given, str) else given


Arguments = Annotated[dict[str, Any] | str, BeforeValidator(_read_arguments)]
"""The arguments of a call: an object, which OpenAI's clients send as JSON."""


class CalledFunction(Wire):
    name: str = Field(pattern=_NAME)
    arguments: Arguments = Field(default_factory=dict)


class Call(Wire):
    """A tool call that the client sends back in an assistant's message."""

    id: str = Field(min_length=1)
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


class ToolChoice(Wire):
    """A tool that must be called. In a chat its name stands in `function`."""

    type: str
    name: str = ""
    function: NamedFunction | None = None


class NamedSchema(Wire):
    schema_: JsonSchema | None = Field(alias="schema", default=None)


class Format(NamedSchema):
    """The form of an answer. In a chat the schema stands in `json_schema`."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: NamedSchema | None = None

    @property
    def output(self) -> dict[str, Any] | None:
        """The JSON Schema of an answer, None for text. Raises ApiError."""
        if self.type == "text":
            return None
        schema = self.json_schema.schema_ if self.json_schema else self.schema_
        if schema is None and self.type == "json_schema":
            message = "The JSON Schema of the answer is missing. Send it as schema."
            raise ApiError(400, message, "invalid_value", param="schema")
        return schema or {"type": "object"}


class StreamOptions(Wire):
    include_usage: bool | None = None


Choice = Literal["none", "auto", "required"]
_PASSED_ON = {
    *("top_p", "top_k", "min_p", "logit_bias", "reasoning_effort", "verbosity"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
}


class Sampling(Wire):
    """What every request may say about how the model answers."""

    model: str = Field(default="", max_length=500)
    stream: bool | None = None
    temperature: Number | None = Field(default=None, ge=0, le=2)
    top_p: Number | None = Field(default=None, ge=0, le=1)
    top_logprobs: int | None = None
    parallel_tool_calls: bool | None = None
    tool_choice: Choice | ToolChoice | None = None

    def extra(self) -> dict[str, Any]:
        """The fields that go to the model's server as they are."""
        return self.model_dump(include=_PASSED_ON, exclude_none=True)

    def check(self) -> None:
        """Refuse what the server cannot do. Raises ApiError."""
        if self.top_logprobs:
            raise unsupported("top_logprobs", "Log probabilities are not available.")


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
    response_format: Format | None = None
    presence_penalty: Number | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: Number | None = Field(default=None, ge=-2, le=2)
    repetition_penalty: Number | None = None
    top_k: int | None = None
    min_p: Number | None = None
    logit_bias: dict[str, Number] | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    logprobs: bool | None = None
    modalities: list[str] | None = None
    functions: Any = None
    web_search_options: Any = None

    def check(self) -> None:
        if self.n not in (None, 1):
            raise unsupported("n", "One answer is given for a request: leave n out, or send 1.")
        if self.logprobs:
            raise unsupported("logprobs", "Log probabilities are not available.")
        if self.modalities and self.modalities != ["text"]:
            raise unsupported("modalities", "Answers are text.")
        if self.functions:
            raise unsupported("functions", "Send tools in place of functions.")
        if self.web_search_options is not None:
            raise unsupported("web_search_options", "The web is not searched here.")
        super().check()


def unsupported(param: str, message: str) -> ApiError:
    """The error for a field that the server does not support."""
    return ApiError(400, message, "unsupported_value", param=param)


def chosen_tool(choice: str | ToolChoice | None, functions: Iterable[Function]) -> str:
    """ "auto", "none", "required", or the tool that `tool_choice` names. Raises ApiError where the
    client has no such tool."""
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    if choice.type != "function":
        message = f"A tool_choice of type {choice.type[:50]!r} is not available. Name a function."
        raise unsupported("tool_choice", message)
    name = choice.function.name if choice.function else choice.name
    if name not in [each.name for each in functions]:
        message = f"tool_choice names {name[:100]!r}, which is none of tools."
        raise ApiError(400, message, "invalid_value", param="tool_choice")
    return name


def read_parts(parts: Iterable[Part], param: str) -> tuple[TextPart | ImagePart, ...]:
    """The parts of a message. Raises ApiError for a kind that the server does not take."""
    return tuple(_read_part(part, param) for part in parts if part.type not in _THOUGHTS)


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
        message = "Nothing is fetched. Send images as data URLs: data:image/png;base64,..."
        raise ApiError(400, message, "invalid_image", param=param)
    text = "".join(found[1].split()).rstrip("=")
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        reason = "The image is not valid base64."
        raise ApiError(400, reason, "invalid_image", param=param) from error
    if image := image_part(data):
        return image
    message = "The image is of an unknown kind. Send PNG, JPEG, GIF or WebP."
    raise ApiError(400, message, "invalid_image", param=param)


def wire_call(call: ToolCall, name: str, arguments: str) -> dict[str, Any]:
    """A call of a client's tool, as a message has it."""
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": arguments}}
