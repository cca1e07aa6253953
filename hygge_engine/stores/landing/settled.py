"""The settings that landed rows, and an open load, are bound to: the table's place, and its kind of files.

Nothing that was begun under other settings becomes visible by these: it would be renamed into a folder, or entered in a
log, that means something else.
"""

from __future__ import annotations

from collections.abc import Iterable

from hygge_engine.errors import LandingBroken
from hygge_engine.stores.landing.state import LandingState, OpenLoad, StagedFile, extension_of

# What every hint says that leads to a reload; it begins in the middle of a sentence.
RELOAD = "reload the table with run_type full_drop: what has landed is then replaced by what the source has now."

# The kind of files that others can share no folder with: what a log does not name is not in the table.
DELTA = "delta"


def began_elsewhere(state: LandingState, place: str) -> bool:
    """Whether the open load began when the settings named another place."""
    return state.open is not None and state.place not in ("", place)


def other_format(opened: OpenLoad, file_format: str) -> str:
    """The kind of files that an open load was begun in, where it is another than the settings'; else empty."""
    if not file_format:
        return ""
    if opened.file_format not in ("", file_format):
        return opened.file_format
    return next(iter(sorted(_extensions(opened) - {extension_of(file_format)})), "")


def check_finishable(state: LandingState, place: str, file_format: str) -> None:
    """Raise LandingBroken where the open load has rows that are visible, or about to become so, or has read all that it
    lands, and was begun in another kind of files, or its intent in another place."""
    opened = state.open
    if opened is None or not (opened.has_landed or opened.intent):
        return
    began = f"a load that began at {opened.started} and has not ended"
    if opened.intent and place and state.landed_in not in (None, "", place):
        raise LandingBroken(
            f"{began} is landing rows in {state.landed_in}, the settings now say {place}",
            hint="Restore the setting until that load has ended, or load the new table with run_type full_drop; the "
            "old one stays as it is.",
        )
    if not began_elsewhere(state, place) and (other := other_format(opened, file_format)):
        restore = f"Restore format: {other} until that load has ended, or"
        if len(_extensions(opened)) > 1:  # an earlier version has gone on in another format
            restore = "No format can finish it:"
        raise LandingBroken(
            f"{began} lands {other} files in {place}, the settings now say {file_format}",
            hint=f"{restore} {_replacing(other, file_format)}",
        )


def check_place(state: LandingState, place: str) -> None:
    """Raise LandingBroken where rows have landed in another place than the settings say."""
    if place and state.place_of_rows not in (None, "", place):
        raise LandingBroken(
            f"rows have landed in {state.place_of_rows} so far, the settings now say {place}",
            hint="Restore the setting, or load the new table with run_type full_drop; the old one stays as it is.",
        )


def check_format(state: LandingState, place: str, file_format: str, *, reload: bool) -> None:
    """Raise LandingBroken where rows of a new load would land among files of another kind, or a Delta table and other
    files would share a folder."""
    landed = state.file_format
    if landed in ("", file_format) or not state.owns(place):
        return
    apart = DELTA in (landed, file_format)
    if not apart and (reload or not state.has_history):
        return
    raise LandingBroken(
        f"{place} has been landed as {landed}, the settings now say {file_format}",
        hint=f"Restore format: {landed}, or {_replacing(landed, file_format)}",
    )


def _replacing(landed: str, file_format: str) -> str:
    """How rows land in another kind of files, as a clause."""
    if DELTA in (landed, file_format):
        return (
            "name another table_name and load it with run_type full_drop: a Delta table and other files share no "
            "folder. The old table stays as it is."
        )
    return RELOAD


def _extensions(opened: OpenLoad) -> set[str]:
    files: Iterable[StagedFile] = (*opened.staged, *opened.intent)
    return {file.extension for file in files}
