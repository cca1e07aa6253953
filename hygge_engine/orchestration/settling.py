"""The end of a load: what it did is written down wherever its tables are, once, however often this is tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hygge_engine.errors import HyggeError, LakeUnavailable
from hygge_engine.flow.mirror import publish
from hygge_engine.flow.slices import SliceResult
from hygge_engine.hosts import identity_of
from hygge_engine.journal import EntityRunRow, entity_run_row, load_row
from hygge_engine.journal.journal import FOLD_AFTER_LOADS, FULL, FULL_REMEDY, Compaction
from hygge_engine.orchestration.events import log_load
from hygge_engine.orchestration.identifiers import flow_run_id
from hygge_engine.orchestration.payloads import EntityPayload, NotSettled, Settled, SettleTask, Summary
from hygge_engine.orchestration.places import JournalPlace, entities_at, entities_of, place_of, places_of
from hygge_engine.retry import backoff_seconds
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

if TYPE_CHECKING:
    from hygge_engine.project.models.project import Entity, JournalSettings, Project

_log = logging.getLogger(__name__)

# Places written at once: each waits for its own lake.
_PLACES_AT_ONCE = 8

_RESULT_FIELDS = frozenset(each.name for each in fields(SliceResult))


def settle(project: Project, input_: SettleTask) -> Settled | NotSettled:
    """Write the journal rows of a load, then what follows from them.

    Input: ``summary`` (`summary.summarize`), ``request``, ``results`` (the entities' last results with their names),
    ``attempt``, and in ``silent_journals`` the entities, by id, whose journals are known not to respond: those are not
    tried. Nothing here depends on the time of the call, so that a second call writes the same rows. Returns ``settled``
    with the number of rows and places and a ``message`` where a journal needs attention, or ``failed`` with everything
    that went wrong; a place that fails, or hangs, does not keep the others from being written.
    """
    summary = input_["summary"]
    load_id = summary["load_id"]
    if int(input_.get("attempt", 1)) == 1:
        log_load(summary, input_["results"])
    errors: list[HyggeError] = []
    shares = _shares(project, input_, errors)
    with ThreadPoolExecutor(_PLACES_AT_ONCE) as pool:
        settle_share = partial(_settle_share, clears="board" not in input_)
        written = [pool.submit(copy_context().run, settle_share, project, share, load_id) for share in shares]
        errors += [error for each in written if (error := each.result())]
    if not errors:
        if "board" in input_:
            _clear(shares, load_id)
        rows = sum(len(share.rows) for share in shares)
        settled: Settled = {"status": "settled", "rows": rows, "places": len(shares)}
        if any(share.is_full for share in shares):
            settled["message"] = f"{FULL} {FULL_REMEDY}"
        return settled
    transient = [error for error in errors if error.transient]
    longest = max((error.retry_after_seconds or 0.0 for error in transient), default=0.0)
    return {
        "status": "failed",
        "error": errors[0].code,
        "message": " ".join(dict.fromkeys(str(error) for error in errors)),
        "transient": bool(transient),
        "retry_after_seconds": backoff_seconds(int(input_.get("attempt", 1)), longest) if transient else None,
    }


@dataclass
class _Share:
    """What one place records of a load of ``project``. ``mirrors`` are the mirrored databases that show its journal,
    by their identity; ``is_full``: its journal has no room for more."""

    project: str
    place: JournalPlace
    rows: list[EntityRunRow] = field(default_factory=list)
    mirrors: dict[str, OpenMirroringSettings] = field(default_factory=dict)
    is_full: bool = False

    def add_mirror_of(self, entity: Entity) -> None:
        """Keep the mirrored database that an entity's store publishes the journal to, if it does."""
        if isinstance(entity.store, OpenMirroringSettings) and entity.store.mirror_journal:
            self.mirrors.setdefault(identity_of(entity.store.mirror), entity.store)

    def publish(self, load_id: str) -> None:
        """Show the journal in all of its mirrors."""
        for mirror in self.mirrors.values():
            publish(mirror, (self.place.lake, self.place.root), load_id, self.project)

    def compact(self, project: Project, load_id: str) -> None:
        """Fold and retire what is due; what was retired leaves the mirrors, too."""
        journals = [project.flows[entity.flow].journal for entity in entities_at(project, self.place)]
        after_loads = min((journal.fold_after_loads for journal in journals), default=FOLD_AFTER_LOADS)
        done = self.place.journal.compact(after_loads=after_loads, retention=retention_of(journals))
        self.is_full = done.full
        if done.retired:
            self.publish(load_id)


def retention_of(journals: Sequence[JournalSettings]) -> timedelta | None:
    """How long the runs of flows that share a place are kept: the longest retention among them; None for
    ever."""
    wanted = [journal.retention for journal in journals]
    if None in wanted or not wanted:
        return None
    return timedelta(seconds=max(seconds for seconds in wanted if seconds is not None))


def compact_journals(
    project: Project, entities: Sequence[Entity], *, retention: timedelta | None = None
) -> Iterator[tuple[JournalPlace, Compaction]]:
    """Fold and retire at once, in each place where these entities are recorded and in its mirrors, instead of with
    the next load that has enough to fold. ``retention`` replaces that of the settings."""
    for place in places_of(project, entities).values():
        share = _Share(project.name, place)
        members = entities_at(project, place)
        for entity in members:
            share.add_mirror_of(entity)
        kept = retention or retention_of([project.flows[entity.flow].journal for entity in members])
        done = place.journal.compact(retention=kept, at_once=True)
        if done.retired:
            share.publish(f"compact-{uuid4()}")
        yield place, done


def _settle_share(project: Project, share: _Share, load_id: str, *, clears: bool) -> HyggeError | None:
    """Write what one place has to record, and with ``clears`` remove what the load has left there. Returns what kept it
    from being written."""
    place = share.place
    steps: list[Callable[[], object]] = [
        lambda: place.journal.append(load_id, share.rows),
        lambda: share.publish(load_id),
        lambda: share.compact(project, load_id),
    ]
    if clears:
        steps.append(lambda: place.progress.clear(load_id))
    for step in steps:
        try:
            step()
        except HyggeError as error:
            # What follows builds on what failed: it waits for the next attempt, or for the next load.
            _log.warning("Load %s, journal in %s: %s", load_id, place.address, error)
            return error
    return None


def _clear(shares: Sequence[_Share], load_id: str) -> None:
    """Remove what a large load has left, once no place needs its results any more."""
    for share in shares:
        try:
            share.place.progress.clear(load_id)
        except HyggeError as error:
            _log.warning("What is left of load %s stays until it is swept: %s", load_id, error)


def settled_before(project: Project, input_: SettleTask) -> Settled | None:
    """What `settle` returned for a large load that has been recorded everywhere; None where it has not been."""
    places = places_of(project, entities_of(project, input_["request"].get("flows", []))).values()
    rows = [count for place in places if (count := place.journal.read(input_["summary"]["load_id"]).height)]
    return {"status": "settled", "rows": sum(rows), "places": len(rows)} if rows else None


def _shares(project: Project, input_: SettleTask, errors: list[HyggeError]) -> list[_Share]:
    """What each place has to record; places that cannot be found go to ``errors``."""
    summary, request = input_["summary"], input_["request"]
    shares: dict[str, _Share] = {}
    if silent := input_.get("silent_journals", []):
        errors.append(
            LakeUnavailable(f"The journal of {', '.join(silent)} does not respond: it has no row of this load.")
        )
    for result in input_["results"]:
        if f"{result['flow']}.{result['entity']}" in silent:
            continue
        entity = _entity_for(project, result["flow"], result["entity"])
        if share := _share_of(project, entity, shares, errors):
            share.rows.append(_entity_row(project, summary, result))
    if not input_["results"] and summary["status"] in ("skip", "fail", "cancel"):
        # No entity speaks for the load: it was skipped, or it has no plan.
        for entity in entities_of(project, request.get("flows", [])):
            if share := _share_of(project, entity, shares, errors):
                share.rows = [_load_row(project, summary, request)]
    return list(shares.values())


def _share_of(project: Project, entity: Entity, shares: dict[str, _Share], errors: list[HyggeError]) -> _Share | None:
    try:
        place = place_of(project, entity)
    except HyggeError as error:
        errors.append(error)
        return None
    share = shares.setdefault(place.key, _Share(project.name, place))
    share.add_mirror_of(entity)
    return share


def _entity_for(project: Project, flow: str, entity: str) -> Entity:
    """An entity of a load; if a deployment has removed it meanwhile, a neighbour that lands in the same place."""
    known = project.flows[flow].entities if flow in project.flows else {}
    return known[entity] if entity in known else entities_of(project, [flow])[0]


def _entity_row(project: Project, summary: Summary, result: EntityPayload) -> EntityRunRow:
    known: dict[str, Any] = {name: value for name, value in result.items() if name in _RESULT_FIELDS}
    return entity_run_row(
        SliceResult(**known),
        entity_run_id=result["entity_run_id"],
        coordinator_run_id=summary["load_id"],
        flow_run_id=flow_run_id(summary["load_id"], result["flow"]),
        coordinator=project.name,
        flow=result["flow"],
        entity=result["entity"],
        run_type=result["run_type"],
        attempts=result["attempts"],
        requested_by=summary["requested_by"],
        principal=summary.get("principal", ""),
        started=summary["started"],
        finished=summary["finished"],
    )


def _load_row(project: Project, summary: Summary, request: Mapping[str, Any]) -> EntityRunRow:
    return load_row(
        summary["status"],
        coordinator_run_id=summary["load_id"],
        coordinator=project.name,
        at=datetime.fromisoformat(summary["started"]),
        message=summary["message"],
        error=summary["error"],
        run_type=request.get("run_type") or "",
        requested_by=summary["requested_by"],
        principal=summary.get("principal", ""),
    )
