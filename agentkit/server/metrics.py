"""Measurements of a running server, for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.types import Scope

from agentkit.answers import Answer
from agentkit.events import Event, Finished, Nested, ToolDenied, ToolFinished
from agentkit.knowledge.tools import SEARCH
from agentkit.server.admission import Admission

CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which the Prometheus client counts for several processes together."""

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_SHORT_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class Metrics:
    """The measurements of one app."""

    def __init__(self, admission: Admission) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter(
            "agentkit_requests", "HTTP requests.", ("route", "method", "status"), registry=own
        )
        self._admission = admission
        self._running, self._queued = (
            Gauge(name, about, registry=own, multiprocess_mode="livesum")
            for name, about in (
                ("agentkit_running", "Answers that are being written."),
                ("agentkit_queued", "Requests that wait for their turn."),
            )
        )
        admission.on_change = self._count_running
        self._count_running()
        self.first_token = Histogram(
            "agentkit_time_to_first_token_seconds",
            "Time from a request to the first text of its answer.",
            buckets=_SECONDS,
            registry=own,
        )
        self.tokens = Counter("agentkit_tokens", "Tokens of models.", ("kind",), registry=own)
        self.tools = Counter("agentkit_tool_calls", "Tool calls.", ("outcome",), registry=own)
        self.answers = Counter("agentkit_answers", "Answers.", ("stop_reason",), registry=own)
        self.retrieval = Histogram(
            "agentkit_retrieval_seconds",
            "Time of a search of the documents.",
            buckets=_SHORT_SECONDS,
            registry=own,
        )

    def _count_running(self) -> None:
        self._running.set(self._admission.running)
        self._queued.set(self._admission.queued)

    def count_response(self, scope: Scope, status: int) -> None:
        """Count a response by the path of its route, in which parameters have names."""
        route = getattr(scope.get("route"), "path", "other")
        self.requests.labels(route, scope["method"], str(status)).inc()

    def count(self, event: Event) -> None:
        """Count an event of a run."""
        match event:
            case ToolFinished(call, _, seconds, failed):
                self.tools.labels("failed" if failed else "succeeded").inc()
                if call.name == SEARCH:
                    self.retrieval.observe(seconds)
            case ToolDenied():
                self.tools.labels("denied").inc()
            case Nested(_, inner):
                self.count(inner)
            case Finished(answer):
                self._count_answer(answer)

    def _count_answer(self, answer: Answer) -> None:
        self.answers.labels(answer.stop_reason).inc()
        self.tokens.labels("input").inc(answer.usage.input_tokens)
        self.tokens.labels("output").inc(answer.usage.output_tokens)

    def text(self) -> bytes:
        """All of them in Prometheus' text format, those of all workers together."""
        if not os.environ.get(SHARED_FOLDER):
            return generate_latest(self.registry)
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)
