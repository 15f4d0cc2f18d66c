"""Numbered events of one answer, kept for readers that come later or come back, as server-sent
events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import dataclass

from agentkit.messages import Record

MOST_EVENTS = 20_000
"""Events of one answer that are kept; a reader that missed older ones gets a snapshot."""


@dataclass(frozen=True, slots=True)
class NumberedEvent:
    """An event with its number in the log, from 1 on."""

    number: int
    kind: str
    data: Record

    def encoded(self) -> bytes:
        """The event as it is sent."""
        data = json.dumps(self.data, ensure_ascii=False, default=str)
        text = f"id: {self.number}\nevent: {self.kind}\ndata: {data}\n\n"
        return text.encode("utf-8", "replace")


class EventLog:
    """The events of one answer. `snapshot` gives the data of an event "turn" that stands for all
    events so far."""

    def __init__(self, snapshot: Callable[[], Record], most: int = MOST_EVENTS) -> None:
        self._snapshot = snapshot
        self._events = deque[NumberedEvent](maxlen=most)
        self._count = 0
        self._changed = asyncio.Event()
        self.is_closed = False

    def append(self, kind: str, data: Record) -> None:
        """Add an event and wake the readers."""
        self._count += 1
        self._events.append(NumberedEvent(self._count, kind, data))
        self._wake()

    def close(self) -> None:
        """No event will follow: readers end after the last one."""
        self.is_closed = True
        self._wake()

    async def read(self, after: int = 0) -> AsyncGenerator[NumberedEvent, None]:
        """The events with greater numbers than `after`, as they come. A snapshot stands for those
        that are no longer kept, and comes first where the log never had event `after`, such as
        after a restart of the server."""
        if after > self._count:
            after = 0
            yield NumberedEvent(0, "turn", self._snapshot())
        while True:
            changed = self._changed
            if self._count - after > len(self._events):
                after = self._count
                yield NumberedEvent(after, "turn", self._snapshot())
            elif after < self._count:
                missed = [self._events[at] for at in range(after - self._count, 0)]
                for event in _joined(missed):
                    after = event.number
                    yield event
            elif self.is_closed:
                return
            else:
                await changed.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _joined(events: list[NumberedEvent]) -> Iterator[NumberedEvent]:
    """The events, those that only add text to the one before as one."""
    held: NumberedEvent | None = None
    for event in events:
        if held and event.kind == held.kind and event.kind in ("text", "reasoning"):
            delta = {"delta": held.data["delta"] + event.data["delta"]}
            held = NumberedEvent(event.number, event.kind, delta)
            continue
        if held:
            yield held
        held = event
    if held:
        yield held
