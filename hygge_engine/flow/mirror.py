"""The mirrored `__hygge` tables: journal, loads and schema manifest, published beside the tables they speak of.

Each is landed like any other table, by the landing protocol, as the difference between the canonical snapshot and what
was published last; the position in the journal commits together with the rows, as the table's watermark.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hygge_engine.errors import HyggeError, LakeError, LandingBusy, LandingFenced, NotOurs, StoreError
from hygge_engine.hosts import identity_of
from hygge_engine.journal.changes import Changes
from hygge_engine.journal.journal import Journal
from hygge_engine.journal.manifest import Manifest
from hygge_engine.lake import opening as lakes
from hygge_engine.stores.base import RowWriter
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.state import Author, LandingState, Mode, OpenLoad, StagedFile
from hygge_engine.stores.open_mirroring.layout import layout_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable
from hygge_engine.watermark import Watermark

if TYPE_CHECKING:
    from hygge_engine.lake.base import Lake

_log = logging.getLogger(__name__)

# Two loads that end at once take turns; publishing a table takes a second, so half a minute is plenty.
TURN_SECONDS = 30.0
TURN_POLL_SECONDS = 1.0

# What the journal beside the mirrored tables is called in their landing states.
_OWN_JOURNAL = "its own item"

# The name under which a telemetry table's position is kept in its landing state.
POSITION = "published"


@dataclass(frozen=True)
class TelemetryTable:
    """One mirrored table about the loads themselves."""

    name: str
    keys: tuple[str, ...]
    changes_since: Callable[[Mapping[str, Any] | None], Changes]


def publish(settings: OpenMirroringSettings, place: tuple[Lake, str], load_id: str, project: str) -> int:
    """Bring the mirrored telemetry tables of one mirrored database up to date; returns the number of changed rows.

    ``place`` is the journal that it shows: a lake, and a folder in it. Idempotent. Raises LandingBusy (transient)
    where another load keeps publishing, NotOurs where they show the journal of another project than ``project``, and
    whatever landing raises.
    """
    lake = lakes.open_lake(settings)
    author = Author(project, _journal_of(settings, place), datetime.now(UTC).isoformat("T", "seconds"))
    journal, manifest = Journal(*place), Manifest(*place)
    tables = (
        TelemetryTable("journal", ("entity_run_id",), journal.changes_since),
        TelemetryTable("loads", ("coordinator_run_id",), journal.load_changes_since),
        TelemetryTable("schema_manifest", ("table", "column", "version"), manifest.changes_since),
    )
    return sum(_publish_table(lake, settings, table, load_id, author) for table in tables)


def _journal_of(settings: OpenMirroringSettings, place: tuple[Lake, str]) -> str:
    """A journal's address. The mirrored database's own has one name, in whatever words the settings name the item."""
    (lake, root), own = place, layout_of(settings, settings.mirror_schema, "journal").journal
    is_own = identity_of(f"{lake.url}/{root}") == identity_of(f"{lakes.open_lake(settings).url}/{own}")
    return _OWN_JOURNAL if is_own else f"{lake.url}/{root}"


def _check_author(state: LandingState, author: Author, settings: OpenMirroringSettings) -> None:
    """Raises NotOurs for the tables of another project's journal: this one would remove its rows. Projects that share a
    journal share its tables, too."""
    before = state.author
    if before is not None and before.project != author.project and not before.has_source_of(author):
        raise NotOurs(
            f"the tables of the schema {settings.mirror_schema} in {settings.mirror} show the journal of the project "
            f"'{before.project}', in {before.source}; that of this project, '{author.project}', is in {author.source}",
            hint="Name another mirror_schema in one of the projects, or let both keep their journal in one place.",
        )


def _publish_table(
    lake: Lake, settings: OpenMirroringSettings, telemetry: TelemetryTable, load_id: str, author: Author
) -> int:
    own = settings.model_copy(
        update={
            "schema_name": settings.mirror_schema,
            "table_name": telemetry.name,
            "key_columns": telemetry.keys,
            "row_marker": 4,
        }
    )
    table = OpenMirroringTable(lake, own, layout_of(own, settings.mirror_schema, telemetry.name))
    lease = _attach(table, load_id)
    lease.author = author
    try:
        _check_author(lease.state, author, settings)
        return _land_changes(table, lease, telemetry, load_id)
    except HyggeError as error:
        if isinstance(error, LakeError | StoreError) and lease.is_outdated():
            raise LandingFenced(f"another load publishes {own.schema_name}.{telemetry.name}") from error
        _release(lease)
        raise


def _release(lease: LakeTableLease) -> None:
    """Release a table, so that the next load that ends need not wait for two minutes."""
    try:
        lease.release()
    except HyggeError as error:
        _log.warning("the ownership of a telemetry table could not be released and will expire by itself: %s", error)


def _land_changes(table: OpenMirroringTable, lease: LakeTableLease, telemetry: TelemetryTable, load_id: str) -> int:
    resumed = 0
    if lease.open is not None:
        lease.take_over()
        if lease.open is not None and lease.open.phase in ("dropping", "waiting"):
            resumed = _land_reload(table, lease)
            if lease.open is not None:
                return 0
        if lease.open is not None:
            lease.discard()  # staged by an attempt that died before its intent: the difference is computed again
    position = lease.state.watermark
    changes = telemetry.changes_since(json.loads(position.value) if position and position.value else None)
    if changes.empty:
        lease.sweep()
        lease.release()
        return resumed
    replaces = changes.snapshot and lease.state.has_history
    mode: Mode = "reload" if replaces else "changes" if lease.state.has_history else "initial"
    table.check_place(lease.state, changes.schema, reload=replaces)
    lease.begin(
        OpenLoad(
            load_id=load_id,
            mode=mode,
            phase="staging" if mode == "reload" else "landing",
            started=datetime.now(UTC).isoformat(),
            upper=Watermark(POSITION, "string", json.dumps(changes.position)),
        ),
        key_columns=telemetry.keys,
        columns={field.name: str(field.type) for field in changes.schema},
    )
    marked = mode == "changes"
    files = _stage(table.writer(lease, changes.schema, marked=marked), upserts=changes.pieces())
    if marked:
        files += _stage(table.writer(lease, changes.schema, marked=True), deletes=[changes.deletes])
    rows = sum(file.rows for file in files)
    if mode == "reload":
        lease.write_changes(staged=tuple(files), phase="dropping")
        _land_reload(table, lease)
    elif files:
        table.publish(lease, files, position=None, last=True)
    else:
        lease.finish()
    return resumed + rows


def _land_reload(table: OpenMirroringTable, lease: LakeTableLease) -> int:
    """Drop and land again; where Fabric has not dropped the table yet, the next load that ends continues from here."""
    opened = lease.open
    if opened is None:
        return 0
    if (opened.phase == "dropping" and not table.drop(lease)) or table.drop_wait(lease):
        lease.release()
        return 0
    if opened.staged:
        table.publish(lease, opened.staged, position=None, last=True, new_generation=True)
    else:
        lease.drop_finished()
    return sum(file.rows for file in opened.staged)


def _attach(table: OpenMirroringTable, load_id: str) -> LakeTableLease:
    deadline = time.monotonic() + TURN_SECONDS
    while True:
        try:
            return table.attach(load_id, 1)
        except LandingBusy:
            if time.monotonic() > deadline:
                raise
            time.sleep(TURN_POLL_SECONDS)


def _stage(
    writer: RowWriter, *, upserts: Iterable[pa.Table] = (), deletes: Iterable[pa.Table] = ()
) -> list[StagedFile]:
    try:
        for piece in upserts:
            for batch in piece.to_batches():
                writer.write(batch)
        for piece in deletes:
            for batch in piece.to_batches():
                writer.delete(batch)
        return writer.finish()
    except BaseException:
        writer.abandon()
        raise
