"""The one table of the chat's commands."""

from __future__ import annotations

from agentkit.cli.chat import dials, looking, machine, passages, past, servers
from agentkit.cli.chat.command import Command, table

_TALK = "This conversation"
_PAST = "Other conversations"
_ANSWER = "The last answer"
_DOCUMENTS = "Documents"
_MACHINE = "What answers"
_TOOLS = "Tools and servers"
_HERE = "Here"

COMMANDS = table(
    Command(_TALK, "retry", "", "ask the last question again", past.retry,
            "The answer that there was is taken back."),
    Command(_TALK, "edit", "[TEXT]", "change the last question and ask again", past.edit,
            "Without a text the question stands at the prompt, to be changed there."),
    Command(_TALK, "undo", "", "take the last question and its answer back", past.undo,
            "As often as there are questions."),
    Command(_TALK, "compact", "", "shorten the older turns, to make room in the window",
            past.compact, "What was said is kept; the model sees a summary of it."),
    Command(_TALK, "clear", "", "begin a new conversation", past.clear,
            "The one before is kept: /sessions lists it.", ("new",)),
    Command(_TALK, "rename", "NAME", "give the conversation a name", past.rename,
            "agentkit chat --session NAME goes on with it."),
    Command(_TALK, "save", "NAME", "keep a copy of the conversation as it is now", past.save,
            "The conversation goes on here; /resume NAME opens the copy."),
    Command(_TALK, "export", "FILE", "write the conversation to a file", past.export,
            "As JSON where the name ends in .json, else as Markdown."),
    Command(_PAST, "sessions", "[WORDS]", "list conversations, or those where words were said",
            past.sessions, "* marks this one. For example: /sessions everest"),
    Command(_PAST, "resume", "[NAME]", "go on in another conversation", past.resume,
            "NAME is its name or id, or the beginning of either; without one, the one before."),
    Command(_PAST, "fork", "[NAME]", "go on in a copy of this conversation", past.fork,
            "Both are kept: /resume goes back."),
    Command(_ANSWER, "sources", "[all]", "show the citations again", passages.sources,
            "/sources all: every passage that the model has seen in this conversation."),
    Command(_ANSWER, "open", "NUMBER", "show a cited passage in its document", passages.open_,
            "A number is that of a citation, [2]; a letter one of the last /search; a source, such "
            "as notes/a.md, opens the document. What the answer quotes is highlighted."),
    Command(_ANSWER, "think", "[on|off]", "show what the model thought", looking.think,
            "/think on: show thoughts as they come. /think off: fold them."),
    Command(_ANSWER, "last", "", "show the calls of tools, whole", looking.last,
            "With all of their arguments and results."),
    Command(_ANSWER, "trace", "[RUN]", "show the run step by step", looking.trace,
            "agentkit trace list names earlier runs."),
    Command(_ANSWER, "json", "", "print the answer as JSON", looking.json_,
            "With its citations, sentences, tool calls and usage, as agentkit ask --json has it."),
    Command(_DOCUMENTS, "kb", "", "list the documents of the index", passages.kb,
            "agentkit kb has more: other collections, statistics, repair."),
    Command(_DOCUMENTS, "search", "WORDS", "find passages in the documents", passages.search,
            "The passages get letters: /open a shows the first in its document."),
    Command(_DOCUMENTS, "add", "PATH|URL", "put a file, a folder or a page into the index",
            passages.add, "For example: /add ~/papers or /add https://example.org/page"),
    Command(_MACHINE, "status", "", "say model, session, tokens, speed and cost", machine.status,
            "What the bar below the line says, for those who have none."),
    Command(_MACHINE, "model", "[NAME]", "say which model answers, or let another one",
            machine.model, "For example: /model ollama:qwen3:8b. /models lists those at hand."),
    Command(_MACHINE, "models", "", "list the models at hand", machine.models,
            "agentkit models pull NAME brings more."),
    Command(_MACHINE, "system", "[TEXT]", "show or change the instructions", machine.system,
            "/system none: no instructions of your own."),
    Command(_MACHINE, "set", "[NAME VALUE]", "show or change a setting of this chat", dials.set_,
            "For example: /set temperature 0.2, or /set k 8. none leaves the choice to the model. "
            "agentkit config set keeps a setting for later."),
    Command(_TOOLS, "tools", "[NAME]", "list the tools that the model may call, or explain one",
            machine.tools, "For example: /tools search_knowledge"),
    Command(_TOOLS, "approve", "[NAME]", "let a tool run unasked, or list what may",
            machine.approve, "/approve NAME: in this session. /approve forget NAME: let it ask "
            "again, here and in later sessions."),
    Command(_TOOLS, "mcp", "", "list the MCP servers", servers.mcp,
            "agentkit mcp has more: their tools, logs and tests, approval."),
    Command(_TOOLS, "prompts", "[NAME …]", "list the prompts of MCP servers, or take one",
            servers.prompts,
            "For example: /prompts git:review file=a.py, or just /git:review file=a.py."),
    Command(_HERE, "quit", "", "leave (Ctrl-D does too)", looking.quit_,
            "So do the words exit and quit alone.", ("exit", "bye", "q")),
)  # fmt: skip
