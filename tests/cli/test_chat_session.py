"""A long conversation in a real terminal, with a real model server, over a small project."""

import os
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn

from agentkit.project.trust import trust
from tests.cli.terminals import Terminal
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text
from tests.servers.running import refused_url

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

    def _reply(self, body):
        if str(body["messages"][0]["content"]).startswith("Rewrite the last question"):
            self.requests.pop()
            return Reply(text(""))
        return super()._reply(body)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "heights"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "notes.md").write_text(NOTES, encoding="utf-8")
    (folder / "tools").mkdir()
    (folder / "tools" / "mail.py").write_text(TOOL, encoding="utf-8")
    trust(folder)
    return folder


@contextmanager
def _listening(app, port):
    """A server on a port of our choice, which may have had one before."""
    config = uvicorn.Config(app, "127.0.0.1", port, log_level="critical", ws="none",
                            lifespan="off", timeout_graceful_shutdown=1)  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)


def _sending(to, body):
    arguments = f'{{"to": "{to}", "body": "{body}"}}'
    return Reply(calls(call(arguments, "send", 0, "call_1")), "tool_calls")


def _says(*pieces):
    return Reply(text(*pieces))


def _sent(server):
    """The last result that the model was given."""
    return [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "tool"][-1]


@pytest.mark.skipif(
    not os.environ.get("AGENTKIT_TEST_TERMINAL"),
    reason="forty steps against the clock: set AGENTKIT_TEST_TERMINAL=1 on a quiet machine",
)
def test_a_long_conversation_in_a_real_terminal(folder, tmp_path):
    server, port = ChatServer(), int(refused_url().rpartition(":")[2])
    options = ("chat", "-C", folder, "-m", "openai:small", "--base-url",
               f"http://127.0.0.1:{port}/v1")  # fmt: skip
    talk = None
    try:
        with _listening(server.app, port):
            talk = Terminal(*options)
            talk.ready(60)
            for steps in (_ask_and_look, _approve_and_deny, _interrupt, _type_in_other_ways,
                          _take_back, _make_small):  # fmt: skip
                steps(talk, server)
            _go_elsewhere(talk, server, tmp_path)
        _lose_the_server(talk)
        with _listening(server.app, port):
            _find_it_again(talk, server)
            talk.press("ctrl-d")
            assert talk.close() == 0
            assert "agentkit chat --continue" in talk.text
            talk = Terminal(*options, "--continue")
            _resume(talk, server)
    finally:
        if talk:
            talk.kill()


def _ask_and_look(talk, server):
    """A cited answer, streamed; its passage in the document; what nothing supports."""
    server.replies(_says("Mount Everest is ", "**8849** metres", " high [1]. ",
                         "The moon is made of green cheese and gold [1]."))  # fmt: skip
    talk.say("How high is Everest?")
    talk.expect("[1] notes.md > Mountains")
    talk.expect("not supported")
    talk.ready()
    assert "Mount Everest is 8849 metres high [1]." in talk.text
    talk.expect("openai:small · How high is Everest? · ")
    assert "search_knowledge(" in talk.text
    talk.say("/open 1")
    talk.expect("K2 is 8611 metres high.")
    talk.ready()
    quote = talk.row("Mount Everest is 8849 metres high. K2")
    assert [quote[x].bg for x in (0, 33, 36)] == ["brown", "brown", "default"]
    talk.say("/opne 1")
    talk.expect("did you mean /open?")
    talk.say("/sources")
    talk.until(lambda: talk.text.count("[1] notes.md > Mountains") >= 2)
    talk.ready()


def _approve_and_deny(talk, server):
    """No with a reason, other arguments, and always in this folder."""
    server.replies(_sending("Ann", "hello"), _says("I did not."))
    talk.say("Write to Ann")
    talk.expect("allow? y/s/a/n/e")
    assert '"body": "hello"' in talk.text
    talk.say("n too early")
    talk.expect("I did not.")
    talk.ready()
    assert "They said: too early" in _sent(server)
    server.replies(_sending("Bob", "hello"), _says("Done."))
    talk.say("Write to Bob")
    talk.expect("allow? y/s/a/n/e")
    talk.say("e")
    talk.expect("Alt-Enter when done")
    talk.press("clear-all")
    talk.child.send('{"to": "Bob", "body": "good day"}')
    talk.expect("good day")
    talk.press("alt-enter")
    talk.until(lambda: talk.text.count("allow? y/s/a/n/e") >= 2 and "good day" in talk.text)
    talk.say("a")
    talk.expect("approvals.json")
    talk.expect("Done.")
    talk.ready()
    assert "sent to Bob: good day" in _sent(server)
    server.replies(_sending("Eve", "again"), _says("Twice."))
    talk.say("And to Eve")
    talk.expect("Twice.")
    talk.ready()
    assert "sent to Eve: again" in _sent(server)
    talk.say("/last")
    talk.expect("send gave after")
    talk.ready()


def _interrupt(talk, server):
    """Ctrl-C in mid-answer keeps what was said."""
    server.replies(Reply(text("The first half of a long ", "answer"), None, None, stalls=True))
    talk.say("Tell me more")
    talk.expect("The first half of a long answer")
    talk.press("ctrl-c")
    talk.expect("stopped")
    talk.ready()
    assert server.left.wait(10)
    server.replies(_says("The other half."))
    talk.say("Go on")
    talk.expect("The other half.")
    talk.ready()
    said = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "assistant"]
    assert "The first half of a long answer" in said


def _type_in_other_ways(talk, server):
    """Chinese, several lines, a long paste, an attached document, a tab."""
    server.replies(_says("珠穆朗玛峰高八千八百四十九米 [2]。"))
    talk.say("珠穆朗玛峰有多高？")
    talk.expect("珠穆朗玛峰高八千八百四十九米 [2]。")
    talk.ready()
    server.replies(_says("Two lines."))
    talk.child.send('"""one')
    talk.press("enter")
    talk.child.send('two"""')
    talk.press("enter")
    talk.expect("Two lines.")
    talk.ready()
    assert _asked(server) == "one\ntwo"
    server.replies(_says("A lot."))
    lines = "\n".join(f"line {number}" for number in range(10_000))
    talk.child.send(f"\x1b[200~{lines}\x1b[201~")
    talk.expect("[paste 1: 10000 lines]")
    talk.press("enter")
    talk.expect("A lot.")
    talk.ready()
    assert _asked(server) == lines
    server.replies(_says("Attached."))
    talk.say("Sum up @notes.md")
    talk.expect("Attached.")
    talk.ready()
    assert "K2 is 8611 metres high." in _asked(server)
    talk.child.send("/sour")
    talk.expect("show the citations")
    talk.press("tab")
    talk.until(lambda: talk.line == "› /sources")
    talk.press("enter")
    talk.expect("nothing is cited yet")
    talk.ready()


def _take_back(talk, server):
    """Retry, edit and undo."""
    server.replies(_says("Better."))
    talk.say("/retry")
    talk.expect("Better.")
    talk.ready()
    assert "K2 is 8611 metres high." in _asked(server)
    server.replies(_says("Edited."))
    talk.say("/edit What is K2?")
    talk.expect("Edited.")
    talk.ready()
    talk.say("/undo")
    talk.expect("taken back: What is K2?")
    talk.ready()


def _make_small(talk, server):
    """A window that shrinks between two answers."""
    server.replies(Reply(text("word " * 30, "and then"), None, None, stalls=True))
    talk.say("Speak long")
    talk.expect("and then")
    talk.press("ctrl-c")
    talk.expect("stopped")
    talk.ready()
    talk.resize(50, 24)
    talk.ready()
    server.replies(_says("A narrow answer of more words than one row of fifty columns has."))
    talk.say("Again")
    talk.expect("columns has.")
    talk.ready()
    talk.resize(80, 24)


def _go_elsewhere(talk, server, tmp_path):
    """Rename, fork, come back, export."""
    talk.say("/rename heights")
    talk.expect("is called heights")
    talk.ready()
    talk.say("/fork branch")
    talk.expect("you are in a copy")
    talk.ready()
    talk.say("/resume heights")
    talk.expect("heights: ")
    talk.ready()
    talk.say("/sessions")
    talk.expect("branch")
    talk.ready()
    talk.say(f"/export {tmp_path / 'talk.md'}")
    talk.expect("written to")
    talk.ready()
    written = (tmp_path / "talk.md").read_text(encoding="utf-8")
    assert "Mount Everest is **8849** metres high [1]." in written
    assert "- [1] notes.md > Mountains" in written


def _lose_the_server(talk):
    """The error is one line, and the conversation goes on."""
    talk.say("Are you there?")
    talk.expect("/retry asks again", 60)
    talk.ready()


def _find_it_again(talk, server):
    server.replies(_says("I am back."))
    talk.say("/retry")
    talk.expect("I am back.")
    talk.ready()
    assert _asked(server) == "Are you there?"


def _resume(talk, server):
    """Another process goes on where this one left off, its citations too."""
    talk.ready(60)
    assert "messages from before" in talk.text
    talk.say("/open 1")
    talk.expect("K2 is 8611 metres high.")
    talk.ready()
    server.replies(_says("I remember."))
    talk.say("Do you remember?")
    talk.expect("I remember.")
    talk.ready()
    assert any(m["content"] == "I am back." for m in server.requests[-1]["messages"])
    talk.say("/approve")
    talk.expect("always here: send")
    talk.ready()
    talk.press("ctrl-c")
    talk.expect("Ctrl-C once more leaves")
    talk.press("ctrl-c")
    assert talk.close() == 0


def _asked(server):
    """The last question that the model was asked."""
    content = [m["content"] for m in server.requests[-1]["messages"] if m["role"] == "user"][-1]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)
