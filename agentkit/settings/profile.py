"""What an OpenAI-compatible server takes, as data: the table `[providers.NAME.profile]`.

`backends/openai/profiles` has the values of known servers; what a refusal teaches at run time, and
what the settings say, replaces single fields.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _check_pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression ({error})") from None
    return pattern


Pattern = Annotated[str, AfterValidator(_check_pattern)]
ToolChoice = Literal["none", "required", "named"]


class SettingsTable(BaseModel):
    """A table of agentkit.toml. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Profile(SettingsTable):
    """What an OpenAI-compatible server takes and what it wants back, where the profile of its kind
    is to be changed. docs/backends.md lists the kinds."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens", ""] = Field(
        default="max_tokens", description="Field of the limit of output tokens; empty: not sent."
    )
    refused: tuple[str, ...] = Field(
        default=(),
        description="Fields that are never sent, such as temperature, seed or stream_options.",
    )
    min_temperature: float = Field(
        default=0.0, description="Smallest temperature; lower ones become this."
    )
    tool_choices: tuple[ToolChoice, ...] = Field(
        default=("none", "required", "named"),
        description="Forms of tool_choice beside auto; other forms are not sent.",
    )
    tools: Literal["native", "prompt"] = Field(
        default="native", description="Tools in the request, or described in the system message."
    )
    tools_with_calls: bool = Field(
        default=False, description="Tools must be defined while the messages have tool calls."
    )
    response_format: Literal["json_schema", "json_object", "none"] = Field(
        default="json_schema",
        description="How a JSON Schema of the answer is sent; none: in the prompt.",
    )
    strict: bool = Field(
        default=True, description="Schemas of answers are sent in OpenAI's strict subset."
    )
    schemas: Literal["full", "inlined", "simple"] = Field(
        default="full",
        description="Schemas of tools: with references, without, or plain types alone.",
    )
    tool_name: Pattern = Field(
        default="[a-zA-Z0-9_-]{1,64}", description="Pattern of tool names; others are mapped."
    )
    max_description: int = Field(
        default=0, ge=0, description="Characters of a tool's description; 0: any number."
    )
    call_id: Pattern = Field(
        default="", description="Pattern of tool call ids; others are mapped. Empty: any."
    )
    call_id_length: int = Field(
        default=9, ge=4, le=40, description="Length of mapped ids, of letters and digits."
    )
    system: Literal["any", "first", "none"] = Field(
        default="any",
        description="System messages: anywhere, one at the start, or none (in the first user "
        "message).",
    )
    first_user: bool = Field(
        default=False, description="The first message after the system's is a user's."
    )
    assistant_after_tool: bool = Field(
        default=False, description="Between a tool's result and a user's message is an assistant's."
    )
    result_name: bool = Field(default=False, description="A tool's result names the tool.")
    empty_content: str | None = Field(
        default=None, description="Content of a message that holds only tool calls."
    )
    images: Literal["user", "none"] = Field(
        default="user",
        description="Images of tools in a user message, or only mentioned, as those of earlier "
        "questions then are.",
    )
    sent_back: tuple[str, ...] = Field(
        default=(),
        description="Fields of a reply that go back with its message, such as reasoning_content.",
    )
    message_fill: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of an assistant's message where the reply had none.",
    )
    call_message_fill: dict[str, Any] = Field(
        default_factory=dict,
        description="The same, of messages with tool calls alone.",
    )
    call_fill: dict[str, Any] = Field(
        default_factory=dict,
        description="Fields of a message's first tool call where the reply had none.",
    )
    key_header: str = Field(
        default="", description="Header of the key; empty: Authorization, as a bearer token."
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="Extra headers of each request."
    )
    body: dict[str, Any] = Field(default_factory=dict, description="Extra fields of each request.")
