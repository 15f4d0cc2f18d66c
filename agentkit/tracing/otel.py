"""Traces as OpenTelemetry spans, by the GenAI semantic conventions (opentelemetry.io/docs/specs/
semconv/gen-ai): invoke_agent around chat and execute_tool.

What was said is left out unless `content` is true. Where spans go is the application's own set-up
of OpenTelemetry: without one, nowhere.
"""

from __future__ import annotations

import json
from typing import Any

from agentkit.errors import ConfigError
from agentkit.messages import Record


class OtelSinks:
    """Opens a sink for each run. Raises ConfigError without the `otel` extra."""

    def __init__(self, provider: Any = None, *, content: bool = False) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise ConfigError('OpenTelemetry needs: pip install "agentkit-rag[otel]"') from error
        self._tracer = trace.get_tracer("agentkit", tracer_provider=provider)
        self._content = content

    def __call__(self, run_id: str) -> OtelSink:
        """The sink of a run."""
        return OtelSink(self._tracer, run_id, self._content)


class OtelSink:
    """The spans of one run."""

    def __init__(self, tracer: Any, run_id: str, content: bool) -> None:
        self._tracer = tracer
        self._run_id = run_id
        self._content = content
        self._root: Any = None
        self._chat: Any = None

    def write(self, record: Record) -> None:
        match record["kind"]:
            case "run":
                self._root = self._span("invoke_agent agentkit", "invoke_agent", None)
                self._root.set_attribute("gen_ai.agent.name", "agentkit")
                self._root.set_attribute("gen_ai.agent.id", self._run_id)
                self._root.set_attribute("gen_ai.request.model", record["model"])
                self._root.set_attribute("gen_ai.conversation.id", record["session"])
                self._say(self._root, "gen_ai.input.messages", record["prompt"])
            case "request":
                self._chat = self._span("chat", "chat", self._root)
                self._say(self._chat, "gen_ai.input.messages", record["messages"])
            case "reply" if self._chat is not None:
                self._replied(record)
            case "tool":
                self._tool(record)
            case "end":
                self._ended(record)

    def close(self) -> None:
        for span in (self._chat, self._root):
            if span is not None:
                span.end()
        self._chat = self._root = None

    def _span(self, name: str, operation: str, parent: Any, start: int | None = None) -> Any:
        from opentelemetry import trace

        context = trace.set_span_in_context(parent) if parent is not None else None
        span = self._tracer.start_span(name, context=context, start_time=start)
        span.set_attribute("gen_ai.operation.name", operation)
        return span

    def _replied(self, record: Record) -> None:
        span = self._chat
        span.update_name(f"chat {record['model']}".strip())
        span.set_attribute("gen_ai.response.model", record["model"])
        span.set_attribute("gen_ai.response.finish_reasons", [record["stop_reason"]])
        for ours, theirs in (("input_tokens", "input"), ("output_tokens", "output")):
            if ours in record["usage"]:
                span.set_attribute(f"gen_ai.usage.{theirs}_tokens", record["usage"][ours])
        self._say(span, "gen_ai.output.messages", record["text"])
        self._failed(span, record["error"])
        span.end()
        self._chat = None

    def _tool(self, record: Record) -> None:
        import time

        now = time.time_ns()
        begun = now - int(record["seconds"] * 1e9)
        span = self._span(f"execute_tool {record['name']}", "execute_tool", self._root, begun)
        span.set_attribute("gen_ai.tool.name", record["name"])
        span.set_attribute("gen_ai.tool.call.id", record["id"])
        self._say(span, "gen_ai.tool.call.arguments", record["arguments"])
        self._say(span, "gen_ai.tool.call.result", record["result"])
        self._failed(span, "tool error" if record["failed"] else "")
        span.end(now)

    def _ended(self, record: Record) -> None:
        usage = record["usage"]
        self._root.set_attribute("gen_ai.usage.input_tokens", usage["input_tokens"])
        self._root.set_attribute("gen_ai.usage.output_tokens", usage["output_tokens"])
        self._root.set_attribute("gen_ai.response.finish_reasons", [record["stop_reason"]])
        self._say(self._root, "gen_ai.output.messages", record["text"])

    def _failed(self, span: Any, error: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        if error:
            span.set_attribute("error.type", error.split(":")[0])
            span.set_status(Status(StatusCode.ERROR, error if self._content else ""))

    def _say(self, span: Any, name: str, value: object) -> None:
        if self._content:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            span.set_attribute(name, text)
