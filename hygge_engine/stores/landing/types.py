"""Arrow types from their names, as the landing state keeps a table's columns."""

from __future__ import annotations

import re
from typing import Any, cast

import pyarrow as pa

from hygge_engine.errors import LandingBroken

_DECIMAL = re.compile(r"decimal128\((\d+), (\d+)\)")
_TIMESTAMP = re.compile(r"timestamp\[(s|ms|us|ns), tz=(.+)\]")


def parse_type(name: str) -> pa.DataType:
    """The type whose ``str`` is ``name``. Raises LandingBroken where there is none."""
    if found := _DECIMAL.fullmatch(name):
        return pa.decimal128(int(found[1]), int(found[2]))
    if found := _TIMESTAMP.fullmatch(name):
        return pa.timestamp(cast("Any", found[1]), tz=found[2])
    try:
        return cast("pa.DataType", pa.type_for_alias(cast("Any", name)))
    except ValueError as error:
        raise LandingBroken(f"the landing state names a column type that this version does not know: {name}") from error


def schema_of(columns: dict[str, str]) -> pa.Schema:
    """The Arrow schema of columns as the landing state keeps them."""
    return pa.schema([pa.field(name, parse_type(type_)) for name, type_ in columns.items()])
