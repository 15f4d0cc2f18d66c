"""Chat commands about conversations: list, switch, undo, ask again, rename, copy, export."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from agentkit.agent.compaction import Window
from agentkit.agent.session import Session
from agentkit.agent.session_export import as_json, as_markdown
from agentkit.agent.session_store import LAST, SessionInfo, SessionStore
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.console import print_rows
from agentkit.cli.i18n import _, counted
from agentkit.cli.text import shorten
from agentkit.errors import ConfigError, ModelError, file_fault
from agentkit.messages import Content, Message, text_of

_LISTED = 20
_EXCERPT = 70


async def list_sessions(chat: Chat, argument: str) -> None:
    """List the last conversations, or those that contain a text."""
    store = _store(chat)
    found = [info for info, _text in store.search(argument)] if argument else store.recent(_LISTED)
    rows = []
    for info in found:
        mark = "*" if info.id == chat.session.id else " "
        used = f"{mark} {info.updated[:16].replace('T', ' ')}"
        rows.append((Text(used), Text(f"{info.messages:4}", "dim"), Text(info.name or info.id)))
    print_rows(rows, chat.out, cut=True)
    if not found:
        chat.note(_("There is no such conversation."))


async def resume(chat: Chat, argument: str) -> None:
    """Continue another conversation."""
    store = _store(chat)
    info = store.find(argument or _previous(chat, store).id)
    if info.id == chat.session.id:
        raise ConfigError(_("This is that conversation."))
    chat.switch_session(store.open(info.id))
    messages = counted("{count} message", "{count} messages", info.messages)
    text = _("{name}: {messages}.")
    chat.note(text.format(name=info.name or info.id, messages=messages))
    questions = [message for message in chat.session.messages if message.role == "user"]
    if questions:
        question = _excerpt(questions[-1].content)
        chat.note(_("The last question was: {question}").format(question=question))
    if chat.session.pending:
        await chat.resume_calls()


async def fork(chat: Chat, argument: str) -> None:
    """Continue in a copy."""
    old = _info(chat)
    chat.switch_session(_store(chat).fork(old.id, argument))
    text = _("This is a copy, {name}. To go back: /resume {old}")
    chat.note(text.format(name=_info(chat).name, old=old.name))


async def save(chat: Chat, argument: str) -> None:
    """Store a copy as it is now, and stay in this conversation."""
    if not argument:
        raise ConfigError(_("Give the copy a name: /save before the change."))
    _store(chat).fork(_info(chat).id, argument).close()
    chat.note(_("A copy is stored as {name}; this conversation goes on.").format(name=argument))


async def rename(chat: Chat, argument: str) -> None:
    """Rename this conversation."""
    if not argument:
        raise ConfigError(_("Give the new name: /rename my question."))
    if not chat.session.messages:
        raise ConfigError(_("The conversation is empty: ask something first."))
    _store(chat).rename(chat.session.id, argument)
    chat.note(_("This conversation is now named {name}.").format(name=argument))


async def clear(chat: Chat, argument: str) -> None:
    """Start a new conversation."""
    chat.switch_session(chat.store.create() if chat.store else Session())
    chat.note(_("A new conversation begins."))


async def undo(chat: Chat, argument: str) -> None:
    """Remove the last question and its answer."""
    question = _excerpt(_remove_last_question(chat).content)
    chat.note(_("Removed: {question}").format(question=question))


async def retry(chat: Chat, argument: str) -> None:
    """Ask the last question again."""
    question = _remove_last_question(chat)
    chat.note(_("Again: {question}").format(question=_excerpt(question.content)))
    await chat.answer(question)


async def edit(chat: Chat, argument: str) -> None:
    """Replace the last question by a text, or put it at the prompt to be changed."""
    question = _remove_last_question(chat)
    if argument:
        await chat.answer(argument)
    else:
        chat.prefill = question.text


async def compact(chat: Chat, argument: str) -> None:
    """Shorten what the model sees of the older turns; the session keeps all of it."""
    agent, view = chat.project.agent, chat.session.view
    if not view:
        raise ConfigError(_("The conversation is empty: there is nothing to compact."))
    head = [] if view[0].role == "system" else [Message("system")]
    window = Window(agent.model, agent.options)
    prompt = window.prompt([*head, *view], agent.offered_tools)
    try:
        event = await window.compact(prompt)
    except ModelError as error:
        if error.kind != "too_long":
            raise
        event = None
    if event is None:
        chat.note(_("There are no older turns to compact."))
        return
    chat.session.compact(prompt.messages)
    chat.meter.tokens = event.tokens_after
    text = _("Older turns are compacted: {before} to {after} tokens.")
    chat.note(text.format(before=event.tokens_before, after=event.tokens_after))


async def export(chat: Chat, argument: str) -> None:
    """Write the conversation to a file."""
    if not argument:
        raise ConfigError(_("Name the file: /export talk.md, or talk.json."))
    file = Path(argument).expanduser()
    title = _info(chat).name if chat.store else chat.project.path.resolve().name
    write = as_json if file.suffix == ".json" else as_markdown
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(write(chat.session, title))
    except FileExistsError as error:
        raise ConfigError(_("{file} exists: name another file.").format(file=file)) from error
    except OSError as error:
        reason, step = file_fault(file, error, "written")
        text = _("{file} cannot be written: {reason}. {step}")
        raise ConfigError(text.format(file=file, reason=reason, step=step)) from error
    chat.note(_("Written to {file}").format(file=file))


def _remove_last_question(chat: Chat) -> Message:
    """The last question with its attachments; the conversation is as it was before it."""
    messages = chat.session.messages
    questions = [at for at, message in enumerate(messages) if message.role == "user"]
    if not questions:
        raise ConfigError(_("Nothing was asked in this conversation yet."))
    question = messages[questions[-1]]
    chat.switch_session(_truncated(chat, questions[-1]))
    return question


def _truncated(chat: Chat, count: int) -> Session:
    """This conversation with its first messages only, which replaces the stored one."""
    old = chat.session
    if chat.store is None:
        new = Session()
        new.sources = old.sources
        new.add(old.messages[:count])
        return new
    info = chat.store.find(old.id)
    copy = chat.store.fork(old.id, info.name, count)
    chat.close_session()
    chat.store.delete(old.id)
    return copy


def _store(chat: Chat) -> SessionStore:
    if chat.store is None:
        text = _("Conversations cannot be stored here: .agentkit is not writable.")
        raise ConfigError(text)
    return chat.store


def _info(chat: Chat) -> SessionInfo:
    return _store(chat).find(chat.session.id)


def _previous(chat: Chat, store: SessionStore) -> SessionInfo:
    """The conversation before this one."""
    others = [info for info in store.recent() if info.id != chat.session.id]
    return others[0] if others else store.find(LAST)


def _excerpt(question: Content) -> str:
    return shorten(text_of(question), _EXCERPT)
