"""The table that a world's loads fill, as its readers see it at any time: mirrored by Fabric, or as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from devcloud.replicator import Replicator, check_landing_zone
from tests.faults.prover.jobs import ENTITY
from tests.faults.source import COLUMNS, Row

if TYPE_CHECKING:
    from tests.faults.prover.world import ProverWorld

# In the labels of operations that the replicator can see.
LANDING_ZONE = "/LandingZone/"

# The replicator's only remark about the mirrored telemetry.
TELEMETRY_REMARK = "UNDERSCORE_SCHEMA"

_DATA_FILE = re.compile(r"part-(\d+)-(\d+)\.parquet")


class Refuted(AssertionError):
    """A guarantee did not hold."""


class ReaderTable(Protocol):
    """A table as its readers see it."""

    def sees(self, label: str) -> bool:
        """Whether an operation changes what readers see."""
        ...

    def tick(self, world: ProverWorld) -> int:
        """Look now; the number of rows that have landed since. Raises Refuted where what is seen makes no sense."""
        ...

    def rows(self) -> list[Row]:
        """The newest version of each row, by id."""
        ...

    def check(self, world: ProverWorld) -> None:
        """Raise Refuted where files, numbering and landing state do not fit, now that all is quiet."""
        ...


class MirroredTable:
    """What Fabric's replicator makes of the landing zone."""

    def __init__(self, replicator: Replicator, item: Path) -> None:
        self._replicator = replicator
        self._item = item
        self._seen: dict[int, int] = {}

    def sees(self, label: str) -> bool:
        return LANDING_ZONE in label

    def tick(self, world: ProverWorld) -> int:
        report = self._replicator.tick()
        if report.unavailable:
            raise Refuted(f"the replicator cannot read: {report.unavailable}")
        if any(table.table == ENTITY for table in report.dropped):
            self._check_drop(world)
            self._seen.clear()  # what a source has now may be older than what it had
        rows = sum(applied.rows for applied in report.applied if applied.table.table == ENTITY)
        if not rows:
            return 0
        seen: dict[int, int] = {}
        for row in self.rows():
            if row not in world.source.history:
                raise Refuted(f"{row} was never in the source")
            if row[0] in seen:
                raise Refuted(f"the row with id {row[0]} is there twice")
            if row[2] < self._seen.get(row[0], 0):
                raise Refuted(f"the row with id {row[0]} went back from {self._seen[row[0]]} to {row[2]}")
            seen[row[0]] = row[2]
        short = self._seen.keys() - seen.keys() - self._gone(world)
        if world.difference and short:
            raise Refuted(f"the rows with the ids {sorted(short)} were missing for a while")
        self._seen = seen if world.difference else self._seen | seen
        return rows

    def rows(self) -> list[Row]:
        try:
            table = self._replicator.table("dbo", ENTITY)
        except KeyError:
            return []
        return sorted(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))

    def check(self, world: ProverWorld) -> None:
        findings = [*check_landing_zone(self._item), *self._replicator.checks]
        broken = [str(finding) for finding in findings if finding.code != TELEMETRY_REMARK]
        if broken:
            raise Refuted("; ".join(broken))
        followed = [table for table in self._replicator.states() if table.name.table == ENTITY]
        next_index = followed[0].next_index if followed else 1
        next_sequence = world.state.next_sequence if world.state else 1
        if next_index != next_sequence:
            raise Refuted(f"the state says that file {next_sequence} is next, the replicator says {next_index}")

    @staticmethod
    def _gone(world: ProverWorld) -> set[int]:
        """The ids of rows that the source has lost."""
        return {row[0] for row in world.source.history} - {row[0] for row in world.source.rows}

    def _check_drop(self, world: ProverWorld) -> None:
        """A table may go only when all that takes its place is staged."""
        opened = world.state.open if world.state else None
        if world.difference:
            raise Refuted("the table was dropped, and could have been compared")
        if opened is None or opened.phase not in ("dropping", "waiting"):
            raise Refuted(f"the table was dropped in the midst of {opened}")


class HistoryTable(MirroredTable):
    """What Fabric's replicator makes of a landing zone to which versions of rows are only ever added."""

    def __init__(self, replicator: Replicator, item: Path) -> None:
        super().__init__(replicator, item)
        self._kept: set[tuple[int, Row, bool]] = set()

    def tick(self, world: ProverWorld) -> int:
        report = self._replicator.tick()
        if report.unavailable:
            raise Refuted(f"the replicator cannot read: {report.unavailable}")
        if report.dropped:
            raise Refuted("a history was dropped")
        rows = sum(applied.rows for applied in report.applied if applied.table.table == ENTITY)
        newest: dict[int, Row | None] = {}
        versions = self._versions() if rows else []
        if lost := self._kept.difference(versions) if rows else None:
            raise Refuted(f"versions are gone: {sorted(lost)}")
        self._kept |= set(versions)
        for _, row, gone in versions:
            if not gone and row not in world.source.history:
                raise Refuted(f"{row} was never in the source")
            version = None if gone else row
            if version == newest.get(row[0]):
                raise Refuted(f"{version} is there twice, one after the other")
            newest[row[0]] = version
        return rows

    def rows(self) -> list[Row]:
        newest = {row[0]: None if gone else row for _, row, gone in self._versions()}
        return sorted(row for row in newest.values() if row is not None)

    def _versions(self) -> list[tuple[int, Row, bool]]:
        """All versions in their order: the number of each, its row, and whether it says that this is gone."""
        try:
            table = self._replicator.table("dbo", ENTITY)
        except KeyError:
            return []
        names = ("__version", "__operation", *COLUMNS)
        columns = zip(*(table[name].to_pylist() for name in names), strict=True)
        found: list[tuple[int, Row, bool]] = [
            (number, (id_, value, modified), operation == "delete")
            for number, operation, id_, value, modified in columns
        ]
        found.sort(key=lambda version: version[0])
        if len({(number, row[0]) for number, row, _ in found}) < len(found):
            raise Refuted("two versions of a row have one number")
        return found


class FileTable:
    """A folder of Parquet files, to which rows are only ever added: each version of a row is there once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted: set[str] = set()

    def sees(self, label: str) -> bool:
        return f"/{ENTITY}/part-" in label or label.startswith(("commit", "delete"))

    def tick(self, world: ProverWorld) -> int:
        files = self._files()
        newest: dict[int, int] = {}
        landed = 0
        for file in files:
            rows = _read(file)
            landed += 0 if file.name in self._counted else len(rows)
            self._counted.add(file.name)
            for row in rows:
                if row not in world.source.history:
                    raise Refuted(f"{row} was never in the source")
                if row[2] <= newest.get(row[0], -1):
                    raise Refuted(f"{file.name} brings {row} again, or after a newer version")
                newest[row[0]] = row[2]
        if landed:
            self._check_generation(world, files)
        return landed

    def rows(self) -> list[Row]:
        newest = {row[0]: row for file in self._files() for row in _read(file)}
        return sorted(newest.values())

    def check(self, world: ProverWorld) -> None:
        state = world.state
        numbers = [_numbers(file) for file in self._files()]
        expected = [(state.generation, number) for number in range(1, state.next_sequence)] if state else []
        if numbers != expected:
            raise Refuted(f"the state speaks of the files {expected}, there are {numbers}")

    def _check_generation(self, world: ProverWorld, files: list[Path]) -> None:
        """The files of one reload never stand beside those of another."""
        generations = {_numbers(file)[0] for file in files}
        if len(generations) > 1:
            raise Refuted(f"files of several generations: {[file.name for file in files]}")

    def _files(self) -> list[Path]:
        """All that a reader would read, in order."""
        return sorted(self._folder.glob("part-*.parquet"))


class DeltaFileTable(FileTable):
    """A Delta table: its log says which files count."""

    def _files(self) -> list[Path]:
        try:
            table = DeltaTable(str(self._folder))
        except TableNotFoundError:
            return []
        return sorted(self._folder / uri.rpartition("/")[2] for uri in table.file_uris())


def _read(file: Path) -> list[Row]:
    table = pq.read_table(file, partitioning=None)
    return list(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True))


def _numbers(file: Path) -> tuple[int, int]:
    match = _DATA_FILE.fullmatch(file.name)
    if match is None:
        raise Refuted(f"{file.name} is no name of a data file")
    return int(match[1]), int(match[2])
