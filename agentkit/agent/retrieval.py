"""How an agent uses its documents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentkit.agent.queries import Expansion


@dataclass(frozen=True, slots=True)
class Retrieval:
    """`mode` "always" searches before the model is asked, "auto" leaves it to the model, "never"
    keeps the documents out of the run. `results` is how many passages a search gives, `expand`
    how a question is searched for. `strict` leaves out what no passage or tool supports, and
    refuses where nothing remains. `sources` are sources or globs that the run keeps to."""

    mode: Literal["always", "auto", "never"] = "always"
    results: int = 5
    expand: Expansion = "none"
    strict: bool = False
    sources: tuple[str, ...] = ()
