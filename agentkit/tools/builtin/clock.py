"""Dates and times for models, which know neither today nor how to count days.

The Gregorian calendar, years 1 to 9999; no holidays.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import Field

from agentkit.errors import ToolError
from agentkit.tools.tool import Tool, tool

Clock = Callable[[], datetime]
"""Gives the time of now, with its zone."""

_MANY_DAYS = 4_000_000
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905


def now_here() -> datetime:
    """This machine's time, in its own zone."""
    return datetime.now().astimezone()


def date_tools(clock: Clock = now_here) -> tuple[Tool, ...]:
    """The tools for dates; `clock` says what time it is."""

    @tool
    def current_time(time_zone: Annotated[str, Field(max_length=64)] = "") -> str:
        """Tell the current date, weekday and time, with the time zone.

        Args:
            time_zone: A name such as Asia/Shanghai, UTC or America/New_York; empty for the user's.
        """
        moment = clock()
        if time_zone:
            moment = moment.astimezone(_zone(time_zone))
        offset = moment.strftime("%z")
        name = time_zone or moment.tzname() or "local time"
        return f"{_day(moment.date())}, {moment:%H:%M:%S} {name} (UTC{offset[:3]}:{offset[3:5]})"

    @tool(idempotent=True)
    def days_between(start: date, end: date | None = None) -> str:
        """Count the days from one date to another, and tell the weekday of both.

        Args:
            start: The first date, such as 2024-12-31.
            end: The other date; today where it is left out.
        """
        last = end or clock().date()
        days = (last - start).days
        weeks, rest = divmod(abs(days), 7)
        return f"{_day(start)} to {_day(last)}: {days} days ({weeks} weeks and {rest} days)"

    @tool(idempotent=True)
    def shift_date(
        start: date | None = None,
        years: Annotated[int, Field(ge=-9999, le=9999)] = 0,
        months: Annotated[int, Field(ge=-99999, le=99999)] = 0,
        days: Annotated[int, Field(ge=-_MANY_DAYS, le=_MANY_DAYS)] = 0,
    ) -> str:
        """Tell the date so long after (or, with negative numbers, before) another, with its
        weekday. Years and months are added first; a day that its month lacks becomes the last.

        Args:
            start: The date to start from, such as 2024-12-31; today where it is left out.
            years: Years to add.
            months: Months to add.
            days: Days to add; 7 for a week.
        """
        first = start or clock().date()
        try:
            return _day(_months_later(first, 12 * years + months) + timedelta(days=days))
        except (ValueError, OverflowError) as error:
            raise ToolError("That date is outside the years 1 to 9999.", "shift_date") from error

    return current_time, days_between, shift_date


def _months_later(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    date(year, 1, 1)  # monthrange knows no bounds
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ToolError(
            f"There is no time zone {name!r}. Use a name such as Asia/Shanghai or UTC.",
            "current_time",
        ) from error


def _day(day: date) -> str:
    return f"{day.isoformat()} ({_WEEKDAYS[day.weekday()]})"
