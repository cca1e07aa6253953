"""Tables of the probe in the landing zone: what is published in them, and what Fabric makes of it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from io import BytesIO
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hygge_engine.errors import StoreError
from hygge_engine.lake.credentials import object_store_options
from hygge_engine.probe.ground import Ground
from hygge_engine.probe.wire import Wire
from hygge_engine.stores.delta import DeltaLocation, DeltaReadBack
from hygge_engine.stores.open_mirroring.layout import Layout, layout_of, metadata_document
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.open_mirroring.store import ROW_MARKER
from hygge_engine.stores.parquet import COMPRESSION, COMPRESSION_LEVEL

# More rows than any table of the probe has.
ROWS_LIMIT = 1_000

_KEYS = ("id",)
_FIELDS: list[pa.Field[Any]] = [pa.field("id", pa.int64(), nullable=False), pa.field("name", pa.string())]
PLAIN = pa.schema(_FIELDS)
MARKER = pa.field(ROW_MARKER, pa.int32(), nullable=False)

# A value of every type that homes give and Parquet files carry, and nothing.
TYPES: dict[str, tuple[pa.DataType, Any]] = {
    "boolean": (pa.bool_(), True),
    "int16": (pa.int16(), -32768),
    "int32": (pa.int32(), 2**31 - 1),
    "int64": (pa.int64(), -(2**63)),
    "float32": (pa.float32(), 1.5),
    "float64": (pa.float64(), 0.1),
    "decimal": (pa.decimal128(38, 10), Decimal("1234567890123456789012345678.0123456789")),
    "money": (pa.decimal128(19, 4), Decimal("-922337203685477.5808")),
    "day": (pa.date32(), date(1753, 1, 1)),
    "moment": (pa.timestamp("us", "UTC"), datetime(2024, 2, 29, 23, 59, 59, 999999, UTC)),
    "text": (pa.string(), "größer 日付 😀 'quoted', \"twice\"\n"),
    "bytes": (pa.binary(), bytes(range(256))),
    "größe": (pa.string(), "a name of a column"),
}


class ProbeTable:
    """One table of the probe in the landing zone."""

    def __init__(self, wire: Wire, ground: Ground, settings: OpenMirroringSettings, kind: str, schema: str) -> None:
        name = f"{kind}_{ground.run}"
        # Only the settings' validation keeps names of schemas that begin with __hygge for the mirrored journal.
        self.settings = settings.model_copy(update={"schema_name": schema, "table_name": name})
        self.layout: Layout = layout_of(self.settings, "probe", name)
        self.key = (schema, name)
        self._wire = wire
        self._staging = f"{ground.folder}/staging"
        self._staged = 0

    def open(self, keys: tuple[str, ...] = _KEYS) -> None:
        """The folder and its metadata. Raises StoreError."""
        response = self._wire.make_directory(self.layout.folder)
        if not response.done:
            raise StoreError(f"cannot make {self.layout.folder}: {response}")
        self._place(metadata_document(self.settings, keys), self.layout.metadata)

    def publish(self, number: int, rows: pa.Table | bytes) -> None:
        """A numbered file, by a rename. Raises StoreError."""
        self._place(rows if isinstance(rows, bytes) else encode(rows), self.layout.data_file(number))

    def stage(self, data: bytes) -> str:
        """A staged file's path."""
        self._staged += 1
        path = f"{self._staging}/{self.key[1]}-{self._staged}"
        self._wire.stage(path, data)
        return path

    def folder_etag(self) -> str:
        """The folder's etag by its parent's listing; empty where there is none."""
        above = self._wire.list(self.layout.folder.rpartition("/")[0]) or []
        return next((entry.etag for entry in above if entry.path == self.layout.folder), "")

    def rows(self, *columns: str) -> list[dict[str, Any]]:
        """The mirrored rows, in the order of their ids. Raises StoreError, StoreUnavailable."""
        settings = self.settings
        location = DeltaLocation(f"az://{settings.filesystem}", lambda: object_store_options(settings))
        batches = DeltaReadBack(location, self.layout.mirrored).read([*columns, ROW_MARKER])
        found: list[dict[str, Any]] = []
        for batch in batches:
            found += islice(batch.to_pylist(), ROWS_LIMIT + 1)
            if len(found) > ROWS_LIMIT:
                raise StoreError(f"the mirrored table {self.layout.mirrored} has more rows than were landed")
        return sorted(found, key=lambda row: (str(row.get("id")), str(row.get("name"))))

    def _place(self, data: bytes, final: str) -> None:
        response = self._wire.rename(self.stage(data), final, if_absent=True)
        if not response.done:
            raise StoreError(f"cannot rename a file to {final}: {response}")


def encode(rows: pa.Table) -> bytes:
    """A Parquet file as the store writes it."""
    sink = BytesIO()
    pq.write_table(rows, sink, compression=COMPRESSION, compression_level=COMPRESSION_LEVEL)
    return sink.getvalue()


def plain(*rows: tuple[int, str]) -> pa.Table:
    """Rows without a marker."""
    return pa.Table.from_pylist([{"id": id_, "name": name} for id_, name in rows], schema=PLAIN)


def marked(*rows: tuple[int, str | None, int], at: int = 2) -> pa.Table:
    """Rows with a marker, in the column with index ``at``."""
    schema = PLAIN.insert(at, MARKER)
    return pa.Table.from_pylist([{"id": i, "name": name, ROW_MARKER: m} for i, name, m in rows], schema=schema)
