"""Arrow's types in SQL Server: how a column is declared, and what its values are turned into for the driver."""

from __future__ import annotations

import pyarrow as pa

# Bytes that the key of a clustered index may have; text takes two for each character.
KEY_BYTES = 900

_PLAIN: dict[pa.DataType, str] = {
    pa.bool_(): "bit",
    pa.int8(): "smallint",
    pa.int16(): "smallint",
    pa.int32(): "int",
    pa.int64(): "bigint",
    pa.uint8(): "tinyint",
    pa.uint16(): "int",
    pa.uint32(): "bigint",
    pa.uint64(): "decimal(20,0)",
    pa.float16(): "real",
    pa.float32(): "real",
    pa.float64(): "float",
    pa.date32(): "date",
    pa.date64(): "date",
}

# What the driver's bulk copy takes in place of types that it does not map.
_CARRIERS: dict[pa.DataType, pa.DataType] = {
    pa.int8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.date64(): pa.date32(),
    pa.null(): pa.string(),
}

_SCALES = {"s": 0, "ms": 3, "us": 6, "ns": 7}


def declared_type(type_: pa.DataType, *, in_key: bool = False) -> str:
    """The type that a column is declared with; keys are bounded, because SQL Server indexes nothing longer."""
    if type_ in _PLAIN:
        return _PLAIN[type_]
    if pa.types.is_decimal(type_):
        return f"decimal({type_.precision},{type_.scale})"
    if pa.types.is_timestamp(type_):
        return f"datetime2({_SCALES[type_.unit]})"
    if pa.types.is_time(type_):
        return f"time({_SCALES[type_.unit]})"
    if pa.types.is_duration(type_):
        return "bigint"
    if pa.types.is_binary(type_) or pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_):
        return f"varbinary({KEY_BYTES if in_key else 'max'})"
    return f"nvarchar({KEY_BYTES // 2 if in_key else 'max'})"


def prepared(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as the driver takes it: a datetime2 has no time zone, so instants are written in UTC."""
    schema = pa.schema([pa.field(field.name, _carrier(field.type)) for field in batch.schema])
    return batch.cast(schema)


def _carrier(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return pa.timestamp(type_.unit)
    if pa.types.is_duration(type_):
        return pa.int64()
    return _CARRIERS.get(type_, type_)
