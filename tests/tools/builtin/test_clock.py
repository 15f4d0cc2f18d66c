"""Dates and times for models, by a clock that can be given."""

from datetime import UTC, datetime

import pytest

from agentkit.errors import ToolError
from agentkit.tools.builtin.clock import date_tools
from tests.conftest import text_of

NOW, BETWEEN, SHIFT = date_tools(lambda: datetime(2024, 12, 31, 23, 30, tzinfo=UTC))


async def test_the_time_is_reported_with_weekday_and_zone() -> None:
    assert (await NOW.run({})).content == "2024-12-31 (Tuesday), 23:30:00 UTC (UTC+00:00)"
    assert (await NOW.run({"time_zone": "Asia/Shanghai"})).content == (
        "2025-01-01 (Wednesday), 07:30:00 Asia/Shanghai (UTC+08:00)"
    )


async def test_this_machines_clock_is_used_where_none_is_given() -> None:
    answer = text_of((await date_tools()[0].run({})).content)
    assert abs(datetime.fromisoformat(answer[:10]) - datetime.now()).days <= 1


@pytest.mark.parametrize("name", ["Shanghai", "../../etc/passwd", "", "\0"])
async def test_an_unknown_zone_is_named(name: str) -> None:
    if name:
        with pytest.raises(ToolError, match="Asia/Shanghai or UTC"):
            await NOW.run({"time_zone": name})


@pytest.mark.parametrize(
    ("start", "end", "answer"),
    [
        ("2024-02-28", "2024-03-01", "2 days (0 weeks and 2 days)"),
        ("2024-12-01", None, "30 days (4 weeks and 2 days)"),
        ("2025-01-08", "2025-01-01", "-7 days (1 weeks and 0 days)"),
    ],
)
async def test_days_are_counted_between_dates(start: str, end: str | None, answer: str) -> None:
    arguments = {"start": start} if end is None else {"start": start, "end": end}
    assert text_of((await BETWEEN.run(arguments)).content).endswith(answer)


@pytest.mark.parametrize(
    ("shift", "answer"),
    [
        ({"days": 1}, "2025-01-01 (Wednesday)"),
        ({"months": 2}, "2025-02-28 (Friday)"),
        ({"years": -4, "months": -10}, "2020-02-29 (Saturday)"),
        ({"start": "2024-02-29", "years": 1}, "2025-02-28 (Friday)"),
        ({"start": "2024-01-31", "months": 1, "days": 1}, "2024-03-01 (Friday)"),
    ],
)
async def test_dates_are_shifted_by_calendar_months_then_days(
    shift: dict[str, int] | dict[str, object], answer: str
) -> None:
    assert (await SHIFT.run(shift)).content == answer


@pytest.mark.parametrize("shift", [{"years": 9000}, {"years": -3000}, {"days": 4_000_000}])
async def test_a_date_outside_the_calendar_is_an_error(shift: dict[str, int]) -> None:
    with pytest.raises(ToolError, match="years 1 to 9999"):
        await SHIFT.run(shift)


async def test_what_is_no_date_is_reported_with_the_schema() -> None:
    with pytest.raises(ToolError, match="valid date"):
        await BETWEEN.run({"start": "yesterday"})
