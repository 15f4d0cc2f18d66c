"""What an agent's runs use: its model, tools, knowledge base, instructions and limits, and how one
run replaces them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeAlias, TypedDict, cast

from typing_extensions import TypeVar

from agentkit.agent.approval import Approve, Policy, deny
from agentkit.agent.hooks import Hooks
from agentkit.agent.limits import Limits
from agentkit.agent.query_rewriting import Expansion
from agentkit.agent.tool_runner import OnToolError
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model, Options
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.tools import knowledge_tools
from agentkit.settings.schema import REFUSE_BELOW
from agentkit.tools.context import RunContext
from agentkit.tools.tool import Tool, as_tool
from agentkit.tracing.trace import Tracing

Deps = TypeVar("Deps", default=None)
"""The type of the dependencies that an agent's runs are given, such as a database handle."""

Instructions: TypeAlias = str | Callable[[RunContext[Deps]], str | Awaitable[str]]
"""Instructions for the model: a text, or a function that writes it for each run."""

_Rejection: TypeAlias = str | Awaitable[str | None] | None

OutputCheck: TypeAlias = Callable[[Any], _Rejection] | Callable[[Any, RunContext[Deps]], _Rejection]
"""A check of an output, or of the text of an answer without one. It rejects it with a message for
the model, returned or raised as Retry; then the model is asked again."""

ModelChoice: TypeAlias = Model | str | Sequence[str]
"""A model, its name, or several names, each the fallback of those before it."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """How an agent uses its knowledge base.

    `mode` "always" searches before the model is asked, "auto" leaves searching to the model,
    "never" offers no documents. `results` is the number of passages of a search, `expand` the
    query expansion. `strict` removes sentences that no passage or tool result supports and refuses
    when none is left. No tool of the knowledge base shows a document that `filters` exclude.
    `knowledge` is used in place of the agent's own knowledge base, such as that of one tenant.
    `refuse_below` is the least probability at which the extractive model answers.
    """

    mode: Literal["always", "auto", "never"] = "always"
    results: int = 5
    expand: Expansion = "none"
    strict: bool = False
    filters: Filters = Filters()
    knowledge: KnowledgeBase | None = None
    refuse_below: float = REFUSE_BELOW

    def __post_init__(self) -> None:
        if self.mode not in ("always", "auto", "never"):
            raise ConfigError(
                f"The retrieval mode {self.mode!r} is unknown: choose always, auto or never."
            )


class Overrides(TypedDict, Generic[Deps], total=False):
    """Keywords of every method that runs an agent; each replaces the agent's own for that run.

    `deps` is what tools and instructions get as `context.deps`; `approve` decides on the calls that
    need approval. `tools` replace the agent's own
    tools, not those of its knowledge base, which `retrieval` sets.
    """

    deps: Deps
    model: ModelChoice
    instructions: Instructions[Deps]
    tools: Sequence[Tool | Callable[..., Any]]
    limits: Limits
    approve: Approve
    retrieval: Retrieval
    options: Options
    output_check: OutputCheck[Deps] | None


class Setup(Generic[Deps]):
    """What an agent's runs use. The attributes can be set; a run uses those of its start."""

    def __init__(
        self,
        model: ModelChoice = "auto",
        tools: Sequence[Tool | Callable[..., Any]] = (),
        knowledge: KnowledgeBase | None = None,
        instructions: Instructions[Deps] = "",
        limits: Limits = Limits(),
        approve: Approve = deny,
        *,
        preamble: str | None = None,
        policy: Policy = Policy(),
        retrieval: Retrieval = Retrieval(),
        options: Options = Options(),
        hooks: Hooks = Hooks(),
        on_tool_error: OnToolError = "tell",
        output_check: OutputCheck[Deps] | None = None,
        tracing: Tracing | None = None,
        folder: Path | None = None,
        open_model: Callable[..., Model] = get_model,
    ) -> None:
        self._open_model = open_model
        self._opened: dict[str | tuple[str, ...], Model] = {}
        self._closed = False
        self.knowledge = knowledge
        self.retrieval = retrieval
        self.model: Model = self._get_model(model)
        self.tools: tuple[Tool, ...] = tuple(map(as_tool, tools))
        self.instructions = instructions
        self.limits = limits
        self.approve = approve
        self.preamble = preamble
        self.policy = policy
        self.options = options
        self.hooks = hooks
        if on_tool_error not in ("tell", "raise") and not callable(on_tool_error):
            raise ConfigError(
                f"on_tool_error is {on_tool_error!r}: choose 'tell', 'raise' or a function."
            )
        self.on_tool_error: OnToolError = on_tool_error
        self.output_check = output_check
        self.tracing = tracing
        self.folder = folder
        self.deps = cast(Deps, None)
        self.offered_tools  # noqa: B018  # raises for two tools of one name

    @property
    def documents(self) -> KnowledgeBase | None:
        """The knowledge base that runs use, None without one."""
        own = self.retrieval.knowledge
        return self.knowledge if own is None else own

    @property
    def offered_tools(self) -> tuple[Tool, ...]:
        """The tools that the model is offered: those of the knowledge base, then `tools`. Raises
        ConfigError where two have one name."""
        knowledge, retrieval = self.documents, self.retrieval
        of_knowledge: tuple[Tool, ...] = ()
        if knowledge is not None and retrieval.mode != "never":
            of_knowledge = knowledge_tools(knowledge, retrieval.results, retrieval.filters)
        return _distinct([*of_knowledge, *self.tools])

    def retrieval_within(self, outer: Retrieval) -> Retrieval:
        """The retrieval of a run of this agent inside a run with `outer`: only documents that pass
        both filters, from the knowledge base of `outer` where it names one."""
        own = self.retrieval
        inherits = self.documents is not None and outer.knowledge is not None
        knowledge = outer.knowledge if inherits else own.knowledge
        return replace(own, filters=own.filters.bounded(outer.filters), knowledge=knowledge)

    def replaced(self, overrides: Mapping[str, Any]) -> Self:
        """A copy of which `overrides` replace some attributes. Raises TypeError for a name that
        Overrides does not have."""
        if unknown := overrides.keys() - Overrides.__optional_keys__:
            names, known = (", ".join(sorted(s)) for s in (unknown, Overrides.__optional_keys__))
            raise TypeError(f"An agent's run has no keyword {names}. It has output, {known}.")
        changed = object.__new__(type(self))
        changed.__dict__.update(self.__dict__)
        for name, value in overrides.items():
            if name == "model":
                value = self._get_model(value)
            elif name == "tools":
                value = tuple(map(as_tool, value))
            setattr(changed, name, value)
        return changed

    def _get_model(self, model: ModelChoice) -> Model:
        """A model as it is; by name one that is opened once."""
        if isinstance(model, Model):
            return model
        name = model if isinstance(model, str) else tuple(model)
        if name not in self._opened:
            extractive = partial(
                ExtractiveModel, self.knowledge, refuse_below=self.retrieval.refuse_below
            )
            self._opened[name] = self._open_model(name, extractive=extractive)
        return self._opened[name]


def _distinct(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools, if no two have one name. Raises ConfigError."""
    seen: set[str] = set()
    for each in tools:
        if each.name in seen:
            raise ConfigError(f"Two tools are called {each.name!r}: rename one.")
        seen.add(each.name)
    return tuple(tools)
