"""Arrow record batches to ROW tokens, without a Python object per value.

Each column becomes one or more *pieces*: fixed-width byte matrices, and variable-width byte strings with offsets.
Neighbouring matrices are put side by side; Arrow then joins the pieces row by row, and the joined buffer is the wire.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from devcloud.sqlserver.guids import WIRE_FROM_STORAGE
from devcloud.sqlserver.tds.typeinfo import SIZED, ResultColumn
from devcloud.sqlserver.tds.variants import encode_variant
from devcloud.sqlserver.types import MAX, SqlType, decimal_width, time_width

Bytes = npt.NDArray[np.uint8]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
type Piece = Bytes | pa.Array[Any]

_TICKS_PER_DAY: Final = 864_000_000_000
_ROW_TOKEN: Final = 0xD1
_DAYS_FROM_0001_TO_1970: Final = 719_162
_TEXT_POINTER: Final = bytes([16]) + b"devcloud pointer" + b"\x00" * 8
"""A text pointer of 16 bytes and a timestamp of 8, which clients read past."""


def encode_rows(batch: pa.RecordBatch, columns: Sequence[ResultColumn]) -> memoryview:
    """Return a batch as ROW tokens."""
    rows = batch.num_rows
    pieces: list[Piece] = [np.full((rows, 1), _ROW_TOKEN, np.uint8)]
    for array, column in zip(batch.columns, columns, strict=True):
        pieces.extend(_encode_column(array, column))
    return _join(pieces, rows)


def _join(pieces: list[Piece], rows: int) -> memoryview:
    """Join pieces row by row."""
    arrays: list[pa.Array[Any]] = []
    matrices: list[Bytes] = []
    for piece in pieces:
        if isinstance(piece, np.ndarray):
            matrices.append(piece)
            continue
        if matrices:
            arrays.append(_as_binary(matrices, rows))
            matrices = []
        arrays.append(piece)
    if matrices:
        if not arrays:
            return memoryview(np.ascontiguousarray(np.concatenate(matrices, axis=1))).cast("B")
        arrays.append(_as_binary(matrices, rows))
    joined: Any = pc.binary_join_element_wise(*arrays, _NOTHING)
    buffer = joined.buffers()[2]
    return memoryview(buffer) if buffer is not None else memoryview(b"")


def _as_binary(matrices: list[Bytes], rows: int) -> pa.Array[Any]:
    block = matrices[0] if len(matrices) == 1 else np.concatenate(matrices, axis=1)
    offsets = np.arange(rows + 1, dtype=np.int64) * block.shape[1]
    return _binary(offsets, np.ascontiguousarray(block))


def _binary(offsets: Integers, data: Bytes | pa.Buffer | bytes) -> pa.Array[Any]:
    buffer = data if isinstance(data, pa.Buffer) else pa.py_buffer(data)
    count = len(offsets) - 1
    return pa.Array.from_buffers(pa.large_binary(), count, [None, pa.py_buffer(offsets), buffer])


def _validity(array: pa.Array[Any]) -> Mask | None:
    """Return which values are not NULL, or None if all are."""
    bitmap = array.buffers()[0]
    if array.null_count == 0 or bitmap is None:
        return None
    bits = np.unpackbits(np.frombuffer(bitmap, np.uint8), count=array.offset + len(array), bitorder="little")
    return bits[array.offset :].view(np.bool_)


# pa.scalar and pa.array would import pandas first, a second and more; Arrow over buffers does not.
_NOTHING: Final[Any] = _binary(np.zeros(2, np.int64), b"")[0]


# Columns


def _encode_column(array: pa.Array[Any], column: ResultColumn) -> list[Piece]:
    kind = column.type
    if kind.name in ("text", "ntext", "image"):
        return _encode_lob(array, kind)
    if kind.length == MAX:
        return _encode_chunked(array, kind)
    if kind.is_text or kind.is_binary:
        return _encode_variable(array, kind)
    if kind.name == "sql_variant":
        return [_encode_variants(array)]
    valid = _validity(array)
    values = _FIXED_ENCODERS[kind.name](array, kind)
    if column.is_fixed:
        if valid is not None:
            raise ValueError(f"NULL in column {column.name}, which is not nullable")
        return [values]
    return _with_length(values, valid)


def _with_length(values: Bytes, valid: Mask | None) -> list[Piece]:
    """Put the length byte before each value; a NULL is a length of 0 and nothing else."""
    rows, width = values.shape
    if valid is None:
        return [np.full((rows, 1), width, np.uint8), values]
    lengths = np.where(valid, width, 0)
    offsets = np.zeros(rows + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return [lengths.astype(np.uint8).reshape(rows, 1), _binary(offsets, np.ascontiguousarray(values[valid]))]


def _little_endian(values: npt.NDArray[Any], width: int) -> Bytes:
    """Return whole numbers as that many bytes each, the lowest first."""
    source = np.ascontiguousarray(values)
    return source.view(np.uint8).reshape(len(source), source.dtype.itemsize)[:, :width]


def _integers(array: pa.Array[Any]) -> npt.NDArray[Any]:
    """Return the values of a primitive array as numpy, whatever stands where NULLs are."""
    width = array.type.bit_width // 8
    dtype = {1: "u1", 2: "<i2", 4: "<i4", 8: "<i8"}[width]
    buffer = array.buffers()[1]
    return np.frombuffer(buffer, dtype, len(array), array.offset * width) if buffer else np.zeros(len(array), dtype)


def _encode_plain(array: pa.Array[Any], kind: SqlType) -> Bytes:
    """Integers, bit, real and float: Arrow's bytes are TDS's."""
    return _little_endian(_integers(array), SIZED[kind.name][1])


def _decimal_words(array: pa.Array[Any]) -> npt.NDArray[np.uint64]:
    """Return decimal128 values as two words each, the lower first, in two's complement."""
    buffer = array.buffers()[1]
    if buffer is None:
        return np.zeros((len(array), 2), np.uint64)
    return np.frombuffer(buffer, "<u8", 2 * len(array), array.offset * 16).reshape(len(array), 2)


def _encode_decimal(array: pa.Array[Any], kind: SqlType) -> Bytes:
    """One byte for the sign (1 is positive), then the magnitude."""
    words = _decimal_words(array)
    width = decimal_width(kind.precision)
    negative = words[:, 1] >> np.uint64(63) == 1
    result = np.empty((len(array), width), np.uint8)
    result[:, 0] = ~negative
    if kind.precision <= 18:
        magnitude = np.abs(words[:, 0].view(np.int64))
        result[:, 1:] = magnitude.view(np.uint8).reshape(-1, 8)[:, : width - 1]
        return result
    low = np.where(negative, ~words[:, 0] + np.uint64(1), words[:, 0])
    carry = (negative & (words[:, 0] == 0)).astype(np.uint64)
    high = np.where(negative, ~words[:, 1] + carry, words[:, 1])
    both = np.empty((len(array), 2), np.uint64)
    both[:, 0], both[:, 1] = low, high
    result[:, 1:] = both.view(np.uint8).reshape(-1, 16)[:, : width - 1]
    return result


def _encode_money(array: pa.Array[Any], kind: SqlType) -> Bytes:
    """Units of 1/10000: the high four bytes first, then the low four; smallmoney has the low ones only."""
    units = _little_endian(_decimal_words(array)[:, 0], 8)
    return units[:, :4] if kind.name == "smallmoney" else units[:, [4, 5, 6, 7, 0, 1, 2, 3]]


def _encode_date(array: pa.Array[Any], _: SqlType) -> Bytes:
    """Days since 0001-01-01 in three bytes; Arrow counts from 1970."""
    return _little_endian(_integers(array).astype(np.int32) + np.int32(_DAYS_FROM_0001_TO_1970), 3)


def _encode_datetime(array: pa.Array[Any], _: SqlType) -> Bytes:
    """Days since 1900 in four bytes, ticks of 1/300 second in four."""
    days, ticks = np.divmod(_integers(array), 25_920_000)
    pair = np.empty((len(array), 2), np.int32)
    pair[:, 0], pair[:, 1] = days, ticks
    return _little_endian(pair.view(np.int64).reshape(-1), 8)


def _encode_smalldatetime(array: pa.Array[Any], _: SqlType) -> Bytes:
    """Days since 1900 in two bytes, minutes in two."""
    days, minutes = np.divmod(_integers(array), 1440)
    pair = np.empty((len(array), 2), np.uint16)
    pair[:, 0], pair[:, 1] = days, minutes
    return _little_endian(pair.view(np.uint32).reshape(-1), 4)


def _clock(ticks: Integers, scale: int) -> Bytes:
    """Return times of day in units of the scale."""
    unit = 10 ** (7 - scale)
    return _little_endian(ticks if unit == 1 else ticks // unit, time_width(scale))


def _encode_time(array: pa.Array[Any], kind: SqlType) -> Bytes:
    return _clock(_integers(array), kind.scale)


def _moment(ticks: Integers, scale: int) -> Bytes:
    """Return the time of day, then the days since 0001-01-01."""
    days = ticks // _TICKS_PER_DAY
    clock = _clock(ticks - days * _TICKS_PER_DAY, scale)
    result = np.empty((len(ticks), clock.shape[1] + 3), np.uint8)
    result[:, :-3] = clock
    result[:, -3:] = _little_endian(days, 3)
    return result


def _encode_datetime2(array: pa.Array[Any], kind: SqlType) -> Bytes:
    return _moment(_integers(array), kind.scale)


def _encode_datetimeoffset(array: pa.Array[Any], kind: SqlType) -> Bytes:
    """The instant in UTC, then the offset in minutes."""
    if not isinstance(array, pa.StructArray):
        raise TypeError(f"datetimeoffset as {array.type}")
    ticks, offsets = _integers(array.field(0)), _integers(array.field(1))
    return np.concatenate((_moment(ticks, kind.scale), _little_endian(offsets, 2)), axis=1)


def _encode_guid(array: pa.Array[Any], _: SqlType) -> Bytes:
    offsets, data = _offsets(array)
    result = np.zeros((len(array), 16), np.uint8)
    filled = np.diff(offsets) == 16
    result[filled] = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]].reshape(-1, 16)
    return result[:, list(WIRE_FROM_STORAGE)]


_FIXED_ENCODERS: Final[dict[str, Callable[[pa.Array[Any], SqlType], Bytes]]] = {
    **dict.fromkeys(("bit", "tinyint", "smallint", "int", "bigint", "real", "float"), _encode_plain),
    **dict.fromkeys(("decimal", "numeric"), _encode_decimal),
    **dict.fromkeys(("money", "smallmoney"), _encode_money),
    "date": _encode_date,
    "datetime": _encode_datetime,
    "smalldatetime": _encode_smalldatetime,
    "time": _encode_time,
    "datetime2": _encode_datetime2,
    "datetimeoffset": _encode_datetimeoffset,
    "uniqueidentifier": _encode_guid,
}


# Variable width


def _offsets(array: pa.Array[Any]) -> tuple[Integers, pa.Buffer]:
    """Return the offsets of a string or binary array, and its data."""
    _, offsets, data = array.buffers()
    wide = pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
    dtype, width = ("<i8", 8) if wide else ("<i4", 4)
    if offsets is None:
        return np.zeros(len(array) + 1, np.int64), pa.py_buffer(b"")
    found = np.frombuffer(offsets, dtype, len(array) + 1, array.offset * width).astype(np.int64)
    return found, data if data is not None else pa.py_buffer(b"")


def _wire_bytes(array: pa.Array[Any], kind: SqlType) -> tuple[Integers, Bytes | pa.Buffer | bytes]:
    """Return offsets and data of the values as the wire has them: UTF-16, their code page, or bytes as they are."""
    offsets, data = _offsets(array)
    if not kind.is_text:
        return offsets, data
    text = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    relative = offsets - offsets[0]
    is_ascii = not (text.size and text.max() > 0x7F)
    if not kind.is_wide:
        if is_ascii or kind.codec == "utf-8":
            return offsets, data
        return _positions(text, wide=False)[relative], text.tobytes().decode("utf-8").encode(kind.codec, "replace")
    if is_ascii:
        return relative * 2, text.astype("<u2").view(np.uint8)
    return _positions(text, wide=True)[relative] * 2, text.tobytes().decode("utf-8").encode("utf-16-le")


def _positions(text: Bytes, *, wide: bool) -> Integers:
    """Return for each place of UTF-8 text how many units of the other encoding come before it."""
    counts = ((text & 0xC0) != 0x80).astype(np.int64)
    if wide:
        counts += text >= 0xF0  # beyond the basic plane: a surrogate pair
    positions = np.zeros(len(text) + 1, np.int64)
    np.cumsum(counts, out=positions[1:])
    return positions


def _encode_variable(array: pa.Array[Any], kind: SqlType) -> list[Piece]:
    """Two bytes of length, 0xFFFF for NULL, then the value."""
    valid = _validity(array)
    offsets, data = _wire_bytes(array, kind)
    lengths = np.diff(offsets)
    if valid is not None:
        lengths = np.where(valid, lengths, 0xFFFF)
    return [_little_endian(lengths, 2), _binary(offsets, data)]


def _encode_chunked(array: pa.Array[Any], kind: SqlType) -> list[Piece]:
    """PLP: eight bytes of length, one chunk with its own length, an empty chunk; NULL is eight bytes of 0xFF."""
    offsets, data = _wire_bytes(array, kind)
    lengths = np.diff(offsets)
    valid = _validity(array)
    rows = len(lengths)
    if valid is None and (rows == 0 or lengths.min() > 0):
        head = np.concatenate((_little_endian(lengths, 8), _little_endian(lengths, 4)), axis=1)
        return [head, _binary(offsets, data), np.zeros((rows, 4), np.uint8)]
    # NULL has no chunks and no end; an empty value has an end only.
    valid = np.ones(rows, np.bool_) if valid is None else valid
    filled = valid & (lengths > 0)
    head = _little_endian(np.where(valid, lengths, -1), 8)
    return [
        head,
        _masked(_little_endian(lengths, 4), filled),
        _binary(offsets, data),
        _masked(np.zeros((rows, 4), np.uint8), valid),
    ]


def _masked(values: Bytes, mask: Mask) -> pa.Array[Any]:
    """Return the values where the mask holds, and nothing elsewhere."""
    offsets = np.zeros(len(mask) + 1, np.int64)
    np.cumsum(np.where(mask, values.shape[1], 0), out=offsets[1:])
    return _binary(offsets, np.ascontiguousarray(values[mask]))


def _encode_lob(array: pa.Array[Any], kind: SqlType) -> list[Piece]:
    """text, ntext and image: a text pointer, four bytes of length, the value; NULL is an empty pointer."""
    offsets, data = _wire_bytes(array, kind)
    valid = _validity(array)
    valid = np.ones(len(array), np.bool_) if valid is None else valid
    pointer = np.frombuffer(_TEXT_POINTER, np.uint8)
    head = np.empty((len(array), len(pointer) + 4), np.uint8)
    head[:, :-4] = pointer
    head[:, -4:] = _little_endian(np.diff(offsets), 4)
    starts = np.zeros(len(array) + 1, np.int64)
    np.cumsum(np.where(valid, head.shape[1], 1), out=starts[1:])
    flat = np.zeros(int(starts[-1]), np.uint8)
    places = starts[:-1][valid][:, None] + np.arange(head.shape[1])
    flat[places] = head[valid]
    return [_binary(starts, flat), _binary(offsets, data)]


def _encode_variants(array: pa.Array[Any]) -> pa.Array[Any]:
    """sql_variant: four bytes of length, 0 for NULL, then type, properties and value; one by one, for they are rare."""
    parts = []
    for value in array.to_pylist():
        body = b"" if value is None else encode_variant(value["kind"], value["body"])
        parts.append(struct.pack("<I", len(body)) + body)
    offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int64)
    return _binary(offsets, b"".join(parts))
