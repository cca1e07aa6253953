"""Whether a load that has begun and not ended can continue: tried by reading what it would read next, changing
nothing."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import HyggeError, LandingBroken, SourceChanged
from hygge_engine.expectations.rules import rules_of
from hygge_engine.flow.claims import author_of
from hygge_engine.flow.continuing import landed_table, must_begin_again
from hygge_engine.flow.factory import open_home, open_table
from hygge_engine.flow.planner import keys_of, look_at_place, window_of
from hygge_engine.flow.reach import check_kept, missed
from hygge_engine.flow.versions import polish_for
from hygge_engine.homes.base import Home, ReadWindow
from hygge_engine.polish.polish import LoadStamp, Polish
from hygge_engine.stores.base import Destination
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.folder_table import FolderTable
from hygge_engine.stores.landing.process import has_ended
from hygge_engine.stores.landing.settled import check_finishable, check_format, check_place
from hygge_engine.stores.landing.state import LandingState, OpenLoad, expired
from hygge_engine.stores.landing.transitions import taken_over

if TYPE_CHECKING:
    from hygge_engine.project import Entity, Project


def is_at_work(state: LandingState) -> bool:
    """Whether a load owns the table, by the clock of this machine."""
    owner = state.owner
    return owner is not None and not expired(owner, datetime.now(UTC)) and not has_ended(owner.process)


def has_moved_on(project: Project, entity: Entity, state: LandingState) -> bool:
    """Whether the landing state has changed since it was read, so that a fault found meanwhile says nothing about the
    table. False where it cannot be read any more."""
    try:
        return (open_table(project, entity).state() or LandingState()) != state
    except HyggeError:
        return False


def check_settled(destination: Destination[Any], state: LandingState) -> None:
    """Raise LandingBroken where rows have landed, or those of the open load are about to, in another place or kind of
    files than the settings say, so that an increment would be refused."""
    place, file_format = settled_in(destination)
    check_finishable(state, place, file_format)
    state = taken_over(state, reloads=False)
    check_finishable(state, place, file_format)
    check_place(state, place)
    if state.open is None or not (state.open.mode == "reload" and state.open.has_landed):
        check_format(state, place, file_format, reload=False)


def try_to_go_on(project: Project, entity: Entity, state: LandingState) -> None:
    """Do what the next load would do first with the open load of a table, as far as that changes nothing.

    Raises the HyggeError that the next load would fail with.
    """
    opened = state.open
    if opened is None:
        return
    destination = open_table(project, entity)
    check_finishable(state, *settled_in(destination))
    _check_intent(destination, opened)
    if opened.compares or (opened.mode == "reload" and opened.phase != "staging"):
        return  # another load drops it; it has been read to its end
    with open_home(project, entity) as home:
        if _begins_anew(home, entity, state, opened):
            return
        polish = polish_for(home.describe(), entity)
        if not check_fit(project, entity, destination, state, polish):
            return
        names = [column.name for column in landed_table(polish, state).columns]
        stamp = LoadStamp(opened.load_id, datetime.fromisoformat(opened.started))
        with closing(home.read(window_of(opened, state, polish), opened.position)) as batches:
            batch = next(batches, None)
            if batch is not None:
                polish.apply(batch.rows, stamp).select(names)


def check_fit(
    project: Project, entity: Entity, destination: Destination[Any], state: LandingState, polish: Polish
) -> bool:
    """Whether the open load of a table would continue with the source and the settings as they are, by what the next
    load checks first; False where it would begin again. Reads no row. Raises the HyggeError that the next load would
    fail with."""
    opened = state.open
    if opened is None:
        return True
    keys = keys_of(destination, entity, polish, opened.mode)
    rules_of(entity.expectations, polish, keys)
    try:
        return not must_begin_again(entity, polish, keys, author_of(project, entity), state)
    except SourceChanged:
        if opened.mode != "reload" and not (destination.merges and state.key_columns):
            raise
        return False  # rows that are read again replace themselves


def try_to_reload(project: Project, entity: Entity, state: LandingState) -> None:
    """Do what a `full_drop` of a table would do first, as far as that changes nothing.

    Raises the HyggeError that it would fail with.
    """
    destination = open_table(project, entity)
    with open_home(project, entity) as home:
        polish = polish_for(home.describe(), entity)
        keys = keys_of(destination, entity, polish, "reload")
        rules_of(entity.expectations, polish, keys)
        look_at_place(destination, state, polish, [column.name for column in polish.table.columns], "reload")
        stamp = LoadStamp("", datetime.now(UTC))
        with closing(home.read(ReadWindow(identified_by=polish.sources_of(keys)))) as batches:
            batch = next(batches, None)
            if batch is not None:
                polish.apply(batch.rows, stamp)


def _begins_anew(home: Home, entity: Entity, state: LandingState, opened: OpenLoad) -> bool:
    """Whether an open load reads changes of which the source has discarded some, and a reload takes its place. Raises
    ChangesExpired where the settings want none."""
    settings = entity.watermark
    if settings is None or not settings.lists_changes or opened.mode != "changes" or opened.lower is None:
        return False
    gap = missed(home.describe().name, home.high_water(settings.cursor), state)
    return gap is not None and bool(check_kept(gap.text, settings))


def settled_in(destination: Destination[Any]) -> tuple[str, str]:
    """Where rows land by the settings, and in what kind of files, as a lease has it; empty where it is not known."""
    if isinstance(destination, FolderTable):
        return destination.places.folder, destination.format
    return destination.table_name if isinstance(destination, DatabaseTable) else "", ""


def _check_intent(destination: Destination[Any], opened: OpenLoad) -> None:
    """Whether what was to be published can be."""
    if not isinstance(destination, FolderTable):
        return
    for file in opened.intent:
        if destination.lake.info(file.staged) is None:
            continue  # published already
        if destination.lake.info(file.final) is not None:
            raise LandingBroken(
                f"{file.final} exists already, and not by this engine: another publisher writes to the table",
                hint="Stop the other publisher, then reload the table with run_type full_drop.",
            )
