"""Watermarks over files: what can be one, its values as text, and which rows lie between two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from hygge_engine.errors import BoundUnusable, CursorUnusable
from hygge_engine.homes.base import Column, ReadWindow
from hygge_engine.homes.files.listing import SourceFile
from hygge_engine.lake.base import PathInfo
from hygge_engine.watermark import Boundary, CursorType
from hygge_engine.watermark.bounds import check_digits, moment, number, plain_text, shown, with_digits
from hygge_engine.watermark.rows import REMEMBERED_ROWS
from hygge_engine.watermark.values import order_of

_DIGEST_BYTES = 8

_MICROSECOND_DIGITS = 6

# Text that stands for something else in the file, whose order is not that of the changes.
_NO_TEXT = {
    "JSON": "it holds JSON",
    "instant": "its text has offsets, so that its order is not that of the times; declare it as a timestamp",
    "time32": "it starts again every day",
    "time64": "it starts again every day",
}


def cursor_type(column: Column) -> CursorType:
    """How the journal calls a watermark over this column. Raises CursorUnusable with the reason."""
    type_ = column.type
    reason = next((why for word, why in _NO_TEXT.items() if column.source_type.startswith(word)), "")
    if column.loss.startswith("nested"):
        reason = "it holds nested values"
    if not reason:
        if pa.types.is_integer(type_) or (pa.types.is_decimal(type_) and cast("Any", type_).scale == 0):
            return "int"
        if pa.types.is_timestamp(type_) or pa.types.is_date(type_):
            return "datetime"
        if pa.types.is_string(type_):
            return "string"
        reason = "its values are in no order of change"
        if pa.types.is_floating(type_):
            reason = "its values are inexact"
        if pa.types.is_boolean(type_):
            reason = "it has two values"
    raise CursorUnusable(
        f"Column {column.name!r} of type {column.source_type} cannot be a watermark: {reason}.",
        hint="Use a time of last change, a number that grows with every change, or watermark: {file_modified: true}.",
    )


def comparable(text: str, type_: pa.DataType) -> Any:
    """A bound as the Python value that values of a column compare with. Raises CursorUnusable."""
    try:
        if pa.types.is_timestamp(type_):
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if pa.types.is_date(type_):
            return datetime.fromisoformat(text).date()
        if pa.types.is_decimal(type_):
            return Decimal(text)
        return int(text) if pa.types.is_integer(type_) else text
    except (ValueError, ArithmeticError):
        raise CursorUnusable(f"{text!r} is not a value of a {type_}.", hint="Check the window's bounds.") from None


def bound_text(text: str, of: str, type_: pa.DataType) -> str:
    """A window's bound as `comparable` takes it; a time without an offset is in UTC, as the rows' are. ``of`` names the
    column. Raises BoundUnusable."""
    if pa.types.is_integer(type_):
        bits = type_.bit_width - pa.types.is_signed_integer(type_)
        return number(text, -(1 << bits) if pa.types.is_signed_integer(type_) else 0, (1 << bits) - 1, of)
    if pa.types.is_decimal(type_):
        most = int(10 ** cast("Any", type_).precision) - 1
        return number(text, -most, most, of)
    if pa.types.is_string(type_):
        return plain_text(text)
    found = moment(text)
    if pa.types.is_date(type_):
        if found.has_clock or found.offset is not None:
            hint = f"Write a day: {found.whole:%Y-%m-%d}."
            raise BoundUnusable(f"{shown(text)} lies within a day, and {of} has whole days.", hint=hint)
        return found.whole.date().isoformat()
    check_digits(text, found, _MICROSECOND_DIGITS, of)
    try:
        return f"{with_digits(found.in_utc(), found.fraction, _MICROSECOND_DIGITS)}+00:00"
    except OverflowError:
        raise BoundUnusable(f"{shown(text)} is beyond what {of} can hold.", hint="Write it in UTC.") from None


def text_of(value: Any) -> str:
    """The exact text of a column's value."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")
    if isinstance(value, date):
        return value.isoformat()
    return format(value, "f" if isinstance(value, Decimal) else "")


def within(column: pa.Array[Any], window: ReadWindow) -> pa.Array[Any] | None:
    """Which rows of a batch are in the window; None where all are. NULLs are in one without a lower bound."""
    conditions: list[Any] = []
    if window.lower is not None:
        bound = _scalar(window.lower, column.type)
        conditions.append((pc.greater_equal if window.lower_inclusive else pc.greater)(column, bound))
    if window.upper is not None:
        conditions.append(pc.less_equal(column, _scalar(window.upper, column.type)))
    if not conditions:
        return None
    inside = conditions[0] if len(conditions) == 1 else pc.and_kleene(*conditions)
    return cast("pa.Array[Any]", pc.fill_null(inside, window.lower is None))


def equal_to(column: pa.Array[Any], text: str) -> int:
    """How many values are exactly this one."""
    equal: Any = pc.equal(column, _scalar(text, column.type))
    return int(pc.sum(equal).as_py() or 0)


def _scalar(text: str, type_: pa.DataType) -> Any:
    value = comparable(text, type_)
    if pa.types.is_integer(type_):
        return pa.scalar(value, pa.int64())
    return pa.scalar(value) if pa.types.is_decimal(type_) else pa.scalar(value, type_)


def modified_text(info: PathInfo) -> str:
    """A file's time of last change, as a watermark."""
    return info.modified.astimezone(UTC).isoformat(timespec="microseconds")


def boundary_of(files: Iterable[SourceFile], value: str) -> Boundary:
    """The files that were changed at exactly ``value``, each by name and content."""
    digests = tuple(_digest(file.info) for file in files if modified_text(file.info) == value)
    return Boundary(value, digests) if len(digests) <= REMEMBERED_ROWS else Boundary(value, (), complete=False)


def files_within(files: Iterable[SourceFile], window: ReadWindow) -> list[SourceFile]:
    """The files that a window over times of last change means."""
    lower = order_of(window.lower, "datetime") if window.lower is not None else None
    upper = order_of(window.upper, "datetime") if window.upper is not None else None
    found = []
    for file in files:
        at = order_of(modified_text(file.info), "datetime")
        if lower is not None and (at < lower or (at == lower and not _is_new(file, window))):
            continue
        if upper is not None and (at > upper or (at == upper and not _is_known(file, window))):
            continue
        found.append(file)
    return found


def _is_new(file: SourceFile, window: ReadWindow) -> bool:
    if not window.lower_inclusive:
        return False
    landed = window.landed
    return landed is None or not landed.complete or _digest(file.info) not in landed.rows


def _is_known(file: SourceFile, window: ReadWindow) -> bool:
    known = window.known
    return known is None or not known.complete or _digest(file.info) in known.rows


def _digest(info: PathInfo) -> str:
    return hashlib.blake2b(f"{info.path}\0{info.etag}".encode(), digest_size=_DIGEST_BYTES).hexdigest()
