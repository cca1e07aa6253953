"""What a Delta table may be that is written here: plain, as this engine makes it. All else is refused with its reason.

Source: the Delta transaction protocol, "Requirements for Writers" and the sections on each feature.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.schema import Schema

from hygge_engine.letter_case import in_any_case

# Features that ask nothing of files that are added, or only where a table's properties or fields use them, which
# `reasons_against` looks for.
_HARMLESS_FEATURES = frozenset(
    {
        "appendOnly",
        "changeDataFeed",
        "checkConstraints",
        "columnMapping",
        "deletionVectors",
        "generatedColumns",
        "identityColumns",
        "invariants",
        "timestampNtz",
        "vacuumProtocolCheck",
        "v2Checkpoint",
    }
)

# Properties of tables that ask more of a writer than to add files.
_CONSTRAINT = "delta.constraints."
_DEMANDING = {
    "delta.enableRowTracking": "row tracking",
    "delta.enableIcebergCompatV1": "Iceberg compatibility",
    "delta.enableIcebergCompatV2": "Iceberg compatibility",
    "delta.enableInCommitTimestamps": "timestamps in its commits",
}

# Properties of fields: values that the table makes or checks by itself.
_FIELD_RULES = {
    "delta.generationExpression": "is generated",
    "delta.invariants": "has an invariant",
    "delta.identity.start": "is an identity column",
    "delta.columnMapping.id": "is mapped to another name",
}


def reasons_against(table: DeltaTable, schema: pa.Schema, *, replaces: bool) -> list[str]:
    """Why rows of ``schema`` cannot be added to a table, or put in place of all that it holds; none where they can."""
    return list(_reasons(table, schema, replaces=replaces))


def describe(table: DeltaTable) -> str:
    """A table in a few words, for messages."""
    metadata = table.metadata()
    parted = f", partitioned by {', '.join(metadata.partition_columns)}" if metadata.partition_columns else ""
    columns = [field.name for field in table.schema().fields]
    more = ", …" if len(columns) > _NAMED_COLUMNS else ""
    named = f"{', '.join(columns[:_NAMED_COLUMNS])}{more}"
    return f"a Delta table of version {table.version()} with the columns {named}{parted}"


_NAMED_COLUMNS = 8


def _reasons(table: DeltaTable, schema: pa.Schema, *, replaces: bool) -> Iterator[str]:
    metadata, protocol = table.metadata(), table.protocol()
    properties: Mapping[str, str] = metadata.configuration
    if metadata.partition_columns:
        yield f"it is partitioned by {', '.join(metadata.partition_columns)}"
    for name, value in sorted(properties.items()):
        if name.startswith(_CONSTRAINT):
            yield f"it has the CHECK constraint {name.removeprefix(_CONSTRAINT)} ({value})"
    if properties.get("delta.columnMapping.mode", "none") != "none":
        yield "its columns are mapped to other names (delta.columnMapping.mode)"
    if replaces and _is_true(properties.get("delta.appendOnly")):
        yield "rows may only be added to it (delta.appendOnly)"
    for name, what in _DEMANDING.items():
        if _is_true(properties.get(name)):
            yield f"it asks for {what} ({name})"
    if unknown := sorted(set(protocol.writer_features or ()) - _HARMLESS_FEATURES):
        yield f"it has features that are not written here: {', '.join(unknown)}"
    yield from _field_reasons(table.schema(), schema, replaces=replaces)


def _field_reasons(there: Schema, schema: pa.Schema, *, replaces: bool) -> Iterator[str]:
    landing = {in_any_case(field.name): field for field in Schema.from_arrow(schema).fields}
    for field in there.fields:
        for rule, what in _FIELD_RULES.items():
            if rule in field.metadata:
                yield f"its column {field.name} {what}"
        wanted = landing.get(in_any_case(field.name))
        if replaces:
            continue
        if wanted is None:
            if not field.nullable:
                yield f"its column {field.name} may not be NULL, and no row would have one"
        elif wanted.name != field.name:
            yield f"its column {field.name} would be written as {wanted.name}"
        elif wanted.type != field.type:
            yield f"its column {field.name} is {_name_of(field.type)}, the rows have {_name_of(wanted.type)}"


def _name_of(type_: object) -> str:
    """A type as Delta writes it, or the kind of a nested one."""
    return str(getattr(type_, "type", type_))


def _is_true(value: str | None) -> bool:
    return (value or "").casefold() == "true"
