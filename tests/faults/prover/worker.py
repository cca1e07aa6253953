"""The worker: a forked process that runs the activities of a load as the Functions host would, until it is killed."""

from __future__ import annotations

import logging
import os
import traceback
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self
from unittest.mock import patch

from pydantic import SecretStr

from hygge_engine import retry
from hygge_engine.errors import HyggeError
from hygge_engine.flow import mirror
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult, SliceTask, numbers_in
from hygge_engine.lake import opening
from hygge_engine.lake.base import Lake
from hygge_engine.lake.local import LocalLake
from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.lake.settings import LakeSettings
from hygge_engine.orchestration.activities import Activities
from hygge_engine.orchestration.places import place_of
from hygge_engine.project.models.project import (
    DeletesSettings,
    Entity,
    Flow,
    JournalSettings,
    Options,
    Project,
    SchemaChangesSettings,
    WatermarkSettings,
)
from hygge_engine.project.models.settings import HomeSettings, StoreSettings
from hygge_engine.statuses import JOURNAL_STATUS
from hygge_engine.stores.lake_files.settings import (
    AdlsSettings,
    FileFormat,
    FilesSettings,
    LocalSettings,
    OneLakeSettings,
)
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from tests.faults.prover.gate import ClockedDataLake, Gate, GatedLake, gate_delta_commits, gate_requests
from tests.faults.prover.jobs import ENTITY, FLOW, ITEM, Job, StoreKind, WorldAddress, is_final
from tests.faults.prover.sabotage import SABOTAGES
from tests.faults.source import Source, SourceHome

# Slices after which a range has made no progress.
RANGE_ATTEMPTS = 30

# Settling is tried as often as the orchestrator does.
SETTLE_ATTEMPTS = 10

# All loads of a world have the same times: what is settled again has to be the same.
LOAD_TIME = "2026-11-20T10:00:00+00:00"


def serve(descriptor: int) -> None:
    """Do one job whose description comes through a socket; never returns."""
    connection = Connection(descriptor)
    gate = Gate(connection)
    try:
        job: Job = connection.recv()
        gate.clock = timedelta(seconds=job.clock)
        _do(job, gate)
        gate.tell("ended", job.kind)
    except BaseException:  # noqa: BLE001 - a worker that is wrong says so; the prover stops
        gate.tell("broke", traceback.format_exc())
    os._exit(0)


def _do(job: Job, gate: Gate) -> None:
    logging.disable(logging.WARNING)
    if job.sabotage:
        SABOTAGES[job.sabotage].apply()
    settings = settings_of(job.place, job.store, mirror_journal=job.mirror_journal)
    lake = _connect(job.place, settings, gate)
    source = Source(Path(job.place.source))
    home = SourceHome(source, before_batch=lambda number: gate.note("batch", number), ranges=job.ranges)
    # The seams of the engine that a worker process has to itself: its lake, its source, and how patient it is.
    patch.object(opening, "open_lake", lambda _: lake).start()
    patch.object(opening, "open_directory", lambda *_: lake).start()
    gate_delta_commits(gate)
    patch.object(flow_run, "open_home", lambda project, entity: home).start()
    patch.object(retry, "FIRST_PAUSE_SECONDS", 0.001).start()
    patch.object(mirror, "TURN_SECONDS", 0.0).start()
    project = _project(job, settings)
    if job.kind == "fold":
        with suppress(HyggeError):  # a fold that fails is left to the next one
            place_of(project, project.entities[0]).journal.fold(after_loads=1)
    else:
        _run_load(job, project, gate)


def settings_of(place: WorldAddress, store: StoreKind, *, mirror_journal: bool = False) -> StoreSettings:
    """The store of a world's entity."""
    if store in ("open_mirroring", "history"):
        return OpenMirroringSettings(
            type="open_mirroring",
            mirror_name=ITEM,
            key_columns=("id",),
            folder_deletion_wait_seconds=0,
            mirror_journal=mirror_journal,
            **_account(place),
        )
    format_: FileFormat = "delta" if store == "delta" else "parquet"
    match place.lake:
        case "local":
            return LocalSettings(path=place.directory, format=format_)
        case "adls" | "dfs":
            return AdlsSettings(format=format_, path="raw", **_account(place))
        case "onelake":
            return OneLakeSettings(format=format_, lakehouse=ITEM, **_account(place))


def journal_root_of(place: WorldAddress, store: StoreKind) -> str:
    """The folder of everything that is the engine's own, as a path in a world's directory."""
    settings = settings_of(place, store)
    if isinstance(settings, FilesSettings):
        return settings.journal_folder()
    return f"{ITEM}/Files/{JOURNAL_FOLDER}"


def table_folder_of(place: WorldAddress, store: StoreKind) -> str:
    """The folder of a table of files, as a path in a world's directory."""
    settings = settings_of(place, store)
    folder = settings.tables_folder() if isinstance(settings, FilesSettings) else ""
    return f"{folder}/{ENTITY}".lstrip("/")


def _account(place: WorldAddress) -> dict[str, Any]:
    return {
        "account_url": place.url or "http://localhost",
        "filesystem": place.filesystem or "workspace",
        "credential": "account_key",
        "account_name": place.account_name or "nobody",
        "account_key": SecretStr(place.account_key or "none"),
    }


def _connect(place: WorldAddress, settings: StoreSettings, gate: Gate) -> Lake:
    if not place.url:
        return GatedLake(LocalLake(Path(place.directory)), gate)
    gate_requests(gate)
    if not isinstance(settings, LakeSettings):
        raise TypeError(f"{type(settings).__name__} is in no data lake")
    return ClockedDataLake(settings, gate)


def _project(job: Job, settings: StoreSettings) -> Project:
    watermark = WatermarkSettings(
        column="modified",
        primary_key="id",
        change_tracking=job.tracked and not job.captured,
        cdc=job.captured,
        on_expired="reload",
        on_backwards="reload",
    )
    changes = SchemaChangesSettings(retyped="rebuild")
    entity = Entity(
        ENTITY,
        FLOW,
        job.run_type,
        HomeSettings(type="source"),
        settings,
        watermark,
        changes,
        reload="difference" if job.difference else "drop",
        deletes=DeletesSettings(compare=job.compares, every=0),
    )
    if job.store == "history":
        # Under the names that the table of another world has.
        entity = replace(entity.with_history(settings), name=ENTITY)
    return Project(
        name="prover",
        directory=Path(job.place.directory),
        connections=MappingProxyType({}),
        options=Options(slice_minutes=job.slice_minutes),
        journal=JournalSettings(),
        flows=MappingProxyType({FLOW: Flow(FLOW, None, job.run_type, MappingProxyType({ENTITY: entity}))}),
    )


class MarkerWatch:
    """Looks for the cancellation marker at every batch, where the engine's own watch looks every other second."""

    def __init__(self, project: Project, entity: Entity, task: SliceTask) -> None:
        self._progress = place_of(project, entity).progress
        self._load_id = task.load_id

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def progress(self, rows: int, bytes_: int) -> None:
        return None

    def cancelled(self) -> bool:
        return self._progress.is_cancelled(self._load_id)

    def record_result(self, result: SliceResult) -> None:
        return None


def _read_ranges(activities: Activities, task: dict[str, Any], answer: dict[str, Any], gate: Gate) -> bool:
    """Read the ranges that a slice has named, one after the other; False where the load was cancelled meanwhile."""
    for number in numbers_in(answer["ranges_left"]):
        for attempt in range(1, RANGE_ATTEMPTS + 1):
            result = activities.run_flow(
                {**task, "attempt": attempt, "division": answer["division"], "range_number": number}
            )
            gate.note("range", result)
            if result["status"] == "cancelled":
                return False
            if is_final(result):
                break
        if result["status"] != "done":
            raise RuntimeError(f"range {number} came to no end: {result}")
    return True


def _run_load(job: Job, project: Project, gate: Gate) -> None:
    activities = Activities(lambda: project, MarkerWatch)
    attempt, answer = job.attempt, job.answer
    names = {"flow": FLOW, "entity": ENTITY, "entity_run_id": f"{job.load_id}-{ENTITY}", "run_type": job.run_type}
    busy = 0
    while answer is None or not is_final(answer):
        bounds = dict(zip(("window_from", "window_to"), job.window, strict=True))
        task: dict[str, Any] = {**names, **bounds, "load_id": job.load_id, "attempt": attempt}
        task["settings_hash"] = project.settings_hash()
        task |= {"closing": job.closing, "busy": busy}
        # The orchestrator keeps the names and counts the attempts.
        answer = {**activities.run_flow(task), **names, "attempts": attempt}
        busy = busy + 1 if answer.get("busy") else 0
        if gate.note("slice", answer) == "stop":
            return
        attempt += 1
        if answer.get("ranges_left") and not _read_ranges(activities, task, answer, gate):
            answer = {**activities.run_flow({**task, "attempt": attempt, "closing": True}), **names}
            answer = {"status": "cancelled", **answer, "attempts": attempt}
            if gate.note("slice", answer) == "stop":
                return
            attempt += 1
    summary = {
        "load_id": job.load_id,
        "status": JOURNAL_STATUS[answer["status"]],
        "requested_by": "prover",
        "started": LOAD_TIME,
        "finished": datetime.fromisoformat(LOAD_TIME).astimezone(UTC).isoformat(),
        "message": "",
        "error": "",
    }
    for settle_attempt in range(1, SETTLE_ATTEMPTS + 1):
        settled = activities.settle_load(
            {"summary": summary, "request": {"flows": [FLOW]}, "results": [answer], "attempt": settle_attempt}
        )
        if settled["status"] == "settled" or not settled.get("transient"):
            break
        gate.note("unsettled", settled)
    gate.note("settled", settled)
