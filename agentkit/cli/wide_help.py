"""Help in a language of wide characters: translated as it is written, wrapped by columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import typer
from rich.cells import cell_len
from typer._click.formatting import HelpFormatter

from agentkit.cli.folding import wrap
from agentkit.cli.language import translated

_DETAILS = re.compile(r"(?:^|  )\[([^\[\]]*)\]$")


class WideFormatter(HelpFormatter):
    """Writes each text in the user's language."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        start = f"{translated(prefix or 'Usage:')}{prog} "
        gap = " " * cell_len(start)
        lines = wrap(args, max(self.width - len(gap), 10))
        self.write(start + f"\n{gap}".join(lines) + "\n")

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':{self.current_indent}}{translated(f'{heading}:')}\n")

    def write_text(self, text: str) -> None:
        if text.startswith("\b"):
            super().write_text(text)
            return
        indent = " " * self.current_indent
        parts = [translated(" ".join(part.split())) for part in text.split("\n\n")]
        wrapped = [lines for part in parts for lines in [*wrap(part, self.width - len(indent)), ""]]
        self.write("\n".join(f"{indent}{line}".rstrip() for line in wrapped[:-1]) + "\n")

    def write_dl(
        self, rows: Sequence[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        rows = list(rows)
        col_max = min(col_max, self.width // 2 - self.current_indent - col_spacing)
        first_width = min(max((cell_len(first) for first, _ in rows), default=0), col_max)
        column = self.current_indent + first_width + col_spacing
        for first, second in rows:
            lines = wrap(_translated(second), max(self.width - column, 10))
            start = f"{'':{self.current_indent}}{first}"
            if cell_len(first) > first_width and lines:
                self.write(f"{start}\n")
                start = ""
            for line in lines or [""]:
                gap = " " * (column - cell_len(start))
                self.write(f"{start}{gap}{line}".rstrip() + "\n")
                start = ""


class WideContext(typer.Context):
    """A context whose help is written so."""

    formatter_class: type[Any] = WideFormatter


def _translated(text: str) -> str:
    """A help text; what typer adds in brackets is translated part by part."""
    details = _DETAILS.search(text)
    if not details:
        return translated(text)
    inner = "; ".join(map(translated, details[1].split("; ")))
    return f"{translated(text[: details.start()])}  [{inner}]".strip()
