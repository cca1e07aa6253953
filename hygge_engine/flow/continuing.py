"""Whether a load that has begun and not ended can continue with the source and the settings as they are now."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hygge_engine.errors import LandingBroken, SchemaChanged, SourceChanged
from hygge_engine.flow.drift import RELOAD_HINT, compare
from hygge_engine.homes.base import SourceSchema
from hygge_engine.hosts import identity_of
from hygge_engine.letter_case import columns_meant
from hygge_engine.polish.polish import Polish
from hygge_engine.stores.landing.state import Author, LandingState

if TYPE_CHECKING:
    from hygge_engine.project import Entity

_POLISH_CHANGED = "polish changed while a load was under way, and the rest of its rows would land differently"
_RESTORE_HINT = f"Restore it until that load has ended. {RELOAD_HINT}"

_DIGEST_BYTES = 8


def must_begin_again(
    entity: Entity,
    polish: Polish,
    keys: tuple[str, ...],
    author: Author | None,
    state: LandingState,
    *,
    is_backfill: bool = False,
) -> bool:
    """Whether the open load of a table must be discarded, so that the next one begins with the source as it is now.

    ``keys`` and ``author`` are what a load that begins now would have; ``is_backfill``: it loads a window again. Raises
    SchemaChanged where rows have landed that the rest would not fit, LandingBroken where they come from another source,
    and SourceChanged where reading cannot continue from where it stopped.
    """
    opened, source = state.open, polish.source
    if opened is None:
        return False
    columns = {column.name: str(column.type) for column in polish.table.columns}
    drift = compare(state, columns, entity.schema_changes, polish.treatments)
    repolished = opened.polish not in ("", polish_digest(entity), _earlier_polish_digest(entity))
    order = reading_order(source, opened.upper.column if opened.upper else "")
    is_begun = opened.position is not None or opened.is_read_in_ranges
    is_other_order = is_begun and opened.order not in ((), order)
    moved = _moved(state.author, author, source)
    is_other = is_other_order or bool(moved) or keys != state.key_columns
    if not opened.has_landed or not state.has_history:
        treatments = {name: text for name, text in polish.treatments.items() if name in state.columns}
        return is_other or repolished or drift.columns != state.columns or treatments != state.treatments
    if moved:
        raise LandingBroken(f"{source.name}: {moved}, while a load was under way", hint=_RESTORE_HINT)
    if not (drift.refused or drift.rebuilds or is_other or repolished):
        return False
    if not drift.rebuilds and (state.treatments or not polish.is_plain):
        landed_table(polish, state)  # says that polish has changed, where it has
    check_key(state, keys)
    if drift.refused or (drift.rebuilds and is_backfill):
        raise SchemaChanged(drift.message, hint=RELOAD_HINT)
    if repolished and not drift.rebuilds:
        raise SchemaChanged(_POLISH_CHANGED, hint=_RESTORE_HINT)
    if not drift.rebuilds:
        raise SourceChanged(
            f"{source.name} was read by ({', '.join(opened.order)}) and would be read by ({', '.join(order)}) now, so "
            "that reading cannot continue from where it stopped.",
            hint=RELOAD_HINT,
        )
    return True


def _moved(before: Author | None, now: Author | None, source: SourceSchema) -> str:
    """How the rows come from elsewhere than when the open load began, as a clause; empty where they do not."""
    if before is None or now is None:
        return ""
    for was, is_ in ((before.source, now.source), (before.base, source.stands_for)):
        if was and is_ and identity_of(was) != identity_of(is_):
            return f"its rows came from {was} so far, and come from {is_} now"
    return ""


def reading_order(source: SourceSchema, cursor: str) -> tuple[str, ...]:
    """What a position in the source, and a window by a column of it, rest on: the key's columns, and the cursor where
    its texts are bounds, with their types and orders. Empty where it is something else."""
    if source.resumes_without_key:
        return ()
    known = {column.name: column for column in source.columns}
    ordered = [known[name] for name in source.key]
    ordered += [bound for bound in columns_meant(cursor, source.columns) if bound.order and bound not in ordered]
    return tuple(" ".join(filter(None, (column.name, column.source_type, column.order))) for column in ordered)


def landed_table(polish: Polish, state: LandingState) -> SourceSchema:
    """The polished source with those columns only that the state's open load lands: others were left out, or have come
    since. Raises SchemaChanged where it was begun with another polish."""
    table, columns = polish.table, state.columns
    names = {column.name for column in table.columns}
    needed = state.key_columns if polish.is_plain else tuple(columns)
    landed = {name: text for name, text in polish.treatments.items() if name in columns}
    if not names.issuperset(needed) or state.treatments != landed:
        raise SchemaChanged(_POLISH_CHANGED, hint=_RESTORE_HINT)
    return replace(table, columns=tuple(column for column in table.columns if column.name in columns))


def made_for(entity: Entity, file_format: str) -> str:
    """What identifies the settings that all ranges of a load have to be read by, beside polish: what is expected of
    their rows, and the kind of files."""
    expected = entity.expectations.model_dump_json(exclude_defaults=True) if entity.expectations is not None else ""
    return _digest(f"{file_format} {expected}")


def polish_digest(entity: Entity) -> str:
    """What identifies the polish of an entity: its settings, without those that are left at their defaults, so that a
    version with further ones finds the same."""
    return _digest(entity.polish.model_dump_json(exclude_defaults=True) if entity.polish is not None else "")


def _earlier_polish_digest(entity: Entity) -> str:
    """The same as earlier versions have recorded it: of all settings."""
    return _digest(entity.polish.model_dump_json() if entity.polish is not None else "")


def _digest(settings: str) -> str:
    return hashlib.blake2b(settings.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def check_key(state: LandingState, keys: Sequence[str], *, hint: str = RELOAD_HINT) -> None:
    """Raise SchemaChanged before the first row is read where the destination could not take it."""
    if state.has_history and state.key_columns != tuple(keys):
        raise SchemaChanged(
            f"the key changed from ({', '.join(state.key_columns)}) to ({', '.join(keys)}); "
            "a landed table's key cannot change.",
            hint=hint,
        )
