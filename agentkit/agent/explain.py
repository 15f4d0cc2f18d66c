"""Report why a model's last reply could not be used: the request, the reply, the likely cause and
the setting to change.

Made for people, only when a run has failed. The cause is inferred from the reply; nothing is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

from agentkit.backends.base import Options, estimated_tokens, tokens_of_all
from agentkit.backends.text_tool_calls import CALL_MARKERS
from agentkit.errors import ModelError
from agentkit.messages import Message, ToolCall, Usage
from agentkit.redaction import redact

_MAX_CHARACTERS = 600
_MESSAGES = 6
_FULL, _CUT = 0.9, 0.6
"""How full a window is that cuts; what share of our count a server that cut the prompt reports."""
_MIN_TOKENS = 200
"""Tokens below which our count is too rough to say that anything was cut."""
_WITHOUT_REPLY = ("down", "rate_limited", "timed_out", "refused_key")
_NO_TOOLS = ("tool", "function", "template", "jinja")

_RAISE_MAX = (
    "Raise max_tokens: extra_body = { max_tokens = 4096 } under [providers.NAME] in agentkit.toml, "
    "or Options(max_tokens=...) in code"
)
_RAISE_CONTEXT = (
    "Give the server a larger context: max_context under [providers.NAME] for ollama, hf and gguf; "
    "llama-server --ctx-size N; LM Studio: Context Length; vLLM: --max-model-len N"
)
_TEMPLATE = (
    "Choose a model whose card lists tools, and let its server use its template and its parser. "
    "llama-server: --jinja; vLLM: --enable-auto-tool-choice --tool-call-parser NAME. "
    "See what works: agentkit probe MODEL"
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply; `window` in tokens where it is known."""

    model: str
    messages: Sequence[Message] = ()
    tools: Sequence[str] = ()
    options: Options = Options()
    text: str = ""
    reasoning: str = ""
    calls: Sequence[ToolCall] = ()
    usage: Usage = field(default_factory=Usage)
    stop_reason: str = ""
    window: int | None = None

    @property
    def counted(self) -> int:
        """An estimate of the messages' tokens, to compare with the server's count."""
        return tokens_of_all(self.messages, estimated_tokens)

    @property
    def is_unanswered(self) -> bool:
        return not (self.text or self.reasoning or self.calls)


def explain(exchange: Exchange, error: ModelError | None = None) -> str:
    """The report, a few lines, to be shown with the error. Neither request nor answer is in it
    where the server gave none for a reason that is not in the request."""
    parts = [("likely cause", likely_cause(exchange, error))]
    if not (error and error.kind in _WITHOUT_REPLY and exchange.is_unanswered):
        parts = [
            ("request", _request(exchange)),
            ("answer", _answer(exchange)),
            ("error", _parse_error(exchange)),
            *parts,
        ]
    return redact("\n".join(f"{name}: {text}" for name, text in parts if text))


def no_answer_error(exchange: Exchange, fault: str) -> ModelError:
    """The error for a reply that is `empty` or a call that is `unreadable`."""
    if exchange.stop_reason == "refused":
        reason = "The server withheld the answer: its content filter stopped it"
        step = "Ask in other words, or choose another model."
    else:
        what = "an empty answer" if fault == "empty" else "a tool call that cannot be read"
        reason, step = f"The model gave {what}", likely_cause(exchange)
    error = ModelError(f"{exchange.model}: {reason}. {step}".strip(), exchange.model)
    error.report = explain(exchange, error)
    return error


def likely_cause(exchange: Exchange, error: ModelError | None = None) -> str:
    """The first cause that fits the exchange, with the next step."""
    if error:
        return _cause_of_error(exchange, error)
    return next((text for cause in _CAUSES if (text := cause(exchange))), "")


def _cause_of_error(exchange: Exchange, error: ModelError) -> str:
    message = str(error).lower()
    if error.kind == "too_long":
        return f"The context is too small for this conversation. {_RAISE_CONTEXT}."
    if error.kind == "bad_request" and exchange.tools and any(w in message for w in _NO_TOOLS):
        return f"The server or the model's template takes no tools. {_TEMPLATE}."
    if error.kind == "timed_out":
        return (
            "The model needs longer than it is given. Raise read_timeout under [providers.NAME], "
            "or choose a smaller model."
        )
    return ""


def _context_cut(exchange: Exchange) -> str:
    usage, counted = exchange.usage, exchange.counted
    if usage.estimated or not usage.input_tokens:
        return ""
    if counted > _MIN_TOKENS and usage.input_tokens < _CUT * counted:
        return (
            f"The server read {usage.input_tokens} tokens of about {counted}: it cuts the "
            f"beginning of the prompt without an error. {_RAISE_CONTEXT}."
        )
    window = exchange.window
    if window and usage.total_tokens >= _FULL * window:
        return (
            f"Prompt and answer fill {usage.total_tokens} of the window's {window} tokens. "
            f"{_RAISE_CONTEXT}."
        )
    return ""


def _wrong_parser(exchange: Exchange) -> str:
    if not (found := _markers(exchange.text)):
        return ""
    return (
        f"The text contains a tool call ({found[0]}): the server's parser does not fit this model, "
        f"or the model wrote a call that cannot be parsed. {_TEMPLATE}."
    )


def _only_thinking(exchange: Exchange) -> str:
    if not exchange.reasoning or exchange.calls or exchange.text.strip():
        return ""
    if exchange.stop_reason == "length":
        return f"The model was still thinking when its tokens were used up. {_RAISE_MAX}."
    return (
        "The model only thought, and gave no answer. Ask again, or turn thinking off where the "
        f"server lets you. {_RAISE_MAX}."
    )


def _cut_answer(exchange: Exchange) -> str:
    if exchange.stop_reason != "length":
        return ""
    return f"The answer was cut off where its tokens were used up. {_RAISE_MAX}."


def _bad_arguments(exchange: Exchange) -> str:
    if not any(isinstance(call.arguments, str) for call in exchange.calls):
        return ""
    return (
        "The model wrote arguments that are not JSON, or the server's parser cut them off. "
        f"{_TEMPLATE}."
    )


def _no_template(exchange: Exchange) -> str:
    if exchange.text.strip() or exchange.calls:
        return ""
    if exchange.tools:
        return f"Nothing came back though tools were offered: no tool template. {_TEMPLATE}."
    return "Nothing came back. Ask again, or look into the server's log."


_CAUSES: tuple[Callable[[Exchange], str], ...] = (
    _context_cut,
    _only_thinking,
    _wrong_parser,
    _cut_answer,
    _bad_arguments,
    _no_template,
)


def _request(exchange: Exchange) -> str:
    tools = ", ".join(exchange.tools) or "none"
    lines = [
        f"{exchange.model}, {len(exchange.messages)} messages of about {exchange.counted} tokens, "
        f"window {exchange.window or 'unknown'}, tools: {tools}{_options(exchange.options)}"
    ]
    left_out = len(exchange.messages) - _MESSAGES
    if left_out > 0:
        lines.append(f"  ({left_out} earlier messages)")
    return "\n".join([*lines, *map(_message, exchange.messages[-_MESSAGES:])])


def _options(options: Options) -> str:
    given = {f.name: getattr(options, f.name) for f in fields(options)}
    usual = Options()
    changed = {k: v for k, v in given.items() if v != getattr(usual, k)}
    if "schema" in changed:
        changed["schema"] = "given"
    return "".join(f", {name}: {value}" for name, value in changed.items())


def _message(message: Message) -> str:
    calls = ", ".join(f"{call.name}({_short(call.arguments)})" for call in message.tool_calls)
    return f"  {message.role}: {_short(message.prompt_text)}{' -> ' if calls else ''}{calls}"


def _answer(exchange: Exchange) -> str:
    calls = "; ".join(
        f"{call.name} {call.arguments!r}"[:_MAX_CHARACTERS] for call in exchange.calls
    )
    thought = f"(thought: {_short(exchange.reasoning)}) " if exchange.reasoning else ""
    text = repr(exchange.text[:_MAX_CHARACTERS]) if exchange.text or not calls else ""
    usage, reason = exchange.usage, exchange.stop_reason
    ended = f" [stop reason: {reason or 'none'}, read {usage.input_tokens}, " + (
        f"wrote {usage.output_tokens} tokens{', counted here' if usage.estimated else ''}]"
    )
    return f"{thought}{text}{' ' if text and calls else ''}{calls}{ended}"


def _parse_error(exchange: Exchange) -> str:
    for call in exchange.calls:
        if isinstance(call.arguments, str):
            return f"the arguments of {call.name}: {_fault(call.arguments)}"
    if found := _markers(exchange.text):
        after = exchange.text.partition(found[0])[2].strip()
        return f"the call after {found[0]}: {_fault(after)}"
    return ""


def _fault(text: str) -> str:
    try:
        value = json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError) as error:
        return str(error)
    return f"{type(value).__name__} where an object with a known tool's name was expected"


def _markers(text: str) -> list[str]:
    """The marks of a call in a text, the first one first."""
    return sorted((mark for mark in CALL_MARKERS if mark in text), key=text.index)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= _MAX_CHARACTERS // 3 else f"{text[: _MAX_CHARACTERS // 3]}…"
