"""The orchestrator of a load, in virtual time on a host that replays it at every event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest

from hygge_engine.flow.slices import SliceResult
from hygge_engine.orchestration import load as orchestrator
from hygge_engine.orchestration import verdict
from hygge_engine.orchestration.payloads import SlicePayload
from tests.support.orchestration_answers import done, plan
from tests.unit.orchestration_host import START, Host

Answer = dict[str, Any] | Exception
Slices = Callable[[dict[str, Any]], tuple[float, Answer]]


def transient(seconds: float = 5.0) -> dict[str, Any]:
    return {
        "status": "failed",
        "transient": True,
        "error": "home.unavailable",
        "message": "The connection was lost.",
        "retry_after_seconds": seconds,
    }


def _lets_go(task: dict[str, Any]) -> tuple[float, Answer]:
    return 0.0, {"status": "cancelled"}


def host(
    slices: Slices,
    planned: dict[str, Any] | None = None,
    *,
    settle: list[Answer] | None = None,
    closings: Slices | None = None,
    **options: Any,
) -> Host:
    settlements = iter(settle or [])

    def script(name: str, input_: dict[str, Any]) -> tuple[float, Answer]:
        if name == "plan_load":
            return 1.0, planned or plan()
        if name == "settle_load":
            return 1.0, next(settlements, {"status": "settled"})
        return (closings or _lets_go if input_["closing"] else slices)(input_)

    return Host(script, **options)


def settled(host_: Host) -> list[dict[str, Any]]:
    """What the last `settle_load` was given, one result per entity."""
    results: list[dict[str, Any]] = [run for run in host_.runs if run.name == "settle_load"][-1].input["results"]
    return results


def test_every_entity_runs_once_and_the_summary_counts_the_rows() -> None:
    load = host(lambda task: (3.0, done()), plan(5))
    summary = load.run()
    assert summary["status"] == "success"
    assert summary["success"] == summary["entities"] == 5
    assert summary["rows"] == 50
    assert [run.input["entity"] for run in load.flows()] == ["e0", "e1", "e2", "e3", "e4"]
    assert all(run.input["attempt"] == 1 and run.input["settings_hash"] == "h1" for run in load.flows())
    assert len(settled(load)) == 5
    assert summary["journal"] == {"status": "settled"}


@pytest.mark.parametrize("begun", [0, 3, 150])
def test_idle_tables_have_ended_with_the_plan(begun: int) -> None:
    idle = {"count": 7, "started": "", "finished": "", "packed": "text"}
    load = host(lambda task: (3.0, done()), {**plan(begun), "idle": idle})
    summary = load.run()
    assert summary["status"] == "success"
    assert (summary["entities"], summary["success"], len(summary["results"])) == (begun + 7, begun + 7, begun)
    assert summary["rows"] == 10 * begun
    assert (
        summary["idle"] == idle == [run for run in load.runs if run.name == "settle_load"][-1].input["summary"]["idle"]
    )
    assert len(load.flows()) == begun


def test_the_window_slides_as_soon_as_one_entity_ends() -> None:
    # One slow table must hold up no other: they pass by it, three at a time.
    load = host(lambda task: (100.0 if task["entity"] == "e0" else 2.0, done()), plan(61, concurrency=4))
    load.run()
    assert load.most_at_once(load.flows()) == 4
    others = [run for run in load.flows() if run.input["entity"] != "e0"]
    assert load.most_at_once(others) == 3
    assert max(run.ended for run in others) == pytest.approx(1.0 + 2.0 * 20)


def test_a_connections_pool_bounds_its_entities_and_leaves_the_rest_of_the_window_to_others() -> None:
    load = host(lambda task: (2.0, done()), plan(20, concurrency=6, pools={"small": 2, "large": 10}))
    load.run()
    small = [run for run in load.flows() if int(run.input["entity"][1:]) % 2 == 0]
    large = [run for run in load.flows() if run not in small]
    assert load.most_at_once(small) == 2
    assert load.most_at_once(large) == 4
    assert load.most_at_once(load.flows()) == 6


def test_an_entity_with_several_readers_takes_as_much_of_the_pool() -> None:
    planned = plan(9, concurrency=9, pools={"db": 4})
    for entity, readers in zip(planned["entities"], [1, 2, 3, 4, 9, 1, 2, 3, 1], strict=True):
        entity["connections_at_once"] = readers
    load = host(lambda task: (2.0, done()), planned)
    load.run()
    begun = [(run.input["entity"], run.began) for run in load.flows()]
    assert begun == [
        *[("e0", 1.0), ("e1", 1.0)],
        *[("e2", 3.0), ("e3", 5.0), ("e4", 7.0)],
        *[("e5", 9.0), ("e6", 9.0), ("e7", 11.0), ("e8", 11.0)],
    ]


def test_what_nobody_waits_for_of_a_pool_goes_to_who_can_use_it() -> None:
    planned = plan(4, concurrency=3, pools={"db": 6})
    for entity in planned["entities"]:
        entity["connections_at_most"] = 3
    load = host(lambda task: (float(task["entity"][1:]) + 2.0, done()), planned)
    load.run()
    given = [(run.input["entity"], run.began, run.input["connections"]) for run in load.flows()]
    assert given == [("e0", 1.0, 1), ("e1", 1.0, 1), ("e2", 1.0, 1), ("e3", 3.0, 3)]


@pytest.mark.parametrize(("pool", "given"), [(1, 1), (2, 2), (9, 3)])
def test_an_entity_alone_has_what_it_can_use_of_the_pool_in_each_slice(pool: int, given: int) -> None:
    planned = plan(1, pools={"db": pool})
    planned["entities"][0]["connections_at_most"] = 3
    load = host(lambda task: (2.0, {"status": "continue" if task["attempt"] == 1 else "done"}), planned)
    load.run()
    assert [run.input["connections"] for run in load.flows()] == [given, given]


def test_one_that_waits_for_its_time_finds_its_place_in_the_pool_free() -> None:
    planned = plan(2, concurrency=9, pools={"db": 2})
    for entity in planned["entities"]:
        entity["connections_at_most"] = 2

    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["entity"] == "e0":
            due = (START + timedelta(seconds=20)).isoformat()
            return 2.0, done() if task["attempt"] == 2 else {"status": "continue", "not_before": due}
        return 6.0, done() if task["attempt"] == 9 else {"status": "continue"}

    load = host(slices, planned)
    load.run()
    given = [(run.input["entity"], run.began, run.input["connections"]) for run in load.flows()]
    assert ("e0", 20.0, 1) in given
    assert given[-1][2] == 2


def test_entities_without_a_connection_need_no_pool() -> None:
    planned = plan(6, concurrency=6, pools={"": 0})
    load = host(lambda task: (2.0, done()), planned)
    load.run()
    assert load.most_at_once(load.flows()) == 6


def test_a_slice_that_is_not_finished_is_followed_by_another_at_once() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        rows = 100 * task["attempt"]
        return 2.0, {"status": "continue" if task["attempt"] < 4 else "done", "rows": rows}

    load = host(slices)
    summary = load.run()
    assert [run.input["attempt"] for run in load.flows()] == [1, 2, 3, 4]
    assert [run.began for run in load.flows()] == [1.0, 3.0, 5.0, 7.0]
    assert {run.input["entity_run_id"] for run in load.flows()} == {"run-0"}
    assert summary["rows"] == 400


def test_a_slice_that_waits_comes_back_when_it_said_and_others_use_its_place() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["entity"] == "e0" and task["attempt"] == 1:
            return 1.0, {"status": "continue", "not_before": (START + timedelta(seconds=60)).isoformat()}
        return 10.0, done()

    load = host(slices, plan(3, concurrency=1))
    load.run()
    began = [(run.input["entity"], run.began) for run in load.flows()]
    assert began == [("e0", 1.0), ("e1", 2.0), ("e2", 12.0), ("e0", 60.0)]


def test_a_transient_failure_is_tried_again_after_the_pause_it_asked_for() -> None:
    load = host(lambda task: (1.0, transient(7.0) if task["attempt"] < 3 else done()))
    summary = load.run()
    assert [run.began for run in load.flows()] == [1.0, 9.0, 17.0]
    assert summary["status"] == "success"


def test_what_was_overcome_is_told() -> None:
    load = host(lambda task: (1.0, transient() if task["attempt"] < 3 else done()))
    load.run()
    assert settled(load)[0]["message"] == "Recovered from 2 failed attempts, the last: The connection was lost."
    assert settled(load)[0]["attempts"] == 3


def test_a_slice_that_could_not_look_does_not_make_landed_rows_forgotten() -> None:
    refused = {"status": "failed", "error": "lake.denied", "message": "403"}
    load = host(lambda task: (1.0, {"status": "continue", "rows": 70} if task["attempt"] == 1 else refused))
    assert load.run()["rows"] == 70


@pytest.mark.parametrize(
    ("then", "counts"),
    [
        ({"status": "failed", "error": "lake.denied", "message": "403"}, [70, 0, None]),
        ({"status": "done", "rows": 90, "reached": "b", "rows_inserted": 70, "rows_updated": 20}, [70, 20, None]),
        # Landed by an instance of an earlier version, which does not tell rows apart.
        ({"status": "done", "rows": 90, "reached": "b"}, [None, None, None]),
        ({"status": "failed", "error": "lake.denied", "rows": 90, "reached": "b"}, [None, None, None]),
    ],
)
def test_rows_are_told_apart_as_by_the_last_slice_that_could_look(then: Answer, counts: list[int | None]) -> None:
    first = {"status": "continue", "rows": 70, "reached": "a", "rows_inserted": 70, "rows_updated": 0}
    load = host(lambda task: (1.0, first if task["attempt"] == 1 else then))
    for found in (load.run()["results"][0], settled(load)[0]):
        assert [found.get(name) for name in ("rows_inserted", "rows_updated", "rows_deleted")] == counts


def test_an_entity_run_starts_with_its_first_slice() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        started = (START + timedelta(seconds=10 * task["attempt"])).isoformat()
        return 1.0, {
            "status": "continue" if task["attempt"] < 3 else "done",
            "started": started,
            "rows": task["attempt"],
        }

    load = host(slices)
    load.run()
    assert settled(load)[0]["started"] == (START + timedelta(seconds=10)).isoformat()


def test_a_source_that_stays_down_fails_its_entities_and_no_others() -> None:
    load = host(lambda task: (1.0, transient() if task["entity"] == "e1" else done()), plan(3))
    summary = load.run()
    attempts = Counter(run.input["entity"] for run in load.flows())
    assert attempts == {"e0": 1, "e1": verdict.TRANSIENT_FAILURES_LIMIT, "e2": 1}
    assert (summary["status"], summary["fail"], summary["success"]) == ("fail", 1, 2)
    failed = next(answer for answer in settled(load) if answer["entity"] == "e1")
    assert failed["error"] == "home.unavailable"
    assert f"after {verdict.TRANSIENT_FAILURES_LIMIT} attempts" in failed["message"]


def test_long_pauses_end_with_the_time_budget_not_with_the_attempts() -> None:
    load = host(lambda task: (1.0, transient(600.0)))
    load.run()
    assert len(load.flows()) == 3
    assert load.finished - START < timedelta(seconds=verdict.FAILING_LIMIT_SECONDS)


def test_rows_landed_in_between_give_the_full_budget_back() -> None:
    limit = verdict.TRANSIENT_FAILURES_LIMIT

    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["attempt"] == limit:
            return 1.0, {"status": "continue", "rows": 5}
        return 1.0, transient() | {"rows": 0 if task["attempt"] < limit else 5}

    load = host(slices)
    load.run()
    assert len(load.flows()) == 2 * limit


@pytest.mark.parametrize("error", ["home.permission_denied", "configuration", "store.schema_changed"])
def test_a_permanent_failure_is_not_tried_again(error: str) -> None:
    load = host(lambda task: (1.0, {"status": "failed", "error": error, "message": "No.", "transient": False}))
    summary = load.run()
    assert len(load.flows()) == 1
    assert summary["results"] == [
        {"flow": "f", "entity": "e0", "status": "fail", "rows": 0, "message": "No.", "error": error}
    ]


def test_an_activity_that_ends_without_an_answer_is_tried_a_few_times() -> None:
    load = host(lambda task: (1.0, RuntimeError("worker gone") if task["attempt"] < 3 else done()))
    assert load.run()["status"] == "success"
    assert [run.began for run in load.flows()] == [1.0, 12.0, 33.0]


def test_an_activity_that_never_answers_fails_with_a_message_of_our_own() -> None:
    load = host(lambda task: (1.0, RuntimeError("password=hunter2")), plan(2))
    summary = load.run()
    assert summary["fail"] == 2
    assert len(load.flows()) == 2 * verdict.CRASHES_LIMIT
    assert "hunter2" not in str(summary)
    assert "ended without a result" in settled(load)[0]["message"]


def test_an_unexpected_exception_is_tried_once_more() -> None:
    load = host(lambda task: (1.0, {"status": "failed", "error": verdict.UNEXPECTED, "message": "KeyError: 'x'"}))
    summary = load.run()
    assert len(load.flows()) == verdict.UNEXPECTED_LIMIT
    assert summary["results"][0]["message"].startswith("KeyError: 'x'")


def test_slices_that_never_get_anywhere_end() -> None:
    load = host(lambda task: (1.0, {"status": "continue"}))
    summary = load.run()
    assert len(load.flows()) == verdict.IDLE_SLICES_LIMIT
    assert summary["results"][0]["error"] == "load.no_progress"


MOVES: dict[str, Callable[[int], dict[str, Any]]] = {
    "rows": lambda attempt: {"rows": attempt},
    "a position": lambda attempt: {"reached": f"position {attempt}"},
    "failures in between": lambda attempt: {"reached": str(attempt // 2)} | (transient() if attempt % 2 else {}),
}


@pytest.mark.parametrize("moves", MOVES)
def test_slices_that_get_ahead_may_be_as_many_as_it_takes(moves: str) -> None:
    slices = 5 * verdict.IDLE_SLICES_LIMIT

    def work(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["attempt"] > slices:
            return 1.0, done()
        return 240.0, {"status": "continue", **MOVES[moves](task["attempt"])}

    load = host(work)
    assert load.run()["status"] == "success"
    assert len(load.flows()) == slices + 1


@pytest.mark.parametrize(
    ("answer", "slices"),
    [
        ({"message": "waiting for Fabric", "seconds": 600.0}, verdict.WAITING_LIMIT_SECONDS / 601),
        ({"message": "orders.csv changed", "seconds": 2.0, "begun_again": True}, verdict.BEGINNINGS_LIMIT),
    ],
)
def test_waiting_and_beginning_again_have_an_end(answer: dict[str, Any], slices: float) -> None:
    def work(task: dict[str, Any]) -> tuple[float, Answer]:
        moved = {"reached": str(task["attempt"])} if answer.get("begun_again") else {}
        due = START + timedelta(seconds=clock[0] + answer["seconds"])
        clock[0] += 1 + answer["seconds"]
        return 1.0, {"status": "continue", "not_before": due.isoformat(), **answer, **moved}

    clock = [2.0]
    load = host(work)
    result = load.run()["results"][0]
    assert result["error"] == "load.no_progress"
    assert answer["message"] in result["message"]
    assert slices <= len(load.flows()) <= slices + 3


def test_waits_between_which_a_load_gets_ahead_do_not_add_up() -> None:
    waits = 3 * int(verdict.WAITING_LIMIT_SECONDS / 600)

    def work(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["attempt"] > waits:
            return 1.0, done()
        due = START + timedelta(seconds=600 * task["attempt"])
        return 1.0, {"status": "continue", "not_before": due.isoformat(), "reached": str(task["attempt"])}

    assert host(work).run()["status"] == "success"


def test_cancelling_lets_running_slices_finish_and_begins_no_others() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["entity"] == "e0":
            return 10.0, {"status": "cancelled", "rows": 4, "message": "Stopped after a batch."}
        if task["entity"] == "e1":
            return 10.0, done(6)
        return 10.0, {"status": "continue", "rows": 9}

    load = host(slices, plan(8, concurrency=3), cancel_at=5.0)
    summary = load.run()
    assert [run.input["entity"] for run in load.flows()] == ["e0", "e1", "e2"]
    assert (summary["status"], summary["cancel"], summary["success"]) == ("cancel", 7, 1)
    assert summary["rows"] == 4 + 6 + 9
    assert Counter(answer["status"] for answer in settled(load)) == {"cancelled": 7, "done": 1}


def test_cancelling_does_not_wait_for_the_pauses_of_failed_entities() -> None:
    load = host(lambda task: (1.0, transient(1000.0)), plan(3), cancel_at=20.0)
    summary = load.run()
    assert load.finished - START < timedelta(seconds=30)
    assert summary["cancel"] == 3
    assert "The connection was lost." in settled(load)[0]["message"]
    # The end is when it was settled, not when it was tried last.
    assert {answer["finished"] for answer in settled(load)} == {summary["finished"], after(20)}


def after(seconds: float) -> str:
    """A time of the load, as ``not_before`` has it."""
    return (START + timedelta(seconds=seconds)).isoformat()


def waits_for_the_drop(task: dict[str, Any]) -> tuple[float, Answer]:
    return 1.0, {"status": "continue", "rows": 0, "not_before": after(500), "table_gone": True}


@pytest.mark.parametrize("history", [1, 2, 100])
def test_a_cancelled_reload_whose_old_table_is_dropped_is_finished(
    monkeypatch: pytest.MonkeyPatch, history: int
) -> None:
    monkeypatch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", history)
    answers: list[Answer] = [
        {"status": "continue", "not_before": after(25), "table_gone": True},
        transient(3.0),  # it could not even look
        RuntimeError("worker gone"),
        done(60),
    ]
    load = host(waits_for_the_drop, plan(1), closings=lambda task: (1.0, answers.pop(0)), cancel_at=20.0)
    summary = load.run()
    assert [run.began for run in load.closings()] == [20.0, 25.0, 29.0, 40.0]
    assert (summary["status"], summary["success"], summary["rows"]) == ("cancel", 1, 60)
    assert "was finished" in settled(load)[0]["message"]


def test_a_table_that_stays_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    load = host(waits_for_the_drop, plan(1), closings=lambda task: (1.0, transient(3.0)), cancel_at=20.0)
    summary = load.run()
    assert len(load.closings()) == verdict.TRANSIENT_FAILURES_LIMIT
    assert summary["results"][0]["status"] == "cancel"
    assert "gone until the next load" in summary["results"][0]["message"]
    assert "The connection was lost." in summary["results"][0]["message"]


def test_a_cancelled_load_that_cannot_give_a_whole_table_up_does_not_wait_for_it() -> None:
    load = host(lambda task: (1.0, transient(100.0)), plan(1), closings=lambda task: (1.0, transient(9.0)), cancel_at=9)
    summary = load.run()
    assert (len(load.closings()), load.finished - START) == (1, timedelta(seconds=11))
    assert "could not be released: The connection was lost." in summary["results"][0]["message"]


@pytest.mark.parametrize(
    ("answer", "slices", "error"),
    [
        (transient(), verdict.TRANSIENT_FAILURES_LIMIT, "home.unavailable"),
        (RuntimeError("worker gone"), verdict.CRASHES_LIMIT, verdict.CRASHED["error"]),
        ({"status": "failed", "error": verdict.UNEXPECTED, "message": "KeyError"}, 2, verdict.UNEXPECTED),
        ({"status": "continue"}, verdict.IDLE_SLICES_LIMIT, "load.no_progress"),
    ],
)
def test_an_entity_that_is_given_up_lets_go_of_its_table(answer: Answer, slices: int, error: str) -> None:
    load = host(lambda task: (1.0, answer), plan(1))
    summary = load.run()
    assert (len(load.flows()), len(load.closings())) == (slices, 1)
    assert (summary["status"], summary["results"][0]["error"]) == ("fail", error)
    assert not summary["results"][0]["message"].endswith("gone until the next load, which goes on.")


def test_an_entity_that_had_ended_without_anybody_knowing_has_succeeded() -> None:
    load = host(lambda task: (1.0, RuntimeError("worker gone")), closings=lambda task: (1.0, done(5)))
    summary = load.run()
    assert (summary["status"], summary["rows"]) == ("success", 5)


@pytest.mark.parametrize(
    "answer", [done(), {"status": "skipped"}, {"status": "failed", "error": "e", "message": "No."}]
)
def test_who_has_ended_by_itself_holds_nothing(answer: Answer) -> None:
    load = host(lambda task: (1.0, answer), plan(2))
    load.run()
    assert load.closings() == []


def test_a_busy_table_is_asked_for_with_the_count_of_times_in_a_row() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        if task["attempt"] in (2, 3, 5):
            return 1.0, {"status": "continue", "busy": True, "not_before": after(0)}
        return 1.0, done() if task["attempt"] == 6 else {"status": "continue", "rows": task["attempt"]}

    load = host(slices)
    load.run()
    assert [run.input["busy"] for run in load.flows()] == [0, 0, 1, 2, 0, 1]


def test_cancelling_before_the_plan_is_made_runs_nothing_and_settles() -> None:
    load = host(lambda task: (1.0, done()), plan(3), cancel_at=0.5)
    summary = load.run()
    assert load.flows() == []
    assert summary["cancel"] == 3
    assert len(settled(load)) == 3


def test_a_slice_that_saw_the_marker_stops_the_load_even_if_the_event_is_lost() -> None:
    load = host(lambda task: (2.0, {"status": "cancelled"}), plan(9, concurrency=2))
    summary = load.run()
    assert len(load.flows()) == 2
    assert summary["cancel"] == 9


def test_a_failed_plan_is_settled_and_named() -> None:
    load = host(
        lambda task: (1.0, done()),
        {"status": "failed", "error": "configuration", "message": "hygge.yml: line 3: unknown key 'hom'."},
    )
    summary = load.run()
    assert summary["status"] == "fail"
    assert "unknown key 'hom'" in summary["message"]
    assert [run.name for run in load.runs] == ["plan_load", "settle_load"]


def test_a_load_that_must_only_be_remembered_plans_and_runs_nothing() -> None:
    load = host(lambda task: (1.0, done()), plan(2), input={"skip_reason": "The load of 06:00 still runs."})
    summary = load.run()
    assert [run.name for run in load.runs] == ["settle_load"]
    assert (summary["status"], summary["message"]) == ("skip", "The load of 06:00 still runs.")


def test_a_load_of_nothing_succeeds() -> None:
    summary = host(lambda task: (1.0, done()), plan(0)).run()
    assert (summary["status"], summary["entities"], summary["results"]) == ("success", 0, [])


def test_settling_is_tried_again_and_its_last_failure_shows_in_the_output() -> None:
    failure = {"status": "failed", "error": "journal", "message": "403", "transient": True, "retry_after_seconds": 9.0}
    load = host(lambda task: (1.0, done()), settle=[failure, RuntimeError("worker gone")])
    assert load.run()["journal"] == {"status": "settled"}
    stuck = host(lambda task: (1.0, done()), settle=[failure] * 50)
    summary = stuck.run()
    assert summary["journal"]["message"] == "403"
    assert summary["status"] == "success"


def test_the_instance_names_the_load_unless_the_request_does() -> None:
    assert host(lambda task: (1.0, done())).run()["load_id"] == "load-1"
    named = host(lambda task: (1.0, done()), input={"coordinator_run_id": "c7"})
    assert named.run()["load_id"] == "c7"
    assert {run.input["load_id"] for run in named.flows()} == {"c7"}


def test_custom_status_counts_what_runs_waits_and_is_to_come() -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        return (1.0, transient(20.0)) if (task["entity"], task["attempt"]) == ("e0", 1) else (5.0, done())

    load = host(slices, plan(6, concurrency=2))
    load.run()
    assert load.statuses[0] == {"phase": "planning"}
    waiting = next(status for status in load.statuses if status.get("waiting"))
    assert (waiting["phase"], waiting["running"], waiting["pending"], waiting["waiting"]) == ("loading", 2, 3, 1)
    assert load.statuses[-1] == {
        "phase": "settling",
        "entities": 6,
        "rows": 60,
        "cancelled": False,
        "success": 6,
        "fail": 0,
        "skip": 0,
        "cancel": 0,
        "running": 0,
        "waiting": 0,
        "pending": 0,
    }


def test_many_failing_entities_share_one_timer() -> None:
    load = host(lambda task: (1.0, transient(30.0) if task["attempt"] == 1 else done()), plan(60, concurrency=60))
    load.run()
    # Plan, 60 results twice, the timer, settling, and no more than a timer per thing started beside others.
    assert load.episodes < 4 * 60


@pytest.fixture
def short_histories(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", 7)
    return 7


def test_a_long_load_goes_on_in_a_new_history_and_ends_the_same(short_histories: int) -> None:
    def slices(task: dict[str, Any]) -> tuple[float, Answer]:
        number, attempt = int(task["entity"][1:]), task["attempt"]
        if number % 5 == 1 and attempt == 1:
            return 1.0, transient(30.0)
        if number % 3 == 0 and attempt < 3:
            return 2.0, {"status": "continue", "rows": attempt}
        return 3.0, done()

    load = host(slices, plan(30, concurrency=4))
    summary = load.run()
    assert load.histories > 4
    assert load.longest_history < 6 * short_histories
    assert (summary["status"], summary["success"], summary["rows"]) == ("success", 30, 300)
    assert summary["started"] == START.isoformat()
    assert [run.name for run in load.runs].count("plan_load") == 1
    assert len({answer["entity"] for answer in settled(load)}) == 30
    attempts = Counter(run.input["entity"] for run in load.flows())
    assert all(attempts[f"e{number}"] == 3 for number in range(0, 30, 3) if number % 5 != 1)
    assert load.most_at_once(load.flows()) == 4


def test_failures_are_counted_across_histories(short_histories: int) -> None:
    load = host(lambda task: (1.0, transient() if task["entity"] == "e1" else done()), plan(9, concurrency=2))
    summary = load.run()
    attempts = Counter(run.input["entity"] for run in load.flows())
    assert attempts["e1"] == verdict.TRANSIENT_FAILURES_LIMIT
    assert (summary["fail"], summary["success"]) == (1, 8)


def test_a_long_load_can_be_cancelled_in_any_of_its_histories(short_histories: int) -> None:
    load = host(lambda task: (2.0, done()), plan(60, concurrency=2), cancel_at=30.0)
    summary = load.run()
    assert load.histories > 1
    assert summary["status"] == "cancel"
    assert summary["success"] + summary["cancel"] == 60
    assert len(load.flows()) == summary["success"] < 40


def test_the_request_is_carried_unchanged(short_histories: int) -> None:
    load = host(lambda task: (1.0, done()), plan(20), input={"coordinator_run_id": "c7", "requested_by": "somebody"})
    summary = load.run()
    assert (summary["load_id"], summary["requested_by"]) == ("c7", "somebody")
    settling = next(run for run in load.runs if run.name == "settle_load")
    assert settling.input["request"] == {"coordinator_run_id": "c7", "requested_by": "somebody"}


def test_a_load_that_an_earlier_version_began_goes_on() -> None:
    planned = plan(1)
    begun = {"index": 0, "entity": planned.pop("entities")[0], "attempts": 1, "troubles": 1, "trouble": "It was busy."}
    earlier = {"plan": planned, "started": START.isoformat(), "entities": 1, "answers": [], "ready": [begun]}
    load = host(lambda task: (1.0, done()), input={"carried": {**earlier, "deferred": []}})
    assert load.run()["success"] == 1
    assert settled(load)[0]["message"] == "Recovered from 1 failed attempts, the last: It was busy."


def test_the_payload_of_a_slice_has_the_fields_of_its_result() -> None:
    assert set(SlicePayload.__annotations__) - {"waiting", "pool"} == {each.name for each in fields(SliceResult)}
