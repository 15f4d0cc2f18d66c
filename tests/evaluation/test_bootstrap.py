"""Intervals by resampling."""

import math

from agentkit.evaluation.metrics import interval


def test_the_interval_of_a_share_is_near_that_of_the_normal_approximation() -> None:
    low, high = interval([1.0] * 240 + [0.0] * 160)
    margin = 1.96 * math.sqrt(0.6 * 0.4 / 400)
    assert abs(low - (0.6 - margin)) < 0.006
    assert abs(high - (0.6 + margin)) < 0.006


def test_the_interval_is_the_same_at_every_call_and_narrows_with_more_questions() -> None:
    few, many = [0.0, 1.0] * 10, [0.0, 1.0] * 1000
    assert interval(few) == interval(few)
    assert interval(many)[1] - interval(many)[0] < (interval(few)[1] - interval(few)[0]) / 5


def test_equal_values_leave_no_doubt_and_no_values_no_interval() -> None:
    assert interval([0.25] * 7) == (0.25, 0.25)
    assert interval([]) == (0.0, 0.0)
