"""Checks of a model's edges: leaving it, asking at once, long prompts, closing, wrong names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from agentkit.backends.base import Options
from agentkit.backends.conformance_kit import (
    Subject,
    Unsupported,
    is_about_length,
    need,
    one_line,
    promised,
    user,
)
from agentkit.backends.conformance_text import COUNT
from agentkit.errors import ModelError
from agentkit.events import ModelPart

LARGEST_WINDOW = 65536
"""Tokens. A prompt beyond a larger window is not tried: it might be accepted, and paid for."""

_LEAVING_SECONDS = 15.0


async def leaving(subject: Subject) -> None:
    """Closing the iterator in the middle stops the model, which then answers again."""
    parts = _endless(subject)
    await anext(parts)
    await parts.aclose()
    await _soon(subject)


async def cancelling(subject: Subject) -> None:
    """A cancelled task ends as cancelled, and the model answers again."""
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in _endless(subject):
            begun.set()

    task = asyncio.create_task(read())
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    ended = task.done()
    task.cancel()
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, ModelError):
        raise result
    cancelled = isinstance(result, asyncio.CancelledError)
    need(ended or cancelled or result is None, f"the cancelled task ended with {result!r}")
    await _soon(subject)


async def three_at_once(subject: Subject) -> None:
    """Three requests at the same time are all answered."""
    await asyncio.gather(*(subject.ask(user(f"Count to {n}."), max_tokens=4) for n in (3, 5, 7)))


async def window_known(subject: Subject) -> None:
    """The model's window is known."""
    window = await subject.model.context_window()
    promised(window is not None, False, "nobody says how large the window is")
    need(bool(window and window > 0), f"the window is {window}")


async def long_prompt(subject: Subject) -> None:
    """A prompt near the stated window is read whole."""
    tokens = int(min(await _window(subject), subject.longest) * 0.75)
    each = max(1.0, subject.model.count_tokens("hello " * 200) / 200)
    heard = await subject.ask(user("hello " * int(tokens / each)), max_tokens=4)
    read = heard.usage
    whole = read.estimated or read.input_tokens >= 0.4 * tokens
    need(whole, f"only {read.input_tokens} of about {tokens} tokens were read: the prompt was cut")


async def too_long_a_prompt(subject: Subject) -> None:
    """A prompt beyond the window is refused in one line, never cut."""
    window = await _window(subject)
    if window > LARGEST_WINDOW:
        raise Unsupported(f"a prompt beyond its window of {window} tokens is too dear to try")
    try:
        await subject.ask(user("hello " * (2 * window)), max_tokens=4)
    except ModelError as error:
        one_line(error)
        need(is_about_length(error), f"the error does not say that it was too long: {error}")
        return
    need(False, f"a prompt of twice its window of {window} tokens was answered: it was cut")


async def counting(subject: Subject) -> None:
    """Tokens of a text are counted within reason."""
    await subject.ask(user("Say hello."), max_tokens=1)
    count = subject.model.count_tokens
    need(count("") <= 2, f"an empty text has {count('')} tokens")
    need(count("hello " * 100) > count("hello " * 10) > 0, "a longer text has no more tokens")
    for sample in ("hello world", "你好，世界", "🌍👩‍👩‍👧", "a" * 300):
        most = len(sample.encode()) + 2
        need(0 < count(sample) <= most, f"{sample[:12]!r} has {count(sample)} tokens")


async def unknown_model(subject: Subject) -> None:
    """A model that is not there is refused in one line that names it."""
    if subject.unknown is None:
        raise Unsupported("there is no way to name another model")
    model = subject.unknown
    try:
        async for _ in model.stream([user("Say hello.")], (), Options(max_tokens=1)):
            pass
    except ModelError as error:
        one_line(error)
        name = model.name.partition(":")[2]
        need(name in str(error), f"the error does not name {name!r}: {error}")
        return
    finally:
        await model.close()
    raise Unsupported("it answers under any name")


async def closing(subject: Subject) -> None:
    """A closed model may be used again."""
    await subject.model.close()
    await subject.model.close()
    await subject.ask(user("Say hello."), max_tokens=4)


def _endless(subject: Subject) -> AsyncGenerator[ModelPart, None]:
    asked = Options(max_tokens=1500, extra=subject.extra)
    return subject.model.stream([COUNT], (), asked)


async def _soon(subject: Subject) -> None:
    """A short answer comes soon: nothing stands in its way."""
    try:
        async with asyncio.timeout(_LEAVING_SECONDS):
            await subject.ask(user("Say hello."), max_tokens=1)
    except TimeoutError:
        need(False, f"no answer within {_LEAVING_SECONDS:g} s: the one that was left goes on")


async def _window(subject: Subject) -> int:
    window = await subject.model.context_window()
    if window is None:
        raise Unsupported("nobody says how large the window is")
    return window
