"""What became of a source's columns since they were landed, and what the settings make of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hygge_engine.stores.landing.state import LandingState

if TYPE_CHECKING:
    from hygge_engine.project.models.project import SchemaChangesSettings

RELOAD_HINT = "Reload the table with run_type full_drop, which replaces what has landed by what the source has now."

HISTORY_HINT = (
    "Give the column another name (`rename` of polish): the history then has both. Or give the history up: "
    "`hygge adopt` of its entity, and a full_drop, which then begins it anew."
)


@dataclass(frozen=True)
class Drift:
    """``columns`` are those to be landed, with their types; ``message`` says what changed and what follows, empty where
    nothing did. ``refused``: the settings want the load to stop; ``rebuilds``: they want the table to be reloaded."""

    columns: dict[str, str]
    message: str = ""
    refused: bool = False
    rebuilds: bool = False


def compare(
    state: LandingState,
    source: Mapping[str, str],
    policy: SchemaChangesSettings,
    treatments: Mapping[str, str] | None = None,
) -> Drift:
    """Compare the columns that have been landed with those that would land now, both as Arrow types by name.

    ``treatments`` say what polish does to their values: values that are masked otherwise than those that have landed
    are none of the same column.
    """
    before = {**state.removed_columns, **state.columns}
    retyped = [
        f"{name} was {before[name]}, is {type_}" for name, type_ in source.items() if before.get(name, type_) != type_
    ]
    treated = treatments or {}
    retyped += [
        f"{name} landed {_treated(state.treatments.get(name))}, would land {_treated(treated.get(name))}"
        for name in source
        if name in state.columns and state.treatments.get(name) != treated.get(name) and before[name] == source[name]
    ]
    if retyped:
        text = f"columns changed their type: {'; '.join(retyped)}"
        if policy.retyped == "rebuild":
            return Drift(dict(source), f"{text}; the table is reloaded", rebuilds=True)
        return Drift(dict(source), text, refused=True)
    added = [name for name in source if name not in state.columns]
    removed = [name for name in state.columns if name not in source]
    columns = dict(source)
    notes: list[str] = []
    refused = rebuilds = False
    if renamed := _renamed(state.columns, source, added, removed):
        notes.append(f"{renamed} (by place and type it looks renamed)")
    if added:
        names = ", ".join(added)
        refused |= policy.added == "fail"
        rebuilds = policy.added == "rebuild"
        notes.append(
            {
                "evolve": f"new columns: {names}; rows that landed before have NULL there, whatever the source has",
                "freeze": f"new columns left out: {names}",
                "rebuild": f"new columns: {names}; the table is reloaded",
            }.get(policy.added, f"the source has new columns: {names}")
        )
        if policy.added == "freeze":
            columns = {name: type_ for name, type_ in source.items() if name not in added}
    if removed:
        names = ", ".join(removed)
        refused |= policy.removed == "fail"
        notes.append(f"the source has no longer the columns {names}" + ("" if refused else ": NULL from now on"))
    return Drift(columns, "; ".join(notes), refused=refused, rebuilds=rebuilds and not refused)


def _treated(treatment: str | None) -> str:
    return f"by polish ({treatment})" if treatment else "as it is"


def _renamed(before: Mapping[str, str], source: Mapping[str, str], added: list[str], removed: list[str]) -> str:
    """``old → new`` where one column left and another of its type took its place in the order; else nothing."""
    if len(added) != 1 or len(removed) != 1:
        return ""
    (new,), (old,) = added, removed
    same_place = list(before).index(old) == list(source).index(new)
    return f"{old} → {new}" if same_place and before[old] == source[new] else ""
