"""`agentkit probe`: what a model and its server can do, found out by asking."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model
from agentkit.backends.probe.kit import Subject, keep_capabilities
from agentkit.backends.probe.runner import CHECKS, Outcome, capabilities_of, conform
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
    outcomes: list[Outcome] = []
    try:
        count = translated(f"{len(CHECKS)} checks")
        log.print(Text(f"{await described(model)}: {count}", "dim"))
        claims = await model.capabilities()
        subject = Subject(model, claims, _unknown(name, base_url))
        async with aclosing(conform(subject)) as made:
            async for outcome in made:
                outcomes.append(outcome)
                if outcome.status == "failed" and len(outcomes) == 1:
                    raise ModelError(outcome.reason, model.name)
                if not json:
                    _show(outcome, out)
    finally:
        await model.close()
    server = str(getattr(model, "server", ""))
    found = capabilities_of(outcomes, claims)
    checks = [asdict(outcome) for outcome in outcomes]
    keep_capabilities(model.name, server, found, checks)
    if json:
        print(as_json({"model": model.name, "capabilities": asdict(found), "checks": checks}))
    else:
        out.print(Text(_summary(outcomes)))
    return int(any(outcome.status == "failed" for outcome in outcomes))


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


def _show(outcome: Outcome, out: Console) -> None:
    reason = translated(outcome.reason)[:200]
    line = Text(set_cell_size(translated(outcome.status), 12), _STYLES[outcome.status])
    line.append(f"{outcome.check:18} {outcome.seconds:6.1f} s  ", "default")
    line.append(reason or translated(about(outcome.check)), "default" if reason else "dim")
    out.print(line)


def _summary(outcomes: Sequence[Outcome]) -> str:
    counts: dict[str, Any] = dict.fromkeys(_STYLES, 0)
    for outcome in outcomes:
        counts[outcome.status] += 1
    passed, failed, unsupported = counts.values()
    return translated(f"{passed} passed, {failed} failed, {unsupported} unsupported.")
