"""How journals are read: one, or all of a project's as one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import polars as pl

from hygge_engine.journal.kept import Kept
from hygge_engine.journal.rows import SCHEMA
from hygge_engine.journal.summaries import Level, summarize

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
        """The rows of the newest loads, at least the given number of them as far as there are; with ``flow`` only its
        rows."""

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
            rows = self.newest(limit, flow=flow)
        else:
            rows = self.read(coordinator_run_id, flow=flow, entity=entity)
        found = summarize(rows, by)
        found = found if limit is None else found.head(limit)
        _RESULTS.put(key, found, int(found.estimated_size()))
        return found


class Journals(JournalReader):
    """Several journals as one: those of a project whose flows are recorded in different places."""

    def __init__(self, journals: Sequence[JournalReader]) -> None:
        self._journals = journals

    def read(
        self, coordinator_run_id: str | None = None, *, flow: str | None = None, entity: str | None = None
    ) -> pl.DataFrame:
        return _as_one([journal.read(coordinator_run_id, flow=flow, entity=entity) for journal in self._journals])

    def newest(self, loads: int, *, flow: str | None = None) -> pl.DataFrame:
        """A load that is among the newest of all is among the newest of each journal that has it."""
        return _as_one([journal.newest(loads, flow=flow) for journal in self._journals])

    def state(self) -> object:
        return tuple(journal.state() for journal in self._journals)


def _as_one(rows: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """A load that was skipped, or never planned, is recorded in every place that it would have touched."""
    whole = pl.concat([pl.DataFrame(SCHEMA.empty_table()), *rows])
    return whole.unique("entity_run_id", keep="first", maintain_order=True)
