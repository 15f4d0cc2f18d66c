"""No command lets text from files, sessions or servers control the terminal."""

import json
import re
from pathlib import Path

import pexpect
import pytest

from tests.cli.process import AGENTKIT, SECONDS

pytestmark = pytest.mark.slow

HOSTILE = (
    "\x1b]0;PWNTITLE\x07\x9d0;PWNC1\x9c\u202ePWNBIDI\x1b]52;c;UFdO=\x07"
    "\x1b]8;;http://pwn/\x07PWNLINK\x1b]8;;\x07\x1b[2JPWNCLEAR\rPWNRETURN\x08"
    "\x1bPPWN\x1b\\\x1b_PWN\x1b\\\u200fPWN\u2028PWN\u200bPWN\U000e0041PWN\x7fPWN"
)
RAW = re.compile(
    "\x1b\\][0-9]*;?[^\x07]{0,20}PWN|\x1b\\]52|\x1b\\]8;;http://pwn|\x1b\\[2JPWN|\x9d|\x9c"
    "|[\u200b\u200f\u2028-\u202e\u2066-\u2069\U000e0041\x7f]|\x1b[P_]|\rPWNRETURN|\x08"
)
COMMANDS = (
    ("index",),
    ("ask", "--model", "extractive", "zebra number"),
    ("ask", "--model", "extractive", "--json", f"zebra {HOSTILE} number"),
    ("ask", "--model", "extractive", "--jsonl", f"zebra {HOSTILE} number"),
    ("search", "zebra"),
    ("search", "zebra", "--json"),
    ("kb", "show"),
    ("kb", "list"),
    ("kb", "stats"),
    ("doctor",),
    ("sessions", "list"),
    ("sessions", "show"),
    ("sessions", "show", "--json"),
    ("sessions", "search", "zebra"),
    ("trace", "list"),
    ("trace", "show"),
    ("trace", "show", "--json"),
    ("config", "show", "model"),
    ("trust",),
)


def _printed(*arguments: str) -> str:
    """What a command writes to a terminal of 120 columns, to its end."""
    command, *first = AGENTKIT
    terminal = pexpect.spawn(
        command, [*first, *arguments], encoding="utf-8", codec_errors="surrogateescape",
        dimensions=(50, 120), timeout=SECONDS,
    )  # fmt: skip
    terminal.expect([r"\[y/N\]", pexpect.EOF])
    before = str(terminal.before)
    if terminal.isalive():
        terminal.sendline("n")
        terminal.expect(pexpect.EOF)
        before += str(terminal.before)
    return before


def test_names_of_files_that_trust_lists_differ_where_the_names_do(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    for name in ("a.py", "a\u200b.py", "a\u202e.py", "a\n  b.py", "a\u3164.py"):
        (tmp_path / "tools" / name).write_text("", encoding="utf-8")
    listed = _printed("trust", str(tmp_path)).replace("\r", "").split("\n")
    names = [line.strip() for line in listed if "tools/" in line]
    assert len(set(names)) == len(names) == 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hostile")
    knowledge = root / "knowledge"
    knowledge.mkdir()
    text = f"# Heading {HOSTILE} end\n\nThe zebra number {HOSTILE} is 4711 in this zebra text.\n"
    (knowledge / "text.md").write_text(text, encoding="utf-8")
    title = json.dumps(f"T {HOSTILE}")
    front = f"---\ntitle: {title}\ntags: [{title}]\n---\n\nzebra facts."
    (knowledge / "front.md").write_text(front)
    name = HOSTILE.replace("/", "_") + ".md"
    (knowledge / name).write_text("# zebra file\n\nA zebra in a file of a hostile name.")
    (knowledge / ("bad" + name.replace(".md", ".pdf"))).write_bytes(b"no PDF")
    (root / "tools").mkdir()
    (root / "tools" / (HOSTILE.replace("/", "_") + ".py")).write_text("import os\n")
    settings = f'model = {json.dumps(f"openai:{HOSTILE}")}\n[tracing]\nfolder = "traces"\n'
    (root / "agentkit.toml").write_text(settings)
    return root


def test_no_command_prints_control_characters_of_text_from_outside(folder: Path) -> None:
    asked = ("ask", "--model", "extractive", "--session", "s", f"zebra {HOSTILE} number")
    found = {
        " ".join(command[:3]): RAW.findall(_printed(*command, "--folder", str(folder)))
        for command in (COMMANDS[0], asked, *COMMANDS[1:])
    }
    assert {command: raw for command, raw in found.items() if raw} == {}
