"""`Lineage`: a run event when an entity run begins, another when it has ended."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hygge_engine.errors import HyggeError
from hygge_engine.flow.factory import open_table
from hygge_engine.flow.slices import SliceTask
from hygge_engine.telemetry.facts import EntityRun, LoadRun
from hygge_engine.telemetry.lineage.datasets import destination_of, source_of
from hygge_engine.telemetry.lineage.events import EventType, Job, Landed, run_event
from hygge_engine.telemetry.lineage.sender import Sender
from hygge_engine.telemetry.lineage.settings import LineageSettings

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

_KINDS: dict[str, EventType] = {"success": "COMPLETE", "fail": "FAIL", "skip": "ABORT", "cancel": "ABORT"}


class Lineage:
    """Reports entity runs to a receiver. Raises nothing, and waits only in `flush`."""

    def __init__(self, settings: LineageSettings) -> None:
        self._namespace = settings.namespace
        self.sender = Sender(settings)

    def began(self, project: Project, entity: Entity, task: SliceTask) -> None:
        """An entity run begins."""
        source, destination = source_of(project, entity), destination_of(project, entity)
        namespace = self._namespace or project.name
        job = Job(namespace, task.flow, task.entity, task.entity_run_id, task.load_id, source, destination)
        self.sender.send(run_event("START", datetime.now(UTC), job))

    def record_load(self, project: Project, load: LoadRun) -> None:
        """A load has ended, and with it its entity runs. One that a deployment has removed meanwhile is left out."""
        for run in load.entities:
            flow = project.flows.get(run.flow)
            entity = flow.entities.get(run.entity) if flow else None
            if entity is not None:
                self._entity_ended(project, entity, load, run)

    def flush(self) -> None:
        """Send what has been reported, within seconds at most."""
        self.sender.flush()

    def _entity_ended(self, project: Project, entity: Entity, load: LoadRun, run: EntityRun) -> None:
        columns = _landed_columns(project, entity) if run.status == "success" else {}
        source = replace(source_of(project, entity), columns=columns)
        destination = replace(destination_of(project, entity), columns=columns)
        namespace = self._namespace or project.name
        job = Job(namespace, run.flow, run.entity, run.entity_run_id, load.load_id, source, destination)
        landed = Landed(run.rows, run.bytes, run.files)
        self.sender.send(run_event(_KINDS[run.status], run.finished or load.finished, job, landed, run.failure))


def _landed_columns(project: Project, entity: Entity) -> dict[str, str]:
    """The columns of an entity's table with their Arrow types, from its landing state: one request to its store."""
    try:
        state = open_table(project, entity).state()
    except HyggeError as error:
        _log.warning("The lineage of %s has no columns: %s", entity.id, error)
        return {}
    return dict(state.columns) if state is not None else {}
