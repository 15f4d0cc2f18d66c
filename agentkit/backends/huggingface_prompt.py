"""A conversation as the prompt of a model in this process, by the model's own chat template.

Where the answer is held, the prompt ends with how it begins: a thought is closed, a call opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.backends.base import Options, described, sent_arguments
from agentkit.backends.huggingface_forced import call_format, is_forced
from agentkit.backends.huggingface_load import Loaded
from agentkit.backends.prompted_tools import in_text, without_system
from agentkit.backends.text_tool_calls import END_THINK, THINK
from agentkit.messages import Message
from agentkit.tools.tool import Tool

TEMPLATE_OPTIONS = "chat_template_kwargs"
"""The key of `Options.extra` whose mapping goes to the chat template."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as the model reads it; `thinking` where it ends inside a thought."""

    ids: Sequence[int]
    thinking: bool

    @property
    def tokens(self) -> int:
        return len(self.ids)


def rendered(
    loaded: Loaded, messages: Sequence[Message], tools: Sequence[Tool], options: Options
) -> Prompt:
    """The prompt by the model's own chat template; raises ModelError where it has none."""
    if not loaded.tokenizer.chat_template:
        raise loaded.source.fault(
            f"{loaded.source.name} has no chat template: it only continues texts. Choose a model "
            "trained to chat (its name often ends in -Instruct or -it)."
        )
    text = _templated(loaded, messages, tools, options.extra.get(TEMPLATE_OPTIONS) or {})
    thinking = text.rstrip().endswith(THINK)
    forced = is_forced(tools, options)
    if thinking and (forced or options.schema is not None):
        text, thinking = f"{text.rstrip()}\n{END_THINK}\n\n", False
    if forced:
        text += call_format(str(loaded.tokenizer.chat_template)).before
    ids = loaded.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return Prompt(ids, thinking)


def _templated(
    loaded: Loaded, messages: Sequence[Message], tools: Sequence[Tool], extra: Mapping[str, Any]
) -> str:
    """The conversation through the template; told in simpler words where it refuses."""
    import jinja2

    known = "tools" in str(loaded.tokenizer.chat_template)
    told = list(messages) if known else in_text(messages, tools)
    given = [described(tool) for tool in tools] if known and tools else None
    try:
        return _applied(loaded, told, given, extra)
    except jinja2.TemplateError as error:
        if "system" not in str(error).lower():
            raise loaded.source.fault(_refusal(loaded, error)) from error
    try:
        return _applied(loaded, without_system(told), given, extra)
    except jinja2.TemplateError as error:
        raise loaded.source.fault(_refusal(loaded, error)) from error


def _refusal(loaded: Loaded, error: Exception) -> str:
    return f"The chat template of {loaded.source.name} refuses this conversation: {error}"


def _applied(
    loaded: Loaded,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    extra: Mapping[str, Any],
) -> str:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    text: str = loaded.tokenizer.apply_chat_template(
        [_message(message, names) for message in messages],
        tools=tools,
        add_generation_prompt=True,
        tokenize=False,
        **extra,
    )
    return text


def _message(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    sent: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        sent["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": sent_arguments(call)},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        name = names.get(message.tool_call_id, "")
        sent |= {"tool_call_id": message.tool_call_id, "name": name}
    return sent
