"""Report wording that .lint/wording.txt rejects: `python .lint/wording.py [FILE ...]`.

Without files it reads the package, the tests, the benchmarks and the documentation.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
RULES = Path(__file__).with_name("wording.txt")
SCANNED = ("agentkit", "tests", "benchmarks", "examples", "docs", "README.md", "CHANGELOG.md",
           "CONTRIBUTING.md", "AGENTS.md", "SECURITY.md", "tools", "mcp_servers")  # fmt: skip
SUFFIXES = {".py", ".md", ".txt", ".toml"}


def main(names: list[str]) -> int:
    rules, exempt = read_rules(RULES.read_text(encoding="utf-8"))
    found = 0
    for path in sorted(_files(names)):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(exempt):
            for line, text, instead in rejected(path.read_text(encoding="utf-8"), rules):
                found += 1
                print(f"{name}:{line}: {text!r}: {instead}")
    if found:
        print(f"{found} uses of wording that .lint/wording.txt rejects")
    return min(found, 1)


def read_rules(text: str) -> tuple[list[tuple[re.Pattern[str], str]], tuple[str, ...]]:
    """Compile the patterns with their replacements, and list the paths that are exempt."""
    rules, exempt = [], []
    for line in text.splitlines():
        if line.startswith("!"):
            exempt.append(line[1:].strip())
        elif line.strip() and not line.startswith("#"):
            pattern, _, instead = line.partition("\t")
            pattern = pattern.replace(r"\b", r"(?:(?<![^\W_])(?=[^\W_])|(?<=[^\W_])(?![^\W_]))")
            rules.append((re.compile(pattern, re.IGNORECASE), instead))
    return rules, tuple(exempt)


def rejected(text: str, rules: list[tuple[re.Pattern[str], str]]) -> list[tuple[int, str, str]]:
    """Find each rejected use: its line number, the words, what to write."""
    return [
        (number, match[0], instead)
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, instead in rules
        for match in pattern.finditer(line)
    ]


def _files(names: list[str]) -> set[Path]:
    files: set[Path] = set()
    for name in names or SCANNED:
        path = (ROOT / name).resolve()
        found = path.rglob("*") if path.is_dir() else [path]
        files |= {p for p in found if p.is_file() and p.suffix in SUFFIXES}
    return files


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
