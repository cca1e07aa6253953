"""OpenLineage run events (specification 2-0-2) as mappings, ready for JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid5

from hygge_engine import __version__
from hygge_engine.masking import mask_places
from hygge_engine.telemetry.lineage.datasets import Dataset

EventType = Literal["START", "COMPLETE", "FAIL", "ABORT"]

PRODUCER = f"pkg:generic/hygge-engine@{__version__}"

_SPEC = "https://openlineage.io/spec"
_RUN_EVENT = f"{_SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"

# Loads are named by instance ids that are not always UUIDs, which OpenLineage wants.
_LOADS = UUID("0d8e4a1c-3b52-4c5e-9f53-0c6f6a1b7d21")


@dataclass(frozen=True)
class Job:
    """One entity run as its events name it, and what it reads and writes."""

    namespace: str
    flow: str
    entity: str
    entity_run_id: str
    load_id: str
    source: Dataset
    destination: Dataset


class Landed(NamedTuple):
    """What an entity run has landed."""

    rows: int
    bytes: int
    files: int


def run_event(
    kind: EventType, time: datetime, job: Job, landed: Landed | None = None, error: str = ""
) -> dict[str, Any]:
    """One event of one entity run. ``landed`` is None where it is not known yet; ``error`` is a message that may be
    shown."""
    parent = {"run": {"runId": load_run_id(job.load_id)}, "job": {"namespace": job.namespace, "name": job.flow}}
    facets: dict[str, Any] = {"parent": _facet("1-2-0/ParentRunFacet", parent), "processing_engine": _ENGINE}
    if error:
        text = {"message": mask_places(error), "programmingLanguage": "python"}
        facets["errorMessage"] = _facet("1-0-1/ErrorMessageRunFacet", text)
    written: dict[str, Any] = {}
    if landed is not None:
        counts = {"rowCount": landed.rows, "size": landed.bytes, "fileCount": landed.files}
        written["outputStatistics"] = _facet("1-0-2/OutputStatisticsOutputDatasetFacet", counts)
    output = _dataset(job.destination) | ({"outputFacets": written} if written else {})
    job_type = {"processingType": "BATCH", "integration": "HYGGE", "jobType": "JOB"}
    return {
        "eventType": kind,
        "eventTime": time.isoformat(),
        "producer": PRODUCER,
        "schemaURL": _RUN_EVENT,
        "run": {"runId": job.entity_run_id, "facets": facets},
        "job": {
            "namespace": job.namespace,
            "name": f"{job.flow}.{job.entity}",
            "facets": {"jobType": _facet("2-0-4/JobTypeJobFacet", job_type)},
        },
        "inputs": [_dataset(job.source)],
        "outputs": [output],
    }


def load_run_id(load_id: str) -> str:
    """The run of a load as a whole, which its entity runs name as their parent."""
    try:
        return str(UUID(load_id))
    except ValueError:
        return str(uuid5(_LOADS, load_id))


def _dataset(dataset: Dataset) -> dict[str, Any]:
    described: dict[str, Any] = {"namespace": dataset.namespace, "name": dataset.name}
    if dataset.columns:
        columns = [{"name": name, "type": kind} for name, kind in dataset.columns.items()]
        described["facets"] = {"schema": _facet("1-2-0/SchemaDatasetFacet", {"fields": columns})}
    return described


def _facet(schema: str, content: Mapping[str, Any]) -> dict[str, Any]:
    version, name = schema.split("/")
    return {"_producer": PRODUCER, "_schemaURL": f"{_SPEC}/facets/{version}/{name}.json#/$defs/{name}", **content}


_ENGINE = _facet("1-1-1/ProcessingEngineRunFacet", {"name": "hygge-engine", "version": __version__})
