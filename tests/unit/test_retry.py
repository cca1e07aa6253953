"""The one retry policy, without waiting for it."""

from __future__ import annotations

import pytest

from hygge_engine.errors import LakeDenied, LakeUnavailable
from hygge_engine.retry import UNREACHABLE_BUDGET_SECONDS, VERB_BUDGET_SECONDS, backoff_seconds, call_with_retries


def waited_for(error: LakeUnavailable) -> float:
    """How long a verb waits in all for an error that never passes."""
    pauses: list[float] = []

    def fail() -> None:
        raise error

    with pytest.raises(LakeUnavailable):
        call_with_retries(fail, sleep=pauses.append)
    return sum(pauses)


def test_a_verb_waits_for_what_may_pass_but_not_for_ever() -> None:
    assert VERB_BUDGET_SECONDS / 3 < waited_for(LakeUnavailable("busy")) <= VERB_BUDGET_SECONDS


def test_where_nobody_listens_a_verb_soon_says_so() -> None:
    error = LakeUnavailable("nobody there")
    error.patience_seconds = UNREACHABLE_BUDGET_SECONDS
    assert 0 < waited_for(error) <= UNREACHABLE_BUDGET_SECONDS
    assert "tried" in error.message


def test_a_service_that_asks_for_more_time_than_a_verb_has_is_left_to_the_orchestrator() -> None:
    assert waited_for(LakeUnavailable("throttled", retry_after_seconds=VERB_BUDGET_SECONDS + 1)) == 0


def test_what_does_not_pass_is_not_tried_again() -> None:
    with pytest.raises(LakeDenied):
        call_with_retries(lambda: (_ for _ in ()).throw(LakeDenied("no")), sleep=lambda seconds: pytest.fail("waited"))


def test_a_pause_is_never_shorter_than_the_service_asked_for() -> None:
    assert all(backoff_seconds(1, retry_after=7) == 7 for _ in range(20))
