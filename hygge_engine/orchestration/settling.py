"""The end of a load: what it did is written down wherever its tables are, once, however often this is tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import HyggeError
from hygge_engine.flow.slices import SliceResult
from hygge_engine.journal import EntityRunRow, entity_run_row, load_row
from hygge_engine.journal.rows import RunStatus
from hygge_engine.orchestration.activities import flow_run_id
from hygge_engine.orchestration.places import Place, entities_of, place_of, places_of
from hygge_engine.retry import backoff_seconds

if TYPE_CHECKING:
    from hygge_engine.project.models import Project

_log = logging.getLogger(__name__)

# Progress files of a load that never settled are removed after this time: longer than any load runs.
FORGOTTEN_AFTER = timedelta(days=7)

_ANSWER_FIELDS = frozenset(field.name for field in fields(SliceResult))


def settle(project: Project, input_: Mapping[str, Any]) -> dict[str, Any]:
    """Write the journal rows of a load, then what follows from them.

    Input: ``summary`` (`summary.summarize`), ``request``, ``results`` (the entities' last answers with their names) and
    ``attempt``. Nothing here depends on the time of the call, so that a second call writes the same rows. Answers
    ``settled`` with the number of rows and places, or ``failed`` with everything that went wrong; a failure in one
    place does not keep the others from being written.
    """
    summary = input_["summary"]
    load_id = summary["load_id"]
    errors: list[HyggeError] = []
    rows = _rows_by_place(project, input_, errors)
    for place, own in rows.values():
        _settle_place(place, load_id, own, errors)
    if not errors:
        return {"status": "settled", "rows": sum(len(own) for _, own in rows.values()), "places": len(rows)}
    transient = [error for error in errors if error.transient]
    longest = max((error.retry_after_seconds or 0.0 for error in transient), default=0.0)
    return {
        "status": "failed",
        "error": errors[0].code,
        "message": " ".join(dict.fromkeys(str(error) for error in errors)),
        "transient": bool(transient),
        "retry_after_seconds": backoff_seconds(int(input_.get("attempt", 1)), longest) if transient else None,
    }


def _settle_place(place: Place, load_id: str, rows: Sequence[EntityRunRow], errors: list[HyggeError]) -> None:
    steps: list[Callable[[], object]] = [
        lambda: place.journal.append(load_id, rows),
        lambda: place.journal.fold(),
        lambda: place.progress.clear(load_id),
        lambda: place.progress.sweep(FORGOTTEN_AFTER),
    ]
    for step in steps:
        try:
            step()
        except HyggeError as error:
            _log.warning("Load %s, journal in %s: %s", load_id, place.key, error)
            errors.append(error)


def _rows_by_place(
    project: Project, input_: Mapping[str, Any], errors: list[HyggeError]
) -> dict[str, tuple[Place, list[EntityRunRow]]]:
    """The rows to write, by the key of their place."""
    summary, request = input_["summary"], input_["request"]
    found: dict[str, tuple[Place, list[EntityRunRow]]] = {}
    for answer in input_["results"]:
        try:
            place = _place_for(project, answer["flow"], answer["entity"])
        except HyggeError as error:
            errors.append(error)
            continue
        found.setdefault(place.key, (place, []))[1].append(_entity_row(project, summary, answer))
    if not input_["results"] and summary["status"] in ("skip", "fail"):
        # No entity speaks for the load: it was skipped, or its plan failed.
        row = _load_row(project, summary, request)
        try:
            places = places_of(entities_of(project, request.get("flows", [])))
        except HyggeError as error:
            errors.append(error)
            places = {}
        found = {key: (place, [row]) for key, place in places.items()}
    return found


def _place_for(project: Project, flow: str, entity: str) -> Place:
    """The place of an entity; if a deployment has removed it meanwhile, that of its flow's neighbours."""
    known = project.flows[flow].entities if flow in project.flows else {}
    return place_of(known[entity] if entity in known else entities_of(project, [flow])[0])


def _entity_row(project: Project, summary: Mapping[str, Any], answer: Mapping[str, Any]) -> EntityRunRow:
    result = SliceResult(**{name: value for name, value in answer.items() if name in _ANSWER_FIELDS})
    return entity_run_row(
        result,
        entity_run_id=answer["entity_run_id"],
        coordinator_run_id=summary["load_id"],
        flow_run_id=flow_run_id(summary["load_id"], answer["flow"]),
        coordinator=project.name,
        flow=answer["flow"],
        entity=answer["entity"],
        run_type=answer["run_type"],
        attempts=answer["attempts"],
        requested_by=summary["requested_by"],
        started=summary["started"],
        finished=summary["finished"],
    )


def _load_row(project: Project, summary: Mapping[str, Any], request: Mapping[str, Any]) -> EntityRunRow:
    status: RunStatus = "skip" if summary["status"] == "skip" else "fail"
    return load_row(
        status,
        coordinator_run_id=summary["load_id"],
        coordinator=project.name,
        at=datetime.fromisoformat(summary["started"]),
        message=summary["message"],
        error=summary["error"],
        run_type=request.get("run_type") or "",
        requested_by=summary["requested_by"],
    )
