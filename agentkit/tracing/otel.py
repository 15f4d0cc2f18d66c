"""Export traces as OpenTelemetry spans: invoke_agent around chat and execute_tool.

Follows the GenAI semantic conventions (opentelemetry.io/docs/specs/semconv/gen-ai). Texts are
exported only with `content`. Spans go where the application configures OpenTelemetry to send them.
"""

from __future__ import annotations

import json
import time
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
        return OtelSink(self._tracer, run_id, self._content)


class OtelSink:
    """Converts the records of one run to spans."""

    def __init__(self, tracer: Any, run_id: str, content: bool) -> None:
        self._tracer = tracer
        self._run_id = run_id
        self._content = content
        self._root: Any = None
        self._chat: Any = None

    def write(self, record: Record) -> None:
        match record["kind"]:
            case "run":
                self._root = self._start_span("invoke_agent agentkit", "invoke_agent", None)
                self._root.set_attribute("gen_ai.agent.name", "agentkit")
                self._root.set_attribute("gen_ai.agent.id", self._run_id)
                self._root.set_attribute("gen_ai.request.model", record["model"])
                self._root.set_attribute("gen_ai.conversation.id", record["session"])
                self._set_content(self._root, "gen_ai.input.messages", record["prompt"])
            case "request":
                self._chat = self._start_span("chat", "chat", self._root)
                self._set_content(self._chat, "gen_ai.input.messages", record["messages"])
            case "reply" if self._chat is not None:
                self._end_chat(record)
            case "tool":
                self._add_tool(record)
            case "end":
                self._end_run(record)

    def close(self) -> None:
        for span in (self._chat, self._root):
            if span is not None:
                span.end()
        self._chat = self._root = None

    def _start_span(self, name: str, operation: str, parent: Any, start: int | None = None) -> Any:
        from opentelemetry import trace

        context = trace.set_span_in_context(parent) if parent is not None else None
        span = self._tracer.start_span(name, context=context, start_time=start)
        span.set_attribute("gen_ai.operation.name", operation)
        return span

    def _end_chat(self, record: Record) -> None:
        span = self._chat
        span.update_name(f"chat {record['model']}".strip())
        span.set_attribute("gen_ai.response.model", record["model"])
        span.set_attribute("gen_ai.response.finish_reasons", [record["stop_reason"]])
        for field in ("input_tokens", "output_tokens"):
            if field in record["usage"]:
                span.set_attribute(f"gen_ai.usage.{field}", record["usage"][field])
        self._set_content(span, "gen_ai.output.messages", record["text"])
        self._set_error(span, record["error"])
        span.end()
        self._chat = None

    def _add_tool(self, record: Record) -> None:
        now = time.time_ns()
        start = now - int(record["seconds"] * 1e9)
        span = self._start_span(f"execute_tool {record['name']}", "execute_tool", self._root, start)
        span.set_attribute("gen_ai.tool.name", record["name"])
        span.set_attribute("gen_ai.tool.call.id", record["id"])
        self._set_content(span, "gen_ai.tool.call.arguments", record["arguments"])
        self._set_content(span, "gen_ai.tool.call.result", record["result"])
        self._set_error(span, "tool error" if record["failed"] else "")
        span.end(now)

    def _end_run(self, record: Record) -> None:
        usage = record["usage"]
        self._root.set_attribute("gen_ai.usage.input_tokens", usage["input_tokens"])
        self._root.set_attribute("gen_ai.usage.output_tokens", usage["output_tokens"])
        self._root.set_attribute("gen_ai.response.finish_reasons", [record["stop_reason"]])
        self._set_content(self._root, "gen_ai.output.messages", record["text"])

    def _set_error(self, span: Any, error: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        if error:
            span.set_attribute("error.type", error.split(":")[0])
            span.set_status(Status(StatusCode.ERROR, error if self._content else ""))

    def _set_content(self, span: Any, name: str, value: object) -> None:
        if self._content:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            span.set_attribute(name, text)
