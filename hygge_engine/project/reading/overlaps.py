"""Homes and stores that overlap: a load would read what it writes, or write where it reads."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from hygge_engine.hosts import identity_of
from hygge_engine.letter_case import confusable
from hygge_engine.project.models.locations import Location
from hygge_engine.project.models.project import Entity
from hygge_engine.project.models.settings import Surroundings
from hygge_engine.project.telling.nodes import Node
from hygge_engine.project.telling.problems import Problems

_HINT = (
    "Let the store write where no home of its flow reads: another `path`, `table_name` or `schema_name`, "
    "or a narrower pattern for the home."
)

_KEPT_HINT = "Let the home read elsewhere, or name `journal.parquet` alone: only the engine reads the other files."

# The journal's file of all loads that have been folded.
_CANONICAL = "journal.parquet"


@dataclass(frozen=True)
class _WrittenTable:
    """Where an entity's table is, and the place that says so."""

    entity: Entity
    at: Location
    place: Node


class Overlaps:
    """Gathers where the entities of a project read and write, and compares all of them at the end."""

    def __init__(self, surroundings: Surroundings, problems: Problems) -> None:
        self._surroundings = surroundings
        self._problems = problems
        self._read: list[tuple[Entity, Location]] = []
        self._written: list[_WrittenTable] = []
        self._kept: dict[tuple[str, str, tuple[str, ...]], _WrittenTable] = {}

    def add(self, entity: Entity, place: Node) -> None:
        """Register an entity; ``place`` is where its store's place is written."""
        self._read += [(entity, at) for at in entity.home.reads(self._surroundings, entity.reads_as.name)]
        at = entity.store.writes(self._surroundings, entity.name)
        if at is not None:
            self._written.append(_WrittenTable(entity, at, place))

    def add_kept(self, entity: Entity, at: Location | None, place: Node) -> None:
        """Register the engine's folder for what an entity's loads leave beside rows; None where it is not known."""
        if at is not None:
            self._kept.setdefault((entity.flow, at.root, at.fixed), _WrittenTable(entity, at, place))

    def check(self) -> None:
        """Add a problem for each table that a home of its flow reads, and for each that lies in another's folder.

        A home may read what another flow has landed: flows follow each other.
        """
        by_path = sorted(self._written, key=lambda written: (written.at.root, written.at.fixed, written.at.table))
        told = set[str]()
        for entity, at in self._read:
            for written in _near(by_path, at):
                if written.entity.flow == entity.flow and written.entity.id not in told and at.reaches(written.at):
                    told.add(written.entity.id)
                    whose = "its own home" if written.entity.id == entity.id else f"the home of `{entity.id}`"
                    self._add(written, f"`{written.entity.id}` would land where {whose} reads", _HINT)
        self._check_tables(by_path)
        self._check_kept(told)

    def _check_kept(self, told: set[str]) -> None:
        """Homes that read what their own flow's loads leave beside rows."""
        for entity, at in self._read:
            for (flow, _, _), kept in self._kept.items():
                if flow == entity.flow and entity.id not in told and _reads_kept(at, kept.at):
                    told.add(entity.id)
                    folder = "/".join(kept.at.parts[-2:])
                    self._add(
                        kept, f"the home of `{entity.id}` reads {folder}, which its own loads write to", _KEPT_HINT
                    )

    def _check_tables(self, by_path: list[_WrittenTable]) -> None:
        folders: dict[tuple[str, tuple[str, ...], str], _WrittenTable] = {}
        for written in by_path:
            at = written.at
            first = folders.setdefault((at.root, at.fixed, at.table), written)
            if first is not written and not _is_reported_already(first.entity, written.entity):
                self._add(
                    written,
                    f"`{written.entity.id}` lands in the same place as `{first.entity.id}`, in other words",
                    "Give one of them another destination, for example with `table_name` or `schema_name`.",
                )
            above = (folders.get((at.root, at.fixed[:depth], "")) for depth in range(1, len(at.fixed)))
            if not at.table and (outer := next((found for found in above if found is not None), None)):
                self._add(
                    written,
                    f"the table of `{written.entity.id}` lies in the folder of that of `{outer.entity.id}`",
                    "Give one of them another destination: a table's folder is its own.",
                )

    def _add(self, written: _WrittenTable, message: str, hint: str) -> None:
        self._problems.add(written.place.problem(message, hint=hint))


def _reads_kept(at: Location, kept: Location) -> bool:
    """Whether a home reads in one of the engine's folders. A hidden one is found by its name alone; the journal's one
    large file may be read, since it is only ever replaced as a whole."""
    fixed = kept.fixed
    if not fixed or (fixed[-1].startswith(".") and fixed[-1] not in map(confusable, at.parts)):
        return False
    return at.fixed[: len(fixed) + 1] != (*fixed, _CANONICAL) and at.reaches(kept)


def _is_reported_already(one: Entity, other: Entity) -> bool:
    places = [identity_of(each.store.destination(each.name)) for each in (one, other)]
    return confusable(places[0]) == confusable(places[1])


def _near(by_path: list[_WrittenTable], at: Location) -> Iterator[_WrittenTable]:
    """The tables at, above and below the fixed part of what is read: only they could be reached."""
    fixed = at.fixed
    for depth in range(1, len(fixed) + 1):
        yield from _at(by_path, at.root, fixed[:depth])
    start = bisect_left(by_path, (at.root, fixed), key=lambda written: (written.at.root, written.at.fixed))
    for written in by_path[start:]:
        if written.at.root != at.root or written.at.fixed[: len(fixed)] != fixed:
            return
        if written.at.fixed != fixed:
            yield written


def _at(by_path: list[_WrittenTable], root: str, fixed: tuple[str, ...]) -> Iterator[_WrittenTable]:
    start = bisect_left(by_path, (root, fixed), key=lambda written: (written.at.root, written.at.fixed))
    for written in by_path[start:]:
        if (written.at.root, written.at.fixed) != (root, fixed):
            return
        yield written
