"""`agentkit trace`: past runs step by step, and one of them run again."""

from __future__ import annotations

import json as json_module
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentkit.agent.replay import replay as replay_run
from agentkit.cli.language import labelled, translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, index_progress, print_indented, warn
from agentkit.messages import Record
from agentkit.project.project import Project, traces_path
from agentkit.tracing.files import ReadTrace, TraceFiles, read_trace

_SHOWN = 160


async def list_traces(folder: Path, json: bool) -> int:
    """A line for each run."""
    traces = [(path, read_trace(path)) for path in reversed(_files(folder).paths())]
    if json:
        print(as_json([{**trace.run, **_totals(trace)} for _, trace in traces]))
        return 0
    out, log = consoles()
    if not traces:
        log.print(Text(translated("no runs are kept yet"), "dim"))
    for path, trace in traces:
        totals = _totals(trace)
        counts = translated(f"{totals['requests']} requests, {totals['tools']} tools")
        line = f"{path.stem}  {counts}  "
        out.print(Text(line, style="bold").append(_short(trace.run["prompt"]), style="none"))
    return 0


async def show(which: str, folder: Path, json: bool, out: Console | None = None) -> int:
    """Every step, printed to `out` or standard output."""
    trace = read_trace(_files(folder).find(which))
    if json:
        for record in trace.records:
            print(json_module.dumps(record, ensure_ascii=False))
        return 0
    out = out or consoles()[0]
    for record in trace.records:
        _show_record(record, out)
    return 0


async def replay(which: str, folder: Path, json: bool) -> int:
    """The run again; exit code 1 where it differs."""
    out, log = consoles()
    trace = read_trace(_files(folder).find(which))
    with index_progress(log) as tell:
        project = Project.open(folder, model="extractive", on_progress=tell)
        await project.__aenter__()
    try:
        warn(project.notices, log)
        _, differences = await replay_run(project.agent, trace)
    finally:
        await project.close()
    if json:
        print(as_json([{"place": d.place, "then": d.then, "now": d.now} for d in differences]))
        return 1 if differences else 0
    for difference in differences:
        out.print(Text(difference.place, style="bold"))
        for when, text in (("  then ", difference.then), ("  now  ", difference.now)):
            out.print(Text(f"{translated(when)} {_short(text)}"))
    out.print(translated("the same, request by request") if not differences else "", end="\n")
    return 1 if differences else 0


def _files(folder: Path) -> TraceFiles:
    return TraceFiles(traces_path(folder))


def _totals(trace: ReadTrace) -> Record:
    end = trace.of("end")
    return {
        "requests": len(trace.of("request")),
        "tools": len(trace.of("tool")),
        "usage": end[0]["usage"] if end else None,
        "stop_reason": end[0]["stop_reason"] if end else "cut short",
    }


def _show_record(record: Record, out: Console) -> None:
    title, lines = _told(record)
    out.print(Text(translated(title), style="bold"))
    for line in lines:
        print_indented(Text(_short(line)), out)


def _told(record: Record) -> tuple[str, list[str]]:
    match record["kind"]:
        case "run":
            return f"run {record['id']} with {record['model']}", [record["prompt"]]
        case "request":
            new = [f"{m['role']}: {m['content'] or _calls(m)}" for m in record["messages"]]
            return f"request {record['number']} ({record['kept']} messages as before)", new
        case "reply":
            usage = record["usage"]
            title = (
                f"reply {record['number']} after {record['seconds']:.2f} s, "
                f"{usage.get('input_tokens', '?')} in, {usage.get('output_tokens', '?')} out tokens"
            )
            said = [record["text"]] if record["text"] else []
            calls = [labelled("calls", f"{c['name']}({c['arguments']})") for c in record["calls"]]
            failed = [translated(f"failed: {record['error']}")] if record["error"] else []
            return title, [*said, *calls, *failed]
        case "tool":
            name, seconds = record["name"], f"{record['seconds']:.2f}"
            gave = f"{name} gave after {seconds} s"
            title = f"{name} failed after {seconds} s" if record["failed"] else gave
            return title, [record["result"]]
        case "end":
            return f"end: {record['stop_reason']}", [record["text"]]
        case kind:
            rest = {k: v for k, v in record.items() if k not in ("kind", "at")}
            return str(kind), [str(rest)]


def _calls(message: Record) -> str:
    return ", ".join(labelled("calls", call["name"]) for call in message.get("tool_calls", ()))


def _short(text: object) -> str:
    line = " ".join(str(text).split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 1]}…"
