"""What a mirror of the journal still lacks: the difference between the journal and a position in it.

A position is a small JSON value that the publisher commits together with the rows, and hands in the next time. It says
how far the canonical log had been published, and which loads had been published from files of their own that have not
been folded yet. Folding moves rows but changes none, so it is not a change for a mirror; `docs/journal.md` goes through
the cases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.journal.files import RETIRED_SCHEMA, CanonicalFile, JournalFiles, first_of_each, rows_in_order
from hygge_engine.journal.reading import without
from hygge_engine.journal.rows import SCHEMA, conform, fingerprint
from hygge_engine.journal.summaries import LOADS_SCHEMA, summarize_pieces


@dataclass(frozen=True)
class Changes:
    """Rows to upsert, in ``pieces`` that need not be in memory together, and rows to delete (their key columns only,
    the others null), both in the table's schema.

    With ``snapshot`` the upserts are the whole table and replace all that was published before: the first
    time, and after the journal was restored or replaced behind our back. ``position`` is to be committed with the
    rows; where nothing changed it may be, and makes the next look cheaper.
    """

    pieces: Callable[[], Iterator[pa.Table]]
    deletes: pa.Table
    position: dict[str, Any]
    snapshot: bool

    @property
    def schema(self) -> pa.Schema:
        """The table's."""
        return self.deletes.schema

    @property
    def upserts(self) -> pa.Table:
        """All rows to upsert, in memory."""
        return pa.concat_tables([self.schema.empty_table(), *self.pieces()])

    @property
    def empty(self) -> bool:
        """Whether there is nothing to publish."""
        return not (self.snapshot or self.deletes.num_rows or any(piece.num_rows for piece in self.pieces()))


@dataclass(frozen=True)
class _Position:
    """Rows numbered below ``end`` are published, but for those that had been retired, below ``first``.

    ``last`` is the entity run before ``end``, by which a replaced log is noticed, and ``etag`` that of the canonical
    file, by which an unchanged one is. ``files`` are the loads' files that were there and are published, each with the
    fingerprint of its rows.
    """

    first: int
    end: int
    last: str | None
    etag: str | None
    files: dict[str, str]


@dataclass(frozen=True)
class _Difference:
    """``rows`` have changed; of a ``snapshot`` they come after all rows of the canonical file."""

    rows: pa.Table
    retired: pa.Table
    canonical: CanonicalFile | None
    position: _Position
    snapshot: bool

    def pieces(self) -> Iterator[pa.Table]:
        """All rows to upsert, some at a time."""
        if self.snapshot and self.canonical is not None:
            yield from map(conform, self.canonical.batches())
        yield self.rows


def journal_changes(files: JournalFiles, position: Mapping[str, Any] | None) -> Changes:
    """What changed in the table of entity runs."""
    found = _difference(files, None if position is None else _Position(**position))
    gone = _values(found.retired, "entity_run_id") - _values(found.rows, "entity_run_id")
    deletes = _only_keys(SCHEMA, "entity_run_id", gone)
    return Changes(found.pieces, deletes, asdict(found.position), found.snapshot)


def load_changes(files: JournalFiles, position: Mapping[str, Any] | None) -> Changes:
    """What changed in the table of loads: each load that an entity run was added to, and each that was retired."""
    found = _difference(files, None if position is None else _Position(**position))
    touched = _values(found.rows, "coordinator_run_id")
    rows = found.rows
    gone = _values(found.retired, "coordinator_run_id") - touched
    if found.canonical is not None and not found.snapshot:
        # A load is appended at once, but nothing keeps two folds from carrying one part of it each.
        remaining: set[str] = set()
        for batch in found.canonical.columns("coordinator_run_id"):
            remaining |= gone & _values(batch, "coordinator_run_id")
        gone -= remaining
        whole = found.canonical.read({"coordinator_run_id": touched | remaining})
        rows = first_of_each(pa.concat_tables([whole, rows]), "entity_run_id")
    pieces = found.pieces() if found.snapshot else [rows]
    summaries = summarize_pieces(pl.DataFrame(piece) for piece in pieces)
    loads = summaries.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(LOADS_SCHEMA)
    deletes = _only_keys(LOADS_SCHEMA, "coordinator_run_id", gone)
    return Changes(lambda: iter([loads]), deletes, asdict(found.position), found.snapshot)


def _difference(files: JournalFiles, known: _Position | None, *, everything: bool = False) -> _Difference:
    """The difference to a position; with ``everything`` published rows are in it too, as far as they may have moved."""
    published = {} if known is None or everything else known.files
    # Small files first and the canonical file last: what is folded in between is found in the second.
    listed = files.list_runs()
    fresh = files.read_runs([entry for entry in listed if entry.name not in published])
    fingerprints = {path.rsplit("/", 1)[-1]: fingerprint(_identifiers(table)) for path, table in fresh.items()}
    still = {entry.name: published[entry.name] for entry in listed if entry.name in published}
    recent = conform(rows_in_order(fresh.values()))
    none_retired = RETIRED_SCHEMA.empty_table()

    info = files.lake.info(files.canonical_path)
    etag = None if info is None else info.etag
    if known is not None and etag == known.etag:
        same = _Position(known.first, known.end, known.last, known.etag, still | fingerprints)
        return _Difference(recent, none_retired, None, same, snapshot=False)

    canonical = files.read_canonical()
    last = canonical.value(canonical.end - 1, "entity_run_id") if canonical.end > canonical.first else None
    here = _Position(canonical.first, canonical.end, last, canonical.etag, still | fingerprints)
    if known is None:
        for part in canonical.columns("entity_run_id"):
            recent = without(recent, [part.column("entity_run_id")])
        return _Difference(recent, none_retired, canonical, here, snapshot=True)
    retired = files.read_retired(known.first, canonical.first)
    if not _continues(known, canonical, retired):
        return _difference(files, None)
    if retired.num_rows and not everything:
        # A write that was repeated late may have left a second copy of a retired row in a file of its own: such rows
        # stay, although they had been published from a file of that name before.
        return _difference(files, known, everything=True)
    added = _without_published(canonical, known.end, set(published.values()))
    rows = first_of_each(pa.concat_tables([added, recent]), "entity_run_id")
    return _Difference(rows, retired, canonical, here, snapshot=False)


def _continues(known: _Position, canonical: CanonicalFile, retired: pa.Table) -> bool:
    """Whether the canonical log is the one that the position speaks of, with rows added and retired since."""
    if canonical.first < known.first or canonical.end < known.end:
        return False
    if retired.num_rows != canonical.first - known.first:
        return False
    number = known.end - 1
    if known.last is None or number < known.first:
        return True
    if number < canonical.first:
        return bool(retired.column("entity_run_id")[number - known.first].as_py() == known.last)
    return canonical.value(number, "entity_run_id") == known.last


def _without_published(canonical: CanonicalFile, end: int, published: set[str]) -> pa.Table:
    """The rows since the position, without the loads that had been published from their own files."""
    added = canonical.read(start=end)
    if not published:
        return added
    runs = pl.DataFrame(added.select(["coordinator_run_id", "entity_run_id"])).group_by("coordinator_run_id").all()
    again = [load for load, identifiers in runs.iter_rows() if fingerprint(identifiers) in published]
    return added.filter(~pc.field("coordinator_run_id").isin(pa.array(again, pa.string())))


def _identifiers(table: pa.Table) -> list[str]:
    return [str(value) for value in table.column("entity_run_id").to_pylist()]


def _values(table: pa.Table, column: str) -> set[str]:
    return {str(value) for value in pc.unique(table.column(column)).to_pylist()}


def _only_keys(schema: pa.Schema, key: str, values: Collection[str]) -> pa.Table:
    return pa.Table.from_pylist([{key: value} for value in sorted(values)], schema=schema)
