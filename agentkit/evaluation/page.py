"""HTML page of a report, self-contained: no scripts, requests or fonts, plots as inline SVG.

Everything that comes from questions, documents and models is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from agentkit.evaluation.metrics import Interval
from agentkit.evaluation.report import LABELS, Figure, Report, ScoreChange, describe_faults
from agentkit.evaluation.runner import Outcome

_LEFT, _TOP, _WIDTH, _HEIGHT = 44, 12, 420, 220
_ROW, _NAMES, _BAR = 26, 190, 300
_MAX_LINE_LENGTH = 600
_PLOTTED = ("recall@5", "mrr", "facts", "citation_precision")
_STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--dim:#5d6670;--paper:#fff;--line:#d9dee3;
--track:#eef1f4;--c0:#0b62c4;--c1:#b3470b;--c2:#1b7a3d;--c3:#7a3db8;--good:#1b7a3d;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ec;--dim:#9aa5b0;--paper:#14181c;
--line:#2f363d;--track:#232a31;--c0:#6fb1ff;--c1:#ff9d66;--c2:#6fd08f;--c3:#c79bff;
--good:#6fd08f;--bad:#ff8a80}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);
max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:1rem;margin:1rem 0 .3rem}
.scroll{overflow-x:auto}table{border-collapse:collapse}
th,td{padding:.25rem .7rem;border-bottom:1px solid var(--line);text-align:left}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.ids{white-space:normal}.dim{color:var(--dim)}.good{color:var(--good)}.bad{color:var(--bad)}
details{border-bottom:1px solid var(--line);padding:.35rem 0}summary{cursor:pointer}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--track);padding:.6rem;
margin:.4rem 0}
.plots{display:flex;flex-wrap:wrap;gap:1rem 2rem}svg{max-width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.grid{stroke:var(--line)}.track{fill:var(--track)}.bar{fill:var(--c0)}
.whisker{stroke:var(--ink);stroke-width:2}.curve{fill:none;stroke-width:2}
.curve.c0{stroke:var(--c0)}.curve.c1{stroke:var(--c1)}.curve.c2{stroke:var(--c2)}
.curve.c3{stroke:var(--c3)}.dot.c0{fill:var(--c0)}.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}
.dot.c3{fill:var(--c3)}svg .label.c0{fill:var(--c0)}svg .label.c1{fill:var(--c1)}
svg .label.c2{fill:var(--c2)}svg .label.c3{fill:var(--c3)}
"""
_HEAD = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
    f"<title>agentkit eval</title><style>{_STYLE}</style></head><body>"
)


def page(report: Report) -> str:
    """Render a report as an HTML page."""
    parts = [_HEAD, "<h1>Evaluation</h1>", _settings(report), _figures(report)]
    if report.retrievers:
        parts.append(_retrievers(report))
    parts += [_plots(report), _changes(report.changes), _questions(report), "</body></html>"]
    return "\n".join(part for part in parts if part)


def _settings(report: Report) -> str:
    shown = [f"{name}: {value}" for name, value in report.settings.items() if value != ""]
    return f'<p class="dim">{escape(" · ".join(shown))}</p>'


def _figures(report: Report) -> str:
    """Tables of figures: over all questions, and folded, by group."""
    heads = ("figure", "", "total", "of", "share", "95 % interval", "bound")
    whole = [_figure_row(figure) for figure in report.figures if not figure.group]
    groups = [_figure_row(figure) for figure in report.figures if figure.group]
    folded = f"<details><summary>By language, kind and wording</summary>{_table(heads, groups, 2)}"
    return f"<h2>Figures</h2>{_table(heads, whole, 2)}{folded}</details>"


def _figure_row(figure: Figure) -> list[str]:
    low, high = figure.interval
    bound = escape(figure.requirement)
    if figure.met is not None:
        mark = ("good", "met") if figure.met else ("bad", "missed")
        bound += f' <span class="{mark[0]}">{mark[1]}</span>'
    return [
        escape(figure.key),
        f'<span class="dim">{escape(figure.label)}</span>' if figure.name in LABELS else "",
        f"{figure.total:.4g}",
        str(figure.count),
        f"{figure.share:.1%}",
        f"{low:.1%} to {high:.1%}",
        bound,
    ]


def _retrievers(report: Report) -> str:
    names = list(report.retrievers)
    rows = [
        [escape(figures[0].key), *(_retriever_cell(figure) for figure in figures)]
        for figures in zip(*report.retrievers.values(), strict=True)
    ]
    return "<h2>Retrievers</h2>" + _table(("figure", *names), rows, 1)


def _retriever_cell(figure: Figure) -> str:
    low, high = figure.interval
    return f'{figure.share:.1%} <span class="dim">{low:.1%} to {high:.1%}</span>'


def _plots(report: Report) -> str:
    drawn = [f"<div><h3>recall@k</h3>{curves(report.curves())}</div>"]
    for name in _PLOTTED:
        own = [figure for figure in report.figures if figure.name == name]
        rows = [Bar(f.group or "all", f.share, f.interval, f.count) for f in own]
        if rows:
            drawn.append(f"<div><h3>{escape(own[0].label)}</h3>{bars(rows)}</div>")
    return f'<h2>Plots</h2><div class="plots">{"".join(drawn)}</div>'


def _changes(changes: Sequence[ScoreChange]) -> str:
    if not changes:
        return ""
    heads = ("figure", "earlier", "now", "difference", "95 % interval", "better", "worse")
    rows = [
        [
            escape(change.name),
            f"{change.earlier:.1%}",
            f"{change.now:.1%}",
            f"{change.difference:+.1%}",
            f"{change.interval[0]:+.1%} to {change.interval[1]:+.1%}",
            _ids(change.better),
            _ids(change.worse),
        ]
        for change in changes
    ]
    return "<h2>Changes since the earlier run</h2>" + _table(heads, rows, 1)


def _ids(ids: Sequence[str]) -> str:
    return f'<span class="ids">{escape(", ".join(ids))}</span>'


def _questions(report: Report) -> str:
    shown = "".join(_question(outcome, report.depth) for outcome in report.outcomes)
    return f"<h2>Questions</h2>{shown}"


def _question(outcome: Outcome, depth: int) -> str:
    question, faults = outcome.question, describe_faults(outcome, depth)
    mark = f'<span class="bad">{escape(", ".join(faults))}</span>' if faults else ""
    about = escape(f"{question.id} ({question.language}, {question.kind})")
    body = "".join(_details(outcome))
    text = escape(question.question)
    summary = f'{text} <span class="dim">{about}</span> {mark}'
    return f"<details><summary>{summary}</summary>{body}</details>"


def _details(outcome: Outcome) -> Iterator[str]:
    question = outcome.question
    places = [
        " or ".join(" > ".join(filter(None, (p.source, p.heading))) for p in alternatives)
        for alternatives in question.expected
    ]
    yield from _list("Expected", places)
    yield from _list("Key facts", (" or ".join(forms) for forms in question.facts))
    yield from _list("Found", (f"{hit.score:.2f} {hit.chunk.place}" for hit in outcome.hits))
    if outcome.answer is not None:
        yield f"<h3>Answer</h3><pre>{escape(outcome.answer.text) or '(none)'}</pre>"
        cited = (f"[{c.marker}] {c.place}: {c.quote}" for c in outcome.answer.citations)
        yield from _list("Cited", cited)


def _list(title: str, lines: Iterable[str]) -> Iterator[str]:
    shown = [f"<li>{escape(line[:_MAX_LINE_LENGTH])}</li>" for line in lines]
    if shown:
        yield f"<h3>{title}</h3><ol>{''.join(shown)}</ol>"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], words: int) -> str:
    """Render a table with `words` columns of text, then numbers. Cells are HTML, heads are not."""
    classes = [""] * words + [' class="n"'] * (len(heads) - words)
    head = "".join(f"<th{c}>{escape(name)}</th>" for c, name in zip(classes, heads, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{c}>{cell}</td>' for c, cell in zip(classes, row, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


@dataclass(frozen=True, slots=True)
class Bar:
    """A share of `count`, with its interval."""

    name: str
    share: float
    interval: Interval
    count: int


def curves(lines: Mapping[str, Sequence[float]]) -> str:
    """Plot one line per name, with values from 0 to 1 at k = 1, 2, 3, ..."""
    longest = max((len(values) for values in lines.values()), default=0)
    width, height = _LEFT + _WIDTH + 110, _TOP + _HEIGHT + 40
    body = [_grid(), _ticks(longest)]
    ends = _spread([values[-1] for values in lines.values() if values])
    named = [(name, values) for name, values in lines.items() if values]
    for at, ((name, values), end) in enumerate(zip(named, ends, strict=True)):
        body.append(_line(at, name, values, longest, end))
    return _svg(width, height, f"recall by k: {', '.join(lines)}", "".join(body))


def bars(rows: Sequence[Bar]) -> str:
    """Plot one bar per row, with its interval as a line."""
    height = _ROW * len(rows) + 8
    drawn = "".join(_bar(row, at * _ROW + 4) for at, row in enumerate(rows))
    label = ", ".join(f"{row.name} {row.share:.1%}" for row in rows)
    return _svg(_NAMES + _BAR + 120, height, label, drawn)


def _svg(width: int, height: int, label: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(label)}">{body}</svg>'
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


def _spread(ends: Sequence[float], distance: float = 0.07) -> list[float]:
    """Place the names of lines at their ends, without overlap."""
    found = list(ends)
    last = 2.0
    for at in sorted(range(len(ends)), key=lambda at: -ends[at]):
        last = found[at] = min(ends[at], last - distance)
    return found


def _x(k: int, longest: int) -> float:
    return _LEFT + _WIDTH * ((k - 1) / (longest - 1) if longest > 1 else 0.5)


def _y(share: float) -> float:
    return _TOP + _HEIGHT * (1 - share)
