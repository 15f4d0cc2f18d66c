"""Retries of a request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from email.utils import formatdate

import pytest

from agentkit.backends.faults import header_delay
from agentkit.backends.retry import TransientError, with_retries
from agentkit.errors import ModelError
from agentkit.events import ModelPart, Retried, TextDelta
from tests.backends.conftest import collected

Turn = list[str | ModelError]


def attempts(*turns: Turn) -> Callable[[], AsyncGenerator[ModelPart, None]]:
    """Each attempt says its texts, or fails where an error stands."""
    left = iter(turns)

    async def attempt() -> AsyncGenerator[ModelPart, None]:
        for item in next(left):
            if isinstance(item, ModelError):
                raise item
            yield TextDelta(item)

    return attempt


async def test_the_parts_of_a_successful_attempt_are_yielded() -> None:
    assert await collected(with_retries(attempts(["a", "b"]), 0)) == [
        TextDelta("a"),
        TextDelta("b"),
    ]


async def test_a_transient_error_is_retried_and_reported() -> None:
    parts = await collected(
        with_retries(attempts([TransientError("busy", retry_after=0.0)], ["a"]), 1)
    )
    assert parts == [Retried("busy", 0.0), TextDelta("a")]


async def test_the_delay_doubles_where_the_server_asks_for_none() -> None:
    busy: Turn = [TransientError("busy")]
    parts = await collected(with_retries(attempts(busy, busy, ["a"]), 2, first_delay=0.001))
    first, second = [part.delay for part in parts if isinstance(part, Retried)]
    assert 0.0008 <= first <= 0.0012 < 0.0016 <= second <= 0.0024


async def test_after_the_first_part_nothing_is_retried() -> None:
    with pytest.raises(TransientError, match="lost"):
        await collected(with_retries(attempts(["a", TransientError("lost")], ["b"]), 5))


async def test_other_errors_are_not_retried() -> None:
    with pytest.raises(ModelError, match="bad key"):
        await collected(with_retries(attempts([ModelError("bad key")], ["a"]), 5))


async def test_a_delay_that_is_too_long_raises_the_error() -> None:
    busy = TransientError("busy", retry_after=3600)
    with pytest.raises(TransientError, match="busy"):
        await collected(with_retries(attempts([busy], ["a"]), 5))


async def test_closing_the_stream_closes_the_attempt() -> None:
    closed = []

    async def attempt() -> AsyncGenerator[ModelPart, None]:
        try:
            yield TextDelta("a")
        finally:
            closed.append(True)

    parts = with_retries(attempt, 3)
    await anext(parts)
    await parts.aclose()
    assert closed == [True]


@pytest.mark.parametrize(
    ("value", "wait"),
    [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("soon", None), ("", None), (formatdate(0), 0.0)],
)
def test_retry_after_is_seconds_or_a_date(value: str, wait: float | None) -> None:
    assert header_delay({"retry-after": value}) == wait
