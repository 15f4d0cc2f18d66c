"""`agentkit doctor`: what is in order here and what is not, each with a next step."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentkit.cli.errors import EXIT_CODES
from agentkit.cli.language import titled, translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, harmless
from agentkit.cli.rows import print_row
from agentkit.errors import ConfigError
from agentkit.findings import Finding, counted
from agentkit.project.checks.doctor import examine
from agentkit.project.checks.machine import Terminal

_COLOURS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}


async def doctor(folder: Path, start: bool, json: bool) -> int:
    """Print the findings as they come. 0 where none is a problem, 3 else."""
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a directory. Name the folder of a project.")
    out, _ = consoles()
    found: list[Finding] = []
    async with aclosing(examine(folder, _terminal(out), start)) as findings:
        async for finding in findings:
            found.append(finding)
            if not json:
                _show(finding, out)
    counts: Counter[str] = Counter(finding.level for finding in found)
    if json:
        print(as_json({"findings": [asdict(each) for each in found], "counts": dict(counts)}))
    else:
        out.print(Text(_summed(counts), "bold"))
    return EXIT_CODES[ConfigError] if counts["problem"] else 0


def _terminal(out: Console) -> Terminal:
    colours = {"standard": "16 colours", "256": "256 colours", "truecolor": "all colours"}
    return Terminal(
        sys.stdout.isatty(),
        out.encoding,
        "" if out.no_color else colours.get(out.color_system or "", ""),
        out.width,
        out.is_dumb_terminal,
    )


def _show(finding: Finding, out: Console) -> None:
    """A line, and the next step below it; both fold beside the level."""
    told, step = _in_words(finding)
    said = Text.assemble((titled(finding.part), "bold"), harmless(told))
    if step:
        said.append(f"\n{harmless(step)}", "dim")
    print_row(Text(translated(finding.level), _COLOURS[finding.level]), 8, said, out)


def _in_words(finding: Finding) -> tuple[str, str]:
    """What is said and the next step, in the user's language. An error was parted there: it is
    looked up whole, and parted again."""
    said = translated(f"{finding.message} {finding.next_step}")
    if finding.next_step and finding.message.endswith((".", ")")) and "。" in said:
        told, _, step = said.partition("。")
        return f"{told}。", step
    return translated(finding.message), translated(finding.next_step)


def _summed(counts: Counter[str]) -> str:
    said = {
        "problem": counted(counts["problem"], "problem"),
        "warning": counted(counts["warning"], "warning"),
        "note": counted(counts["note"], "note"),
    }
    told = [translated(text) for level, text in said.items() if counts[level]]
    return ", ".join(told) or translated("All is in order.")
