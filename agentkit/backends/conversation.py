"""Make a conversation valid for servers and chat templates that refuse what others accept.

Each call is followed at once by its results, neighbours of one role are merged, and the order of
roles is the one that a server wants. Nothing here changes what is kept in a session.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from agentkit.messages import Content, ImagePart, Message, TextPart, ToolCall, text_of
from agentkit.settings.profile import Profile

NO_RESULT = "No result: this call was interrupted before it was answered."
_EMPTY_RESULT = "(No output.)"
_ORPHAN = "Result of an earlier tool call:\n{result}"
IMAGES = "Images of the tool results:"
_NO_IMAGE = "(An image, which this model cannot read.)"
_SEE_BELOW = "(An image, which follows.)"
_CONTINUE = "Continue."
_READ = "I have read the results."
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def valid_conversation(messages: Sequence[Message], rules: Profile = Profile()) -> list[Message]:
    """Return the messages as a conversation that a server of this profile takes.

    A call without a result gets one that says so; a result without a call becomes a user message.
    Images of results follow all results of a turn in a user message. Messages of the assistant
    that hold nothing are left out.
    """
    ordered = _with_images_for_user(_paired(messages, rules), rules)
    if rules.system != "any":
        ordered = _with_system_first(ordered, rules.system)
    return _in_order(_merged(ordered), rules)


def _paired(messages: Iterable[Message], rules: Profile) -> list[Message]:
    """Put the results of each turn directly after its calls, under ids that are used once."""
    found: list[Message] = []
    waiting: dict[str, int] = {}
    taken: set[str] = set()
    for message in messages:
        if message.role == "tool":
            at = waiting.pop(message.tool_call_id, None)
            if at is not None:
                content = message.content or ("" if message.passages else _EMPTY_RESULT)
                found[at] = replace(message, content=content, tool_call_id=found[at].tool_call_id)
            elif text := message.prompt_text:
                found.append(Message("user", _ORPHAN.format(result=text)))
        elif message.tool_calls:
            calls = [_with_id(call, rules, taken) for call in message.tool_calls]
            found.append(replace(message, tool_calls=tuple(calls)))
            waiting.update((call.id, len(found) + at) for at, call in enumerate(message.tool_calls))
            found += [
                Message("tool", NO_RESULT, tool_call_id=call.id, failed=True) for call in calls
            ]
        elif message.role != "assistant" or message.prompt_text.strip():
            found.append(message)
    return found


def _with_id(call: ToolCall, rules: Profile, taken: set[str]) -> ToolCall:
    """Return a call with an id that fits and that no earlier call has."""
    id_, repeat = call.id, 0
    while not id_ or id_ in taken or (rules.call_id and not re.fullmatch(rules.call_id, id_)):
        digest = int.from_bytes(hashlib.sha256(f"{call.id} {repeat}".encode()).digest())
        id_, repeat = "", repeat + 1
        while len(id_) < rules.call_id_length:
            digest, letter = divmod(digest, len(_LETTERS))
            id_ += _LETTERS[letter]
        if rules.call_id and not re.fullmatch(rules.call_id, id_):
            break
    taken.add(id_)
    return call if id_ == call.id else replace(call, id=id_)


def _with_images_for_user(messages: Sequence[Message], rules: Profile) -> list[Message]:
    """Let only messages of the user hold images, or only the last of them where the model reads
    none: that the user shall see the refusal."""
    found: list[Message] = []
    pictures: list[TextPart | ImagePart] = []
    question = next((m for m in reversed(messages) if m.role == "user"), None)
    for message in messages:
        if pictures and message.role != "tool":
            found.append(Message("user", tuple(pictures)))
            pictures = []
        if not isinstance(message.content, str):
            parts = message.prompt_content
            images = [part for part in parts if isinstance(part, ImagePart)]
            is_read = rules.images == "user" or message is question
            if images and not (is_read and message.role == "user"):
                note = _NO_IMAGE if rules.images == "none" else _SEE_BELOW
                text = "\n".join(filter(None, (text_of(parts), note)))
                message = replace(message, content=text, passages=())
                if rules.images == "user" and message.role == "tool":
                    pictures += images if pictures else [TextPart(IMAGES), *images]
        found.append(message)
    return [*found, Message("user", tuple(pictures))] if pictures else found


def _with_system_first(messages: list[Message], where: Literal["first", "none"]) -> list[Message]:
    """Merge all system messages into one at the start, or into the first user message."""
    text = "\n\n".join(m.prompt_text for m in messages if m.role == "system" and m.content)
    rest = [message for message in messages if message.role != "system"]
    if not text:
        return rest
    return [Message("system" if where == "first" else "user", text), *rest]


def _merged(messages: Iterable[Message]) -> list[Message]:
    """Merge neighbours of one role, except tool results."""
    merged: list[Message] = []
    for message in messages:
        last = merged[-1] if merged else None
        if last and last.role == message.role and message.role != "tool":
            merged[-1] = _joined(last, message)
        else:
            merged.append(message)
    return merged


def _joined(one: Message, other: Message) -> Message:
    data = {**(one.provider_data or {}), **(other.provider_data or {})}
    return Message(
        one.role,
        _joined_content(one.prompt_content, other.prompt_content),
        (*one.tool_calls, *other.tool_calls),
        provider_data=data or None,
    )


def _joined_content(one: Content, other: Content) -> Content:
    if isinstance(one, str) and isinstance(other, str):
        return "\n\n".join(filter(None, (one, other)))
    parts = [(TextPart(each),) if isinstance(each, str) else each for each in (one, other)]
    return (*parts[0], *parts[1])


def _in_order(messages: Iterable[Message], rules: Profile) -> list[Message]:
    """Add the short messages without which a server refuses the order of roles."""
    ordered: list[Message] = []
    last = "system"
    for message in messages:
        if rules.first_user and last == "system" and message.role in ("assistant", "tool"):
            ordered.append(Message("user", _CONTINUE))
        if rules.assistant_after_tool and last == "tool" and message.role == "user":
            ordered.append(Message("assistant", _READ))
        ordered.append(message)
        last = message.role
    if rules.first_user and last == "system":
        ordered.append(Message("user", _CONTINUE))
    return ordered
