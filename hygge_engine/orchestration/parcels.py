"""What a large load keeps out of its history, where no payload may be larger than a mebibyte: names and results.

Its plan travels without names: the board has them. Results of entities that have ended are written beside the board in
parcels, which settling reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from hygge_engine.orchestration.payloads import PackedPlan, PlannedEntity

# Bytes of results, as JSON, that are carried on before they are written down as a parcel.
PARCEL_BYTES = 128 * 1024

# Bytes of a plan, as JSON, with which a load may do without a board.
PLAN_LIMIT_BYTES = 900 * 1024

_NAMES = ("flow", "entity", "entity_run_id")


def size_of(value: Any) -> int:
    """How many bytes a payload has at most."""
    return len(json.dumps(value))


def packed(entities: Sequence[PlannedEntity]) -> PackedPlan:
    """Entities without their names, those that are alike in all else together."""
    kinds: list[dict[str, Any]] = []
    places: list[int] = []
    for entity in entities:
        kind = {key: value for key, value in entity.items() if key not in _NAMES}
        if kind not in kinds:
            kinds.append(kind)
        places.append(kinds.index(kind))
    return {"kinds": kinds, "kind_of": places, "ids": [entity["entity_run_id"] for entity in entities]}


def planned_in(plan: Mapping[str, Any]) -> list[PlannedEntity]:
    """The entities of a plan, in order; those of one that is packed have no ``flow`` and no ``entity``."""
    if "packed" not in plan:
        return list(plan.get("entities", []))
    pack: PackedPlan = plan["packed"]
    found = zip(pack["ids"], pack["kind_of"], strict=True)
    return [cast("PlannedEntity", {"entity_run_id": id_, **pack["kinds"][kind]}) for id_, kind in found]
