"""What the types of Parquet files become: those of Delta tables and Fabric, with what is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import Unreadable, UnsupportedType
from hygge_engine.homes.files.declared import first_twice
from hygge_engine.masking import mask_quoted
from hygge_engine.panics import panics_as

TIMESTAMP = pa.timestamp("us", tz="UTC")

# Digits that a decimal of Delta holds at most.
_MOST_DIGITS = 38

_WIDER: dict[pa.DataType, pa.DataType] = {
    pa.int8(): pa.int16(),
    pa.uint8(): pa.int16(),
    pa.uint16(): pa.int32(),
    pa.uint32(): pa.int64(),
    pa.uint64(): pa.decimal128(20, 0),
    pa.float16(): pa.float32(),
    pa.null(): pa.string(),
}
_UNCHANGED = frozenset(
    {pa.bool_(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.date32(), pa.string(), pa.binary()}
)

# Types that hold all values of those before them in their row.
_WIDENING: tuple[list[pa.DataType], ...] = ([pa.int16(), pa.int32(), pa.int64()], [pa.float32(), pa.float64()])

CUT_TO_MICROSECONDS = "digits below a microsecond are cut"
_LEAVE_OUT = "Leave it out: name the other columns in `columns`, with infer: false."

_JSON_PREFIX = '{"v":'


def destination_type(name: str, type_: pa.DataType, file: str) -> tuple[pa.DataType, str]:
    """What a column becomes, and what of its values does not survive (empty where all does).

    Raises UnsupportedType, which names ``file``.
    """
    if isinstance(type_, pa.BaseExtensionType):
        if type_.extension_name == "arrow.uuid":
            return pa.string(), ""
        return destination_type(name, type_.storage_type, file)
    if pa.types.is_dictionary(type_):
        return destination_type(name, cast("Any", type_).value_type, file)
    if type_ in _UNCHANGED:
        return type_, ""
    if type_ in _WIDER:
        return _WIDER[type_], ""
    if pa.types.is_large_string(type_) or pa.types.is_string_view(type_):
        return pa.string(), ""
    if pa.types.is_large_binary(type_) or pa.types.is_fixed_size_binary(type_) or pa.types.is_binary_view(type_):
        return pa.binary(), ""
    if pa.types.is_timestamp(type_):
        return TIMESTAMP, _timestamp_loss(type_)
    if pa.types.is_date64(type_):
        return pa.date32(), ""
    if pa.types.is_time(type_):
        return pa.string(), ""
    if pa.types.is_duration(type_):
        cut = "; digits below a microsecond are cut" if cast("Any", type_).unit == "ns" else ""
        return pa.int64(), f"counted in microseconds{cut}"
    if pa.types.is_nested(type_):
        if why := _no_json(type_):
            raise unsupported(name, file, f"the type {type_}: {why}")
        return pa.string(), "nested values are JSON text"
    if pa.types.is_decimal(type_) and cast("Any", type_).precision <= _MOST_DIGITS:
        return _decimal(type_), ""
    raise unsupported(name, file, f"the type {type_}, which the destination cannot hold")


def unsupported(name: str, file: str, what: str) -> UnsupportedType:
    """The error about a column that has ``what``."""
    return UnsupportedType(f"{file}: column {name!r} has {what}.", hint=_LEAVE_OUT)


def _decimal(type_: pa.DataType) -> pa.DataType:
    decimal = cast("pa.Decimal128Type[Any, Any]", type_)
    return pa.decimal128(decimal.precision, decimal.scale)


def _no_json(type_: pa.DataType) -> str:
    """Why nested values of a type cannot be written as JSON without loss; empty where they can."""
    if isinstance(type_, pa.BaseExtensionType):
        return _no_json(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _no_json(cast("Any", type_).value_type)
    if (
        pa.types.is_binary(type_)
        or pa.types.is_large_binary(type_)
        or pa.types.is_fixed_size_binary(type_)
        or pa.types.is_binary_view(type_)
    ):
        return "JSON text cannot hold bytes within nested values"
    if pa.types.is_decimal(type_) and cast("Any", type_).precision > _MOST_DIGITS:
        return f"its decimals have more than {_MOST_DIGITS} digits"
    if pa.types.is_map(type_):
        map_ = cast("Any", type_)
        if not _is_text(map_.key_type):
            return _no_json(map_.key_type) or (f"the keys of an object are text in JSON, and these are {map_.key_type}")
        return _no_json(map_.item_type)
    if pa.types.is_struct(type_):
        fields = list(type_)
        if (twice := first_twice(field.name for field in fields)) is not None:
            return f"it has the field {twice!r} twice, and of two in one object JSON keeps one"
        return next((why for field in fields if (why := _no_json(field.type))), "")
    return _no_json(cast("Any", type_).value_type) if pa.types.is_nested(type_) else ""


def _writable(type_: pa.DataType) -> pa.DataType:
    """A nested type as the library that writes JSON knows it: without the younger ones of lists and decimals, and
    without zones, whose offsets it writes without their seconds."""
    if pa.types.is_decimal(type_):
        return _decimal(type_)
    if pa.types.is_timestamp(type_) and cast("Any", type_).tz:
        return pa.timestamp(cast("Any", type_).unit, tz="UTC")
    if pa.types.is_null(type_):
        return pa.string()
    if pa.types.is_map(type_):
        map_ = cast("Any", type_)
        return pa.map_(map_.key_type, map_.item_field.with_type(_writable(map_.item_type)))
    if pa.types.is_struct(type_):
        return pa.struct([field.with_type(_writable(field.type)) for field in type_])
    if not pa.types.is_nested(type_):
        return type_
    field: pa.Field[Any] = cast("Any", type_).value_field
    item = field.with_type(_writable(field.type))
    if pa.types.is_fixed_size_list(type_):
        size: int = cast("Any", type_).list_size
        return pa.list_(item, size)
    if pa.types.is_large_list(type_) or pa.types.is_large_list_view(type_):
        return pa.large_list(item)
    return pa.list_(item)


def _is_text(type_: pa.DataType) -> bool:
    if pa.types.is_dictionary(type_):
        return _is_text(cast("Any", type_).value_type)
    return pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_string_view(type_)


# The days 0001-01-01 and 9999-12-31, and what there is of a unit in a second.
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
_IN_A_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def keeps_apart(type_: pa.DataType) -> bool:
    """Whether values that differ in the file still do in the destination."""
    if isinstance(type_, pa.BaseExtensionType):
        return keeps_apart(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return keeps_apart(cast("Any", type_).value_type)
    if pa.types.is_timestamp(type_) or pa.types.is_duration(type_):
        return bool(cast("Any", type_).unit != "ns")
    return not pa.types.is_nested(type_)


def _timestamp_loss(type_: pa.TimestampType[Any, Any]) -> str:
    lost = [CUT_TO_MICROSECONDS] if type_.unit == "ns" else []
    if type_.tz not in (None, "UTC", "Etc/UTC", "+00:00", "Z"):
        lost.append(f"the zone {type_.tz} is not kept, the instant is")
    return "; ".join(lost)


def widen(first: pa.DataType, second: pa.DataType) -> pa.DataType | None:
    """The type that holds the values of both; None where there is none."""
    if first == second:
        return first
    for row in _WIDENING:
        if first in row and second in row:
            return row[max(row.index(first), row.index(second))]
    if pa.types.is_decimal(first) and pa.types.is_decimal(second):
        one, other = cast("pa.Decimal128Type[Any, Any]", first), cast("pa.Decimal128Type[Any, Any]", second)
        scale = max(one.scale, other.scale)
        digits = max(one.precision - one.scale, other.precision - other.scale) + scale
        return pa.decimal128(digits, scale) if digits <= _MOST_DIGITS else None
    return None


def convert(column: pa.Array[Any], type_: pa.DataType, where: str) -> pa.Array[Any]:
    """A file's column as the destination's type. Raises Unreadable, with ``where``, for a value that has no place."""
    if isinstance(column, pa.ExtensionArray):
        if column.type.extension_name == "arrow.uuid":
            texts = [None if value is None else str(value) for value in cast("Any", column).to_pylist()]
            return pa.array(texts, pa.string())
        column = column.storage
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary_decode()
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" in str(error):
            hint = "Its writer has put bytes into a text; have it write them as binary."
            raise Unreadable(f"{where}: a text holds bytes that are not UTF-8.", hint=hint) from error
        hint = "The file is damaged, or its writer has broken Parquet's rules; write it again."
        raise Unreadable(f"{where}: a value cannot be one of {column.type}.", hint=hint) from error
    if column.type == type_:
        return column
    try:
        if pa.types.is_nested(column.type):
            if (writable := _writable(column.type)) != column.type:
                column = cast("pa.Array[Any]", pc.cast(column, writable))
            leaves = list(_leaves(column))
            if any(map(_is_beyond_years, leaves)):
                hint = "Correct the file, or leave the column out."
                raise Unreadable(f"{where}: a nested date or time lies outside the years 1 to 9999.", hint=hint)
            if any(map(_has_no_number, leaves)):
                hint = "Write NULL or a text instead."
                raise Unreadable(f"{where}: JSON cannot hold NaN or infinity within a nested value.", hint=hint)
            if _repeats_key(column):
                raise Unreadable(
                    f"{where}: a key comes twice in one map, and JSON keeps one of the two.", hint=_LEAVE_OUT
                )
            return _as_json(column, where)
        if pa.types.is_duration(column.type):
            return pc.cast(pc.cast(column, pa.duration("us"), safe=False), pa.int64())
        if pa.types.is_timestamp(column.type):
            return _instants(column)
        if pa.types.is_date64(column.type):
            return pc.cast(column, pa.date32(), safe=False)
        return pc.cast(column, type_)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        hint = "Have its writer keep the values within that type, or leave the column out."
        raise Unreadable(f"{where}: a value of {column.type} does not fit into {type_}.", hint=hint) from error


def _instants(column: pa.Array[Any]) -> pa.Array[Any]:
    """Microseconds in UTC: the wall clock where the file names no zone, else the instant; finer digits are cut.

    Cut downwards also before 1970, where a division would round towards it.
    """
    unit = cast("Any", column.type).unit
    if unit == "ns":
        column = pc.floor_temporal(column, unit="microsecond")
    return pc.cast(pc.cast(column, pa.timestamp("us", tz=cast("Any", column.type).tz)), TIMESTAMP)


def _leaves(column: pa.Array[Any]) -> Iterator[pa.Array[Any]]:
    """The values within nested ones, without the keys of maps."""
    if isinstance(column, pa.MapArray):
        first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
        yield from _leaves(column.items.slice(first, last - first))
    elif isinstance(column, pa.StructArray | pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        parts = column.flatten()
        for part in parts if isinstance(parts, list) else [parts]:
            yield from _leaves(part)
    else:
        yield column


def _has_no_number(values: pa.Array[Any]) -> bool:
    """Whether one of some floats is NaN or infinite."""
    return pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False


def _is_beyond_years(values: pa.Array[Any]) -> bool:
    """Whether one of some dates or times has no year of four digits."""
    if pa.types.is_timestamp(values.type):
        in_a_day = 86_400 * _IN_A_SECOND[cast("Any", values.type).unit]
    elif pa.types.is_date(values.type):
        in_a_day = 86_400_000 if pa.types.is_date64(values.type) else 1
    else:
        return False
    ends: Any = pc.min_max(values.view(pa.int32() if pa.types.is_date32(values.type) else pa.int64()))
    if not ends["min"].is_valid:
        return False
    return bool(ends["min"].as_py() < _FIRST_DAY * in_a_day or ends["max"].as_py() >= (_LAST_DAY + 1) * in_a_day)


def _repeats_key(column: pa.Array[Any]) -> bool:
    """Whether a map within has a key twice."""
    if isinstance(column, pa.MapArray):
        first, last = column.offsets[0].as_py(), column.offsets[-1].as_py()
        of_rows = pa.ListArray.from_arrays(cast("Any", column.offsets), column.keys)
        keys = pl.DataFrame(
            {"row": pl.from_arrow(pc.list_parent_indices(of_rows)), "key": pl.from_arrow(pc.list_flatten(of_rows))}
        )
        return keys.n_unique() < keys.height or _repeats_key(column.items.slice(first, last - first))
    if isinstance(column, pa.StructArray | pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        parts = column.flatten()
        return any(_repeats_key(part) for part in (parts if isinstance(parts, list) else [parts]))
    return False


def _as_json(column: pa.Array[Any], where: str) -> pa.Array[Any]:
    """JSON text of nested values. Raises Unreadable for what it, or the library that writes it, has no form for."""

    def unwritable(text: str) -> Unreadable:
        return Unreadable(f"{where}: it cannot be written as JSON: {mask_quoted(text)}", hint=_LEAVE_OUT)

    try:
        with panics_as(unwritable):
            return _json_text(column)
    except pl.exceptions.PolarsError as error:
        raise unwritable(str(error).splitlines()[0]) from error


def _json_text(column: pa.Array[Any]) -> pa.Array[Any]:
    frame = pl.DataFrame({"v": pl.from_arrow(column)})
    encoded = frame.select(pl.struct("v").struct.json_encode()).to_series()
    texts = encoded.str.slice(len(_JSON_PREFIX)).str.head(-1).to_arrow(compat_level=pl.CompatLevel.oldest())
    text = pc.cast(texts, pa.string())
    return cast("pa.Array[Any]", pc.if_else(pc.is_valid(column), text, pa.scalar(None, pa.string())))
