"""Batches of texts over workers that may die: each worker holds two, a lost batch goes to another.

Order is kept. A batch that three workers died of is given up, and so is the whole when no worker is
left or none answers for ten minutes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentkit.errors import KnowledgeError
from agentkit.knowledge.embedders.base import Vectors

_log = logging.getLogger(__name__)

_HELD = 2
_ATTEMPTS = 3
_PATIENCE = 600.0
_TICK = 0.5
_AGAIN = "What was indexed before stays: index again."


@dataclass(frozen=True, slots=True)
class Started:
    """What a worker says when it is there: its machine, its embedder, or what keeps it from it."""

    host: str
    name: str = ""
    problem: str = ""


@dataclass(eq=False)
class _Member:
    """A worker and how much it holds; ready from when it said so."""

    actor: Any
    is_ready: bool = False
    held: int = 0


@dataclass
class _Work:
    """One call: what is to do, what is where, and what came back."""

    texts: Sequence[list[str]]
    todo: deque[int]
    attempts: list[int]
    found: dict[int, Vectors] = field(default_factory=dict)
    running: dict[Any, tuple[_Member, int]] = field(default_factory=dict)


class Batches:
    """The workers of one embedder. `start` makes a worker, of which there are `size`."""

    def __init__(self, ray: Any, start: Callable[[], Any], size: int, name: str) -> None:
        self.size = size
        self._ray = ray
        self._start = start
        self._name = name
        self._spare = 2 * size
        self._problem = ""
        self._members: list[_Member] = []
        self._starting: dict[Any, _Member] = {}
        self._lock = threading.Lock()
        for _ in range(size):
            self._hire()

    def embedded(self, texts: Sequence[list[str]], stop: threading.Event) -> list[Vectors]:
        """The vectors of each batch, in order. Raises KnowledgeError."""
        with self._lock:
            work = _Work(texts, deque(range(len(texts))), [0] * len(texts))
            try:
                self._work_off(work, stop)
            finally:
                self._drop(work)
            return [work.found[at] for at in range(len(texts))]

    def close(self) -> None:
        """End the workers."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members, self._starting = [], {}

    def _work_off(self, work: _Work, stop: threading.Event) -> None:
        heard = time.monotonic()
        while len(work.found) < len(work.texts):
            if stop.is_set():
                raise KnowledgeError(f"The embedding was stopped. {_AGAIN}")
            self._hand_out(work)
            waiting = [*work.running, *self._starting]
            if not waiting:
                raise KnowledgeError(self._nobody())
            done, _ = self._ray.wait(waiting, num_returns=1, timeout=_TICK)
            if done:
                heard = time.monotonic()
                self._settle(done[0], work)
            elif time.monotonic() - heard > _PATIENCE:
                raise KnowledgeError(
                    f"No Ray worker answered for {_PATIENCE:.0f} s: look at `ray status`. {_AGAIN}"
                )

    def _hand_out(self, work: _Work) -> None:
        """To whoever holds least."""
        while work.todo:
            free = [m for m in self._members if m.is_ready and m.held < _HELD]
            if not free:
                return
            member, at = min(free, key=lambda m: m.held), work.todo.popleft()
            member.held += 1
            work.running[member.actor.embed.remote(work.texts[at])] = (member, at)

    def _settle(self, ref: Any, work: _Work) -> None:
        if ref in self._starting:
            self._greet(self._starting.pop(ref), ref)
            return
        member, at = work.running.pop(ref)
        member.held -= 1
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError as error:
            raise KnowledgeError(f"A Ray worker failed: {error.cause!r}. {_AGAIN}") from error
        except self._ray.exceptions.RayError as error:
            self._lost(member, at, work, error)
            return
        if isinstance(answer, str):
            raise KnowledgeError(f"A Ray worker failed: {answer}")
        work.found[at] = np.asarray(answer, np.float32)

    def _lost(self, member: _Member, at: int, work: _Work, error: Exception) -> None:
        """Another worker takes the batch, and another member the place."""
        work.todo.appendleft(at)
        work.attempts[at] += 1
        if work.attempts[at] >= _ATTEMPTS:
            raise KnowledgeError(
                f"{_ATTEMPTS} Ray workers died of the same {len(work.texts[at])} passages "
                f"({_line(error)}): have they enough memory? {_AGAIN}"
            ) from error
        self._dismiss(member, error)

    def _dismiss(self, member: _Member, error: Exception) -> None:
        if member not in self._members:
            return
        _log.warning("A Ray worker died: another takes its work (%s)", _line(error))
        self._members.remove(member)
        self._ray.kill(member.actor)
        if self._spare > 0:
            self._spare -= 1
            self._hire()

    def _hire(self) -> None:
        member = _Member(self._start())
        self._members.append(member)
        self._starting[member.actor.start.remote()] = member

    def _greet(self, member: _Member, ref: Any) -> None:
        """Take on a worker that has the right embedder, and do without one that has not."""
        try:
            started: Started = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._problem = f"a worker did not start ({_line(error)})"
            self._dismiss(member, error)
            return
        problem = started.problem
        if not problem and started.name != self._name:
            problem = f"it has the embedder {started.name}, not {self._name}"
        if not problem:
            member.is_ready = True
            return
        self._problem = f"on {started.host}: {problem}"
        _log.warning("A Ray worker cannot help, %s", self._problem)
        self._members.remove(member)
        self._ray.kill(member.actor)

    def _nobody(self) -> str:
        return f"No Ray worker is left that can embed: {self._problem or 'all died'}. {_AGAIN}"

    def _drop(self, work: _Work) -> None:
        """After a failure: what is still under way is wanted no more."""
        for ref, (member, _) in work.running.items():
            member.held -= 1
            self._ray.cancel(ref)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
