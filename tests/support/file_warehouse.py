"""A warehouse of files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.faults.source import Row
from tests.integration.warehouse import Warehouse

FORMATS = ("parquet", "csv", "ndjson", "delta")


class FileWarehouse(Warehouse):
    """A table in ``folder``, as other libraries read it."""

    def __init__(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, name: str, store: dict[str, Any], folder: Path
    ) -> None:
        super().__init__(directory, monkeypatch, name, store)
        self.folder = folder
        self.format = store["format"]

    def settle(self, file_format: str, table_name: str | None = None) -> None:
        """Let later loads land in another format, and another table."""
        self.format = file_format
        self._store = self._store | {"format": file_format}
        if table_name is not None:
            self.settle_in(table_name)
            self.folder = self.folder.parent / table_name
        self.project_changed()

    def rows(self) -> list[Row]:
        """What the table holds, sorted."""
        if self.format == "delta":
            frame = pl.read_delta(str(self.folder))
        else:
            frames = [self._read(path) for path in sorted(self.folder.glob("part-*"))]
            frame = pl.concat(frames) if frames else pl.DataFrame()
        return sorted((int(id_), str(value), int(modified)) for id_, value, modified in frame.iter_rows())

    def _read(self, path: Path) -> pl.DataFrame:
        match self.format:
            case "parquet":
                return pl.read_parquet(path)
            case "csv":
                return pl.read_csv(path)
            case _:
                return pl.read_ndjson(path)
