"""Tables without news, as they travel from the plan to settling: packed, because there may be thousands of them."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hygge_engine.flow.slices import SliceResult
from hygge_engine.orchestration.identifiers import entity_run_id
from hygge_engine.orchestration.payloads import IdleTables

if TYPE_CHECKING:
    from hygge_engine.orchestration.payloads import EntityPayload, SummaryLine
    from hygge_engine.project.models.project import Entity

# What the journal and people are told of each.
NOTHING_NEW = "nothing new"

# The text that they travel as, several times in a load's history: a history's event may have 1 MiB. Some 10,000 tables.
MOST_CHARACTERS = 256 << 10

# What is kept of a result, in this order, after the entity's name.
_FACTS = ("primary_key", "watermark_column", "watermark_type", "watermark", "expectations")


def pack(found: Sequence[tuple[Entity, SliceResult]], started: str, finished: str) -> IdleTables | None:
    """As many of the tables as there is room for, first ones first; None where there are none. They were looked at from
    ``started`` to ``finished`` (ISO 8601, UTC)."""
    count = len(found)
    while count:
        packed = _packed(found[:count])
        if len(packed) <= MOST_CHARACTERS:
            return {"count": count, "started": started, "finished": finished, "packed": packed}
        count = min(count - 1, count * MOST_CHARACTERS // len(packed))
    return None


def names_of(idle: IdleTables) -> set[tuple[str, str]]:
    """Flow and name of each table."""
    return {(flow, entity) for flow, entity, _ in _unpacked(idle)}


def results_of(idle: IdleTables | None, load_id: str) -> Iterator[EntityPayload]:
    """What the load's tables without news have ended with."""
    for flow, entity, facts in _unpacked(idle) if idle else ():
        result = {
            "status": "done",
            "flow": flow,
            "entity": entity,
            "entity_run_id": entity_run_id(load_id, flow, entity),
            "run_type": "incremental",
            "attempts": 0,
            "message": NOTHING_NEW,
            "started": idle["started"] if idle else "",
            "finished": idle["finished"] if idle else "",
            **dict(zip(_FACTS, facts, strict=True)),
        }
        yield cast("EntityPayload", result)


def lines_of(summary: Mapping[str, Any]) -> Iterator[SummaryLine]:
    """The lines of a load's tables without news, by its output."""
    for flow, entity, _ in _unpacked(summary["idle"]) if summary.get("idle") else ():
        yield {"flow": flow, "entity": entity, "status": "success", "rows": 0, "message": NOTHING_NEW}


def _packed(found: Sequence[tuple[Entity, SliceResult]]) -> str:
    flows: dict[str, list[list[str]]] = {}
    for entity, result in found:
        flows.setdefault(entity.flow, []).append([entity.name, *(getattr(result, name) for name in _FACTS)])
    return base64.b64encode(zlib.compress(json.dumps(flows).encode(), zlib.Z_BEST_COMPRESSION)).decode()


def _unpacked(idle: IdleTables) -> Iterator[tuple[str, str, list[str]]]:
    for flow, tables in json.loads(zlib.decompress(base64.b64decode(idle["packed"]))).items():
        for entity, *facts in tables:
            yield flow, entity, facts
