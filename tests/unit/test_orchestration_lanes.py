"""A large load on lanes: as fast as greedy list scheduling, and the same results as without lanes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.scale import make_work, measure
from hygge_engine.errors import LakeUnavailable
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import lanes, verdict
from hygge_engine.orchestration import load as orchestrator
from hygge_engine.orchestration.board import Board
from hygge_engine.orchestration.lanes import Group
from hygge_engine.orchestration.parcels import packed, size_of
from hygge_engine.orchestration.places import JournalPlace
from hygge_engine.orchestration.progress import LoadProgress
from tests.support.orchestration_answers import done, plan
from tests.unit.orchestration_host import START, Host, SimulatedBoard

Answer = dict[str, Any] | Exception
Slices = Callable[[dict[str, Any]], tuple[float, Answer]]

TABLES = 130

# A load that has no lanes until its first history is full, where that holds no more activities than this.
FEW, FULL = 24, 30


def host(slices: Slices, planned: dict[str, Any], board: SimulatedBoard | None = None, **options: Any) -> Host:
    board = board or SimulatedBoard(planned)

    def script(name: str, input_: dict[str, Any]) -> tuple[float, Answer]:
        if name == "plan_load":
            return 1.0, board.plan(input_)
        if name == "settle_load":
            board.settled = board.results(input_)
            return 1.0, {"status": "settled"}
        return board.run_next(input_, slices) if name == "run_next" else slices(board.named(input_))

    return Host(script, board=board, **options)


def settled(load: Host) -> dict[str, tuple[Any, ...]]:
    """What has become of each entity."""
    assert load.board is not None
    results = load.board.settled
    keys = ("status", "rows", "attempts", "error")
    assert len({each["entity"] for each in results}) == len(results)
    return {each["entity"]: tuple(each.get(key) for key in keys) for each in results}


@pytest.mark.parametrize(
    ("distribution", "tables", "places", "seed"),
    [
        *(("lognormal", 300, 24, 1), ("lognormal", 150, 100, 2), ("pareto", 300, 8, 1), ("pareto", 300, 8, 2)),
        *(("uniform", 300, 24, 1), ("constant", 130, 1, 1), ("lognormal", 60, 8, 1), ("pareto", 100, 32, 1)),
    ],
)
def test_a_load_is_as_fast_as_greedy_list_scheduling(distribution: str, tables: int, places: int, seed: int) -> None:
    outcome = measure(make_work(tables, distribution, seed), places)
    assert outcome.ratio <= 1.05
    few = orchestrator.ACTIVITIES_PER_HISTORY + 2 * lanes.TABLE_LANES_PER_HISTORY
    many = 2 * places + 2 * lanes.ACTIVITIES_PER_LANE_HISTORY
    assert outcome.longest_history <= (many if tables > lanes.LANES_FROM_ENTITIES else few)


def test_what_an_activity_costs_does_not_grow_with_the_tables() -> None:
    events = []
    for tables in (120, 480):
        load = host(lambda task: (3.0, done()), plan(tables, concurrency=4))
        load.run()
        events.append(load.replayed / tables)
    assert events[1] <= 1.25 * events[0]


def ordeals(seed: int) -> Slices:
    """Slices of which many go on, fail, wait or end without a result; the same whoever runs them."""

    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["closing"]:
            return 0.5, {"status": "cancelled"}
        random = Random(f"{seed} {task['entity']} {task['attempt']}")
        failed = {"status": "failed", "transient": True, "error": "home.unavailable", "message": "It was lost."}
        answers: list[Answer] = [
            done(task["attempt"]),
            {"status": "continue", "rows": task["attempt"]},
            {**failed, "retry_after_seconds": random.uniform(0.0, 90.0)},
            {**failed, "transient": False},
            {"status": "continue", "not_before": "2024-05-01T06:03:00+00:00", "reached": str(task["attempt"])},
            RuntimeError("worker gone"),
            {"status": "skipped"},
        ]
        answer = random.choices(answers, weights=[9, 4, 3, 1, 1, 1, 1])[0]
        return random.lognormvariate(1.0, 1.0), answer

    return slices


@pytest.mark.parametrize("tables", [60, TABLES], ids=["window", "lanes"])
def test_where_others_have_a_connection_no_further_table_tries_it_and_none_is_lost(tables: int) -> None:
    refused: list[str] = []

    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["connection"] == "a" and len(refused) < 12:
            refused.append(task["entity"])
            due = START + timedelta(seconds=20 * len(refused))
            return 0.0, {"status": "continue", "waiting": True, "pool": True, "not_before": due.isoformat()}
        return 1.0, done()

    load = host(slices, plan(tables, concurrency=8, pools={"a": 4, "b": 3}))
    summary = load.run()
    assert len(set(refused)) <= 4
    assert (summary["success"], {result[2] for result in settled(load).values()}) == (tables, {1})
    others = [run.began for run in load.flows() if run.entity not in refused and int(run.entity[1:]) % 2]
    assert min(others) < 20  # those of another connection do not wait
    assert load.most_at_once([run for run in load.flows() if run.ended > run.began]) <= 7


def awkward_plan(tables: int = TABLES) -> dict[str, Any]:
    """Three connections whose pools are more than the load has places, and entities that need several connections."""
    planned = plan(tables, concurrency=7, pools={"a": 3, "b": 4, "c": 2})
    for entity in planned["entities"][::6]:
        entity["connections_at_once"] = 2
    for entity in planned["entities"][5::40]:
        entity["connections_at_once"] = 9
    return planned


@pytest.mark.parametrize("seed", range(3))
def test_lanes_end_every_table_as_the_window_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "ENTITIES_PER_LANE", 9)
    monkeypatch.setattr(orchestrator, "LANES_FROM_ENTITIES", 2 * FEW)
    planned = awkward_plan(3 * FEW) | {"idle": {"count": 40, "started": "", "finished": "", "packed": "text"}}
    twice = Random(seed)
    with_lanes = host(ordeals(seed), planned, again=lambda name, _: name == "run_next" and twice.random() < 0.3)
    summary = with_lanes.run()
    monkeypatch.setattr(orchestrator, "LANES_FROM_ENTITIES", 3 * FEW)
    window = host(ordeals(seed), planned)
    expected = window.run()
    assert settled(with_lanes) == settled(window)
    assert {key: summary[key] for key in ("status", "rows", "fail", "success", "skip")} == {
        key: expected[key] for key in ("status", "rows", "fail", "success", "skip")
    }
    assert summary["entities"] == sum(summary[word] for word in ("success", "fail", "skip")) == 3 * FEW + 40
    assert any(run.name == "run_next" for run in with_lanes.runs)


@pytest.mark.parametrize(("seed", "lanes_at_most"), [*((seed, 100) for seed in range(6)), (6, 1), (7, 3)])
def test_lanes_of_one_table_end_it_as_the_window_does(
    seed: int, lanes_at_most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", FULL)
    monkeypatch.setattr(orchestrator, "TABLE_LANES_PER_HISTORY", lanes_at_most)
    planned = awkward_plan(FEW)
    with_lanes = host(ordeals(seed), planned)
    summary = with_lanes.run()
    monkeypatch.setattr(SimulatedBoard, "plan", lambda self, input_: planned)
    window = host(ordeals(seed), planned)
    expected = window.run()
    assert settled(with_lanes) == settled(window)
    assert summary["rows"] == expected["rows"]
    assert with_lanes.begun["run_lane"] > (lanes_at_most > 1)
    assert not window.begun


@pytest.mark.parametrize(("seed", "tables"), [(0, TABLES), (1, TABLES), (2, FEW), (3, FEW), (4, FEW)])
def test_lanes_keep_to_the_load_and_to_the_pools(seed: int, tables: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", FULL)
    planned = awkward_plan(tables)
    load = host(ordeals(seed), planned)
    load.run()
    needs = {each["entity"]: each for each in planned["entities"]}
    assert load.most_at_once(load.flows()) <= 7
    for name, size in planned["pools"].items():
        runs = [run for run in load.flows() if needs[run.entity]["connection"] == name]
        for run in runs:
            beside = [other for other in runs if other.began <= run.began < other.ended]
            taken = sum(needs[other.entity].get("connections_at_once", 1) for other in beside)
            assert taken <= size or len(beside) == 1


def test_each_slice_runs_once_and_in_the_order_of_the_plan() -> None:
    load = host(lambda task: (3.0, done()), plan(TABLES, concurrency=4))
    summary = load.run()
    assert [run.entity for run in load.flows()] == [f"e{number}" for number in range(TABLES)]
    assert (summary["success"], summary["rows"]) == (TABLES, 10 * TABLES)


def test_a_place_whose_connection_has_nothing_left_goes_to_another() -> None:
    planned = plan(TABLES, concurrency=6, pools={"small": 6, "large": 6})
    planned["entities"] = [each for each in planned["entities"] if each["connection"] == "large"] * 2
    for number, entity in enumerate(planned["entities"]):
        entity = planned["entities"][number] = {**entity, "entity": f"e{number}", "entity_run_id": f"run-{number}"}
        entity["connection"] = "small" if number < 12 else "large"
    load = host(lambda task: (3.0, done()), planned)
    load.run()
    assert max(run.ended for run in load.flows()) <= 1.05 * (1.0 + 3.0 * TABLES / 6) + 3.0


@pytest.mark.parametrize("places", [4, 8])
@pytest.mark.parametrize("cancel_at", range(5, 60, 11))
def test_cancelling_reaches_lanes_of_one_table(places: int, cancel_at: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices see the marker once it is written, and nothing begins from then on."""
    monkeypatch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", 5)
    planned = plan(12, concurrency=places)
    board = SimulatedBoard(planned)

    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["closing"] or board.cancelled:
            return 1.0, {"status": "cancelled"}
        waits = {"not_before": "2024-05-01T06:10:00+00:00"} if task["attempt"] % 4 == 3 else {}
        return 3.0, {"status": "continue", "rows": task["attempt"], **waits}

    load = host(slices, planned, board, cancel_at=cancel_at)
    summary = load.run()
    assert (summary["status"], summary["cancel"]) == ("cancel", 12)
    assert max(run.ended for run in load.runs) <= cancel_at + 3.0 + 12.0
    assert load.begun["run_lane"] or cancel_at == 5


def test_cancelling_begins_nothing_more_and_does_not_wait_for_pauses() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["closing"]:
            return 1.0, {"status": "cancelled"}
        waits = {"status": "failed", "transient": True, "error": "e", "message": "Lost.", "retry_after_seconds": 1000.0}
        return (2.0, waits) if task["attempt"] == 1 else (2.0, done())

    early = host(slices, plan(TABLES, concurrency=4), cancel_at=20.0)
    summary = early.run()
    assert (summary["status"], summary["cancel"]) == ("cancel", TABLES)
    assert max(run.began for run in early.flows()) <= 20.0
    late = host(slices, plan(TABLES, concurrency=4), cancel_at=200.0)
    summary = late.run()
    assert summary["cancel"] == TABLES
    assert max(run.ended for run in late.runs) <= 200.0 + lanes.LOOK_INTERVAL.total_seconds() + TABLES


def test_a_slice_that_saw_the_marker_stops_every_lane() -> None:
    load = host(lambda task: (2.0, {"status": "cancelled"}), plan(TABLES, concurrency=4))
    summary = load.run()
    assert summary["cancel"] == TABLES
    assert len(load.flows()) == 4


@pytest.mark.parametrize("turn", [{"status": "continue", "taken": None}, RuntimeError("lake gone")])
def test_a_list_that_is_lost_costs_no_table(turn: Answer) -> None:
    class Lost(SimulatedBoard):
        def run_next(self, input_: dict[str, Any], slices: Slices) -> tuple[float, Answer]:
            return (1.0, turn) if Random(str(input_)).random() < 0.2 else super().run_next(input_, slices)

    planned = plan(TABLES, concurrency=4)
    load = host(lambda task: (3.0, done()), planned, Lost(planned))
    assert load.run()["success"] == TABLES


def test_a_table_that_kills_workers_takes_no_other_down() -> None:
    load = host(lambda task: (1.0, RuntimeError("gone") if task["entity"] == "e7" else done()), plan(TABLES))
    summary = load.run()
    assert (summary["success"], summary["fail"]) == (TABLES - 1, 1)
    crashes = Counter(run.entity for run in load.flows())
    assert crashes["e7"] <= verdict.CRASHES_LIMIT + lanes.TAKING_ATTEMPTS


# Bytes that the Durable Task Scheduler takes for one payload, less a tenth.
PAYLOAD_BYTES = 900 * 1024


def verbose(tables: int) -> dict[str, Any]:
    """A plan of tables with names as long as SQL Server has them."""
    planned = plan(tables, concurrency=16)
    for number, entity in enumerate(planned["entities"]):
        entity |= {"flow": "f" * 128, "entity": f"{number:0128}", "entity_run_id": f"{number:036}"}
        entity |= {"connections_at_once": 1, "connections_at_most": 4}
    return planned


def test_no_payload_of_a_load_of_5000_tables_is_too_large_when_it_is_cancelled() -> None:
    load = host(lambda task: (30.0, {"status": "cancelled"}), verbose(5000), cancel_at=20.0)
    assert load.run()["cancel"] == 5000
    assert len(settled(load)) == 5000
    assert max(load.sizes.values()) < PAYLOAD_BYTES, load.sizes


@pytest.mark.parametrize("lanes_fail", [False, True])
def test_payloads_do_not_grow_with_what_tables_say(lanes_fail: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel, message = 20_000, "The server has said a lot. " * 200
    monkeypatch.setattr(orchestrator, "LANES_FROM_ENTITIES", 2 * FEW)
    for module in ("progress", "lanes"):
        monkeypatch.setattr(f"hygge_engine.orchestration.{module}.PARCEL_BYTES", parcel)
    failed = {"status": "failed", "error": "home.unavailable", "message": message}

    class Failing(SimulatedBoard):
        def run_next(self, input_: dict[str, Any], slices: Slices) -> tuple[float, Answer]:
            if lanes_fail and "parcel" not in input_:
                return 1.0, {"status": "failed", "message": "No board."}
            return super().run_next(input_, slices)

    planned = verbose(3 * FEW)
    first = failed if lanes_fail else {**failed, "transient": True, "retry_after_seconds": 30.0}
    load = host(lambda task: (3.0, first if task["attempt"] == 1 else failed), planned, Failing(planned))
    summary = load.run()
    assert (summary["fail"], summary["results"]) == (3 * FEW, [])
    assert {line[0] for line in settled(load).values()} == {"failed"}
    # A parcel is full with its last result; beside it stands what one table that has begun has said.
    assert max(load.sizes.values()) < 2 * parcel + 3 * len(message), load.sizes


def test_a_plan_of_5000_tables_fits_into_a_payload_with_what_has_not_begun() -> None:
    planned = verbose(5000)
    carried = {**planned, "packed": packed(planned["entities"]), "entities": [], "parks": True}
    progress = LoadProgress(carried, START, lambda _: None)
    assert size_of(carried) < PAYLOAD_BYTES / 2
    again = progress.to_json()
    assert size_of(again) < PAYLOAD_BYTES / 2
    assert LoadProgress.from_json(again, lambda _: None).to_json() == again


def test_a_load_says_how_many_lanes_it_has() -> None:
    load = host(lambda task: (3.0, done()), plan(TABLES, concurrency=4))
    load.run()
    loading = [status for status in load.statuses if status["phase"] == "loading"]
    assert loading[0] == {**loading[0], "lanes": 4, "running": 4, "pending": TABLES - 4}


ENTITIES = plan(40, pools={"a": 1, "b": 1})["entities"]
A, B = Group("a", 1), Group("b", 1)


def boards(folder: Path, count: int) -> list[Board]:
    """The same board as several processes see it."""
    place = JournalPlace(LocalLake(folder), "journal")
    found = [Board(place, "load-1", "b") for _ in range(count)]
    found[0].write(ENTITIES)
    return found


def test_everything_is_taken_once_by_whoever_asks(tmp_path: Path) -> None:
    taken: list[str] = []

    def take(board: Board, lane: str, group: Group) -> None:
        turn = 0
        while entity := board.take(lane, turn := turn + 1, group):
            taken.append(entity["entity"])

    several = boards(tmp_path, 3)
    threads = [
        threading.Thread(target=take, args=(board, f"lane-{board_number}-{number}-{group.connection}", group))
        for board_number, board in enumerate(several)
        for number in range(2)
        for group in (A, B)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(each["entity"] for each in ENTITIES)


def test_a_turn_that_is_delivered_again_takes_what_it_has_taken(tmp_path: Path) -> None:
    here, there = boards(tmp_path, 2)
    assert here.take("lane-1", 1, A) == here.take("lane-1", 1, A) == there.take("lane-1", 1, A) == ENTITIES[0]
    assert there.take("lane-2", 1, A) == ENTITIES[2]
    assert here.take("lane-1", 2, A) == ENTITIES[4]


@pytest.mark.parametrize("dies_after", range(4))
def test_a_taking_that_dies_anywhere_takes_nothing_away(tmp_path: Path, dies_after: int) -> None:
    class Dying(LocalLake):
        def put(self, path: str, *args: Any, **options: Any) -> str:
            nonlocal dies_after
            dies_after -= 1
            if dies_after == 0:
                raise LakeUnavailable("gone")
            return super().put(path, *args, **options)

    boards(tmp_path, 1)
    board = Board(JournalPlace(Dying(tmp_path), "journal"), "load-1", "b")
    taken = []
    turn = 1
    while True:
        try:
            entity = board.take("lane-1", turn, A)
        except LakeUnavailable:
            continue
        if entity is None:
            break
        taken.append(entity["entity"])
        turn += 1
    assert taken == [f"e{number}" for number in range(0, 40, 2)]
