"""What is printed: nothing from outside drives the terminal, and text fits its columns."""

import io

import pytest
from rich.cells import cell_len
from rich.markdown import Markdown
from rich.table import Table
from rich.text import Text

from agentkit.cli.commands.eval_report import print_report
from agentkit.cli.console import (
    SafeConsole,
    format_arguments,
    index_progress,
    plain_console,
    print_labelled,
    print_rows,
    print_table,
    redraw_line,
)
from agentkit.cli.text import fit, wrap
from agentkit.evaluation.report import Figure, Report
from agentkit.knowledge.index.report import Progress

HOSTILE = "a\x1b[2Jb\x07\u202ec\x9b1m"


def _terminal() -> SafeConsole:
    return SafeConsole(file=io.StringIO(), force_terminal=True, width=40, color_system=None)


def _table() -> Table:
    table = Table(HOSTILE)
    table.add_row(Text(HOSTILE))
    return table


@pytest.mark.parametrize("printed", [Text(HOSTILE), Text("x").append(HOSTILE), HOSTILE, _table(),
                                     Markdown(HOSTILE)])  # fmt: skip
def test_no_control_character_reaches_the_terminal(printed: Text | str | Table) -> None:
    console = _terminal()
    console.print(printed)
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert "a[2Jbc1m" in written
    assert not set(written) & set("\x1b\x07\u202e\x9b")


def test_the_consoles_own_styles_reach_the_terminal() -> None:
    file = io.StringIO()
    SafeConsole(file=file, force_terminal=True, color_system="standard").print(Text("x", "bold"))
    assert file.getvalue() == "\x1b[1mx\x1b[0m\n"


def test_only_the_label_of_a_message_is_coloured() -> None:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=True, color_system="standard")
    print_labelled("note:", "yellow", "one\ntwo", console)
    assert file.getvalue() == "\x1b[33mnote:\x1b[0m one two\n"


def test_arguments_show_what_a_terminal_would_hide() -> None:
    assert format_arguments({"to": "a\u202eb"}) == '{\n  "to": "a\\u202eb"\n}'
    assert format_arguments("{\x1b") == "{\\u001b"


def test_a_table_in_a_pipe_is_wider_than_any_terminal() -> None:
    file = io.StringIO()
    console = plain_console(file)
    console.width = 20
    table = Table.grid()
    table.add_row("a" * 60, "b" * 60)
    print_table(table, console)
    assert file.getvalue().split() == ["a" * 60 + "b" * 60]


@pytest.mark.parametrize("force_terminal", [False, True])
def test_a_report_in_a_pipe_has_whole_figures_whatever_the_width(force_terminal: bool) -> None:
    file = io.StringIO()
    pipe = SafeConsole(
        file=file, width=40, soft_wrap=True, force_terminal=force_terminal, color_system=None
    )
    key = "citation_precision:" + "long-group-" * 12
    half = [Figure(key, (1.0, 0.0))]
    retrievers = {"dense": half, "keyword": half, "hybrid": half, "rerank": half}
    figures = [Figure("citation_precision", (1.0, 1.0, 0.0), 0.5)]
    print_report(Report({"model": "m"}, 10, (), figures, retrievers=retrievers), pipe)
    printed = file.getvalue()
    assert "…" not in printed
    assert ">= 50%, met" in printed
    assert "supported citations of expected places" in printed
    (row,) = [line for line in printed.splitlines() if line.startswith(key)]
    assert row.count("50.0% (") == len(retrievers)


def test_a_line_is_overwritten_in_a_terminal_until_the_last() -> None:
    terminal, pipe = _terminal(), plain_console(io.StringIO())
    for console in (terminal, pipe):
        redraw_line("1 of 2", console, is_last=False)
        redraw_line("2 of 2", console, is_last=True)
    assert isinstance(terminal.file, io.StringIO)
    assert isinstance(pipe.file, io.StringIO)
    assert terminal.file.getvalue() == "1 of 2\r2 of 2\n"
    assert pipe.file.getvalue() == ""


def test_rows_are_aligned_in_a_terminal_and_whole_in_a_pipe() -> None:
    rows = [(Text("ok"), Text("one two three four")), (Text("problem"), Text("five"))]
    terminal, pipe = _terminal(), plain_console(io.StringIO())
    terminal.width = 16
    for console in (terminal, pipe):
        print_rows([tuple(cell.copy() for cell in row) for row in rows], console, width=7)
    assert isinstance(terminal.file, io.StringIO)
    assert isinstance(pipe.file, io.StringIO)
    lines = [line.rstrip() for line in terminal.file.getvalue().splitlines()]
    assert lines == ["ok       one two", "         three", "         four", "problem  five"]
    assert pipe.file.getvalue() == "ok       one two three four\nproblem  five\n"


@pytest.mark.parametrize("width", [8, 20])
def test_wrapped_lines_fit_and_begin_with_no_closing_mark(width: int) -> None:
    lines = wrap("一段很长的中文，用来检查换行（以及标点）。ab cd", width)
    assert max(map(cell_len, lines)) <= width
    assert not [line for line in lines if line[0] in "，。）"]
    assert "".join(lines).replace(" ", "") == "一段很长的中文，用来检查换行（以及标点）。abcd"


def test_a_text_is_cut_at_the_column_that_is_left() -> None:
    assert fit("甲乙丙丁戊己", 8) == "甲乙丙…"
    assert fit("a\nb", 8) == "a b"


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(2, 9, 40, "a.md"), "2 of 9 documents are indexed and 40 new passages are kept"),
        (Progress(0, 90, 40, "a.md", of_passages=True), "40 of 90 passages have new vectors"),
    ],
    ids=["index", "rebuild"],
)
def test_an_interruption_counts_what_was_kept(progress: Progress, line: str) -> None:
    written = io.StringIO()
    log = SafeConsole(file=written, width=200)

    def interrupt() -> None:
        with index_progress(log) as show:
            show(progress)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert line in written.getvalue()


def test_lines_of_progress_become_rarer_in_a_long_run() -> None:
    written = io.StringIO()
    log = SafeConsole(file=written, width=200)
    with index_progress(log) as show:
        for second in range(3600):
            show(Progress(1, 9, second, "a.md", float(second)))
    lines = written.getvalue().splitlines()
    assert 20 < len(lines) < 80
