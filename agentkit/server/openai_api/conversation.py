"""A client's messages as a session of the agent, and what is asked of it now.

The API is stateless: each request brings the whole conversation. The calls of a client's tools that
end it are those on which the run waits, with their results. What the agent did itself before it
called them (its searches, the numbers of its passages) is not in those messages: it is kept for a
while, and where it is not there any more, the run goes on without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agentkit.agent.approval import Verdict
from agentkit.agent.pending import PausedRun, Pending, digests_of
from agentkit.agent.session import Session
from agentkit.knowledge.citations.markers import markers
from agentkit.messages import Message, ToolResult
from agentkit.server.errors import ApiError
from agentkit.server.paused_sessions import PausedSessions


@dataclass(frozen=True, slots=True)
class Conversation:
    """What a run continues: with a prompt, or with results of the calls on which it waits."""

    session: Session
    prompt: Message | None
    verdicts: dict[str, Verdict] = field(default_factory=dict)


def split_instructions(messages: Sequence[Message]) -> tuple[str, list[Message]]:
    """The text of the system messages, and the other messages. A system message that ends a
    conversation, or is all of it, is the prompt, as with OpenAI."""
    spoken = [n for n, message in enumerate(messages) if message.role != "system"]
    is_answered = not spoken or messages[spoken[-1]].role == "assistant"
    prompt: list[Message] = []
    if messages and messages[-1].role == "system" and is_answered:
        *messages, last = messages
        prompt = [replace(last, role="user")]
    texts = [message.text for message in messages if message.role == "system"]
    return "\n\n".join(filter(None, texts)), [messages[n] for n in spoken] + prompt


def read_conversation(
    messages: Sequence[Message], who: str, paused: PausedSessions, *, cites: bool
) -> Conversation:
    """The conversation of messages without the system's. `cites` tells an agent whose earlier
    answers have markers: they are removed, since numbers start again at 1. Raises ApiError."""
    _check_results(messages)
    if not messages or messages[-1].role == "assistant":
        raise _invalid(
            "The last message must be the user's, or the result of a tool. Add a message with the "
            "role user."
        )
    if messages[-1].role == "tool":
        return _resumed(messages, who, paused, cites)
    session = Session()
    session.add([_without_markers(m) if cites else m for m in messages[:-1]])
    return Conversation(session, messages[-1])


def _resumed(
    messages: Sequence[Message], who: str, paused: PausedSessions, cites: bool
) -> Conversation:
    """A conversation that ends with results of the calls before them."""
    at = max(n for n, message in enumerate(messages) if message.role == "assistant")
    history, calling, results = messages[:at], messages[at], messages[at + 1 :]
    verdicts = {m.tool_call_id: Verdict(True, result=ToolResult(m.content)) for m in results}
    ids = [call.id for call in calling.tool_calls]
    session = paused.find(who, history, ids)
    if session is None:
        begun = max((n for n, m in enumerate(history) if m.role == "user"), default=-1)
        if begun < 0:
            raise _invalid("Before the call of a tool there must be a message of the user.")
        session = Session()
        session.add([_without_markers(m) if cites else m for m in history])
        open_calls = tuple(None for _ in calling.tool_calls)
        run = PausedRun(begun=begun)
        session.pause(Pending(calling, open_calls, run, digests_of(calling)))
    return Conversation(session, None, verdicts)


def _check_results(messages: Sequence[Message]) -> None:
    """Raise ApiError unless each call has one result, right behind it."""
    open_ids: set[str] = set()
    for message in messages:
        if message.role == "tool":
            if message.tool_call_id not in open_ids:
                raise _invalid(f"No call before it has the id {message.tool_call_id[:100]!r}.")
            open_ids.discard(message.tool_call_id)
            continue
        if open_ids:
            break
        open_ids = {call.id for call in message.tool_calls}
        if len(open_ids) < len(message.tool_calls):
            raise _invalid("Two calls of one message have the same id.")
    if open_ids:
        raise _invalid(f"The call {min(open_ids)[:100]!r} has no result. Send one for each call.")


def _without_markers(message: Message) -> Message:
    if message.role != "assistant" or not isinstance(message.content, str):
        return message
    text = message.content
    for match in [*markers(text, ())][::-1]:
        text = text[: match.start()].rstrip(" ") + text[match.end() :]
    return replace(message, content=text)


def _invalid(message: str) -> ApiError:
    return ApiError(400, message, "invalid_messages", param="messages")
