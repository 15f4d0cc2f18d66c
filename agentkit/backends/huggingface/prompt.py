"""Render a conversation by the model's own chat template.

Where the answer is constrained, the prompt ends with its beginning: an open thought is closed, a
tool call is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.backends.base import Options, arguments_object, tool_definition
from agentkit.backends.huggingface.load import LoadedModel
from agentkit.backends.prompted_tools import is_forced, with_tools_in_text, without_system
from agentkit.backends.text_tool_calls import CALL, END_THINK, THINK
from agentkit.messages import Message
from agentkit.tools.tool import Tool

TEMPLATE_OPTIONS = "chat_template_kwargs"
"""The key of `Options.extra` whose mapping goes to the chat template."""


@dataclass(frozen=True, slots=True)
class CallFormat:
    """How a model writes a tool call: what stands before it, its key for the arguments, and
    whether calls are a list."""

    before: str = ""
    arguments: str = "arguments"
    is_list: bool = False


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A conversation in tokens. `opening` is the marker of the thought (THINK) or call (CALL) in
    which it ends."""

    ids: Sequence[int]
    opening: str


def call_format(template: str) -> CallFormat:
    """Return the call format that a chat template teaches; that of Hermes where the template has no
    tools, for then the prompt describes them in that form."""
    if "tools" not in template or "<tool_call>" in template:
        return CallFormat("<tool_call>\n")
    if "[TOOL_CALLS]" in template:
        return CallFormat("[TOOL_CALLS]", is_list=True)
    is_llama = '"parameters"' in template and "<|eot_id|>" in template
    return CallFormat(arguments="parameters") if is_llama else CallFormat()


def render_prompt(
    loaded: LoadedModel, messages: Sequence[Message], tools: Sequence[Tool], options: Options
) -> RenderedPrompt:
    """Return the conversation as the model reads it. Raises ModelError where the model has no chat
    template, or it refuses the conversation."""
    template = str(loaded.tokenizer.chat_template or "")
    if not template:
        raise loaded.source.error(
            f"{loaded.source.name} has no chat template: it only continues texts. Choose a model "
            "trained to chat (its name often ends in -Instruct or -it)."
        )
    known = "tools" in template
    conversation = list(messages) if known else with_tools_in_text(messages, tools)
    text = _apply_template(
        loaded,
        conversation,
        [tool_definition(tool) for tool in tools] if known and tools else None,
        options.extra.get(TEMPLATE_OPTIONS) or {},
    )
    opening = THINK if text.rstrip().endswith(THINK) else ""
    forced = is_forced(tools, options)
    if opening and (forced or options.schema is not None):
        text, opening = f"{text.rstrip()}\n{END_THINK}\n\n", ""
    if forced:
        text, opening = text + call_format(template).before, CALL
    ids = loaded.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return RenderedPrompt(ids, opening)


def _apply_template(
    loaded: LoadedModel,
    messages: Sequence[Message],
    tools: Sequence[Mapping[str, Any]] | None,
    extra: Mapping[str, Any],
) -> str:
    """Apply the template; where it refuses a system message, once more without one."""
    import jinja2

    names = {call.id: call.name for message in messages for call in message.tool_calls}
    try:
        text: str = loaded.tokenizer.apply_chat_template(
            [_template_message(message, names) for message in messages],
            tools=tools,
            add_generation_prompt=True,
            tokenize=False,
            **extra,
        )
    except jinja2.TemplateError as error:
        has_system = any(message.role == "system" for message in messages)
        if has_system and "system" in str(error).lower():
            return _apply_template(loaded, without_system(messages), tools, extra)
        raise loaded.source.error(
            f"The chat template of {loaded.source.name} refuses this conversation: {error}"
        ) from error
    return text


def _template_message(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    rendered: dict[str, Any] = {"role": message.role, "content": message.prompt_text}
    if message.tool_calls:
        rendered["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": arguments_object(call)},
            }
            for call in message.tool_calls
        ]
    if message.role == "tool":
        name = names.get(message.tool_call_id, "")
        rendered |= {"tool_call_id": message.tool_call_id, "name": name}
    return rendered
