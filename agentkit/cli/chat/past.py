"""The commands about what was said: sessions, taking back, asking again, writing out."""

from __future__ import annotations

from pathlib import Path

from rich.text import Text

from agentkit.agent.compaction import Window
from agentkit.agent.export import as_json, as_markdown
from agentkit.agent.session import Session
from agentkit.agent.session_store import LAST, SessionInfo, SessionStore
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.render import print_rows
from agentkit.errors import ConfigError, ModelError
from agentkit.findings import counted
from agentkit.messages import Content, Message, text_of

_LISTED = 20


async def sessions(chat: Chat, argument: str) -> None:
    """The last conversations, or those in which something was said."""
    store = _store(chat)
    found = [info for info, _ in store.search(argument)] if argument else store.recent(_LISTED)
    rows = []
    for info in found:
        mark = "*" if info.id == chat.session.id else " "
        when = f"{mark} {info.updated[:16].replace('T', ' ')}"
        name = Text(info.name or info.id)
        rows.append((Text(when), Text(f"{info.messages:4}", "dim"), name))
    print_rows(rows, chat.out, cut=True)
    if not found:
        chat.say("There is no such conversation.")


async def resume(chat: Chat, argument: str) -> None:
    """Go on in another conversation."""
    store = _store(chat)
    info = store.find(argument or _before(chat, store).id)
    if info.id == chat.session.id:
        raise ConfigError("This is that conversation.")
    chat.adopt(store.open(info.id))
    _say_where(chat, info)
    if chat.session.pending:
        await chat.resume_calls()


async def fork(chat: Chat, argument: str) -> None:
    """Go on in a copy."""
    old = _info(chat)
    chat.adopt(_store(chat).fork(old.id, argument))
    chat.say(f"You are in a copy, {_info(chat).name}. Back: /resume {old.name}")


async def save(chat: Chat, argument: str) -> None:
    """Keep a copy as it is now, and go on here."""
    if not argument:
        raise ConfigError("Give the copy a name: /save before the change.")
    copy = _store(chat).fork(_info(chat).id, argument)
    copy.close()
    chat.say(f"A copy is kept as {argument}; this conversation goes on.")


async def rename(chat: Chat, argument: str) -> None:
    """Another name for this conversation."""
    if not argument:
        raise ConfigError("Give the new name: /rename my question.")
    if not chat.session.messages:
        raise ConfigError("Nothing is said yet: ask something first.")
    _store(chat).rename(chat.session.id, argument)
    chat.say(f"This conversation is called {argument}.")


async def clear(chat: Chat, argument: str) -> None:
    """Begin a new conversation."""
    chat.adopt(chat.store.create() if chat.store else Session())
    chat.say("A new conversation begins.")


async def undo(chat: Chat, argument: str) -> None:
    """Take the last question and its answer back."""
    chat.say("Taken back:", _shown(_taken_back(chat)))


async def retry(chat: Chat, argument: str) -> None:
    """Ask the last question again."""
    question = _taken_back(chat)
    chat.say("Again:", _shown(question))
    await chat.answer(question)


async def edit(chat: Chat, argument: str) -> None:
    """Take the last question back to change it; what stands behind /edit is asked at once."""
    question = _taken_back(chat)
    if argument:
        await chat.answer(argument)
    else:
        chat.prefill = text_of(question)


async def compact(chat: Chat, argument: str) -> None:
    """Shorten what the model sees of the older turns; all of it stays in the session."""
    agent, view = chat.project.agent, chat.session.view
    if not view:
        raise ConfigError("Nothing is said yet: there is nothing to shorten.")
    head = [] if view[0].role == "system" else [Message("system")]
    window = Window(agent.model, agent.options)
    prompt = window.prompt([*head, *view], agent.tools)
    try:
        done = await window.too_long(prompt)
    except ModelError as error:
        if error.kind != "too_long":
            raise
        chat.say("It cannot be made shorter: there are no older turns.")
        return
    chat.session.compact(prompt.messages)
    chat.meter.tokens = done.tokens_after
    chat.say(f"Older turns are shortened: {done.tokens_before} to {done.tokens_after} tokens.")


async def export(chat: Chat, argument: str) -> None:
    """Write the conversation to a file."""
    if not argument:
        raise ConfigError("Name the file: /export talk.md, or talk.json.")
    file = Path(argument).expanduser()
    title = _info(chat).name if chat.store else chat.project.path.resolve().name
    write = as_json if file.suffix == ".json" else as_markdown
    try:
        with file.open("x", encoding="utf-8") as written:
            written.write(write(chat.session, title))
    except FileExistsError as error:
        raise ConfigError(f"{file} is there already: name another file.") from error
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}.") from error
    chat.say(f"Written to {file}")


def _taken_back(chat: Chat) -> Content:
    """The last question; the conversation is as it was before it."""
    messages = chat.session.messages
    asked = [at for at, message in enumerate(messages) if message.role == "user"]
    if not asked:
        raise ConfigError("Nothing was asked in this conversation yet.")
    at = asked[-1]
    question = messages[at].content
    chat.adopt(_shortened(chat, at))
    return question


def _shortened(chat: Chat, count: int) -> Session:
    """This conversation with its first messages only, in its own place among the others."""
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
        raise ConfigError("Conversations cannot be kept here: .agentkit cannot be written.")
    return chat.store


def _info(chat: Chat) -> SessionInfo:
    return _store(chat).find(chat.session.id)


def _before(chat: Chat, store: SessionStore) -> SessionInfo:
    """The conversation before this one."""
    others = [info for info in store.recent() if info.id != chat.session.id]
    return others[0] if others else store.find(LAST)


def _say_where(chat: Chat, info: SessionInfo) -> None:
    chat.say(f"{info.name or info.id}: {counted(info.messages, 'message')}.")
    said = [message for message in chat.session.messages if message.role == "user"]
    if said:
        chat.say("The last question was:", _shown(said[-1].content))


def _shown(question: Content) -> str:
    line = " ".join(text_of(question).split())
    return line if len(line) <= 70 else f"{line[:69]}…"
