"""`agentkit trace`: past runs step by step, and one of them run again."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.text import Text
from typer import Argument

from agentkit.cli.command import Folder, Json, command, group
from agentkit.cli.console import open_consoles, print_indented, print_json, print_notes
from agentkit.cli.i18n import _
from agentkit.cli.text import shorten
from agentkit.errors import ConfigError
from agentkit.findings import quantity
from agentkit.text.hidden import escape_json

if TYPE_CHECKING:
    from agentkit.messages import Record
    from agentkit.tracing.trace import ReadTrace, TraceFiles

_EXCERPT = 160

app = group("trace", _("Inspect past runs step by step, and replay one."))

RunKey = Annotated[str, Argument(help=_("A run's id, the beginning of it, or last."))]


@command(app, "list", _("List the stored runs, most recent first."), "agentkit trace list")
async def list_traces(folder: Folder = Path(), json: Json = False) -> None:
    from agentkit.tracing.trace import read_trace

    out, log = open_consoles()
    traces = []
    for path in reversed(_trace_files(folder).paths()):
        try:
            traces.append((path, read_trace(path)))
        except ConfigError as error:
            print_notes([str(error)], log)
    if json:
        print_json([{**trace.run, **_totals(trace)} for _path, trace in traces])
        return
    if not traces:
        log.print(Text("no runs are stored yet", "dim"))
    for path, trace in traces:
        totals = _totals(trace)
        requests, calls = totals["requests"], totals["tools"]
        counts = f"{quantity(requests, 'request')}, {quantity(calls, 'tool call')}"
        line = Text(f"{path.stem}  {counts}  ", "bold")
        out.print(line.append(shorten(trace.run["prompt"], _EXCERPT), "not bold"))


@command(
    app,
    "show",
    _("Print a run step by step: requests, answers, tools, times and tokens."),
    "agentkit trace show last",
)
async def show(which: RunKey = "last", folder: Folder = Path(), json: Json = False) -> None:
    if json:
        from agentkit.tracing.trace import read_trace

        for record in read_trace(_trace_files(folder).find(which)).records:
            print(escape_json(json_module.dumps(record, ensure_ascii=False)))
    else:
        print_trace(which, folder, open_consoles()[0])


@command(
    app,
    "replay",
    _(
        "Run it again with the model's stored answers, and print what differs. "
        "Exits with 1 if anything does."
    ),
    "agentkit trace replay last",
)
async def replay(which: RunKey = "last", folder: Folder = Path(), json: Json = False) -> int:
    from agentkit.agent.replay import replay as replay_run
    from agentkit.cli.project import open_project
    from agentkit.tracing.trace import read_trace

    out, log = open_consoles()
    trace = read_trace(_trace_files(folder).find(which))
    async with open_project(folder, log, model="extractive") as project:
        _answer, differences = await replay_run(project.agent, trace)
    if json:
        print_json([{"place": d.place, "then": d.then, "now": d.now} for d in differences])
        return 1 if differences else 0
    for difference in differences:
        out.print(Text(difference.place, style="bold"))
        out.print(Text(f"  then {shorten(difference.then, _EXCERPT)}"))
        out.print(Text(f"  now  {shorten(difference.now, _EXCERPT)}"))
    if not differences:
        out.print("the same, request by request")
    return 1 if differences else 0


def print_trace(which: str, folder: Path, out: Console) -> None:
    """Print every step of a run."""
    from agentkit.tracing.trace import read_trace

    for record in read_trace(_trace_files(folder).find(which)).records:
        title, lines = _describe(record)
        out.print(Text(title, style="bold"))
        for line in lines:
            print_indented(Text(shorten(line, _EXCERPT)), out)


def _trace_files(folder: Path) -> TraceFiles:
    from agentkit.project.project import traces_path
    from agentkit.tracing.trace import TraceFiles

    return TraceFiles(traces_path(folder))


def _totals(trace: ReadTrace) -> dict[str, Any]:
    end = trace.of("end")
    return {
        "requests": len(trace.of("request")),
        "tools": len(trace.of("tool")),
        "usage": end[0]["usage"] if end else None,
        "stop_reason": end[0]["stop_reason"] if end else "cut short",
    }


def _describe(record: Record) -> tuple[str, list[str]]:
    """A step's title and the lines below it."""
    match record["kind"]:
        case "run":
            return f"run {record['id']} with {record['model']}", [record["prompt"]]
        case "request":
            new = [f"{message['role']}: {_describe_message(message)}"
                   for message in record["messages"]]  # fmt: skip
            return (
                f"request {record['number']} ({quantity(record['kept'], 'earlier message')})",
                new,
            )
        case "reply":
            return _describe_reply(record)
        case "tool":
            verb = "failed" if record["failed"] else "returned"
            title = f"{record['name']} {verb} after {record['seconds']:.2f} s"
            return title, [record["result"]]
        case "end":
            return f"end: {record['stop_reason']}", [record["text"]]
        case kind:
            rest = {key: value for key, value in record.items() if key not in ("kind", "at")}
            return str(kind), [str(rest)]


def _describe_reply(record: Record) -> tuple[str, list[str]]:
    usage = record["usage"]
    tokens = f"{usage.get('input_tokens', '?')} in, {usage.get('output_tokens', '?')} out tokens"
    title = f"reply {record['number']} after {record['seconds']:.2f} s, {tokens}"
    text = [record["text"]] if record["text"] else []
    calls = [f"calls {call['name']}({call['arguments']})" for call in record["calls"]]
    failed = [f"failed: {record['error']}"] if record["error"] else []
    return title, [*text, *calls, *failed]


def _describe_message(message: Record) -> str:
    """A message's content, else the sources of its passages, else the names of its calls."""
    if message["content"]:
        return str(message["content"])
    if passages := message.get("passages", ()):
        sources = dict.fromkeys(passage["chunk"]["source"] for passage in passages)
        return f"{quantity(len(passages), 'passage')} of {', '.join(sources)}"
    return ", ".join(f"calls {call['name']}" for call in message.get("tool_calls", ()))
