"""A world: one source table, the place where it is mirrored, Fabric's replicator, and the loads in between."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, cast

from devcloud.replicator import Replicator, ReplicatorOptions
from hygge_engine.journal import Journal, ProgressFiles
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration.concurrency import EntityRunState
from hygge_engine.orchestration.payloads import PlannedEntity, SlicePayload
from hygge_engine.orchestration.verdict import judge
from hygge_engine.project.models.settings import RunType
from hygge_engine.stores.landing.state import LandingState
from tests.faults.prover.invariants import check
from tests.faults.prover.jobs import ENTITY, FLOW, ITEM, Job, StoreKind, Verb, is_final
from tests.faults.prover.nurse import Event, Nursery, Worker
from tests.faults.prover.site import Site
from tests.faults.prover.tables import DeltaFileTable, FileTable, HistoryTable, MirroredTable, ReaderTable, Refuted
from tests.faults.prover.worker import journal_root_of, table_folder_of
from tests.faults.source import Source

# Slices that end after their first batch.
MANY_SLICES = 1e-9
ONE_SLICE = 4.0

# Longer than an owner keeps a table without a sign of life.
EXPIRY_SECONDS = 600.0

# Deliveries after which a load that has not settled never will.
DELIVERIES_LIMIT = 30

# Results of slices after which a load makes no progress, but for those that another one owns the table: the clock
# leaps ahead during a wait, past the owner's time if need be.
SLICES_LIMIT = 80

# Longest that a settling waits for its turn to publish telemetry: by then the owner has finished, or has expired.
TURN_SECONDS = 30.0

# How a settling ends that has waited for its turn in vain. Here the clock leaps ahead during a wait, so that an
# owner's time is over after a few of its steps and two settlings can keep each other from publishing; a real one takes
# a second of its two minutes.
TURN_MISSED = ("store.fenced", "store.busy")

Ticks = Literal["always", "sometimes", "late"]


# The plan's names, of which these entity runs need none.
NO_ENTITY: PlannedEntity = {"flow": "", "entity": "", "entity_run_id": "", "run_type": ""}


@dataclass
class Load:
    """What an orchestrator remembers of a load."""

    load_id: str
    run_type: RunType
    attempt: int = 1
    answer: dict[str, Any] | None = None
    settled: bool = False
    deliveries: int = 0
    slices: int = 0
    window: tuple[str, str] = ("", "")
    entity_run: EntityRunState = field(default_factory=lambda: EntityRunState(0, NO_ENTITY))
    closing: bool = False


class ProverWorld:
    """``store`` is where the table lands, ``tracked`` whether increments follow Change Tracking, or,
    ``captured``, change data capture,
    ``difference`` whether reloads land what differs, ``compares`` whether each increment is followed by a comparison of
    keys; loads that can be are divided into ``ranges``. ``ticks``: whether
    readers, the replicator among them, look after every operation, after some, or only when all is over. With ``purge``
    the replicator deletes processed files at once instead of after a week."""

    def __init__(
        self,
        nursery: Nursery,
        site: Site,
        *,
        store: StoreKind = "open_mirroring",
        tracked: bool = False,
        difference: bool = False,
        compares: bool = False,
        run_type: RunType = "incremental",
        slice_minutes: float = ONE_SLICE,
        mirror_journal: bool = False,
        ticks: Ticks = "always",
        purge: bool = False,
        seed: int = 0,
        sabotage: str = "",
        ranges: int = 0,
        captured: bool = False,
    ) -> None:
        self._nursery = nursery
        self.site = site
        self.place = site.open_place()
        self.directory = Path(self.place.directory)
        self.random = random.Random(seed)
        self.source = Source(Path(self.place.source))
        self.run_type: RunType = run_type
        self.slice_minutes = slice_minutes
        self.mirror_journal = mirror_journal
        self._ticks = ticks
        self._sabotage = sabotage
        options = ReplicatorOptions(purge_after_seconds=0) if purge else ReplicatorOptions()
        self.replicator = Replicator.on_disk(self.directory / ITEM, in_memory=True, options=options)
        self.store: StoreKind = store
        self.tracked = tracked
        self.captured = captured
        self.difference = difference
        self.compares = compares
        self.ranges = ranges
        self.journal_root = journal_root_of(self.place, store)
        self.table = self._open_table()
        self.loads: dict[str, Load] = {}
        self.clock_seconds = 0.0
        self.trace: list[str] = []
        self._names = itertools.count(1)
        self._workers: list[Worker] = []
        self._landed = 0

    def _open_table(self) -> ReaderTable:
        if self.store == "open_mirroring":
            return MirroredTable(self.replicator, self.directory / ITEM)
        if self.store == "history":
            return HistoryTable(self.replicator, self.directory / ITEM)
        folder = self.directory / table_folder_of(self.place, self.store)
        return DeltaFileTable(folder) if self.store == "delta" else FileTable(folder)

    def close(self) -> None:
        for worker in self._workers:
            worker.close()
        self.site.close_place(self.place)

    # Loads and their workers

    def new_load(self, run_type: RunType | None = None, window: tuple[str, str] = ("", "")) -> Load:
        load = Load(f"load{next(self._names)}", run_type or self.run_type, window=window)
        self.loads[load.load_id] = load
        return load

    def deliver(self, load: Load) -> Worker:
        """Hand a load to a new worker, which stops before its first operation."""
        load.deliveries += 1
        if load.deliveries > DELIVERIES_LIMIT:
            raise Refuted(f"{load.load_id} does not settle")
        return self.start(
            Job(
                "load",
                self.place,
                load.load_id,
                load.run_type,
                load.attempt,
                load.answer,
                self.slice_minutes,
                self.mirror_journal,
                self.store,
                self.tracked,
                self._sabotage,
                load.window,
                load.closing,
                self.difference,
                self.ranges,
                self.clock_seconds,
                self.compares,
                self.captured,
            )
        )

    def start(self, job: Job) -> Worker:
        worker = self._nursery.start(job)
        self._workers.append(worker)
        self._trace(worker, "starts")
        return worker

    def step(self, worker: Worker, verb: Verb = "go") -> Event:
        """Let a worker continue to its next event, and take in what it reports and does on the way."""
        event = worker.event
        if event.phase == "note" and verb != "die" and not self._take_in(worker, event):
            verb = "stop"
        if verb != "go":
            self._trace(worker, f"{verb} {event.phase} {event.number} {event.label}")
        arrived = worker.answer(verb, self.clock_seconds)
        if arrived.phase == "before":
            self._trace(worker, f"{arrived.number} {arrived.label}")
        elif arrived.phase == "after" and self.table.sees(arrived.label):
            self.look()  # after other operations there is nothing new to see
        if arrived.is_end:
            self._trace(worker, arrived.phase)
        return arrived

    def run(self, worker: Worker, choose: Callable[[Event], Verb] = lambda event: "go") -> Event:
        """Let a worker run to its end."""
        while not worker.event.is_end:
            self.step(worker, choose(worker.event))
        return worker.event

    def run_until(self, worker: Worker, reached: Callable[[Event], bool]) -> bool:
        """Let a worker run until it is about to do something; False where it ends before."""
        while not worker.event.is_end:
            if reached(worker.event):
                return True
            self.step(worker)
        return False

    def finish(self, load: Load) -> None:
        """Deliver a load again and again until it has settled."""
        while not load.settled:
            self.run(self.deliver(load))

    def load(self, run_type: RunType | None = None, *, unobserved: bool = False) -> Load:
        """A whole load without a fault; ``unobserved`` does not stop at its operations."""
        load = self.new_load(run_type)
        if unobserved:
            self.run(self.deliver(load), lambda event: "run")
            self.look()
        self.finish(load)
        return load

    @property
    def newest(self) -> Load:
        """The load that was begun last."""
        return list(self.loads.values())[-1]

    def forget(self, load: Load) -> None:
        """Expect nothing of a load any more: its traces were removed."""
        del self.loads[load.load_id]

    @property
    def journal(self) -> Journal:
        return Journal(LocalLake(self.directory), self.journal_root)

    @property
    def journal_file(self) -> Path:
        """The canonical journal on disk."""
        return self.directory / self.journal_root / "journal.parquet"

    def fold_job(self) -> Job:
        return Job("fold", self.place, "fold", store=self.store, sabotage=self._sabotage)

    def fold(self) -> None:
        """Fold the journal without a fault."""
        self.run(self.start(self.fold_job()))

    def expire(self) -> None:
        """Let enough time pass that no table has an owner any more."""
        self.clock_seconds += EXPIRY_SECONDS

    def pass_time(self, seconds: float) -> None:
        self.clock_seconds += seconds

    def cancel(self, load: Load) -> None:
        self.trace.append(f"{load.load_id} is asked to stop")
        ProgressFiles(LocalLake(self.directory), self.journal_root).request_cancel(load.load_id)

    def let_go(self, load: Load) -> None:
        """Cancel a load none of whose slices runs: what is left of it are slices that release the table."""
        load.closing = True
        self.finish(load)
        state = self.state
        if state is not None and state.owner is not None:
            raise Refuted(f"{load.load_id} was cancelled and settled, and still owns the table")
        if state is not None and state.open is not None and state.open.mode == "reload":
            raise Refuted(
                f"{load.load_id} was cancelled and settled, and has left a reload in phase {state.open.phase}"
            )

    def _take_in(self, worker: Worker, event: Event) -> bool:
        """Take in what a worker reports, as its orchestrator would; False where that has heard it from another one."""
        load = self.loads[worker.job.load_id]
        if event.label == "slice":
            return self._take_answer(worker, load, event.value)
        if event.label == "unsettled":
            self.pass_time(TURN_SECONDS + event.value["retry_after_seconds"])
        elif event.label == "settled":
            if event.value.get("error") in TURN_MISSED:
                return True  # unsettled: it is delivered again
            if event.value["status"] != "settled":
                raise Refuted(f"{load.load_id} cannot be settled: {event.value}")
            load.settled = True
        return True

    def _take_answer(self, worker: Worker, load: Load, answer: dict[str, Any]) -> bool:
        self._trace(worker, f"answers {answer['status']} {answer.get('error', '')} {answer.get('message', '')}")
        if answer["attempts"] < load.attempt or load.answer is not None:
            return False
        load.slices += 0 if answer.get("busy") else 1
        if load.slices > SLICES_LIMIT:
            raise Refuted(f"{load.load_id} needs more than {SLICES_LIMIT} slices: {answer}")
        now = datetime.now(UTC) + timedelta(seconds=self.clock_seconds)
        verdict = judge(load.entity_run, cast("SlicePayload", dict(answer)), now).result
        if verdict is not None and verdict.get("error") == "load.no_progress":
            raise Refuted(f"{load.load_id} is given up, though it had come this far: {verdict}")
        load.attempt = answer["attempts"] + 1
        if is_final(answer):
            load.answer = answer
        self._wait_for(answer)
        return True

    def _wait_for(self, answer: dict[str, Any]) -> None:
        """Let the time pass until an activity is to be called again."""
        if answer.get("not_before"):
            due = datetime.fromisoformat(answer["not_before"]) - datetime.now(UTC)
            self.pass_time(max(0.0, due.total_seconds()))
            self.tick()  # however seldom the replicator looks, seconds are enough

    def note_fault(self, worker: Worker, fault: dict[str, Any]) -> None:
        """Say in the story what the service is about to do to a worker."""
        self._trace(worker, f"meets {fault} at {worker.event.number}")

    def _trace(self, worker: Worker, what: str) -> None:
        self.trace.append(f"{worker.job.load_id}#{self._workers.index(worker) + 1} {what}")

    # What readers see

    def look(self) -> None:
        """Readers may look at the table now."""
        if self._ticks == "always" or (self._ticks == "sometimes" and self.random.random() < 0.3):
            self.tick()

    def tick(self) -> None:
        """Readers look; what they see has to make sense at any time."""
        rows = self.table.tick(self)
        if rows:
            self._landed += rows
            self.trace.append(f"readers see {rows} more rows")

    @property
    def state(self) -> LandingState | None:
        """The landing state of the table."""
        path = self.directory / self.journal_root / "landing" / FLOW / f"{ENTITY}.json"
        return LandingState.from_json(path.read_bytes(), str(path))[0] if path.exists() else None

    def check(self, *, rows_once: bool = True) -> None:
        """What has to hold when all loads have settled: see `invariants.check`."""
        for _ in range(3):
            self.tick()
        # A table that is dropped before the replicator has read all of it was landed all the same.
        check(self, landed_rows=self._landed if rows_once and self._ticks == "always" else None)
