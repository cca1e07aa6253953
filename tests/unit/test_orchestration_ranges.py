"""A table that is read in ranges, by the orchestrator of a load, in virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from hygge_engine.flow.slices import as_text, numbers_in
from hygge_engine.orchestration import load as orchestrator
from hygge_engine.orchestration import verdict
from tests.support.orchestration_answers import done, plan
from tests.unit.orchestration_host import Host, Run

Answer = dict[str, Any] | Exception

GIANT = "e0"


class World:
    """The tables of a plan. ``giants`` are divided into ``ranges``, each of which takes ten seconds; the others take
    one. ``answers`` are what a range returns, attempt by attempt, in place of ``done``; the last one stays."""

    def __init__(self, ranges: int, planned: dict[str, Any], giants: Sequence[str] = (GIANT,), **options: Any) -> None:
        self.left = {giant: set(range(ranges)) for giant in giants}
        self.ranges = ranges
        self.answers: dict[int, list[Answer]] = {}
        self.planned = planned
        self.taken = 0
        self.cancelled = False
        self.host = Host(self._script, **options)

    def _script(self, name: str, input_: dict[str, Any]) -> tuple[float, Answer]:
        if name == "plan_load":
            return 1.0, self.planned
        if name == "settle_load":
            return 1.0, {"status": "settled"}
        if name == "run_next":
            self.cancelled = self.cancelled or bool(input_.get("stop"))
            if self.cancelled or not input_.get("turn"):
                return 0.1, {"status": "continue", "taken": None, "cancelled": self.cancelled}
            for_lanes = [each for each in self.planned["entities"] if not each.get("apart")]
            if self.taken == len(for_lanes):
                return 0.1, {"status": "continue", "taken": None}
            taken = for_lanes[self.taken]
            self.taken += 1
            seconds, answer = self._slice({**input_, **taken})
            return seconds, {**answer, "taken": taken} if isinstance(answer, dict) else answer
        return self._slice(input_)

    def _slice(self, task: dict[str, Any]) -> tuple[float, Answer]:
        if task.get("closing"):
            return 1.0, {"status": "cancelled"}
        left = self.left.get(task["entity"])
        if left is None:
            return 1.0, done()
        if task.get("division"):
            return 10.0, self._range(left, task["range_number"])
        if left:
            answer = {"ranges": self.ranges, "ranges_left": as_text(sorted(left)), "division": "d1"}
            return 2.0, {"status": "continue", "reached": str(len(left)), **answer}
        return 3.0, done(1_000)

    def _range(self, left: set[int], number: int) -> Answer:
        answers = self.answers.get(number, [])
        answer = answers.pop(0) if len(answers) > 1 else answers[0] if answers else {"status": "done", "rows": 7}
        if isinstance(answer, dict) and answer["status"] == "done":
            left.discard(number)
        return answer

    def run(self) -> dict[str, Any]:
        return self.host.run()

    @property
    def range_runs(self) -> list[Run]:
        return [run for run in self.host.runs if run.input.get("division")]

    @property
    def attempts(self) -> Counter[int]:
        return Counter(run.input["range_number"] for run in self.range_runs)

    def result(self, entity: str = GIANT) -> dict[str, Any]:
        settling = [run for run in self.host.runs if run.name == "settle_load"][-1]
        return next(each for each in settling.input["results"] if each["entity"] == entity)


def failure(*, transient: bool) -> dict[str, Any]:
    return {
        "status": "failed",
        "transient": transient,
        "error": "home.unavailable" if transient else "home.permission_denied",
        "message": "It was refused.",
        "retry_after_seconds": 5.0 if transient else None,
    }


@pytest.mark.parametrize("numbers", [[], [0], [0, 1, 2], [1, 3, 4, 5, 9], list(range(1000)), [998, 999]])
def test_numbers_of_ranges_travel_as_a_short_text(numbers: list[int]) -> None:
    assert numbers_in(as_text(numbers)) == numbers
    assert len(as_text(numbers)) < 12


def test_ranges_have_all_places_and_the_table_is_put_together_after_the_last() -> None:
    world = World(10, plan(1, concurrency=4))
    assert world.run()["rows"] == 1_000
    assert world.attempts == Counter(range(10))
    assert world.host.most_at_once(world.range_runs) == 4
    first, *_, last = [run for run in world.host.flows() if not run.input.get("division")]
    assert (first.input["attempt"], last.input["attempt"]) == (1, 2)
    assert last.began >= max(run.ended for run in world.range_runs)
    assert min(run.input["attempt"] for run in world.range_runs) == 2  # an entity begins once


def test_a_second_range_begins_only_where_no_other_table_could() -> None:
    world = World(12, plan(11, concurrency=4))
    world.run()
    small = [run for run in world.host.flows() if run.entity != GIANT]
    second = sorted(run.began for run in world.range_runs)[1]
    assert max(run.began for run in small) <= second
    assert max(run.ended for run in small) < 10
    assert world.host.most_at_once(world.range_runs) == 4


def test_ranges_share_the_pool_of_their_connection() -> None:
    world = World(9, plan(4, concurrency=8, pools={"db": 3, "other": 1}))
    world.run()
    of_db = [run for run in world.host.flows() if run.input["connection"] == "db"]
    assert world.host.most_at_once(of_db) == 3
    assert world.attempts == Counter(range(9))


@pytest.mark.parametrize("ranges", [7, 40])
@pytest.mark.parametrize("lanes", [{}, {"table_lanes": True}])
def test_what_is_left_is_carried_through_short_histories(
    ranges: int, lanes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", 0 if lanes else 5)
    monkeypatch.setattr(orchestrator, "TABLE_LANES_PER_HISTORY", 5)
    world = World(ranges, {**plan(3, concurrency=4), **lanes})
    world.answers = {1: [{"status": "continue", "reached": "a"}, failure(transient=True), {"status": "done"}]}
    assert world.run()["status"] == "success"
    assert world.host.histories > ranges // 5
    assert world.attempts == Counter(range(ranges)) + Counter({1: 2})


def test_a_range_that_fails_for_good_begins_no_further_one_and_fails_the_table() -> None:
    world = World(12, plan(3, concurrency=4))
    world.answers = {1: [failure(transient=False)]}
    summary = world.run()
    assert (summary["fail"], summary["success"]) == (1, 2)
    assert len(world.range_runs) <= 6
    assert [run.entity for run in world.host.closings()] == [GIANT]
    assert world.host.closings()[0].began >= max(run.ended for run in world.range_runs)
    result = world.result()
    assert (result["status"], result["error"]) == ("failed", "home.permission_denied")
    assert result["message"].startswith("range 2 of 12: It was refused.")


@pytest.mark.parametrize("answer", [failure(transient=True), RuntimeError("the worker died")])
def test_failures_are_counted_for_each_range(answer: Answer) -> None:
    limit = verdict.CRASHES_LIMIT if isinstance(answer, Exception) else verdict.TRANSIENT_FAILURES_LIMIT
    world = World(5, plan(1, concurrency=2))
    world.answers = {number: [*[answer] * (limit - 1), {"status": "done"}] for number in range(5)}
    assert world.run()["status"] == "success"
    world = World(5, plan(1, concurrency=2))
    world.answers = {3: [answer]}
    assert world.run()["status"] == "fail"
    assert world.attempts[3] == limit


@pytest.mark.parametrize("at", [1.5, 4.0, 14.0, 15.5])
def test_cancelling_lets_running_ranges_end_and_gives_the_table_up(at: float) -> None:
    world = World(12, plan(2, concurrency=4), cancel_at=at)
    assert world.run()["status"] == "cancel"
    assert all(run.began < at for run in world.range_runs)
    closing = world.host.closings()
    assert [run.entity for run in closing] == [GIANT]
    assert all(run.ended <= closing[0].began for run in world.range_runs)
    assert world.result()["status"] == "cancelled"


def test_a_range_that_saw_the_marker_stops_the_load() -> None:
    world = World(12, plan(2, concurrency=2))
    world.answers = {number: [{"status": "cancelled"}] for number in range(12)}
    assert world.run()["status"] == "cancel"
    assert len(world.range_runs) <= 2
    assert [run.entity for run in world.host.closings()] == [GIANT]


def test_ranges_that_come_to_no_end_are_given_up() -> None:
    world = World(1, plan(1))
    world._range = lambda left, number: {"status": "done"}  # type: ignore[method-assign]  # and the table says: unread
    assert world.run()["status"] == "fail"
    assert world.result()["error"] == "load.no_progress"


@pytest.mark.parametrize("at", [None, 3.0])
def test_a_lane_leaves_a_divided_table_to_the_load(at: float | None) -> None:
    planned = {**plan(120, concurrency=6), "board": {"flow": "f", "entity": "e1", "name": "b"}}
    world = World(18, planned, cancel_at=at)
    summary = world.run()
    assert summary["entities"] == 120
    if at is None:
        assert (summary["status"], summary["success"]) == ("success", 120)
        assert world.attempts == Counter(range(18))
        assert world.host.most_at_once(world.range_runs) == 6
    else:
        assert summary["status"] == "cancel"
        assert [run.entity for run in world.host.closings()] == [GIANT]


def with_lanes(tables: int, concurrency: int, pools: dict[str, int], *, shares: bool = True) -> dict[str, Any]:
    board = {"flow": "f", "entity": "e1", "name": "b"}
    return {**plan(tables, concurrency=concurrency, pools=pools), "board": board, "shares": shares}


@pytest.mark.parametrize(
    ("tables", "concurrency", "pool"), [(500, 8, 100), (300, 32, 8), (120, 1, 100), (150, 3, 3), (110, 4, 1)]
)
@pytest.mark.parametrize("apart", [True, False])
def test_ranges_share_the_places_with_the_lanes_of_a_large_load(
    tables: int, concurrency: int, pool: int, apart: bool
) -> None:
    planned = with_lanes(tables, concurrency, {"db": pool})
    planned["entities"][0]["apart"] = apart
    world = World(20, planned)
    assert world.run()["status"] == "success"
    places = min(concurrency, pool)
    small = [run for run in world.host.flows() if run.entity != GIANT]
    last = max(run.began for run in small)
    beside = [run for run in world.range_runs if run.began < last]
    # The giant does not wait for the others, nor they for it, and no place is idle before the end.
    assert bool(beside) == (places > 1)
    assert world.host.most_at_once(beside) <= places // 2
    assert last <= tables / (places - places // 2) + 20
    assert world.host.most_at_once(world.host.flows()) == places
    greedy = (tables + 20 * 10 + 5) / places
    assert max(run.ended for run in world.host.flows()) <= 1.05 * greedy + 20
    assert world.attempts == Counter(range(20))


@pytest.mark.parametrize("seed", range(6))
def test_every_table_ends_once_whatever_becomes_of_ranges_beside_lanes(seed: int) -> None:
    random = Random(seed)
    pools = {"db": random.randint(1, 5), "other": random.randint(1, 5)}
    planned = with_lanes(120, random.randint(1, 8), pools, shares=random.random() < 0.8)
    giants = tuple(f"e{number}" for number in random.sample(range(120), 3))
    for giant in giants[: random.randint(0, 3)]:
        planned["entities"][int(giant[1:])]["apart"] = True
    cancel_at = random.choice([None, None, random.uniform(0, 120)])
    world = World(random.choice([2, 9, 40]), planned, giants, cancel_at=cancel_at)
    world.answers = {
        0: [failure(transient=True), {"status": "continue", "reached": "a"}, {"status": "done"}],
        1: [failure(transient=random.random() < 0.7), {"status": "done"}],
    }
    summary = world.run()
    settling = [run for run in world.host.runs if run.name == "settle_load"][-1]
    settled = settling.input["results"]
    assert Counter(each["entity"] for each in settled) == Counter(f"e{number}" for number in range(120))
    if cancel_at is None or cancel_at != settling.began:
        was_cancelled = cancel_at is not None and cancel_at < settling.began
        assert summary["status"] in (["cancel"] if was_cancelled else ["success", "fail"])
    for giant in giants:
        own = [each for each in settled if each["entity"] == giant]
        assert own[0]["status"] != "done" or not world.left[giant]
        closed = [run for run in world.host.closings() if run.entity == giant]
        assert len(closed) == (own[0]["status"] != "done" and own[0]["attempts"] > 0)
    for name, size in pools.items():
        of_it = [run for run in world.host.flows() if run.input["connection"] == name]
        assert world.host.most_at_once(of_it) <= size
    assert world.host.most_at_once(world.host.flows()) <= planned["concurrency"]
