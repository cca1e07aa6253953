"""Parquet types as Arrow reads them, and the Delta types of the mirrored table that they become."""

import pyarrow as pa
from pyarrow import types as arrow_types

from devcloud.replicator.rules import Code

_DELTA_NAMES: dict[pa.DataType, str] = {
    pa.bool_(): "boolean",
    pa.int8(): "byte",
    pa.int16(): "short",
    pa.int32(): "integer",
    pa.int64(): "long",
    pa.float32(): "float",
    pa.float64(): "double",
    pa.string(): "string",
    pa.binary(): "binary",
    pa.date32(): "date",
    pa.timestamp("us", "UTC"): "timestamp",
    pa.timestamp("us"): "timestamp_ntz",
}
DECIMAL_DIGITS_LIMIT = 38  # Delta's decimal


def canonical_type(data_type: pa.DataType) -> pa.DataType | Code:
    """Return the type in which a column is kept, or the code of the rule that its type breaks."""
    if arrow_types.is_dictionary(data_type):
        return canonical_type(data_type.value_type)
    if data_type in _DELTA_NAMES:
        return data_type
    if arrow_types.is_large_string(data_type) or arrow_types.is_string_view(data_type):
        return pa.string()
    if (
        arrow_types.is_large_binary(data_type)
        or arrow_types.is_binary_view(data_type)
        or arrow_types.is_fixed_size_binary(data_type)
    ):
        return pa.binary()
    if arrow_types.is_timestamp(data_type):
        return pa.timestamp("us", "UTC" if data_type.tz else None)
    if arrow_types.is_date64(data_type):
        return pa.date32()
    if arrow_types.is_decimal(data_type) and data_type.precision <= DECIMAL_DIGITS_LIMIT:
        return pa.decimal128(data_type.precision, data_type.scale)
    return _broken_rule(data_type)


def _broken_rule(data_type: pa.DataType) -> Code:
    if arrow_types.is_nested(data_type):
        return Code.NESTED_TYPE
    if arrow_types.is_unsigned_integer(data_type):
        return Code.UNSIGNED_TYPE
    if arrow_types.is_time(data_type):
        return Code.TIME_TYPE
    return Code.UNSUPPORTED_TYPE


def delta_name(data_type: pa.DataType) -> str:
    """Return the name that Delta, and Fabric's error messages, give a canonical type."""
    if arrow_types.is_decimal128(data_type):
        return f"decimal({data_type.precision},{data_type.scale})"
    return _DELTA_NAMES[data_type]


def unite(existing: pa.Schema, incoming: pa.Schema) -> pa.Schema:
    """Return the union of columns, new ones last: a mirrored table never loses a column."""
    known = set(existing.names)
    added = [field for field in incoming if field.name not in known]
    return pa.schema([*existing, *added]) if added else existing
