"""The commands of the chat: what one is, the table of all, and how one is found, explained and
run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import groupby

from rich.padding import Padding
from rich.text import Text

from agentkit.cli.chat.commands import agent, documents, mcp, sessions
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.console import print_rows
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError

_WIDE = 72
"""Columns from which on the list of commands shows their arguments."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command of the chat. `about` is one line, `more` what `/help NAME` adds to it; `aliases`
    are other names, `group` is the heading under which it is listed."""

    group: str
    name: str
    arguments: str
    about: str
    function: Callable[[Chat, str], Awaitable[None]]
    """Does the work; the text is what follows the command's name."""
    more: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        return f"/{self.name} {self.arguments}".rstrip()


Commands = Mapping[str, Command]


async def run_command(commands: Commands, chat: Chat, line: str) -> None:
    """Run a line that begins with "/"; `/server:prompt` is a prompt of a server. Raises ConfigError
    for an unknown command."""
    name, _space, argument = " ".join(line[1:].split("\n")).partition(" ")
    if ":" in name:
        name, argument = "prompts", line[1:]
    await _find(commands, name.strip()).function(chat, argument.strip())


def _find(commands: Commands, name: str) -> Command:
    for command in commands.values():
        if name == command.name or name in command.aliases:
            return command
    if near := get_close_matches(name, commands, n=1):
        text = _("Unknown command /{name}. Did you mean /{near}? /help lists all.")
        raise ConfigError(text.format(name=name, near=near[0]))
    raise ConfigError(_("Unknown command /{name}. /help lists all.").format(name=name))


async def show_help(chat: Chat, argument: str) -> None:
    """List the commands, or explain one."""
    if argument:
        _explain(chat, _find(COMMANDS, argument.removeprefix("/")))
        return
    is_wide = chat.out.width >= _WIDE
    titles = {c.name: c.usage if is_wide else f"/{c.name}" for c in COMMANDS.values()}
    width = max(map(len, titles.values())) + 2
    for group, members in groupby(COMMANDS.values(), lambda command: command.group):
        chat.out.print(Text(group, "bold"))
        rows = [(Text(f"  {titles[c.name]}"), Text(c.about, "dim")) for c in members]
        print_rows(rows, chat.out, width=width)
    keys = (
        _('Alt-Enter begins a new line, and so does Enter after an opening """.'),
        _("@name sends a document, a text file or an image with the message."),
        _("Ctrl-C stops the model; twice, it leaves, as Ctrl-D does."),
        _("/help COMMAND explains a command."),
    )
    chat.out.print(Text("\n" + "\n".join(keys), "dim"))


def _explain(chat: Chat, command: Command) -> None:
    chat.out.print(Text(command.usage, "bold"))
    names = ", ".join(f"/{name}" for name in command.aliases)
    aliases = _("Also: {names}.").format(names=names) if names else ""
    for line in filter(None, (command.about, command.more, aliases)):
        indented = Text(f"  {line}") if chat.out.soft_wrap else Padding(line, (0, 0, 0, 2))
        chat.out.print(indented)


_CONVERSATION = _("This conversation")
_OTHERS = _("Other conversations")
_ANSWER = _("The last answer")
_DOCUMENTS = _("Documents")
_AGENT = _("Model and settings")
_TOOLS = _("Tools and servers")
_CHAT = _("Chat")

_ALL = (
    Command(_CONVERSATION, "retry", "", _("ask the last question again"), sessions.retry,
            _("The answer to it is removed.")),
    Command(_CONVERSATION, "edit", "[TEXT]", _("change the last question and ask again"),
            sessions.edit, _("Without a text the question is put at the prompt, to be changed.")),
    Command(_CONVERSATION, "undo", "", _("remove the last question and its answer"), sessions.undo,
            _("It can be repeated.")),
    Command(_CONVERSATION, "compact", "", _("compact the older turns, to free context"),
            sessions.compact, _("The messages stay stored; the model sees a summary of them.")),
    Command(_CONVERSATION, "clear", "", _("start a new conversation"), sessions.clear,
            _("The one before stays stored: /sessions lists it."), ("new",)),
    Command(_CONVERSATION, "rename", "NAME", _("name the conversation"), sessions.rename,
            _("agentkit chat --session NAME continues it.")),
    Command(_CONVERSATION, "save", "NAME", _("store a copy of the conversation as it is now"),
            sessions.save, _("The conversation goes on here; /resume NAME opens the copy.")),
    Command(_CONVERSATION, "export", "FILE", _("write the conversation to a file"), sessions.export,
            _("As JSON where the name ends in .json, else as Markdown.")),
    Command(_OTHERS, "sessions", "[WORDS]", _("list conversations, or those that contain words"),
            sessions.list_sessions, _("* marks this one. For example: /sessions everest")),
    Command(_OTHERS, "resume", "[NAME]", _("continue another conversation"), sessions.resume,
            _("NAME is a name or id, or the beginning of either; default: the one before.")),
    Command(_OTHERS, "fork", "[NAME]", _("continue in a copy of this conversation"), sessions.fork,
            _("Both stay stored: /resume goes back.")),
    Command(_ANSWER, "sources", "[all]", _("show the citations again"), documents.sources,
            _("/sources all: every passage that the model has seen in this conversation.")),
    Command(_ANSWER, "open", "NUMBER", _("show a cited passage in its document"),
            documents.open_passage,
            _("A number is that of a citation, [2]; a letter one of the last /search; a source, "
              "such as notes/a.md, opens the document. Quotes of the answer are highlighted.")),
    Command(_ANSWER, "think", "[on|off]", _("show the model's reasoning"), agent.think,
            _("/think on: show reasoning as it streams. /think off: fold it.")),
    Command(_ANSWER, "last", "", _("show the tool calls in full"), agent.last,
            _("With all of their arguments and results.")),
    Command(_ANSWER, "trace", "[RUN]", _("show the run step by step"), agent.trace,
            _("agentkit trace list names earlier runs.")),
    Command(_ANSWER, "json", "", _("print the answer as JSON"), agent.json_,
            _("With its citations, sentences, tool calls and usage, like agentkit ask --json.")),
    Command(_DOCUMENTS, "kb", "", _("list the documents of the index"), documents.kb,
            _("agentkit kb has more: other collections, statistics, repair.")),
    Command(_DOCUMENTS, "search", "WORDS", _("find passages in the documents"), documents.search,
            _("The passages get letters: /open a shows the first in its document.")),
    Command(_DOCUMENTS, "add", "PATH|URL", _("add a file, a folder or a page to the index"),
            documents.add, _("For example: /add ~/papers or /add https://example.org/page")),
    Command(_AGENT, "status", "", _("show model, session, tokens, speed and cost"), agent.status,
            _("The same as the status bar.")),
    Command(_AGENT, "model", "[NAME]", _("show the model, or switch to another"), agent.model,
            _("For example: /model ollama:qwen3:8b. /models lists those available.")),
    Command(_AGENT, "models", "", _("list the available models"), agent.models,
            _("agentkit models pull NAME adds more.")),
    Command(_AGENT, "system", "[TEXT]", _("show or change the instructions"), agent.system,
            _("/system none: no instructions of your own.")),
    Command(_AGENT, "set", "[NAME VALUE]", _("show or change a setting of this chat"),
            agent.set_,
            _("For example: /set temperature 0.2, or /set k 8. none resets a setting. "
              "agentkit config set stores a setting for later.")),
    Command(_TOOLS, "tools", "[NAME]", _("list the tools of the model, or explain one"),
            agent.tools, _("For example: /tools search_knowledge")),
    Command(_TOOLS, "approve", "[NAME]", _("allow a tool without approval, or list those allowed"),
            agent.approve,
            _("/approve NAME: in this session. /approve forget NAME: require approval again, here "
              "and in later sessions.")),
    Command(_TOOLS, "mcp", "", _("list the MCP servers"), mcp.list_servers,
            _("agentkit mcp has more: their tools, logs and tests, approval.")),
    Command(_TOOLS, "prompts", "[NAME …]", _("list the prompts of MCP servers, or use one"),
            mcp.prompts,
            _("For example: /prompts git:review file=a.py, or just /git:review file=a.py.")),
    Command(_CHAT, "quit", "", _("leave (also Ctrl-D)"), agent.quit_,
            _("The words exit and quit alone do the same."), ("exit", "bye", "q")),
    Command(_CHAT, "help", "[COMMAND]", _("list the commands, or explain one"), show_help,
            _("For example: /help open"), ("?", "h")),
)  # fmt: skip

COMMANDS: Commands = {command.name: command for command in _ALL}
