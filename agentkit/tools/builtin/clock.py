"""Date and time tools: the Gregorian calendar, years 1 to 9999, without holidays."""

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
"""Returns the current time, with its zone."""

_MAX_DAYS = 4_000_000
_WEEKDAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()  # noqa: SIM905


def local_now() -> datetime:
    return datetime.now().astimezone()


def date_tools(clock: Clock = local_now) -> tuple[Tool, ...]:
    """Return the tools for dates, with `clock` as the current time."""

    @tool
    def current_time(time_zone: Annotated[str, Field(max_length=64)] = "") -> str:
        """Tell the current date, weekday and time, with the time zone.

        Args:
            time_zone: A name such as Asia/Shanghai or UTC; empty for local time.
        """
        moment = clock()
        if time_zone:
            moment = moment.astimezone(_zone(time_zone))
        offset = moment.strftime("%z")
        name = time_zone or moment.tzname() or "local time"
        return f"{_format(moment.date())}, {moment:%H:%M:%S} {name} (UTC{offset[:3]}:{offset[3:5]})"

    @tool(idempotent=True)
    def days_between(start: date, end: date | None = None) -> str:
        """Count the days from one date to another, with the weekday of both.

        Args:
            start: The first date, such as 2024-12-31.
            end: The other date; today if omitted.
        """
        last = end or clock().date()
        days = (last - start).days
        weeks, rest = divmod(abs(days), 7)
        return f"{_format(start)} to {_format(last)}: {days} days ({weeks} weeks and {rest} days)"

    @tool(idempotent=True)
    def shift_date(
        start: date | None = None,
        years: Annotated[int, Field(ge=-9999, le=9999)] = 0,
        months: Annotated[int, Field(ge=-99999, le=99999)] = 0,
        days: Annotated[int, Field(ge=-_MAX_DAYS, le=_MAX_DAYS)] = 0,
    ) -> str:
        """Add years, months and days to a date (negative to subtract); returns date and weekday.
        Years and months are added first; a day that its month lacks becomes the last.

        Args:
            start: The date to start from, such as 2024-12-31; today if omitted.
            years: Years to add.
            months: Months to add.
            days: Days to add; 7 for a week.
        """
        first = start or clock().date()
        try:
            return _format(_add_months(first, 12 * years + months) + timedelta(days=days))
        except (ValueError, OverflowError) as error:
            raise ToolError("That date is outside the years 1 to 9999.", "shift_date") from error

    return current_time, days_between, shift_date


def _add_months(start: date, months: int) -> date:
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    date(year, 1, 1)  # monthrange accepts any year
    return date(year, month + 1, min(start.day, monthrange(year, month + 1)[1]))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ToolError(
            f"Unknown time zone {name!r}. Use a name such as Asia/Shanghai or UTC.",
            "current_time",
        ) from error


def _format(day: date) -> str:
    return f"{day.isoformat()} ({_WEEKDAYS[day.weekday()]})"


DATE_TOOLS = date_tools()
"""The tools for dates with the local time."""
