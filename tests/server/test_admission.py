"""Bounds on answers that run at once, on the queue before them, and on each key's rate."""

from __future__ import annotations

import asyncio

import pytest

from agentkit.server.admission import Admission
from agentkit.server.errors import ApiError


async def test_a_run_waits_for_a_place_and_gets_it() -> None:
    admission = Admission(running=1, queued=1, seconds=10)
    ended: list[str] = []

    async def second() -> None:
        async with admission.slot("b"):
            ended.append("second")

    async with admission.slot("a"):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)
        assert (admission.running, admission.queued) == (1, 1)
        assert not admission.idle.is_set()
        ended.append("first")
    await waiting
    assert ended == ["first", "second"]
    assert admission.idle.is_set()


async def test_a_full_queue_refuses_with_a_time_to_try_again() -> None:
    admission = Admission(running=1, queued=0, seconds=10)
    async with admission.slot("a"):
        with pytest.raises(ApiError) as refused:
            await admission.slot("b").__aenter__()
    assert refused.value.status_code == 503
    assert refused.value.headers == {"retry-after": "5"}


async def test_a_run_that_waits_too_long_is_refused_and_its_place_is_free() -> None:
    admission = Admission(running=1, queued=5, seconds=0.01)
    async with admission.slot("a"):
        with pytest.raises(ApiError, match="busy for too long"):
            await admission.slot("b").__aenter__()
    async with admission.slot("b"):
        assert (admission.running, admission.queued) == (1, 0)


async def test_a_run_that_is_cancelled_frees_its_place() -> None:
    admission = Admission(running=1, queued=5, seconds=10)

    async def run() -> None:
        async with admission.slot("a"):
            await asyncio.Event().wait()

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert admission.running == 0
    async with admission.slot("b"):
        pass


async def test_the_rate_of_one_key_does_not_touch_another_and_refills() -> None:
    now = 0.0
    admission = Admission(9, 9, 1, per_minute=60, clock=lambda: now)
    for _ in range(6):
        async with admission.slot("a"):
            pass
    with pytest.raises(ApiError) as refused:
        await admission.slot("a").__aenter__()
    assert refused.value.status_code == 429
    assert refused.value.headers == {"retry-after": "1"}
    async with admission.slot("b"):
        pass
    now = 1.0
    async with admission.slot("a"):
        pass


async def test_a_server_that_stops_admits_no_more() -> None:
    admission = Admission(9, 9, 1)
    admission.is_closed = True
    with pytest.raises(ApiError, match="stopping"):
        await admission.slot("a").__aenter__()
