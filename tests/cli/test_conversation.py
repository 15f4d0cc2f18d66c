"""A conversation of twelve turns with the demo in a real terminal, every screen kept as text."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentkit.project.trust import trust
from tests.cli.screens import check, is_writing, read_golden, render_screen, steady
from tests.cli.terminals import Terminal
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
NAME = "conversation"
COLUMNS, ROWS = 80, 44
SETTINGS = """\
[providers.local]
base_url = "{url}"

[approval]
ask = ["estimate_memory"]
"""


@pytest.fixture
def folder(tmp_path: Path, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo with a model server, in a directory whose name is always the same."""
    demo = tmp_path / "demo"
    for name in ("knowledge", "tools"):
        shutil.copytree(ROOT / name, demo / name)
    settings = SETTINGS.format(url=openai_server.url)
    (demo / "agentkit.toml").write_text(settings, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    trust(Path("demo"))
    return Path("demo")


class Tour:
    """A terminal whose screens are compared with those that were kept, once they have come."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._kept: Mapping[str, str] = {} if is_writing() else read_golden(NAME)
        self._talk: Terminal | None = None

    @property
    def talk(self) -> Terminal:
        assert self._talk is not None
        return self._talk

    def start(self, *arguments: object) -> None:
        self._talk = Terminal(*arguments, columns=COLUMNS, rows=ROWS, NO_COLOR="1")
        self.talk.ready()

    def ask(self, prompt: str) -> None:
        self.talk.say(prompt)
        self.talk.ready()
        self.look(prompt)

    def look(self, title: str) -> None:
        if is_writing():
            self.talk.still()
        else:
            self.talk.until(lambda: steady(self._screen()) == self._kept[title], repr(title))
        self.found[title] = self._screen()

    def end(self) -> None:
        if self._talk is not None:
            self._talk.kill()

    def _screen(self) -> str:
        return render_screen(self.talk.screen, "plain")


@pytest.fixture
def tour() -> Iterator[Tour]:
    made = Tour()
    yield made
    made.end()


def _rewritten_or(replies: list[Reply]) -> Any:
    """Give the replies in order; a question that is to be rewritten stays as it is."""

    def answer(body: dict[str, Any]) -> Reply:
        messages = body["messages"]
        if str(messages[-1]["content"]).startswith("Rewrite"):
            return Reply(text(messages[-1]["content"].rpartition("Last question: ")[2]))
        return replies.pop(0)

    return answer


def test_a_conversation_of_twelve_turns(
    folder: Path, tour: Tour, openai_server: OpenAIServer
) -> None:
    arguments = json.dumps({"parameters_billion": 7, "bits": 8})
    openai_server.answer = _rewritten_or(
        [
            Reply(calls(call(arguments, "estimate_memory", 0, "call1")), "tool_calls"),
            Reply(text("By the formula 7B at 8 bits takes 8.4 GB.")),
            Reply(text("There was a time "), stalls=True),
        ]
    )
    tour.start("chat", "-C", folder, "-m", "extractive")
    tour.ask("7B 模型用 4 位量化加载，大约占多少显存？")
    tour.ask("那 8 位呢？")
    tour.ask("谢谢！")
    tour.ask("礼品卡多少钱？")
    tour.ask("SFT 和 RLHF 有什么区别？")
    tour.ask("KV Cache 是什么？")
    tour.ask("/open 1")
    tour.ask("/model local:small")
    tour.talk.say("Estimate the memory of a 7B model at 8 bits with your tool.")
    tour.talk.await_approval_prompt()
    tour.look("approval")
    tour.talk.say("y")
    tour.talk.ready()
    tour.look("approved")
    tour.talk.say("Tell me a long story.")
    tour.talk.expect("There was a time")
    tour.talk.press("ctrl-c")
    tour.talk.ready()
    tour.look("stopped")
    tour.talk.press("ctrl-d")
    assert tour.talk.close() == 0
    tour.start("chat", "-C", folder, "-m", "extractive", "--continue")
    tour.look("continued")
    tour.ask("KV Cache 为什么能加快推理？")
    tour.ask("它有什么代价？")
    check(NAME, tour.found)
