"""Small plots as inline SVG: curves and bars with their intervals. Their colours are the page's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from agentkit.evaluation.bootstrap import Interval

_LEFT, _TOP, _WIDTH, _HEIGHT = 44, 12, 420, 220
_ROW, _NAMES, _BAR = 26, 190, 300


@dataclass(frozen=True, slots=True)
class Bar:
    """A share with its interval; `count` is of how many."""

    name: str
    share: float
    interval: Interval
    count: int


def curves(lines: Mapping[str, Sequence[float]]) -> str:
    """One line a name, its values at k = 1, 2, 3 and so on, from 0 to 1."""
    longest = max((len(values) for values in lines.values()), default=0)
    width, height = _LEFT + _WIDTH + 110, _TOP + _HEIGHT + 40
    body = [_grid(), _ticks(longest)]
    ends = _apart([values[-1] for values in lines.values() if values])
    named = [(name, values) for name, values in lines.items() if values]
    for at, ((name, values), end) in enumerate(zip(named, ends, strict=True)):
        body.append(_line(at, name, values, longest, end))
    return _svg(width, height, f"recall by k: {', '.join(lines)}", "".join(body))


def bars(rows: Sequence[Bar]) -> str:
    """A bar a row, the interval as a thin line over it."""
    height = _ROW * len(rows) + 8
    drawn = "".join(_bar(row, at * _ROW + 4) for at, row in enumerate(rows))
    said = ", ".join(f"{row.name} {row.share:.1%}" for row in rows)
    return _svg(_NAMES + _BAR + 120, height, said, drawn)


def _svg(width: int, height: int, said: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(said)}">{body}</svg>'
    )


def _grid() -> str:
    lines = []
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        lines.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + _WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tenth * 10} %</text>'
        )
    return "".join(lines)


def _ticks(longest: int) -> str:
    step = max(1, -(-longest // 10))
    marks = [1, *range(step, longest + 1, step)] if step > 1 else range(1, longest + 1)
    drawn = [
        f'<text x="{_x(k, longest):.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{k}</text>'
        for k in marks
    ]
    middle = _LEFT + _WIDTH / 2
    title = f'<text x="{middle}" y="{_TOP + _HEIGHT + 36}" text-anchor="middle">first k hits</text>'
    return "".join(drawn) + title


def _line(at: int, name: str, values: Sequence[float], longest: int, end: float) -> str:
    points = [(_x(k, longest), _y(value)) for k, value in enumerate(values, start=1)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle class="c{at % 4} dot" cx="{x:.1f}" cy="{y:.1f}" r="3">'
        f"<title>{escape(name)}, k = {k}: {value:.1%}</title></circle>"
        for (k, value), (x, y) in zip(enumerate(values, start=1), points, strict=True)
    )
    label = (
        f'<text class="c{at % 4} label" x="{_LEFT + _WIDTH + 8}" y="{_y(end) + 4:.1f}">'
        f"{escape(name)}</text>"
    )
    return f'<polyline class="c{at % 4} curve" points="{path}"/>{dots}{label}'


def _bar(row: Bar, y: int) -> str:
    low, high = (_NAMES + _BAR * bound for bound in row.interval)
    middle = y + (_ROW - 6) / 2
    return (
        f'<text x="{_NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(row.name)}</text>'
        f'<rect class="track" x="{_NAMES}" y="{y}" width="{_BAR}" height="{_ROW - 6}"/>'
        f'<rect class="bar" x="{_NAMES}" y="{y}" width="{_BAR * row.share:.1f}" '
        f'height="{_ROW - 6}"/>'
        f'<line class="whisker" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text x="{_NAMES + _BAR + 8}" y="{middle + 4}">{row.share:.1%} of {row.count}</text>'
    )


def _apart(ends: Sequence[float], least: float = 0.07) -> list[float]:
    """Where the names of lines go: beside their ends, but not over each other."""
    found = list(ends)
    last = 2.0
    for at in sorted(range(len(ends)), key=lambda at: -ends[at]):
        last = found[at] = min(ends[at], last - least)
    return found


def _x(k: int, longest: int) -> float:
    return _LEFT + _WIDTH * ((k - 1) / (longest - 1) if longest > 1 else 0.5)


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)
