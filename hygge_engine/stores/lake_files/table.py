"""A table as a folder of Parquet, CSV or NDJSON files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from hygge_engine.lake.base import Lake
from hygge_engine.stores.base import ReadBack
from hygge_engine.stores.files import Format, StagedFiles
from hygge_engine.stores.folder import FolderTable, Places
from hygge_engine.stores.landing.protocol import TableLanding
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.parquet import ParquetEncoder
from hygge_engine.stores.text import CsvEncoder, NdjsonEncoder

if TYPE_CHECKING:
    from hygge_engine.stores.lake_files.settings import FilesSettings

_FORMATS: dict[str, Format] = {
    "parquet": ParquetEncoder,
    "delta": ParquetEncoder,
    "csv": CsvEncoder,
    "ndjson": NdjsonEncoder,
}
_EXTENSIONS = {"delta": "parquet"}


class FilesTable(FolderTable):
    """Files are added, never changed: each version of a row lands once, and the newest is the one in the last file."""

    def __init__(self, lake: Lake, places: Places, settings: FilesSettings) -> None:
        super().__init__(lake, places)
        self.table_name = places.folder.rpartition("/")[2]
        self.key_columns = settings.key_columns
        self._format_name = settings.format
        self._format = _FORMATS[settings.format]
        self._extension = _EXTENSIONS.get(settings.format, settings.format)

    def data_file(self, state: LandingState, sequence: int) -> str:
        """Named by generation and number, so that no name means two things in its life."""
        return f"{self.places.folder}/part-{state.generation:05d}-{sequence:08d}.{self._extension}"

    def writer(self, landing: TableLanding, schema: pa.Schema, *, marked: bool) -> StagedFiles:
        return StagedFiles(lambda: self.lake.stage(landing.staged_path(self._extension)), schema, self._format)

    def read_back(self) -> ReadBack:
        from hygge_engine.stores.lake_files.reading import DECODERS, FilesReadBack

        return FilesReadBack(self.lake, self.places.folder, DECODERS[self._format_name])
