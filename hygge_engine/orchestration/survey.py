"""Which tables of a load certainly have no news, and what settling remembers so that this is known (docs/idle.md)."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from hygge_engine.errors import HyggeError
from hygge_engine.flow.factory import open_table
from hygge_engine.flow.idle import idle_result, is_at_rest
from hygge_engine.flow.slices import SliceResult, SliceTask
from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.homes.mssql.survey import Asked, NotSurveyed, survey
from hygge_engine.hosts import identity_of
from hygge_engine.lake.base import PathInfo
from hygge_engine.orchestration.apart import run_apart
from hygge_engine.orchestration.identifiers import entity_run_id
from hygge_engine.orchestration.payloads import EntityPayload
from hygge_engine.stores.folder_table import FolderTable
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.landing.summary import Entry, LandingSummary

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, Project

_log = logging.getLogger(__name__)

_run_apart = partial(
    run_apart,
    without="Not all tables could be asked at once whether they have news",
    then="the tables they were about are looked at one by one",
)

# Fewer tables on a connection are not worth a survey: an activity each costs no more.
FEWEST_TABLES = 8

# How long a plan may wait for its survey. What is not known by then gets an activity.
SURVEY_SECONDS = 60.0

# What is left to judge what the survey has found, and to notice that it does not end.
_GRACE_SECONDS = 10.0

# A table is looked at by an activity at least so often; some of them sooner, so that not all come due at once.
LOOK_INTERVAL = timedelta(days=7)

# How long settling may read landing states, and so many at once.
REMEMBERING_SECONDS = 30.0
_READERS = 8


@dataclass(frozen=True)
class _Candidate:
    """A table that may be idle: its ``state``, as the listing shows it, and what the source is asked."""

    entity: Entity
    table: FolderTable
    state: LandingState
    asked: Asked


def find_idle(
    project: Project,
    load_id: str,
    entities: Sequence[Entity],
    *,
    unreachable: Collection[str] = (),
    cancelled: Callable[[], bool] = lambda: False,
) -> list[tuple[Entity, SliceResult]]:
    """Those of a load's entities that have nothing to do, with their results. Bounded in time; raises nothing: whatever
    goes wrong, the tables that it is about get their activities, and the log says why.

    ``unreachable`` are the ids of entities whose sources are known not to respond.
    """
    groups = _worth_asking(project, [entity for entity in entities if entity.id not in unreachable])
    found: list[tuple[Entity, SliceResult]] = []
    until = time.monotonic() + SURVEY_SECONDS

    def look() -> None:
        for entity, result in _idle_of(project, load_id, groups, until, cancelled):
            found.append((entity, result))

    if groups:
        _run_apart([look], until + _GRACE_SECONDS)
    return [*found]


def _worth_asking(project: Project, entities: Iterable[Entity]) -> dict[str, list[Entity]]:
    """Entities of which a survey may say whether they have news, by connection, where there are enough of them."""
    groups: defaultdict[str, list[Entity]] = defaultdict(list)
    if project.options.skip_idle:
        for entity in entities:
            if isinstance(entity.home, MssqlHomeSettings) and _is_of_a_kind(entity, entity.home):
                groups[entity.home.connection].append(entity)
    return {
        name: group
        for name, group in groups.items()
        if len(group) >= FEWEST_TABLES and isinstance(project.connections.get(name), MssqlConnection)
    }


def _is_of_a_kind(entity: Entity, home: MssqlHomeSettings) -> bool:
    """Whether an entity is a table whose increments may have nothing to read."""
    watermark = entity.watermark
    return (
        entity.effective_run_type == "incremental"
        and watermark is not None
        and not watermark.lag_seconds
        and home.table is not None
        and not home.key
        and not home.as_text
        and entity.store.keeps_journal()
    )


def _idle_of(
    project: Project,
    load_id: str,
    groups: dict[str, list[Entity]],
    until: float,
    cancelled: Callable[[], bool],
) -> Iterable[tuple[Entity, SliceResult]]:
    known = _Known(project)
    surveys: list[Callable[[], None]] = []
    candidates: dict[str, _Candidate] = {}
    homes = {}
    for name, group in groups.items():
        some = {entity.id: found for entity in group if (found := known.candidate(entity))}
        connection = project.connections[name]
        if len(some) < FEWEST_TABLES or not isinstance(connection, MssqlConnection):
            continue
        candidates |= some

        def ask(connection: MssqlConnection = connection, some: dict[str, _Candidate] = some) -> None:
            asked = {id_: candidate.asked for id_, candidate in some.items()}
            homes.update(survey(connection, asked, until - time.monotonic(), cancelled))

        surveys.append(ask)
    _run_apart(surveys, until)
    settings_hash = project.settings_hash()
    for id_, home in [*homes.items()]:
        if time.monotonic() > until + _GRACE_SECONDS or cancelled():
            return
        entity, candidate = candidates[id_].entity, candidates[id_]
        run_id = entity_run_id(load_id, entity.flow, entity.name)
        task = SliceTask(load_id, run_id, entity.flow, entity.name, "incremental", settings_hash)
        try:
            result = idle_result(project, entity, candidate.table, home, candidate.state, task)
        except NotSurveyed:
            continue
        if result is not None:
            yield entity, result


class _Known:
    """What summaries and listings say of landing states, each read once."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._found: dict[tuple[str, str], tuple[dict[str, Entry], dict[str, PathInfo]]] = {}
        self._now = datetime.now(UTC)

    def candidate(self, entity: Entity) -> _Candidate | None:
        """The entity, if its landing state is known and it may be idle."""
        try:
            table = open_table(self._project, entity)
            if not isinstance(table, FolderTable) or not isinstance(entity.home, MssqlHomeSettings):
                return None
            entries, listed = self._of(table)
        except HyggeError as error:
            _log.warning("Whether %s has news is not known from its landing state: %s", entity.id, error)
            return None
        path = table.places.state
        entry, found = entries.get(path), listed.get(path)
        state = entry.state(found) if entry and found else None
        if entry is None or state is None or not is_at_rest(state) or not self._is_recent(entity, entry):
            return None
        mark, cursor = state.watermark, entity.watermark.cursor if entity.watermark else ""
        if mark is None or mark.value is None or mark.column != cursor:
            return None
        captured_by = entity.watermark.cdc if entity.watermark else False
        return _Candidate(entity, table, state, Asked(entity.home, cursor, mark.value, captured_by))

    def _of(self, table: FolderTable) -> tuple[dict[str, Entry], dict[str, PathInfo]]:
        key = (identity_of(table.lake.url), table.places.journal)
        if key not in self._found:
            self._found[key] = {}, {}  # of a lake that does not respond, nothing more is asked
            summary = LandingSummary(table.lake, table.places.journal, self._project.name)
            entries = summary.read()
            self._found[key] = entries, summary.listed() if entries else {}
        return self._found[key]

    def _is_recent(self, entity: Entity, entry: Entry) -> bool:
        """Whether an activity has looked at a table lately; not at a time that is still to come, whose clock was set
        back since."""
        looked = entry.looked_at()
        share = sha256(entity.id.encode()).digest()[0] / 255
        return looked is not None and timedelta(0) <= self._now - looked <= LOOK_INTERVAL * (0.5 + share / 2)


def remember_states(project: Project, results: Sequence[EntityPayload]) -> None:
    """Keep in the summaries what the landing states say of tables that have had an activity. Bounded in time; raises
    nothing: what is missing there costs an activity."""
    groups = _worth_asking(project, project.entities)
    worth = {entity.id: entity for group in groups.values() for entity in group}
    ended = [worth.get(f"{result['flow']}.{result['entity']}") for result in results if result["status"] == "done"]
    looked = [entity for entity in ended if entity is not None]
    until = time.monotonic() + REMEMBERING_SECONDS
    if looked:
        _run_apart([lambda: _remember(project, looked, until)], until + _GRACE_SECONDS)


def _remember(project: Project, entities: Sequence[Entity], until: float) -> None:
    summaries: dict[tuple[str, str], LandingSummary] = {}
    paths: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for entity in entities:
        table = open_table(project, entity)
        if isinstance(table, FolderTable):
            key = (identity_of(table.lake.url), table.places.journal)
            summaries.setdefault(key, LandingSummary(table.lake, table.places.journal, project.name))
            paths[key].append(table.places.state)
    for key, summary in summaries.items():
        try:
            _refresh(summary, paths[key], until)
        except HyggeError as error:
            _log.warning("The summary of landing states in %s/%s could not be written: %s", *key, error)


def _refresh(summary: LandingSummary, paths: Sequence[str], until: float) -> None:
    listed, now = summary.listed(), datetime.now(UTC).isoformat()
    entries = {path: entry for path, entry in summary.read().items() if path in listed}

    def look(path: str) -> Entry | None:
        before = entries.get(path)
        if before is not None and before.state(listed[path]) is not None:
            return Entry.of(path, before.etag, now, before.document)
        return summary.look(path, now) if time.monotonic() < until else None

    there = [path for path in dict.fromkeys(paths) if path in listed]
    with ThreadPoolExecutor(_READERS) as pool:
        looked = zip(there, pool.map(look, there), strict=True)
    summary.write(entries | {path: entry for path, entry in looked if entry is not None})
