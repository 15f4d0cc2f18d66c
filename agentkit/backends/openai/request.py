"""Build the body of a chat completion request, in the form that a profile describes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkit.backends.base import Options, arguments_object, prompt_tokens, tool_definition
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.openai.answer_schema import AnswerFormat, answer_format
from agentkit.backends.openai.provider_fields import THINKING_PART
from agentkit.backends.prompted_tools import with_tools_in_text
from agentkit.backends.tool_schemas import wire_names, wire_tool
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.settings.profile import Profile
from agentkit.tools.tool import Tool

Body = dict[str, Any]

_MAX_CACHED = 512
"""Tools whose form for the server is kept."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request in the form that a server takes. `names` are the tools' names there, `explicit` the
    fields of the body that the user has set, and `restore` converts a reply that fits another JSON
    Schema than the one asked for."""

    body: Body
    profile: Profile
    names: Mapping[str, str]
    explicit: frozenset[str]
    messages: Sequence[Message]
    tools: Sequence[Tool]
    restore: Callable[[str], str] | None = None

    @property
    def tokens(self) -> int:
        """An estimate of the tokens of the prompt."""
        return prompt_tokens(self.messages, self.tools)


@dataclass(frozen=True, slots=True)
class RequestBuilder:
    """Builds requests to one model. `provider` is the key of the provider's data in messages;
    `extra` are the user's own fields, which go into the body as they are, and where None take a
    field out of it."""

    model: str
    profile: Profile
    provider: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    _tools: dict[tuple[int, str, str], tuple[Tool, Tool]] = field(default_factory=dict)

    def build(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> Request:
        """Return the request of a streamed answer."""
        profile = self.profile
        called = [call.name for message in messages for call in message.tool_calls]
        names = wire_names([*(tool.name for tool in tools), *called], profile.tool_name)
        shown = [self._wire_tool(tool, names[tool.name]) for tool in tools]
        form = self._answer_format(options)
        if form and profile.response_format != "json_schema":
            head = int(bool(messages) and messages[0].role == "system")
            instruction = Message("system", form.instruction)
            messages = [*messages[:head], instruction, *messages[head:]]
        if profile.tools == "prompt":
            offered = [] if options.tool_choice == "none" else shown
            messages, shown = with_tools_in_text(messages, offered), []
        body = self._options(options)
        body["messages"] = self._messages(messages, names)
        body["response_format"] = form and self._response_format(form)
        body |= self._offered(shown, names, options.tool_choice, called)
        body |= {**profile.body, **self.extra, **options.extra}
        kept = {key: value for key, value in body.items() if value is not None}
        return Request(
            kept,
            profile,
            names,
            frozenset((*self.extra, *options.extra)),
            messages,
            shown,
            form.restore if form else None,
        )

    def _options(self, options: Options) -> Body:
        profile = self.profile
        temperature = options.temperature
        if temperature is not None:
            temperature = max(temperature, profile.min_temperature)
        body: Body = {
            "model": self.model,
            "messages": (),
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": temperature,
            profile.max_tokens_field or "max_tokens": options.max_tokens,
            "stop": list(options.stop) or None,
            "seed": options.seed,
        }
        refused = set(profile.refused)
        if not profile.max_tokens_field:
            refused.add("max_tokens")
        return {key: value for key, value in body.items() if key not in refused}

    def _answer_format(self, options: Options) -> AnswerFormat | None:
        if options.schema is None:
            return None
        profile = self.profile
        strict = profile.strict and profile.response_format == "json_schema"
        return answer_format(options.schema, strict, simple=profile.schemas == "simple")

    def _response_format(self, form: AnswerFormat) -> Body | None:
        kind = self.profile.response_format
        if kind == "json_schema":
            return form.json_schema
        return {"type": "json_object"} if kind == "json_object" else None

    def _wire_tool(self, tool: Tool, name: str) -> Tool:
        """Return a tool as the server takes it; cached, since an agent offers the same again."""
        key = (id(tool), name, self.profile.schemas)
        if key not in self._tools:
            if len(self._tools) >= _MAX_CACHED:
                self._tools.clear()
            self._tools[key] = (tool, wire_tool(tool, name, self.profile.schemas))
        return self._tools[key][1]

    def _offered(
        self, tools: Sequence[Tool], names: Mapping[str, str], choice: str, called: Sequence[str]
    ) -> Body:
        profile = self.profile
        if not tools and called and profile.tools_with_calls and profile.tools == "native":
            tools = [_closed_tool(names[name]) for name in dict.fromkeys(called)]
            choice = "none"
        form = "named" if choice not in ("auto", "none", "required") else choice
        if not tools or (choice == "none" and form not in profile.tool_choices):
            return {}
        body: Body = {"tools": [self._definition(tool) for tool in tools]}
        if form == "named" and form not in profile.tool_choices:
            chosen = [tool for tool in tools if tool.name == names.get(choice, choice)]
            body = {"tools": [self._definition(tool) for tool in chosen or tools]}
            form = choice = "required"
        if form in profile.tool_choices:
            body["tool_choice"] = _tool_choice(names.get(choice, choice))
        return body

    def _definition(self, tool: Tool) -> Body:
        definition = tool_definition(tool)
        if most := self.profile.max_description:
            function = definition["function"]
            function["description"] = _shortened(function["description"], most)
        if self.profile.schemas == "simple" and not tool.parameters.get("properties"):
            del definition["function"]["parameters"]
        return definition

    def _messages(self, messages: Sequence[Message], names: Mapping[str, str]) -> list[Body]:
        profile = self.profile
        called: dict[str, str] = {}
        bodies = []
        for message in valid_conversation(messages, profile):
            body: Body = {"role": message.role, "content": _content(message)}
            if message.role == "assistant":
                self._add_calls(body, message, names)
                called |= {call.id: names[call.name] for call in message.tool_calls}
            if message.role == "tool":
                body["tool_call_id"] = message.tool_call_id
                if profile.result_name:
                    body["name"] = called.get(message.tool_call_id, "")
            bodies.append(body)
        return bodies

    def _add_calls(self, body: Body, message: Message, names: Mapping[str, str]) -> None:
        """Add the calls of an assistant's message, and what the provider wants back."""
        profile = self.profile
        data = (message.provider_data or {}).get(self.provider, {})
        body |= _sent_back(data, profile.sent_back)
        if (thinking := data.get(THINKING_PART)) and THINKING_PART in profile.sent_back:
            part = {"type": "thinking", "thinking": [{"type": "text", "text": thinking}]}
            written = [{"type": "text", "text": body["content"]}] if body["content"] else []
            body["content"] = [part, *written]
        fills = {**profile.message_fill}
        if message.tool_calls:
            body["content"] = body["content"] or profile.empty_content
            body["tool_calls"] = [self._call(call, names) for call in message.tool_calls]
            body["tool_calls"][0] |= {
                key: value
                for key, value in profile.call_fill.items()
                if key not in body["tool_calls"][0]
            }
            fills |= profile.call_message_fill
        for key, value in fills.items():
            body.setdefault(key, value)

    def _call(self, call: ToolCall, names: Mapping[str, str]) -> Body:
        arguments = json.dumps(arguments_object(call), ensure_ascii=False)
        function = {"name": names[call.name], "arguments": arguments}
        data = (call.provider_data or {}).get(self.provider, {})
        sent = {key: value for key, value in data.items() if key not in self.profile.refused}
        return {**sent, "id": call.id, "type": "function", "function": function}


def _sent_back(data: Mapping[str, Any], fields: Sequence[str]) -> Body:
    """Return fields that a provider wants back. Some send reasoning under another name than they
    want it."""
    sent = {key: data[key] for key in fields if key in data and key != THINKING_PART}
    if "reasoning_content" in fields and not sent and isinstance(data.get("reasoning"), str):
        sent["reasoning_content"] = data["reasoning"]
    return sent


def _closed_tool(name: str) -> Tool:
    """Return a tool that is only named, for messages that call it."""
    return Tool(name, "No longer available.", {"type": "object", "properties": {}}, _unavailable)


def _unavailable(**arguments: Any) -> str:
    return ""


def _shortened(text: str, most: int) -> str:
    """Cut a text at a word to at most so many characters."""
    return text if len(text) <= most else f"{text[: most - 2].rsplit(maxsplit=1)[0]} …"


def _content(message: Message) -> Any:
    content = message.prompt_content
    if isinstance(content, str) or message.role != "user":
        return message.prompt_text
    return [_part(part) for part in content]


def _part(part: TextPart | ImagePart) -> Body:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}}


def _tool_choice(choice: str) -> Any:
    if choice in ("none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}
