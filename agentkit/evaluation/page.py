"""HTML page of a report, self-contained: no scripts, requests or fonts, the plot as inline SVG.

Everything that comes from questions, documents and models is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape

from agentkit.evaluation.report import LABELS, Figure, Report, ScoreChange, describe_faults
from agentkit.evaluation.runner import Outcome

_LEFT, _TOP, _WIDTH, _HEIGHT = 44, 12, 420, 220
_MAX_LINE_LENGTH = 600
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
meter{width:8rem}svg{max-width:100%;height:auto}
svg text{font:12px system-ui,sans-serif;fill:var(--ink)}
.grid{stroke:var(--line)}.curve{fill:none;stroke:currentColor;stroke-width:2}
.c0{color:var(--c0)}.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}
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
    parts += [
        _curves(report.curves()),
        _changes(report.changes),
        _questions(report),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def _settings(report: Report) -> str:
    shown = [f"{name}: {value}" for name, value in report.settings.items() if value != ""]
    return f'<p class="dim">{escape(" · ".join(shown))}</p>'


def _figures(report: Report) -> str:
    """Tables of figures: over all questions, and folded, by group."""
    heads = ("figure", "", "", "total", "of", "share", "95 % interval", "bound")
    whole = [_figure_row(figure) for figure in report.figures if not figure.group]
    groups = [_figure_row(figure) for figure in report.figures if figure.group]
    folded = f"<details><summary>By language, kind and wording</summary>{_table(heads, groups, 3)}"
    return f"<h2>Figures</h2>{_table(heads, whole, 3)}{folded}</details>"


def _figure_row(figure: Figure) -> list[str]:
    bound = escape(figure.requirement)
    if figure.met is not None:
        mark = ("good", "met") if figure.met else ("bad", "missed")
        bound += f' <span class="{mark[0]}">{mark[1]}</span>'
    return [
        escape(figure.key),
        f'<span class="dim">{escape(figure.label)}</span>' if figure.name in LABELS else "",
        f'<meter value="{figure.share:.4f}"></meter>',
        f"{figure.total:.4g}",
        str(figure.count),
        f"{figure.share:.1%}",
        _interval(figure),
        bound,
    ]


def _retrievers(report: Report) -> str:
    names = list(report.retrievers)
    rows = [
        [escape(figures[0].key), *(f"{figure.share:.1%} {_interval(figure)}" for figure in figures)]
        for figures in zip(*report.retrievers.values(), strict=True)
    ]
    return "<h2>Retrievers</h2>" + _table(("figure", *names), rows, 1)


def _interval(figure: Figure) -> str:
    return '<span class="dim">{:.1%} to {:.1%}</span>'.format(*figure.interval)


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


def _curves(lines: Mapping[str, Sequence[float]]) -> str:
    """Plot recall by k, one line and one name below for each retriever."""
    longest = max((len(values) for values in lines.values()), default=0)

    def x(k: int) -> float:
        return _LEFT + _WIDTH * ((k - 1) / (longest - 1) if longest > 1 else 0.5)

    def y(share: float) -> float:
        return _TOP + _HEIGHT * (1 - share)

    drawn = [
        f'<path class="grid" d="M{_LEFT} {y(tenth / 10):.1f}h{_WIDTH}"/>'
        f'<text x="{_LEFT - 6}" y="{y(tenth / 10) + 4:.1f}" text-anchor="end">{tenth * 10} %</text>'
        for tenth in range(0, 11, 2)
    ]
    drawn += [
        f'<text x="{x(k):.1f}" y="{_TOP + _HEIGHT + 18}" text-anchor="middle">{k}</text>'
        for k in sorted({1, *range(0, longest + 1, max(1, -(-longest // 10)))} - {0})
    ]
    for at, values in enumerate(lines.values()):
        points = " ".join(f"{x(k):.1f},{y(v):.1f}" for k, v in enumerate(values, start=1))
        drawn.append(f'<polyline class="c{at % 4} curve" points="{points}"/>')
    names = " ".join(f'<b class="c{at % 4}">{escape(n)}</b>' for at, n in enumerate(lines))
    size = f"{_LEFT + _WIDTH + 20} {_TOP + _HEIGHT + 24}"
    plot = f'<svg viewBox="0 0 {size}" width="{size.partition(" ")[0]}">{"".join(drawn)}</svg>'
    return f"<h2>Recall by the number of hits</h2>{plot}<p>{names}</p>"
