"""One data file of the landing zone: what its footer says, its rows, and the rules that either breaks."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types as arrow_types

from devcloud.replicator.delta_types import canonical_type, delta_name
from devcloud.replicator.landing_zone import Entry, LandingZone
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.rules import Code, Finding, Severity, TableName, Violation, make_finding

MARKER = "__rowMarker__"
INSERT, UPDATE, DELETE, UPSERT = 0, 1, 2, 4
MARKERS = (INSERT, UPDATE, DELETE, UPSERT)
DOCUMENTED_CODECS = frozenset({"UNCOMPRESSED", "SNAPPY", "GZIP", "ZSTD"})
_Find = Callable[..., Finding]

BATCH_ROWS = 65_536  # rows decoded at a time from files that are only appended: bounds memory, not their size


@dataclass(frozen=True, slots=True)
class DataFile:
    """A Parquet file whose footer was read; `schema` is canonical and without the marker, `bytes` uncompressed."""

    entry: Entry
    table: TableName
    parquet: pq.ParquetFile
    schema: pa.Schema
    required: frozenset[str]
    has_marker: bool
    rows: int
    bytes: int

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, the marker last where the file has one. Raises Violation where a page cannot be decoded."""
        schema = self._row_schema()
        with self._decoding():
            for batch in self.parquet.iter_batches(BATCH_ROWS, columns=schema.names):
                yield from _cast(pa.Table.from_batches([batch]), schema).to_batches()

    def still_required(self, required: frozenset[str], *, is_first: bool) -> frozenset[str]:
        """Return the columns that later files must have: non-nullable from the first file on, and never relaxed."""
        relaxed = frozenset(self.schema.names) - self.required
        return self.required if is_first else required - relaxed

    def close(self) -> None:
        """Close the file; what its footer said stays known."""
        self.parquet.close(force=True)

    def read(self) -> pa.Table:
        """Return all rows, the marker last where the file has one. Raises Violation where a page cannot be decoded."""
        schema = self._row_schema()
        with self._decoding():
            return _cast(self.parquet.read(columns=schema.names, use_threads=self.rows > BATCH_ROWS), schema)

    def _row_schema(self) -> pa.Schema:
        return self.schema.append(pa.field(MARKER, pa.int32())) if self.has_marker else self.schema

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError) as error:
            message = f"rows cannot be decoded: {error}"
            raise Violation(make_finding(Code.TRUNCATED_PARQUET, self.entry.path, message, self.table)) from error


def _cast(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    rows = rows.select(schema.names)
    # Nanoseconds are cut to Delta's microseconds, hence an unsafe cast; every other cast here loses nothing.
    return rows if rows.schema.equals(schema) else rows.cast(schema, safe=False)


def open_data_file(
    zone: LandingZone, entry: Entry, table: TableName, options: ReplicatorOptions
) -> tuple[DataFile | None, list[Finding]]:
    """Read a file's footer and return it with what is wrong with it; None where nothing can be read."""

    def find(code: Code, message: str, *, stops: bool | None = None, severity: Severity | None = None) -> Finding:
        return make_finding(code, entry.path, message, table, stops=stops, severity=severity)

    if not entry.name.lower().endswith(".parquet"):
        return None, [find(Code.UNSUPPORTED_FORMAT, "delimited text is not simulated; publish Parquet")]
    if entry.size == 0:
        return None, [find(Code.ZERO_BYTES, "Invalid: Parquet file size is 0 bytes")]
    try:
        parquet = pq.ParquetFile(zone.open_file(entry), pre_buffer=False)
        schema = parquet.schema_arrow
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        return None, [find(Code.TRUNCATED_PARQUET, f"not a Parquet file: {error}")]
    findings = [find(code, message) for code, message in _inspect_storage(parquet)]
    if MARKER in schema.names:
        findings += _inspect_marker(schema, find_leading_stop=not options.accept_leading_marker, find=find)
    fields = []
    for field in schema:
        if field.name == MARKER:
            continue
        kind = canonical_type(field.type)
        if isinstance(kind, Code):
            findings.append(find(kind, f"column {field.name!r} has the type {field.type}, which a mirror cannot hold"))
            continue
        if arrow_types.is_timestamp(field.type) and field.type.unit == "ns":
            findings.append(find(Code.NANOSECONDS, f"column {field.name!r} is cut to microseconds"))
        fields.append(pa.field(field.name, kind))
    if not fields:
        findings.append(find(Code.NO_COLUMNS, "the file has no column that a mirror can hold"))
    lowered = [name.lower() for name in schema.names]
    if doubled := sorted({name for name in lowered if lowered.count(name) > 1}):
        findings.append(find(Code.DUPLICATE_COLUMN, f"names that differ at most in case: {', '.join(doubled)}"))
    required = frozenset(field.name for field in schema if not field.nullable and field.name != MARKER)
    footer = parquet.metadata
    size = sum(footer.row_group(number).total_byte_size for number in range(footer.num_row_groups))
    has_marker = MARKER in schema.names
    return DataFile(entry, table, parquet, pa.schema(fields), required, has_marker, footer.num_rows, size), findings


def _inspect_storage(parquet: pq.ParquetFile) -> Iterator[tuple[Code, str]]:
    metadata = parquet.metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    codecs = {group.column(number).compression for group in groups for number in range(group.num_columns)}
    if foreign := sorted(codecs - DOCUMENTED_CODECS):
        yield Code.BAD_CODEC, f"compressed with {', '.join(foreign)}; documented are none, Snappy, GZIP and ZSTD"
    for number in range(metadata.num_columns):
        column = parquet.schema.column(number)
        if column.physical_type == "INT96":
            yield Code.INT96, f"column {column.path!r} uses the deprecated INT96"


def _inspect_marker(schema: pa.Schema, *, find_leading_stop: bool, find: _Find) -> Iterator[Finding]:
    position = schema.names.index(MARKER)
    if position != len(schema) - 1:
        message = f"{MARKER} is column {position + 1} of {len(schema)}; it must be the final column"
        yield find(Code.MARKER_NOT_LAST, message, stops=find_leading_stop or position != 0)
    field = schema.field(position)
    if not arrow_types.is_signed_integer(field.type):
        message = f"{MARKER} has the type {field.type}, not int32"
        yield find(Code.MARKER_TYPE, message, stops=True, severity=Severity.ERROR)
    elif field.type != pa.int32() or field.nullable:
        kind = f"{'nullable ' if field.nullable else ''}{field.type}"
        yield find(Code.MARKER_TYPE, f"{MARKER} is {kind}; Microsoft's samples write non-null int32")


def inspect_evolution(
    file: DataFile, existing: pa.Schema | None, required: frozenset[str], keys: Sequence[str] | None
) -> Iterator[Finding]:
    """Yield what forbids merging a file's schema into the table's (None: the table has none yet)."""

    def find(code: Code, message: str) -> Finding:
        return make_finding(code, file.entry.path, message, file.table)

    names = set(file.schema.names)
    for key in keys or ():
        if key not in names:
            yield find(Code.KEY_MISSING, f"key column {key!r} is not in the file")
    if existing is None:
        return
    known = set(existing.names)
    for field in file.schema:
        if field.name not in known:
            if field.name in file.required:
                yield find(Code.REQUIRED_ADDED, f"added column {field.name!r} must be nullable")
        elif field.type != existing.field(field.name).type:
            incoming, current = delta_name(field.type), delta_name(existing.field(field.name).type)
            yield find(
                Code.TYPE_CHANGED,
                f"Type mismatch for column '{field.name}'. Incoming type: '{incoming}', existing type: '{current}'",
            )
    for name in sorted(required - names):
        yield find(Code.REQUIRED_DROPPED, f"column {name!r} was declared non-nullable and is missing")


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What the rows of a file say, as far as rules depend on it: its markers, and the keys that are null in changes."""

    markers: frozenset[int | None]
    null_keys: frozenset[str]


def gather_facts(batches: Iterable[pa.RecordBatch | pa.Table], keys: Sequence[str]) -> RowFacts:
    """Look through rows that end in a marker column."""
    markers: set[int | None] = set()
    null_keys: set[str] = set()
    for batch in batches:
        column = batch.column(MARKER)
        markers.update(column.unique().to_pylist())
        for key in keys:
            if key in batch.schema.names and batch.column(key).null_count:
                changed = pc.greater(column, pa.scalar(INSERT, column.type))
                if pc.any(pc.and_(changed, pc.is_null(batch.column(key)))).as_py():
                    null_keys.add(key)
    return RowFacts(frozenset(markers), frozenset(null_keys))


def inspect_rows(
    facts: RowFacts, file: DataFile, existing: pa.Schema | None, keys: Sequence[str], options: ReplicatorOptions
) -> Iterator[Finding]:
    """Yield what is wrong with the markers and keys of a file whose rows carry a marker."""

    def find(code: Code, message: str, *, stops: bool | None = None) -> Finding:
        return make_finding(code, file.entry.path, message, file.table, stops=stops)

    foreign = sorted(str(value) for value in facts.markers.difference(MARKERS))
    if foreign:
        yield find(Code.MARKER_VALUE, f"{MARKER} holds {', '.join(foreign)}; allowed are 0, 1, 2 and 4")
    if facts.markers <= {INSERT}:
        return
    if not keys:
        stops = options.keyless_changes == "stop"
        yield find(Code.MARKER_WITHOUT_KEYS, "rows with marker 1, 2 or 4 need keyColumns", stops=stops)
    for key in sorted(facts.null_keys):
        yield find(Code.KEY_NULL, f"key column {key!r} is null in a row with marker 1, 2 or 4")
    missing = sorted(set(existing.names) - set(file.schema.names)) if existing is not None else []
    if missing and facts.markers & {UPDATE, UPSERT}:
        stops = options.partial_update_rows == "stop"
        message = f"rows with marker 1 or 4 lack the columns {', '.join(missing)}, which become null"
        yield find(Code.PARTIAL_UPDATE_ROW, message, stops=stops)
