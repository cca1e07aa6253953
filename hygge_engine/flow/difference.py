"""Whether a reload can land what differs, or has to drop what has landed (docs/reloads.md)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hygge_engine.errors import ConfigurationError
from hygge_engine.flow.continuing import polish_digest
from hygge_engine.flow.digests import COMPARED_ROWS, Digests, is_of_other_hashes, is_of_other_keys, undigested
from hygge_engine.polish.polish import Polish
from hygge_engine.stores.base import Destination
from hygge_engine.stores.landing.state import LandingState

if TYPE_CHECKING:
    from hygge_engine.project import Entity


def digests_of(entity: Entity, polish: Polish, landed: pa.Schema, keys: Sequence[str]) -> Digests:
    """What makes digests of an entity's rows as they land, in the columns of ``landed``."""
    stamped = {each.column.name for each in polish.columns if each.stamp}
    treatments = sorted(polish.treatments.items())
    treatment = json.dumps([polish_digest(entity), treatments])
    key = [name for name in keys if name not in stamped]
    return Digests(landed, key, stamped, treatment, json.dumps([each for each in treatments if each[0] in key]))


def check_versions(destination: Destination[Any], polish: Polish, keys: Sequence[str]) -> None:
    """Raise ConfigurationError where versions of rows cannot be told from those that have landed."""
    why, rows = cannot_compare(destination, polish, keys), polish.source.approximate_rows or 0
    if not why and rows > COMPARED_ROWS:
        why = f"the table has about {rows:,} rows, and {COMPARED_ROWS:,} are compared at most"
    if why:
        raise ConfigurationError(
            f"{polish.source.name}: no history of its rows can be kept: {why}",
            hint="Set `history: none` for this entity. Fabric's change data feed is another way.",
        )


def cannot_compare(destination: Destination[Any], polish: Polish, keys: Sequence[str]) -> str:
    """Why digests of a table are of no use, as a clause; empty where they are."""
    if not keys:
        return "the table has no key"
    if not (destination.merges and destination.keeps_digests):
        return "its store does not replace rows by their key"
    if polish.source.resumes_without_key:
        return "its source may hold several versions of a row"
    if unknown := undigested(polish.table.schema):
        return f"values of the column {unknown} cannot be compared"
    for column in polish.table.schema:
        if column.name in keys and _is_equated(column.type, texts=destination.equates_texts):
            return f"its store may take different values of the key's column {column.name} ({column.type}) for one"
    return ""


def cannot_compare_keys(destination: Destination[Any], polish: Polish, keys: Sequence[str]) -> str:
    """Why the keys of a table cannot be compared with its source's, as a clause; empty where they can."""
    if why := cannot_compare(destination, polish, keys):
        return why
    for each in polish.columns:
        if each.column.name not in keys or each.column.name == polish.version:
            continue
        if not each.source or each.treatment.startswith("hash"):
            return f"the source cannot be asked for values of {each.column.name}, which polish makes"
    return ""


def _is_equated(type_: pa.DataType, *, texts: bool) -> bool:
    """Whether a store may take keys for one whose digests differ: 0.0 and -0.0, or ``texts`` by its collation. A delete
    of the one that is gone would then remove the row of the other. Of types that have a digest."""
    kinds = pa.types
    if texts and (kinds.is_string(type_) or kinds.is_large_string(type_)):
        return True
    if texts and (kinds.is_binary(type_) or kinds.is_large_binary(type_)):
        return True
    return kinds.is_floating(type_)


def outlook(
    entity: Entity,
    destination: Destination[Any],
    polish: Polish,
    state: LandingState,
    keys: Sequence[str],
    *,
    keys_alone: bool = False,
) -> str:
    """Why the next ``full_drop`` of an entity that is reloaded by difference will drop a table that has rows, as a
    clause; empty where it will land what differs, as far as the landing state shows. With ``keys_alone``: why its keys
    will not be compared, also where it has no rows yet."""
    if why := (cannot_compare_keys if keys_alone else cannot_compare)(destination, polish, keys):
        return why
    if keys_alone and not state.has_history:
        return ""
    digests = digests_of(entity, polish, polish.table.schema, keys)
    return why_not_compared(state, digests, state.place_of_rows or "", keys_alone=keys_alone)


def advice(entity: Entity, destination: Destination[Any], polish: Polish, keys: Sequence[str]) -> str:
    """What is to be said for ``reload: difference`` of an entity whose reloads drop its table; empty where readers do
    not miss the table, or it would be dropped all the same."""
    if entity.reload == "difference" or entity.history_of or not destination.is_missed_when_dropped:
        return ""
    rows = polish.source.approximate_rows
    if cannot_compare(destination, polish, keys) or (rows is not None and rows > COMPARED_ROWS):
        return ""
    return "a reload drops the table, and readers miss it until the new one is there; reload: difference never does"


def why_not_compared(state: LandingState, digests: Digests, place: str, *, keys_alone: bool = False) -> str:
    """Why a reload of a table that has rows has to drop them, as a clause; empty where it can land what differs.

    ``place`` is where its rows would land. With ``keys_alone``: why keys cannot be compared with what has landed.
    """
    snapshot = state.true_snapshot
    if state.place_of_rows != place:
        return "its rows have landed in another place"
    if state.handed_over_at:
        return "the table was handed over"
    if why := why_not_known(state, digests, keys_alone=keys_alone):
        return why
    if snapshot is not None and snapshot.entries > COMPARED_ROWS:
        return f"the table has more than {COMPARED_ROWS:,} rows"
    return ""


def why_not_known(state: LandingState, digests: Digests, *, keys_alone: bool = False) -> str:
    """Why it is unknown which rows, or keys, have landed, as a clause; empty where it is known."""
    snapshot = state.true_snapshot
    if snapshot is None:
        return "what has landed was not remembered"
    if is_of_other_hashes(snapshot, digests):
        return "what has landed was remembered by another version of hygge-engine"
    if keys_alone and is_of_other_keys(snapshot, digests):
        return "the key or its polish is not that of what has landed"
    if not keys_alone and snapshot.made_of != digests.made_of:
        return "columns, key or polish are not those of what has landed"
    return ""
