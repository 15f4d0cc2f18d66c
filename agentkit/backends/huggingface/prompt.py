"""Render a conversation by a model's own chat template, in the first form that the template takes.

Templates differ in what they refuse or leave out without a word: tools, results of tools, several
calls in a message, arguments as objects, system messages, roles that do not take turns. The forms
are tried in order, from the template's own to plain text in two roles; one that raises an error or
drops a message is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentkit.backends.base import Options, arguments_object, message_bodies, tool_definition
from agentkit.backends.conversation import valid_conversation
from agentkit.backends.huggingface.load import LoadedModel
from agentkit.backends.prompted_tools import is_forced, with_tools_in_text
from agentkit.backends.text_tool_calls import CALL, END_THINK, THINK
from agentkit.messages import Message
from agentkit.settings.profile import Profile
from agentkit.tools.tool import Tool

TEMPLATE_OPTIONS = "chat_template_kwargs"
"""The key of `Options.extra` whose mapping goes to the chat template."""


_MISTRAL_ID = "[a-zA-Z0-9]{9}"
"""The call ids that Mistral's templates require; others take any."""


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
    which it ends; `call_format` is that of a forced call."""

    ids: Sequence[int]
    opening: str
    call_format: CallFormat


@dataclass(frozen=True, slots=True)
class _Form:
    """A conversation in the form of a template's variables."""

    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    arguments_as_text: bool = False


def call_format(template: str) -> CallFormat:
    """Return the call format that a chat template teaches; that of Hermes where the template has no
    tools, for then the prompt describes them in that form."""
    if "tools" not in template or "<tool_call>" in template:
        return CallFormat("<tool_call>\n")
    if "[TOOL_CALLS]" in template:
        return CallFormat("[TOOL_CALLS]", is_list=True)
    is_llama = '"parameters"' in template and "<|eot_id|>" in template
    return CallFormat(arguments="parameters") if is_llama else CallFormat()


def chat_template(loaded: LoadedModel, has_tools: bool) -> str:
    """Return the chat template; "" without one. Of several, the one for tools or the default."""
    found = loaded.tokenizer.chat_template or ""
    if isinstance(found, Mapping):
        default = found.get("default") or next(iter(found.values()), "")
        found = (found.get("tool_use") if has_tools else None) or default
    return str(found)


def render_prompt(
    loaded: LoadedModel, messages: Sequence[Message], tools: Sequence[Tool], options: Options
) -> RenderedPrompt:
    """Return the conversation as the model reads it. Raises ModelError where the model has no chat
    template, or it refuses every form of the conversation."""
    template = chat_template(loaded, bool(tools))
    if not template:
        raise loaded.source.error(
            f"{loaded.source.name} has no chat template: it only continues texts. Choose a model "
            "trained to chat (its name often ends in -Instruct or -it)."
        )
    forced = is_forced(tools, options)
    is_constrained = forced or options.schema is not None
    extra = dict(options.extra.get(TEMPLATE_OPTIONS) or {})
    if is_constrained and "enable_thinking" in template:
        extra.setdefault("enable_thinking", False)
    text, is_native = _render(loaded, template, messages, tools, extra)
    opening = THINK if text.rstrip().endswith(THINK) else ""
    if opening and is_constrained:
        text, opening = f"{text.rstrip()}\n{END_THINK}\n\n", ""
    form = call_format(template if is_native else "")
    if forced:
        text, opening = text + form.before, CALL
    ids = loaded.tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return RenderedPrompt(ids, opening, form)


def _render(
    loaded: LoadedModel,
    template: str,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    extra: Mapping[str, Any],
) -> tuple[str, bool]:
    """Return the text, and whether the tools stand in it as the template writes them. Raises
    ModelError with the template's first refusal."""
    first_error: Exception | None = None
    first_text = ""
    for form in _forms(template, messages, tools):
        try:
            text = _apply_template(loaded, form, template, extra)
            # Earlier calls name tools too.
            bare = replace(form, tools=())
            ignored = form.tools and _apply_template(loaded, bare, template, extra) == text
        except Exception as error:  # A template can raise anything, as its code does.
            first_error = first_error or error
            continue
        if not ignored and _is_whole(text, form):
            return text, bool(form.tools)
        first_text = first_text or text
    if first_text or first_error is None:
        return first_text, False
    raise loaded.source.error(
        f"The chat template of {loaded.source.name} refuses this conversation: {first_error}"
    ) from first_error


def _forms(template: str, messages: Sequence[Message], tools: Sequence[Tool]) -> Iterator[_Form]:
    """Yield the forms of a conversation, from the template's own to plain text in two roles."""
    plain = with_tools_in_text(messages, tools)
    forms = []
    if "tools" in template or not tools:
        has_calls = any(message.tool_calls or message.role == "tool" for message in messages)
        merged = valid_conversation(messages, Profile(call_id=_MISTRAL_ID))
        forms.append(_Form(merged, tools))
        if has_calls:
            forms += [_Form(merged, tools, True), _Form(with_tools_in_text(messages, ()), tools)]
    forms.append(_Form(plain))
    yield from forms
    if any(message.role == "system" for message in plain):
        for form in forms:
            yield replace(form, messages=valid_conversation(form.messages, Profile(system="none")))


def _apply_template(
    loaded: LoadedModel, form: _Form, template: str, extra: Mapping[str, Any]
) -> str:
    text: str = loaded.tokenizer.apply_chat_template(
        message_bodies(form.messages, "name", arguments_as_text=form.arguments_as_text),
        chat_template=template,
        tools=[tool_definition(tool) for tool in form.tools] or None,
        add_generation_prompt=True,
        tokenize=False,
        **extra,
    )
    return text


def _is_whole(text: str, form: _Form) -> bool:
    """Whether a prompt names every tool, and holds the longest word of every call and message but
    thinking, which templates leave out of earlier turns."""
    if not all(tool.name in text for tool in form.tools):
        return False
    contents = [message.prompt_text.rpartition(END_THINK)[2] for message in form.messages]
    for call in (call for message in form.messages for call in message.tool_calls):
        contents.append(" ".join(map(str, arguments_object(call).values())) or call.name)
    words = (max(re.findall(r"\w+", content), key=len, default="") for content in contents)
    return all(word in text for word in words)
