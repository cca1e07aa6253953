"""A table as a folder of Parquet, CSV or NDJSON files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from hygge_engine.errors import LandingBroken, NotOurs
from hygge_engine.lake.base import Lake, PathInfo
from hygge_engine.stores.base import Adoption, ReadBack
from hygge_engine.stores.column_names import ColumnNames
from hygge_engine.stores.folder_table import FolderTable, Places, named
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.settled import DELTA
from hygge_engine.stores.landing.state import LandingState, extension_of
from hygge_engine.stores.parquet import ParquetEncoder
from hygge_engine.stores.staged_writer import Format, StagedFiles
from hygge_engine.stores.text import CsvEncoder, NdjsonEncoder

if TYPE_CHECKING:
    from hygge_engine.stores.lake_files.settings import FilesSettings

_FORMATS: dict[str, Format] = {
    "parquet": ParquetEncoder,
    "delta": ParquetEncoder,
    "csv": CsvEncoder,
    "ndjson": NdjsonEncoder,
}

# The names that `FilesTable.data_file` gives.
_DATA_FILE = re.compile(r"part-(?P<generation>\d{5,})-(?P<sequence>\d{8,})\.(?P<extension>parquet|csv|ndjson)")

# What their names can end with.
_EXTENSIONS = ("parquet", "csv", "ndjson")

# What makes a folder a Delta table.
DELTA_LOG = "_delta_log"


class FilesTable(FolderTable):
    """Files are added, never changed: each version of a row lands once, and the newest is the one in the last file."""

    def __init__(self, lake: Lake, places: Places, settings: FilesSettings) -> None:
        super().__init__(lake, places)
        self.table_name = places.folder.rpartition("/")[2]
        self.key_columns = settings.key_columns
        self.names = ColumnNames(f"files of format {settings.format}", form=str)
        self.format = settings.format
        self._format = _FORMATS[settings.format]
        self._extension = extension_of(settings.format)

    def data_file(self, state: LandingState, sequence: int) -> str:
        """Named by generation and number, so that no name means two things in its life."""
        return self._named(state, sequence, self._extension)

    def landed_paths(self, state: LandingState) -> set[str]:
        """See `FolderTable.landed_paths`; of every kind of files where a state of an earlier version does not say."""
        extensions = [extension_of(state.file_format)] if state.file_format else _EXTENSIONS
        numbers = range(1, state.next_sequence)
        return {self._named(state, number, extension) for extension in extensions for number in numbers}

    def claimed(self, name: str) -> bool:
        return _DATA_FILE.fullmatch(name) is not None

    def state_of(self, files: Sequence[PathInfo]) -> LandingState:
        """The newest generation's files; those of older ones, of unknown origin, stay."""
        found = [match for match in (_DATA_FILE.fullmatch(file.name) for file in files) if match]
        generation = max((int(match["generation"]) for match in found), default=1)
        newest = [match for match in found if int(match["generation"]) == generation]
        last = max((int(match["sequence"]) for match in newest), default=0)
        others = [match.string for match in newest if match["extension"] != self._extension]
        left_over = tuple(f"{self.places.folder}/{name}" for name in others)
        return LandingState(generation=generation, next_sequence=last + 1, file_format=self.format, left_over=left_over)

    def check_place(self, state: LandingState, schema: pa.Schema, *, reload: bool) -> list[str]:
        state = self.with_format(state)
        found = super().check_place(state, schema, reload=reload)
        if reload or not state.has_history:
            self._check_is_no_delta_table()
        if reload:
            self._check_names_are_free(state)
        return found

    def with_format(self, state: LandingState) -> LandingState:
        """The state with the kind of files that is there, where an earlier version has written it and it does not
        say."""
        if state.file_format or not state.has_history or not state.owns(self.places.folder):
            return state
        newest = (self._named(state, state.next_sequence - 1, extension) for extension in _EXTENSIONS)
        kinds = {path.rpartition(".")[2] for path in newest if self.lake.info(path) is not None}
        if self.lake.info(f"{self.places.folder}/{DELTA_LOG}") is not None:
            kinds = {DELTA}
        if not kinds or self.format in kinds:
            return state
        return replace(state, file_format=min(kinds))

    def drop(self, lease: LakeTableLease) -> bool:
        """See `FolderTable.drop`. Raises NotOurs before anything is deleted where the new files cannot have their
        names."""
        self._check_names_are_free(lease.state)
        return super().drop(lease)

    def _check_names_are_free(self, state: LandingState) -> None:
        """Raises NotOurs where a foreign file has a name of the next generation: it would never be overwritten,
        but the old rows would be gone before that shows."""
        following = state.generation + 1
        others = (entry for entry in self.lake.list(self.places.folder) if generation_of(entry.name) == following)
        if found := named(others):
            raise NotOurs(
                f"{self.where} holds files that no load of {self.places.entity} has written, under the names "
                f"that a reload gives its own: {found}",
                hint="Move them away, or rename them.",
            )

    def adopt(self) -> Adoption:
        self._check_is_no_delta_table()
        return super().adopt()

    def _check_is_no_delta_table(self) -> None:
        """Its log would still name files that are deleted."""
        if self.lake.info(f"{self.places.folder}/{DELTA_LOG}") is not None:
            raise LandingBroken(
                f"{self.where} holds a Delta table, and the settings ask for {self.format} files in its folder",
                hint="Restore format: delta, or name another table_name and load it with run_type full_drop; the old "
                "table stays as it is.",
            )

    def _named(self, state: LandingState, sequence: int, extension: str) -> str:
        return f"{self.places.folder}/part-{state.generation:05d}-{sequence:08d}.{extension}"

    def writer(self, lease: LakeTableLease, schema: pa.Schema, *, marked: bool) -> StagedFiles:
        return StagedFiles(lambda: self.lake.stage(lease.staged_path(self._extension)), schema, self._format)

    def read_back(self) -> ReadBack:
        from hygge_engine.stores.lake_files.reading import DECODERS, FilesReadBack

        return FilesReadBack(self.lake, self.places.folder, DECODERS[self.format])


def generation_of(name: str) -> int | None:
    """The generation in the name of a data file; None for any other name."""
    match = _DATA_FILE.fullmatch(name)
    return int(match["generation"]) if match else None
