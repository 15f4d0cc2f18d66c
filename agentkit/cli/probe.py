"""`agentkit probe`: what a model and its server can do, found out by asking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model
from agentkit.backends.probe.checks import CHECKS
from agentkit.backends.probe.runner import (
    CheckResult,
    capabilities_from,
    run_check,
    save_capabilities,
)
from agentkit.backends.probe.subject import Subject
from agentkit.backends.registry import get_model
from agentkit.cli.language import translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, described
from agentkit.errors import ConfigError, ModelError

MISSING = "no-such-model"
_STYLES = {"passed": "green", "failed": "red", "unsupported": "yellow"}


async def probe(name: str, base_url: str | None, json: bool) -> int:
    """Make all checks and keep what they show. 1 where a check failed."""
    out, log = consoles()
    model = get_model(name, base_url=base_url, extractive=ExtractiveModel)
    results: list[CheckResult] = []
    try:
        count = translated(f"{len(CHECKS)} checks")
        log.print(Text(f"{await described(model)}: {count}", "dim"))
        claims = await model.capabilities()
        subject = Subject(model, claims, _unknown(name, base_url))
        for check in CHECKS:
            result = await run_check(check, subject)
            results.append(result)
            if result.status == "failed" and len(results) == 1:
                raise ModelError(result.reason, model.name)
            if not json:
                _show(result, out)
    finally:
        await model.close()
    server = str(getattr(model, "server", ""))
    found = capabilities_from(results, claims)
    checks = [asdict(result) for result in results]
    save_capabilities(model.name, server, found, checks)
    if json:
        print(as_json({"model": model.name, "capabilities": asdict(found), "checks": checks}))
    else:
        out.print(Text(_summary(results)))
    return int(any(result.status == "failed" for result in results))


def about(check: str) -> str:
    """What a check shows, in one sentence."""
    return (CHECKS[check].__doc__ or "").split(". ")[0].rstrip(".")


def _unknown(name: str, base_url: str | None) -> Model | None:
    """A model of the same server that is not there; None where a name has no model in it."""
    prefix, colon, _ = name.partition(":")
    if not colon:
        return None
    try:
        return get_model(f"{prefix}:{MISSING}", base_url=base_url)
    except ConfigError:
        return None


def _show(result: CheckResult, out: Console) -> None:
    reason = translated(result.reason)[:200]
    line = Text(set_cell_size(translated(result.status), 12), _STYLES[result.status])
    line.append(f"{result.check:18} {result.seconds:6.1f} s  ", "default")
    line.append(reason or translated(about(result.check)), "default" if reason else "dim")
    out.print(line)


def _summary(results: Sequence[CheckResult]) -> str:
    counts: dict[str, Any] = dict.fromkeys(_STYLES, 0)
    for result in results:
        counts[result.status] += 1
    passed, failed, unsupported = counts.values()
    return translated(f"{passed} passed, {failed} failed, {unsupported} unsupported.")
