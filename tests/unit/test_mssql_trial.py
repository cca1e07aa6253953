"""A second reader stays where it is seen to help."""

from __future__ import annotations

import pytest

from hygge_engine.homes.mssql.trial import GAIN, TRIAL_SECONDS, Trial


@pytest.mark.parametrize(("gain", "last"), [(2.0, ""), (GAIN + 0.05, ""), (1.0, "give back"), (0.4, "give back")])
def test_a_reader_that_does_not_help_is_given_back(gain: float, last: str) -> None:
    now = 0.0
    trial = Trial(lambda: now)
    advice: list[str] = []
    for _ in range(1000):
        now += 0.01
        helped = gain if advice else 1.0
        if found := trial.arrived(round(1000 * helped)):
            advice.append(found)
    assert advice == ["take", *([last] if last else [])]
    assert now > 3 * TRIAL_SECONDS


def test_a_table_that_is_read_sooner_needs_no_second_reader() -> None:
    now = 0.0
    trial = Trial(lambda: now)
    for _ in range(5):
        assert trial.arrived(1000) == ""
        now += TRIAL_SECONDS / 10
