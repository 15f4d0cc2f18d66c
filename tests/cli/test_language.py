"""Messages in the user's language: English, or Chinese by AGENTKIT_LANG or the locale."""

import gettext
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from string import Formatter
from subprocess import CompletedProcess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from agentkit.cli.app import command_line
from agentkit.cli.helping import commands
from agentkit.cli.language import Catalog, labelled, language, translated
from tests.cli import language_file
from tests.cli.language_file import MO, as_mo, as_po, messages, translations

AGENTKIT = [sys.executable, "-m", "agentkit"]
VARIABLES = ("AGENTKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE")
KNOWN = translations()
CHINESE = r"[\u4e00-\u9fff]"
REFRESH = "python -m tests.cli.language_file brings the file up to date"


def _environment(**said: Any) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**kept, "PYTHONUTF8": "1", **said}


def _agentkit(*arguments: str | Path, stdin: str = "", **said: Any) -> CompletedProcess[str]:
    return subprocess.run(
        [*AGENTKIT, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
        env=_environment(**said),
    )


@pytest.fixture
def speak(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def speak(**said: Any) -> None:
        for name in VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in said.items():
            monkeypatch.setenv(name, value)

    return speak


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose document says what messages of ours say too."""
    folder = tmp_path_factory.mktemp("zh") / "app"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "a.md").write_text("nothing was found\n", encoding="utf-8")
    assert _agentkit("index", "-C", folder).returncode == 0
    return folder


def _places(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


def _endings(template: str) -> set[str]:
    """Places that stand at the end of a word: the s of a plural, which Chinese has not."""
    return set(re.findall(r"(?<=[a-z])\{(\d+)\}", template))


# The catalog


def test_every_message_of_the_source_has_a_translation() -> None:
    assert messages() == KNOWN.keys(), REFRESH
    assert [message for message, said in KNOWN.items() if not said] == []


def test_the_files_are_what_the_source_and_the_translations_make_them() -> None:
    catalog = language_file.updated()
    assert language_file.PO.read_bytes() == as_po(catalog), REFRESH
    assert MO.read_bytes() == as_mo(catalog), REFRESH


def test_what_is_loaded_is_what_was_translated() -> None:
    with MO.open("rb") as file:
        loaded = gettext.GNUTranslations(file)
    assert all(loaded.gettext(message) == said for message, said in KNOWN.items())


def test_a_translation_has_the_places_of_its_message() -> None:
    assert [
        message
        for message, said in KNOWN.items()
        if not _places(message) - _endings(message) <= _places(said) <= _places(message)
    ] == []


def test_a_chinese_sentence_has_chinese_marks() -> None:
    assert [
        said for said in KNOWN.values() if re.search(rf"{CHINESE}[,;:?!.]|[,;?!]{CHINESE}", said)
    ] == []


def test_commands_addresses_options_and_files_are_not_translated() -> None:
    kept = re.compile(r"`[^`]+`|https?://[\w.:/]+\w|--[a-z][a-z-]+|[a-z_]+\.(?:toml|json|md)\b")
    assert [
        message
        for message, said in KNOWN.items()
        if not all(word in said for word in kept.findall(message))
    ] == []


# Which language


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, "en"),
        ({"AGENTKIT_LANG": "zh"}, "zh"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LC_MESSAGES": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"AGENTKIT_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LANG": "zh_CN.UTF-8"}, "zh"),
    ],
)
def test_the_first_variable_that_is_set_decides(speak: Any, said: Any, expected: str) -> None:
    speak(**said)
    assert language() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"AGENTKIT_LANG": "zh"}, "错误：没有设置 'nothing'。"),
        ({"LANG": "zh_CN.UTF-8"}, "错误：没有设置 'nothing'。"),
        ({"AGENTKIT_LANG": "en", "LANG": "zh_CN.UTF-8"}, "error: 'nothing' is no setting."),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "error: 'nothing' is no setting."),
    ],
)
def test_an_error_is_said_in_the_users_language(
    said: dict[str, str], expected: str, tmp_path: Path
) -> None:
    done = _agentkit("config", "show", "nothing", "-C", tmp_path, **said)
    assert (done.returncode, done.stderr.strip()) == (3, expected)


@pytest.mark.slow
def test_english_opens_no_catalog() -> None:
    hook = (
        "import sys, atexit; opened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(str(a[0])) if e == 'open' else None)\n"
        "atexit.register(lambda: print(any(path.endswith('.mo') for path in opened)))\n"
        "sys.argv = ['agentkit', '--help']\n"
        "from agentkit.cli.app import main; main()"
    )
    opens = {
        said: subprocess.run(
            [sys.executable, "-c", hook], capture_output=True, text=True, encoding="utf-8",
            check=False, timeout=100, env=_environment(AGENTKIT_LANG=said),
        ).stdout.splitlines()[-1]
        for said in ("en", "zh")
    }  # fmt: skip
    assert opens == {"en": "False", "zh": "True"}


# What is said of what


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a/b is no folder. Name the folder of a project.", "a/b 不是文件夹。请给出项目的文件夹。"),
        ("There is no tool 'x'. There is: y, z.", "没有工具 'x'。现有：y, z。"),
        (
            "The index is used as it is: /a/b.sqlite cannot be read: it ends early.",
            "按现状使用索引：无法读取 /a/b.sqlite：it ends early。",
        ),
        ("notes.md: no text: it holds binary data", "notes.md：不是文本：含有二进制数据"),
        ("'x' is no setting. Did you mean 'y'?", "没有设置 'x'。你是不是想用 'y'？"),
        ("app: 2 documents. Model: extractive.", "app：2 个文档。模型：extractive。"),
        ("2 documents, 5 passages", "2 个文档，5 个段落"),
        ("There is no tool 'x'. There is: none.", "没有工具 'x'。现有：无。"),
        ("No server has said this. Ask it.", "No server has said this. Ask it."),
        ("  watching knowledge; Ctrl-C ends it\n", "  正在跟踪 knowledge；按 Ctrl-C 结束\n"),
        ("", ""),
    ],
)  # fmt: skip
def test_values_are_kept_and_messages_among_them_are_translated(
    speak: Any, message: str, expected: str
) -> None:
    speak(AGENTKIT_LANG="zh")
    assert translated(message) == expected


def test_a_single_word_in_a_message_is_a_name(speak: Any) -> None:
    speak(AGENTKIT_LANG="zh")
    assert translated("documents") == "文档"
    assert translated("documents is no folder. Name the folder of a project.").startswith(
        "documents 不是文件夹"
    )


def test_a_text_behind_a_label_stays_as_it_is(speak: Any) -> None:
    speak(AGENTKIT_LANG="zh")
    assert labelled("Taken back:", "Nothing was removed.") == "已撤回：Nothing was removed."


@pytest.mark.slow
def test_a_document_that_says_what_we_say_is_printed_as_it_is(folder: Path) -> None:
    done = _agentkit("search", "found", "-C", folder, AGENTKIT_LANG="zh")
    assert "nothing was found\n" in done.stdout
    assert "（" not in done.stdout
    assert "(字符 0-" in done.stdout


@pytest.mark.slow
def test_an_answer_is_the_same_in_both_languages(folder: Path) -> None:
    asked = ("ask", "What was found?", "-m", "extractive", "-C", folder, "--plain")
    english, chinese = (_agentkit(*asked, AGENTKIT_LANG=said).stdout for said in ("en", "zh"))
    answer = english.partition("\n\n[1]")[0]
    assert "nothing was found" in answer
    assert chinese.partition("\n\n[1]")[0] == answer


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "found", "--json"),
        ("kb", "show", "--json"),
        ("kb", "doctor", "--json"),
        ("config", "show", "--origin", "--json"),
        ("config", "schema"),
        ("mcp", "list", "--json"),
    ],
)
def test_programs_read_the_same_bytes_in_both_languages(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    at = () if arguments[-1] == "schema" else ("-C", folder)
    english, chinese = (_agentkit(*arguments, *at, AGENTKIT_LANG=said) for said in ("en", "zh"))
    assert english.stdout
    assert chinese.stdout == english.stdout
    if arguments[-1] == "--json":
        json.loads(chinese.stdout)


@pytest.mark.slow
def test_events_and_errors_for_programs_are_english(folder: Path) -> None:
    done = _agentkit("ask", " ", "--jsonl", "-C", folder, AGENTKIT_LANG="zh")
    assert json.loads(done.stdout)["message"].startswith("The question is empty.")
    assert done.stderr.startswith("错误：问题为空。")


@pytest.mark.slow
@pytest.mark.parametrize(
    "folder", ["my notes", "two warnings", "{}/my notes", "{}/a and b more", "{}/2 documents"]
)
def test_a_path_of_the_user_is_not_translated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = folder.format(tmp_path)
    missing = _agentkit("ask", "x", "-C", folder, AGENTKIT_LANG="zh")
    assert missing.returncode != 0
    assert folder in missing.stderr
    made = _agentkit("init", folder, AGENTKIT_LANG="zh")
    assert made.returncode == 0
    assert re.search(rf"{CHINESE}.*{re.escape(folder)}", made.stdout)


# Help


@pytest.fixture(params=["80", "50"])
def helps(
    request: pytest.FixtureRequest, speak: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, str], int]:
    """The help of every command, without its examples, and the columns it has."""
    speak(AGENTKIT_LANG="zh")
    monkeypatch.setenv("COLUMNS", request.param)
    found = {}
    for words, command in commands(command_line()):
        context = command.context_class(command, info_name=f"agentkit {words}".strip())
        with context:
            found[words] = command.get_help(context).partition("示例：")[0]
    return found, int(request.param)


def test_no_line_of_help_is_wider_than_the_terminal(helps: Any) -> None:
    found, columns = helps
    lines = [(words, line) for words, text in found.items() for line in text.splitlines()]
    assert [(words, line) for words, line in lines if cell_len(line) > columns] == []


def test_no_line_of_help_begins_with_a_closing_mark(helps: Any) -> None:
    found, _ = helps
    lines = [line.strip() for text in found.values() for line in text.splitlines()]
    assert [line for line in lines if line[:1] and line[0] in "，。；：、！？）」"] == []


def test_all_help_is_chinese(helps: Any) -> None:
    found, _ = helps
    text = "\n".join(each.partition("\n")[2] for each in found.values())
    assert re.findall(r"[A-Za-z]+(?: [a-z]+){3,}", text) == []
    assert all(re.search(CHINESE, each) for each in found.values())


@pytest.mark.slow
def test_what_is_not_understood_is_told_in_chinese() -> None:
    done = _agentkit("asx", AGENTKIT_LANG="zh")
    assert done.returncode == 2
    assert done.stderr.startswith("错误：没有命令 'asx'。你是不是想用 'ask'？")
    done = _agentkit("ask", "x", "-k", "99", AGENTKIT_LANG="zh")
    assert done.stderr.startswith("错误：'--k' / '-k' 的值无效：应小于或等于 50")


# Screens


@pytest.mark.slow
def test_the_doctor_speaks_chinese(folder: Path) -> None:
    done = _agentkit("doctor", "-C", folder, AGENTKIT_LANG="zh")
    lines = done.stdout.splitlines()
    assert "正常     索引：knowledge：完好，1 个文档，1 个段落，" in done.stdout
    assert "正常     终端：无：输出到文件或管道，为纯文本" in lines
    assert all(
        re.match(r"(正常|提示|警告|问题)     \S+：|         \S", line) for line in lines[:-1]
    )
    english = re.findall(r"\b[a-z]{3,} [a-z]{3,} [a-z]{3,}\b", done.stdout)
    assert [words for words in english if words.split()[0] not in ("ollama", "agentkit")] == []


@pytest.mark.slow
def test_an_error_that_the_doctor_parts_is_chinese_on_both_sides(tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").write_text('model = "gguf:/no.gguf"\n', encoding="utf-8")
    made = _agentkit("trust", tmp_path, AGENTKIT_LANG="zh")
    assert made.stdout.splitlines()[-1] == f"已按现状信任：{tmp_path}"
    done = _agentkit("doctor", "-C", tmp_path, AGENTKIT_LANG="zh")
    assert "问题     模型：没有文件 '/no.gguf'。\n         请给出 .gguf 文件的路径" in done.stdout


@pytest.mark.slow
def test_the_chat_welcomes_helps_and_errs_in_chinese(folder: Path) -> None:
    lines = "/help\n/quti\n/open 9\n/help open\n"
    done = _agentkit(
        "chat", "-m", "extractive", "-C", folder, stdin=lines, AGENTKIT_LANG="zh", COLUMNS="80"
    )
    assert done.stderr.splitlines()[:2] == [
        "app：1 个文档。模型：extractive。",
        "/help 列出命令，Ctrl-D 离开。",
    ]
    assert "错误：没有命令 /quti。你是不是想用 /quit？/help 列出全部命令。" in done.stderr
    assert "错误：还没有带编号的段落：请先提问。" in done.stderr
    assert "当前会话\n  /retry  重新回答上一个问题\n" in done.stdout
    assert "/open NUMBER\n  在文档中显示所引的段落\n" in done.stdout


# Whatever is looked up


@given(st.text())
def test_what_the_catalog_does_not_have_stays_as_it_is(text: str) -> None:
    catalog = Catalog(
        {"{0} is no folder.": "{0} 不是文件夹。", "Nothing was removed.": "没有删除。"}
    )
    if "is no folder." not in text and "Nothing was removed." not in text:
        assert catalog.say(text) == text


@given(st.text())
def test_the_whole_catalog_says_something_to_any_text(text: str) -> None:
    assert isinstance(Catalog(KNOWN).say(text), str)


WORD = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1)


@given(WORD, WORD)
def test_values_come_in_the_order_of_the_translation(first: Any, second: Any) -> None:
    catalog = Catalog({"{0} was lost during the call of {1}!": "调用 {1} 时失去了 {0}"})
    assert catalog.say(f"{first} was lost during the call of {second}!") == (
        f"调用 {second} 时失去了 {first}"
    )


@given(st.lists(st.sampled_from([": ", ", ", "a b", "{0}", "{", "}", "。", "x"])).map("".join))
def test_colons_commas_and_braces_do_no_harm(text: str) -> None:
    catalog = Catalog({"a b {0} c d e": "{0} 乙", "a b": "甲", "{{0}} {0} failed": "{0} {{0}}"})
    assert isinstance(catalog.say(text), str)


def test_a_message_in_itself_ten_thousand_times_does_no_harm() -> None:
    text = "failed: " * 10_000 + "it has no tools"
    said = Catalog(KNOWN).say(text)
    assert "失败：" in said
    assert said.endswith("failed: it has no tools")
