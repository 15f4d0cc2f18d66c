"""Messages in the user's language: English, or Chinese by AGENTKIT_LANG or the locale."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from string import Formatter

import pytest
from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from rich.cells import cell_len

import agentkit.cli
from agentkit.cli.i18n import LOCALES, language
from tests.cli.process import run_agentkit

VARIABLES = ("AGENTKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG", "LANGUAGE")
PO = LOCALES / "zh" / "LC_MESSAGES" / "agentkit.po"
KEYWORDS = {**DEFAULT_KEYWORDS, "counted": (1, 2)}
CHINESE = r"[\u4e00-\u9fff]"
UPDATE = "run: make messages"


def _environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    return {**kept, "PYTHONUTF8": "1", **variables}


def _agentkit(
    *arguments: object, stdin: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {**dict.fromkeys(VARIABLES, ""), "PYTHONUTF8": "1", **variables}
    return run_agentkit(*arguments, stdin=stdin, env=env)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    with PO.open("rb") as file:
        return read_po(file, locale="zh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose document has the text of a message."""
    folder = tmp_path_factory.mktemp("zh") / "app"
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "a.md").write_text("Nothing was found.\n", encoding="utf-8")
    assert _agentkit("index", "-C", folder).returncode == 0
    return folder


def _forms(text: str | Iterable[str] | None) -> list[str]:
    return [text] if isinstance(text, str) else list(text or [""])


def _placeholders(text: str | Iterable[str] | None) -> set[str]:
    fields = (field for form in _forms(text) for _, field, _, _ in Formatter().parse(form))
    return {field for field in fields if field}


# The catalog


def test_the_catalog_has_the_messages_of_the_sources(catalog: Catalog) -> None:
    root = Path(agentkit.cli.__file__).parent
    sources = {message[2] for message in extract_from_dir(root, keywords=KEYWORDS)}
    known = {each.id if isinstance(each.id, str) else tuple(each.id) for each in catalog if each.id}
    assert known == sources, UPDATE


def test_no_message_is_inside_an_f_string_where_it_is_not_extracted() -> None:
    sources = Path(agentkit.cli.__file__).parent.rglob("*.py")
    hidden = [
        f"{path.name}:{call.lineno}"
        for path in sources
        for text in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(text, ast.JoinedStr)
        for call in ast.walk(text)
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") in ("_", "counted")
    ]
    assert hidden == []


def test_every_message_is_translated(catalog: Catalog) -> None:
    assert [each.id for each in catalog if not all(_forms(each.string))] == []
    assert not any(each.fuzzy for each in catalog if each.id)


def test_a_translation_has_the_placeholders_of_its_message(catalog: Catalog) -> None:
    assert [
        each.id for each in catalog if each.id
        if _placeholders(each.string) != _placeholders(each.id)
    ] == []  # fmt: skip


def test_the_compiled_catalog_is_up_to_date(catalog: Catalog) -> None:
    compiled = BytesIO()
    write_mo(compiled, catalog)
    assert PO.with_suffix(".mo").read_bytes() == compiled.getvalue(), UPDATE


def test_a_chinese_sentence_has_chinese_punctuation(catalog: Catalog) -> None:
    wrong = re.compile(rf"{CHINESE}[,;:?!.]|[,;?!]{CHINESE}")
    texts = [form for each in catalog if each.id for form in _forms(each.string)]
    assert [text for text in texts if wrong.search(text)] == []


def test_commands_addresses_options_and_files_are_not_translated(catalog: Catalog) -> None:
    kept = re.compile(r"`[^`]+`|https?://[\w.:/]+\w|--[a-z][a-z-]+|[a-z_]+\.(?:toml|json|md)\b")
    assert [
        each.id
        for each in catalog
        if not all(word in _forms(each.string)[-1] for word in kept.findall(_forms(each.id)[-1]))
    ] == []


# Which language


@pytest.mark.parametrize(
    ("variables", "expected"),
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
def test_the_first_variable_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AGENTKIT_LANG": "zh"}, "错误："),
        ({"LANG": "zh_CN.UTF-8"}, "错误："),
        ({"AGENTKIT_LANG": "en", "LANG": "zh_CN.UTF-8"}, "error: "),
        ({"LC_ALL": "C", "LANG": "zh_CN.UTF-8"}, "error: "),
    ],
)
def test_an_error_is_reported_in_the_users_language(
    variables: dict[str, str], expected: str, tmp_path: Path
) -> None:
    done = _agentkit("ask", "x", "-C", tmp_path / "gone", **variables)
    assert done.returncode == 3
    assert done.stderr.startswith(expected)


@pytest.mark.slow
def test_english_opens_no_catalog() -> None:
    hook = (
        "import sys, atexit; opened = []\n"
        "sys.addaudithook(lambda e, a: opened.append(str(a[0])) if e == 'open' else None)\n"
        "atexit.register(lambda: print(any(path.endswith('.mo') for path in opened)))\n"
        "sys.argv = ['agentkit', '--help']\n"
        "from agentkit.cli.main import main; main()"
    )
    opens = {
        name: subprocess.run(
            [sys.executable, "-c", hook], capture_output=True, text=True, encoding="utf-8",
            check=False, timeout=100, env=_environment(AGENTKIT_LANG=name),
        ).stdout.splitlines()[-1]
        for name in ("en", "zh")
    }  # fmt: skip
    assert opens == {"en": "False", "zh": "True"}


# What is translated, and what is not


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


@pytest.mark.slow
def test_braces_in_a_path_are_printed_as_they_are(tmp_path: Path) -> None:
    made = _agentkit("init", tmp_path / "{0} {name}", AGENTKIT_LANG="zh")
    assert "{0} {name}" in made.stdout


@pytest.mark.slow
def test_a_document_with_the_text_of_a_message_is_printed_as_it_is(folder: Path) -> None:
    done = _agentkit("search", "found", "-C", folder, AGENTKIT_LANG="zh")
    assert "Nothing was found.\n" in done.stdout


@pytest.mark.slow
def test_an_answer_is_the_same_in_both_languages(folder: Path) -> None:
    asked = ("ask", "What was found?", "-m", "extractive", "-C", folder, "--plain")
    english, chinese = (_agentkit(*asked, AGENTKIT_LANG=name).stdout for name in ("en", "zh"))
    answer = english.partition("\n\n[1]")[0]
    assert "Nothing was found" in answer
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
    english, chinese = (_agentkit(*arguments, *at, AGENTKIT_LANG=name) for name in ("en", "zh"))
    assert english.stdout
    assert chinese.stdout == english.stdout
    if arguments[-1] == "--json":
        json.loads(chinese.stdout)


# Help


@pytest.fixture(scope="module", params=[80, 50])
def helps(request: pytest.FixtureRequest) -> tuple[dict[str, str], int]:
    """The help of every command, without its examples, and the columns it has."""
    code = (
        "import json; from tests.cli.reference_page import help_texts\n"
        "from agentkit.cli.i18n import install; install()\n"
        f"print(json.dumps(dict(help_texts({request.param}))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env=_environment(AGENTKIT_LANG="zh"), cwd=Path(__file__).parents[2],
    )  # fmt: skip
    texts = json.loads(done.stdout)
    return {words: text.partition("示例：")[0] for words, text in texts.items()}, request.param


@pytest.mark.slow
def test_no_line_of_help_is_wider_than_the_terminal(helps: tuple[dict[str, str], int]) -> None:
    found, columns = helps
    lines = [(words, line) for words, text in found.items() for line in text.splitlines()]
    assert [(words, line) for words, line in lines if cell_len(line) > columns] == []


@pytest.mark.slow
def test_no_line_of_help_begins_with_a_closing_mark(helps: tuple[dict[str, str], int]) -> None:
    lines = [line.strip() for text in helps[0].values() for line in text.splitlines()]
    assert [line for line in lines if line[:1] and line[0] in "，。；：、！？）」"] == []


@pytest.mark.slow
def test_all_help_is_chinese(helps: tuple[dict[str, str], int]) -> None:
    text = "\n".join(each.partition("\n")[2] for each in helps[0].values())
    assert re.findall(r"[A-Za-z]+(?: [a-z]+){3,}", text) == []
    assert all(re.search(CHINESE, each) for each in helps[0].values())


@pytest.mark.slow
def test_an_unknown_command_is_reported_in_chinese() -> None:
    done = _agentkit("asx", AGENTKIT_LANG="zh")
    assert done.returncode == 2
    assert done.stderr.startswith("错误：没有命令 'asx'。")


# Screens


@pytest.mark.slow
def test_the_doctor_has_chinese_levels_and_summary(tmp_path: Path) -> None:
    (tmp_path / "agentkit.toml").write_text('model = "gguf:/no.gguf"\n', encoding="utf-8")
    made = _agentkit("trust", tmp_path, AGENTKIT_LANG="zh")
    assert made.stdout.splitlines()[-1] == f"已按现状信任：{tmp_path}"
    done = _agentkit("doctor", "-C", tmp_path, AGENTKIT_LANG="zh")
    *lines, summary = done.stdout.splitlines()
    assert all(re.match(r"(正常|提示|警告|问题)     \S+: |         \S", line) for line in lines)
    assert "问题     model: " in done.stdout
    assert re.match(r"\d+ 个问题", summary)


@pytest.mark.slow
def test_the_chat_welcomes_helps_and_reports_errors_in_chinese(folder: Path) -> None:
    lines = "/help\n/quti\n/open 9\n/help open\n"
    done = _agentkit(
        "chat", "-m", "extractive", "-C", folder, stdin=lines, AGENTKIT_LANG="zh", COLUMNS="80"
    )
    assert done.stderr.splitlines()[:2] == [
        "app：1 个文档。模型：extractive。",
        "/help 列出命令，Ctrl-D 离开。",
    ]
    assert "错误：未知命令 /quti。你是不是想用 /quit？/help 列出全部命令。" in done.stderr
    assert "错误：还没有带编号的段落：请先提问。" in done.stderr
    assert re.search(r"当前会话\n  /retry +重新回答上一个问题\n", done.stdout)
    assert "/open NUMBER\n  在文档中显示所引的段落\n" in done.stdout
