"""No sequence of calls leaves a table missing, empty or owned: random starts, cancellations, looks, deaths and pauses.

The API, the orchestrator, its activities and the landing protocol are the real ones, over a local lake with Fabric's
replicator; the durable host is played in virtual time, an activity at a time, and its worker may die before or after
any of its storage operations.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Generator, Iterable
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from devcloud.replicator import Replicator, check_landing_zone
from hygge_engine.lake import opening
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import load as orchestrator
from hygge_engine.orchestration.activities import Activities
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.web.api import Api
from tests.faults.world import FragileLake, Killed
from tests.support.api_contract import promised
from tests.unit.load_world import FLOW_YML, LoadWorld
from tests.unit.orchestration_host import SimulatedContext, SimulatedTask
from tests.unit.project_files import ENVIRONMENT

ITEM = "22222222-2222-2222-2222-222222222222"
TABLES = ("orders", "customers")
URL = "http://localhost/api/loads"

# Loads under way together, at most: with more of them hardly any gets to where it can do harm.
LOADS_AT_ONCE = 3

# Times that whatever is under way is worked on before a load that has not ended never will.
PATIENCE = 400


class Context(SimulatedContext):
    """Remembers what it was asked for, and knows what time it is."""

    def __init__(self, load_id: str, input_: Any, now: datetime) -> None:
        super().__init__(input_)
        self.instance_id = load_id
        self.current_utc_datetime = now
        self.tasks: list[SimulatedTask] = []

    def _remember(self, task: SimulatedTask) -> SimulatedTask:
        self.tasks.append(task)
        return task

    def call_activity(self, name: str, input_: Any = None) -> SimulatedTask:
        return self._remember(super().call_activity(name, input_))

    def create_timer(self, fire_at: datetime) -> SimulatedTask:
        return self._remember(super().create_timer(fire_at))

    def wait_for_external_event(self, name: str) -> SimulatedTask:
        return self._remember(super().wait_for_external_event(name))

    def open(self, kind: str) -> list[SimulatedTask]:
        return [task for task in self.tasks if task.kind == kind and not task.done and not task.cancelled]


class Orchestration:
    """One load, as its host remembers it."""

    def __init__(self, load_id: str, input_: Any, now: datetime) -> None:
        self.load_id = load_id
        self.input = json.dumps(input_)
        self.created = now
        self.output: Any = None
        self.custom_status: Any = None
        self._begin(input_, now)

    def _begin(self, input_: Any, now: datetime) -> None:
        self.context = Context(self.load_id, input_, now)
        self._steps = cast(Generator[SimulatedTask, Any, Any], orchestrator.load(self.context))
        self._waits_for = next(self._steps)
        self.go_on(now)

    def go_on(self, now: datetime) -> None:
        """Let the orchestrator see what has happened."""
        if self.ended:
            return
        self.context.current_utc_datetime = now
        try:
            while self._waits_for.settle():
                value = self._waits_for.value
                failed = isinstance(value, Exception)
                self._waits_for = self._steps.throw(value) if failed else self._steps.send(value)
        except StopIteration as end:
            self.output = end.value
        self.custom_status = self.context.custom_status or self.custom_status
        if self.context.next_input is not None:
            self._begin(self.context.next_input, now)

    @property
    def ended(self) -> bool:
        return self.output is not None


class Hub:
    """A durable client, and the host behind it. Nothing happens but what it is told to let happen."""

    def __init__(self, activities: Activities) -> None:
        self._activities = activities
        self.loads: dict[str, Orchestration] = {}
        self.shift = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.shift

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any:
        self.loads[instance_id] = Orchestration(instance_id, client_input, self.now())

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> Any:
        found = self.loads.get(instance_id)
        return found and SimpleNamespace(
            instance_id=instance_id,
            runtime_status=SimpleNamespace(name="Completed" if found.ended else "Running"),
            created_time=found.created,
            last_updated_time=self.now(),
            input_=found.input,
            output=found.output,
            custom_status=found.custom_status,
        )

    async def get_status_by(self, *, runtime_status: Any) -> Any:
        return [await self.get_status(load_id) for load_id, load in self.loads.items() if not load.ended]

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        found = self.loads[instance_id]
        for task in found.context.open("event"):
            task.done = task.detail == event_name
        found.go_on(self.now())

    def deliver(self, load_id: str, *, reported: bool = False) -> bool:
        """Let an activity of a load run; False where none is due. One that dies is delivered again, or ``reported``."""
        found = self.loads[load_id]
        task = next(iter(found.context.open("activity")), None)
        if task is None:
            return False
        name, input_ = task.detail
        try:
            answer = getattr(self._activities, name)(json.loads(json.dumps(input_)))
        except Killed:
            if not reported:
                return True
            answer = RuntimeError("the worker is gone")
        else:
            answer = json.loads(json.dumps(answer))
            answer.pop("table_lanes", None)  # this host runs no orchestrations below others
            if answer.get("not_before"):  # the engine's own clock stands still here
                answer["not_before"] = (datetime.fromisoformat(answer["not_before"]) + self.shift).isoformat()
        task.done, task.value = True, answer
        found.go_on(self.now())
        return True

    def pass_time(self, seconds: float) -> None:
        self.shift += timedelta(seconds=seconds)
        for found in self.loads.values():
            for task in found.context.open("timer"):
                task.done = task.detail <= self.now()
            found.go_on(self.now())


class QuietWatch:
    """Looks for the marker at every batch and reports nothing: no thread of its own works beside the activity."""

    def __init__(self, project: Any, entity: Any, task: Any) -> None:
        from hygge_engine.orchestration.places import place_of

        self._progress, self._load_id = place_of(project, entity).progress, task.load_id

    def __enter__(self) -> QuietWatch:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def progress(self, rows: int, bytes_: int) -> None:
        return None

    def cancelled(self) -> bool:
        return self._progress.is_cancelled(self._load_id)

    def record_result(self, result: Any) -> None:
        return None


class Calls(RuleBasedStateMachine):
    """Callers, time, and death."""

    loads = Bundle("loads")

    @initialize(slices=st.sampled_from([4.0, 1e-9]))
    def begin(self, slices: float) -> None:
        self._directory = tempfile.TemporaryDirectory()
        self._patch = pytest.MonkeyPatch()
        for name, value in ENVIRONMENT.items():
            self._patch.setenv(name, value)
        self._patch.setattr(orchestrator, "ACTIVITIES_PER_HISTORY", 6)
        self._patch.setattr(os, "fsync", lambda _: None)  # processes die here, no machine does
        hygge = "name: shop\nconnections:\n  shop_db: {type: mssql, server: s, database: d, auth: managed_identity}\n"
        hygge += f"options: {{slice_minutes: {slices}}}\n"
        flow = FLOW_YML.replace("[orders, customers, stock]", f"[{', '.join(TABLES)}]")
        self.world = LoadWorld(Path(self._directory.name), self._patch, hygge=hygge, flow=flow)
        self.lake = FragileLake(LocalLake(self.world.lake_directory))
        self._patch.setattr(opening, "open_lake", lambda _: self.lake)
        self.hub = Hub(Activities(lambda: self.world.project, QuietWatch))
        self.api = promised(Api(lambda: self.world.project))
        self.replicator = Replicator.on_disk(self.world.lake_directory / ITEM, in_memory=True)
        self.world.fill(orders=5, customers=3)
        self.start("incremental", TABLES)  # tables that can be lost
        self._finish()

    @precondition(lambda self: sum(not found.ended for found in self.hub.loads.values()) < LOADS_AT_ONCE)
    @rule(
        target=loads,
        run_type=st.sampled_from(["incremental", "full_drop"]),
        tables=st.sampled_from([TABLES, TABLES[:1]]),
    )
    def start(self, run_type: str, tables: tuple[str, ...]) -> str:
        body = json.dumps({"entities": tables, "run_type": run_type}).encode()
        answer = asyncio.run(self.api.start_load(body, self.hub, requested_by="test"))
        assert answer.status == HTTPStatus.ACCEPTED
        return str(answer.payload["load_id"])

    @rule(load=loads, times=st.sampled_from([1, 2, 3, 4, PATIENCE]))
    def work(self, load: str, times: int) -> None:
        """Let a load continue, for some activities or until it waits."""
        while times and self.hub.deliver(load):
            times -= 1
        self._look(load)

    @rule(load=loads, operation=st.integers(1, 14), after=st.booleans(), reported=st.booleans())
    def kill(self, load: str, operation: int, after: bool, reported: bool) -> None:
        self.lake.count, self.lake.die_at, self.lake.die_after = 0, operation, after
        self.hub.deliver(load, reported=reported)
        self.lake.revive()

    @rule(load=loads)
    def cancel(self, load: str) -> None:
        had_ended = self.hub.loads[load].ended
        answer = asyncio.run(self.api.cancel_load(load, self.hub))
        assert answer.status in ((HTTPStatus.CONFLICT,) if had_ended else (HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT))
        self._look(load)

    @rule(seconds=st.sampled_from([1.0, 6.0, 35.0, 130.0, 700.0]))
    def wait(self, seconds: float) -> None:
        self.replicator.tick()
        self.hub.pass_time(seconds)
        self.lake.shift = self.hub.shift

    @rule(table=st.sampled_from(TABLES), row=st.integers(0, 9))
    def change(self, table: str, row: int) -> None:
        self.world.sources[table].put(row)

    def _look(self, load: str) -> None:
        answer = asyncio.run(self.api.load_status(load, self.hub))
        assert answer.status == HTTPStatus.OK
        assert (answer.payload["state"] == "settled") == self.hub.loads[load].ended

    def teardown(self) -> None:
        try:
            if hasattr(self, "hub"):
                self._finish()
                self._check_left()
                self._check_next_load()
        finally:
            if hasattr(self, "_patch"):
                self._patch.undo()
                self._directory.cleanup()

    def _finish(self) -> None:
        for _ in range(PATIENCE):
            if all(found.ended for found in self.hub.loads.values()):
                return
            delivered = [self.hub.deliver(load) for load in self.hub.loads]
            if not any(delivered):
                self.wait(6.0)
        raise AssertionError("a load never ends")

    def _check_left(self) -> None:
        """What the loads leave: no table that is owned or gone, no marker, one row of the journal for each entity."""
        for table, state in self._states():
            assert state.owner is None, f"{table} is owned by {state.owner}"
            assert state.open is None or state.open.mode != "reload", f"{table} is left in {state.open}"
            rows = self._mirrored(table)
            assert not state.has_history or rows, f"{table} is gone, though {state.next_sequence - 1} files landed"
            assert {row[0] for row in rows} <= set(self.world.sources[table].rows)
        progress = self.world.lake_directory.rglob(".hygge_journal/progress/*")
        assert not list(progress), "something is left of a load's progress"
        told = {row["coordinator_run_id"] for row in self.world.place().journal.read().to_dicts()}
        assert told == set(self.hub.loads)

    def _check_next_load(self) -> None:
        self.start("incremental", TABLES)
        self._finish()
        for table in TABLES:
            assert self._mirrored(table) == self.world.sources[table].as_multiset()
        assert [str(finding) for finding in check_landing_zone(self.world.lake_directory / ITEM)] == []

    def _states(self) -> Iterable[tuple[str, LandingState]]:
        for path in self.world.lake_directory.rglob(".hygge_journal/landing/*/*.json"):
            if path.stem in TABLES:
                yield path.stem, LandingState.from_json(path.read_bytes(), "")[0]

    def _mirrored(self, table: str) -> list[tuple[int, str, int]]:
        for _ in range(3):
            self.replicator.tick()
        try:
            found = self.replicator.table("dbo", table)
        except KeyError:
            return []
        return sorted(zip(*(found[name].to_pylist() for name in ("id", "value", "modified")), strict=True))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_no_sequence_of_calls_leaves_a_table_missing_empty_or_owned() -> None:
    run_state_machine_as_test(
        Calls,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
