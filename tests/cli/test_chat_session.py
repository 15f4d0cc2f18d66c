"""A long conversation in a real terminal, with a real model server, over a small project.

Each step waits for what the screen or the server shows; none waits for the clock.
"""

import os
import signal
import socket
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette

from agentkit.project.trust import trust
from tests.cli.terminals import Terminal
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text

pytestmark = pytest.mark.slow

NOTES = """# Heights

## Mountains

Mount Everest is 8849 metres high. K2 is 8611 metres high.

## 山

珠穆朗玛峰高八千八百四十九米。
"""

TOOL = '''
from agentkit import tool

@tool(needs_approval=True)
def send(to: str, body: str) -> str:
    """Send a message."""
    return f"sent to {to}: {body}"
'''


class ChatServer(OpenAIServer):
    """Plays its script to the chat alone; asked to rewrite a question, it leaves it as it is."""

    def _reply(self, body: Any) -> Reply:
        if str(body["messages"][-1]["content"]).startswith("Rewrite the last question"):
            self.requests.pop()
            return Reply(text(""))
        return super()._reply(body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "heights"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "notes.md").write_text(NOTES, encoding="utf-8")
    (folder / "tools").mkdir()
    (folder / "tools" / "mail.py").write_text(TOOL, encoding="utf-8")
    trust(folder)
    return folder


@pytest.fixture
def address() -> Iterator[Any]:
    """A loopback address that stays ours when no server listens there."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()


@contextmanager
def _listening(app: Starlette, address: Any) -> Iterator[None]:
    config = uvicorn.Config(app, log_level="critical", ws="none", lifespan="off",
                            timeout_graceful_shutdown=1)  # fmt: skip
    with socket.create_server(address) as listener:
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()


def _sending(to: str, body: str) -> Reply:
    arguments = f'{{"to": "{to}", "body": "{body}"}}'
    return Reply(calls(call(arguments, "send", 0, "call_1")), "tool_calls")


def _says(*pieces: str) -> Reply:
    return Reply(text(*pieces))


def _sent(server: Any) -> Any:
    """The last result that the model was given."""
    return [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "tool"][-1]


def _holds(*pieces: str) -> Reply:
    """What is sent before the stream stands still, until the chat hangs up."""
    return Reply(text(*pieces), None, None, stalls=True)


@pytest.mark.timeout(600)
def test_a_long_conversation_in_a_real_terminal(folder: Path, address: Any, tmp_path: Path) -> None:
    server = ChatServer()
    options = ("chat", "-C", folder, "-m", "openai:small", "--base-url",
               f"http://127.0.0.1:{address[1]}/v1")  # fmt: skip
    talk = Terminal(*options)
    try:
        with _listening(server.app, address):
            talk.ready()
            for steps in (_ask_and_look, _approve_and_deny, _interrupt, _type_in_other_ways,
                          _take_back, _make_small):  # fmt: skip
                steps(talk, server)
            _go_elsewhere(talk, server, tmp_path)
        _lose_the_server(talk)
        with _listening(server.app, address):
            _find_it_again(talk, server)
            talk.press("ctrl-d")
            assert talk.close() == 0
            assert "To continue: agentkit chat -C" in talk.text
            talk = Terminal(*options, "--continue")
            _resume(talk, server)
    finally:
        talk.kill()


def test_ctrl_c_stops_an_answer_and_a_second_one_leaves_and_keeps_what_was_stated(
    folder: Path, address: Any
) -> None:
    server = ChatServer()
    options = ("chat", "-C", folder, "-m", "openai:small", "--base-url",
               f"http://127.0.0.1:{address[1]}/v1")  # fmt: skip
    server.replies(_holds("The first half of a long ", "answer"))
    with _listening(server.app, address):
        talk = Terminal(*options)
        try:
            talk.ready()
            talk.say("Tell me more")
            talk.expect("The first half of a long answer")
            talk.press("ctrl-c")
            talk.expect("Ctrl-C once more leaves")
            talk.press("ctrl-c")
            assert talk.close() == 0
            assert "Stored as 'Tell me more'" in talk.text
        finally:
            talk.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_chat_that_is_killed_in_an_answer_keeps_what_was_written(
    folder: Path, address: Any, number: signal.Signals
) -> None:
    server = ChatServer()
    options = ("chat", "-C", folder, "-m", "openai:small", "--base-url",
               f"http://127.0.0.1:{address[1]}/v1")  # fmt: skip
    server.replies(_holds("The first half of a long ", "answer"), _says("The other half."))
    with _listening(server.app, address):
        talk = Terminal(*options)
        try:
            talk.ready()
            talk.say("Tell me more")
            talk.expect("The first half of a long answer")
            os.kill(talk.child.pid, number)
            code = talk.close()
            if number != signal.SIGKILL:
                assert code == 128 + number
                assert "Traceback" not in talk.whole
            talk = Terminal(*options, "--continue")
            talk.ready()
            talk.tell("Go on")
            assert "The other half." in talk.text
            talk.press("ctrl-d")
            assert talk.close() == 0
        finally:
            talk.kill()
    before = [m for m in server.requests[-1]["messages"] if m["role"] in ("user", "assistant")]
    written = " ".join(str(m["content"]) for m in before)
    assert written.index("Tell me more") < written.index("The first half of a long")


def _marked(talk: Any) -> list[bool]:
    """Whether the quote's first and last characters stand out, and one behind it."""
    quote = talk.row("Mount Everest is 8849 metres high. K2 is 8611")
    return [quote[x].reverse for x in (0, 32, 36)]


def _ask_and_look(talk: Any, server: Any) -> None:
    """A cited answer, streamed; its passage in the document; an unsupported claim."""
    server.replies(_says("Mount Everest is ", "**8849** metres", " high [1]. ",
                         "The moon is made of green cheese and gold [1]."))  # fmt: skip
    talk.tell("How high is Everest?")
    assert "Mount Everest is 8849 metres high [1]." in talk.text
    assert "[1] notes.md > Mountains" in talk.text
    assert "search_knowledge(" in talk.text
    doubtful = talk.row("The moon is made of green cheese")
    at = talk.column("The moon is made of green cheese")
    assert (doubtful[at].underscore, doubtful[at - 3].underscore) == (True, False)
    assert "Unsupported claims:" in talk.text
    talk.expect("openai:small · How high is Everest? · ")
    talk.tell("/open 1")
    talk.until(lambda: _marked(talk) == [True, True, False], "the quote in reverse video")
    talk.tell("/opne 1")
    assert "Did you mean /open?" in talk.text
    before = talk.whole.count("[1] notes.md > Mountains")
    talk.tell("/sources")
    assert talk.whole.count("[1] notes.md > Mountains") == before + 1


def _approve_and_deny(talk: Any, server: Any) -> None:
    """No with a reason, other arguments, and always in this folder."""
    server.replies(_sending("Ann", "hello"), _says("I did not."))
    talk.say("Write to Ann")
    talk.await_approval_prompt()
    assert '"body": "hello"' in talk.text
    talk.tell("n too early")
    assert "I did not." in talk.text
    assert "Reason: too early" in _sent(server)
    server.replies(_sending("Bob", "hello"), _says("Done."))
    talk.say("Write to Bob")
    talk.await_approval_prompt()
    talk.say("e")
    talk.expect("Alt-Enter when done")
    talk.press("clear-all")
    talk.child.send('{"to": "Bob", "body": "good day"}')
    talk.expect('{"to": "Bob", "body": "good day"}')
    talk.press("alt-enter")
    talk.await_approval_prompt()
    assert '"body": "good day"' in talk.text
    talk.tell("a")
    assert "approvals.json" in talk.text
    assert "Done." in talk.text
    assert "sent to Bob: good day" in _sent(server)
    server.replies(_sending("Eve", "again"), _says("Twice."))
    talk.tell("And to Eve")
    assert "sent to Eve: again" in _sent(server)
    talk.tell("/last")
    assert "send returned after" in talk.text


def _interrupt(talk: Any, server: Any) -> None:
    """Ctrl-C in mid-answer keeps the text so far."""
    server.left.clear()
    server.replies(_holds("The first half of a long ", "answer"))
    talk.say("Tell me more")
    talk.expect("The first half of a long answer")
    talk.press("ctrl-c")
    talk.ready()
    assert "Stopped" in talk.text
    server.left.wait()
    server.replies(_says("The other half."))
    talk.tell("Go on")
    output = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "assistant"]
    assert "The first half of a long answer" in output


def _type_in_other_ways(talk: Any, server: Any) -> None:
    """Chinese, several lines, a long paste, an attached document, a tab, a line of before."""
    server.replies(_says("珠穆朗玛峰高八千八百四十九米 [2]。"))
    talk.tell("珠穆朗玛峰有多高？")
    assert "珠穆朗玛峰高八千八百四十九米 [2]。" in talk.text
    assert _last_question(server) == "珠穆朗玛峰有多高？"
    for first, key, second in (('"""one', "enter", 'two"""'), ("three", "alt-enter", "four")):
        server.replies(_says("Two lines."))
        talk.type(first)
        talk.press(key)
        talk.until(lambda: talk.line == "", "a new line")
        talk.child.send(second)
        talk.expect(f"  {second}")
        talk.press("enter")
        talk.ready()
        assert _last_question(server) == f"{first}\n{second}".replace('"""', "")
    server.replies(_says("A lot."))
    lines = "\n".join(f"line {number}" for number in range(10_000))
    talk.child.send(f"\x1b[200~{lines}\x1b[201~")
    talk.expect("[paste 1: 10000 lines]")
    talk.press("enter")
    talk.expect("A lot.")
    talk.ready()
    assert _last_question(server) == lines
    server.replies(_says("Attached."))
    talk.tell("Sum up @notes.md")
    assert "K2 is 8611 metres high." in _last_question(server)
    talk.child.send("/sour")
    talk.expect("show the citations")
    talk.press("tab")
    talk.until(lambda: talk.line == "› /sources", "the completed command")
    talk.press("enter")
    talk.ready()
    assert "Nothing is cited yet" in talk.text
    talk.press("up")
    talk.until(lambda: talk.line == "› /sources", "the line before")
    talk.press("ctrl-c")
    talk.ready()


def _take_back(talk: Any, server: Any) -> None:
    """Retry, edit and undo."""
    server.replies(_says("Better."))
    talk.tell("/retry")
    assert "Better." in talk.text
    assert "K2 is 8611 metres high." in _last_question(server)
    server.replies(_says("Edited."))
    talk.tell("/edit What is K2?")
    assert _last_question(server) == "What is K2?"
    talk.tell("/undo")
    assert "Removed: What is K2?" in talk.text


def _make_small(talk: Any, server: Any) -> None:
    """A terminal that becomes narrow in mid-answer shows the answer as it is to be read."""
    long = "some words " * 20 + "and then"
    server.replies(_holds(long))
    talk.say("Speak long")
    talk.expect("and then")
    talk.resize(50, 24)
    talk.expect("\n".join(textwrap.wrap(long, 50)))
    assert talk.text.count("and then") == 1
    talk.resize(80, 24)
    talk.expect("\n".join(textwrap.wrap(long, 80)))
    talk.press("ctrl-c")
    talk.ready()
    talk.resize(50, 24)
    server.replies(_says("A narrow answer of more words than one row of fifty columns has."))
    talk.tell("Again")
    assert "A narrow answer of more words than one row of\nfifty columns has." in talk.text
    talk.resize(80, 24)


def _go_elsewhere(talk: Terminal, server: ChatServer, tmp_path: Path) -> None:
    """Rename, fork, come back, export."""
    talk.tell("/rename heights")
    assert "is now named heights" in talk.text
    talk.tell("/fork branch")
    assert "This is a copy" in talk.text
    talk.tell("/resume heights")
    assert "heights: " in talk.text
    talk.tell("/sessions")
    assert "branch" in talk.text
    talk.tell(f"/export {tmp_path / 'talk.md'}")
    written = (tmp_path / "talk.md").read_text(encoding="utf-8")
    assert "Mount Everest is **8849** metres high [1]." in written
    assert "- [1] notes.md > Mountains" in written


def _lose_the_server(talk: Terminal) -> None:
    """The error is one line, and the conversation goes on."""
    talk.tell("Are you there?")
    assert "/retry asks again" in talk.text


def _find_it_again(talk: Terminal, server: ChatServer) -> None:
    server.replies(_says("I am back."))
    talk.tell("/retry")
    assert "I am back." in talk.text
    assert _last_question(server) == "Are you there?"


def _resume(talk: Terminal, server: ChatServer) -> None:
    """Another process goes on where this one left off, its citations too."""
    talk.ready()
    assert "Continuing 'heights'" in talk.text
    talk.tell("/open 1")
    assert "K2 is 8611 metres high." in talk.text
    server.replies(_says("I remember."))
    talk.tell("Do you remember?")
    assert any(m["content"] == "I am back." for m in server.requests[-1]["messages"])
    talk.tell("/approve")
    assert "Always in this folder: send" in talk.text
    talk.press("ctrl-c")
    talk.expect("Ctrl-C once more leaves")
    talk.press("ctrl-c")
    assert talk.close() == 0


def _last_question(server: Any) -> str:
    """The last question that the model was asked."""
    content = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "user"][-1]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)
