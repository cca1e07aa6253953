"""How journals are read: one, or all of a project's as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.journal.files import Only
from hygge_engine.journal.kept import Kept
from hygge_engine.journal.rows import SCHEMA
from hygge_engine.journal.summaries import Level, combined, finished, piece_of, summarize

type Identifiers = pa.ChunkedArray[Any]

# Results that a process caches, in bytes.
RESULTS_KEPT_BYTES = 4 * 1024**2
_RESULTS: Kept[pl.DataFrame] = Kept(RESULTS_KEPT_BYTES)


class JournalReader(ABC):
    """The queries of the API, the command line and others on a journal. All results are polars data frames; all
    methods let the LakeError family pass, and raise JournalError where a file is not the journal's."""

    @abstractmethod
    def read(
        self, coordinator_run_id: str | None = None, *, flow: str | None = None, entity: str | None = None
    ) -> pl.DataFrame:
        """The rows (`rows.SCHEMA`) of all loads, or of one load, flow or entity, oldest first, each entity run once."""

    @abstractmethod
    def newest(self, loads: int, *, flow: str | None = None) -> pl.DataFrame:
        """What summaries need of the rows of the newest loads, and their ``attempts``: at least the given number of
        loads as far as there are; with ``flow`` only its rows."""

    @abstractmethod
    def all_of(self, by: Level, only: Only) -> pl.DataFrame:
        """What `summaries.finished` needs of all rows, of which some are in memory at a time; ``only`` those with
        certain values."""

    @abstractmethod
    def state(self) -> object:
        """A hashable value that changes when something is added."""

    def summary(
        self,
        by: Level = "load",
        *,
        coordinator_run_id: str | None = None,
        flow: str | None = None,
        entity: str | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """One row for each load, flow or entity, the latest first (`summaries.summarize`); at most ``limit`` rows.

        Of a long history the newest loads are found without reading all of it, and as long as nothing is added, the
        same query is served from memory.
        """
        key = (self.state(), by, coordinator_run_id, flow, entity, limit)
        if (kept := _RESULTS.get(key)) is not None:
            return kept
        if by == "load" and limit is not None and coordinator_run_id is None and entity is None:
            found = summarize(self.newest(limit, flow=flow), by)
        else:
            wanted = {"coordinator_run_id": coordinator_run_id, "flow": flow, "entity": entity}
            only = {column: [value] for column, value in wanted.items() if value is not None}
            found = finished(self.all_of(by, only), by)
        found = found if limit is None else found.head(limit)
        _RESULTS.put(key, found, int(found.estimated_size()))
        return found


class SingleJournal(JournalReader):
    """One journal, through which others may go."""

    @abstractmethod
    def visit[T](self, only: Only, take: Callable[[Iterator[pa.Table]], T]) -> T:
        """What ``take`` makes of the rows, a few at a time, each once, with their ``entity_run_id`` and
        `summaries.SUMMARY_COLUMNS`. It may be called again, where the journal is folded meanwhile."""

    def all_of(self, by: Level, only: Only) -> pl.DataFrame:
        def take(tables: Iterable[pa.Table]) -> pl.DataFrame:
            return combined((piece_of(pl.DataFrame(table), by) for table in tables), by)

        return self.visit(only, take)


def _not_known(
    tables: Iterator[pa.Table], by: Level, known: Sequence[Identifiers]
) -> tuple[pl.DataFrame, list[Identifiers]]:
    """What rows say that are not among the known ones, and which entity runs these are."""
    identifiers: list[Identifiers] = []

    def pieces() -> Iterator[pl.DataFrame]:
        for table in tables:
            identifiers.append(table.column("entity_run_id"))
            yield piece_of(pl.DataFrame(without(table, known)), by)

    return combined(pieces(), by), identifiers


def without(table: pa.Table, known: Sequence[Identifiers]) -> pa.Table:
    """The rows of a table whose entity runs are not among the known ones."""
    for identifiers in known:
        table = table.filter(pc.invert(pc.is_in(table.column("entity_run_id"), value_set=identifiers)))
    return table


class Journals(JournalReader):
    """Several journals as one: those of a project whose flows are recorded in different places."""

    def __init__(self, journals: Sequence[SingleJournal]) -> None:
        self._journals = journals

    def read(
        self, coordinator_run_id: str | None = None, *, flow: str | None = None, entity: str | None = None
    ) -> pl.DataFrame:
        return _as_one([journal.read(coordinator_run_id, flow=flow, entity=entity) for journal in self._journals])

    def newest(self, loads: int, *, flow: str | None = None) -> pl.DataFrame:
        """A load that is among the newest of all is among the newest of each journal that has it."""
        return _as_one([journal.newest(loads, flow=flow) for journal in self._journals])

    def all_of(self, by: Level, only: Only) -> pl.DataFrame:
        """A journal that was copied to another place has rows of the first one."""
        if len(self._journals) == 1:
            return self._journals[0].all_of(by, only)
        known: list[Identifiers] = []
        pieces = [piece_of(pl.DataFrame(SCHEMA.empty_table()), by)]
        for journal in self._journals:
            piece, identifiers = journal.visit(only, partial(_not_known, by=by, known=tuple(known)))
            pieces.append(piece)
            known += identifiers
        return combined(pieces, by)

    def state(self) -> object:
        return tuple(journal.state() for journal in self._journals)


def _as_one(rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A load that was skipped, or never planned, is recorded in every place that it would have touched."""
    whole = pl.concat(rows) if rows else pl.DataFrame(SCHEMA.empty_table())
    return whole.unique("entity_run_id", keep="first", maintain_order=True)
