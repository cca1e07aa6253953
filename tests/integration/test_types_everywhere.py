"""Every type that a Parquet file can have, in every store: what other libraries read there is what Arrow says of it."""

from __future__ import annotations

import base64
import csv
import json
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from devcloud.onelake import OneLake
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import load_project
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.integration.warehouse import Nobody

MOMENT = datetime(2024, 1, 31, 12, 34, 56, 123456)
EARLY = datetime(1, 1, 1, 0, 0, 0, 1)
LATE = datetime(9999, 12, 31, 23, 59, 59)
DIGITS = Decimal("12345678901234567890123456789012345.678")
WORDS = ['ä"\\\n\t\0\x7f,;', "", " ", "null", "1.10", "😀"]


def _uuids() -> pa.Array[Any]:
    return pa.ExtensionArray.from_storage(pa.uuid(), pa.array([uuid.UUID(int=5).bytes, None], pa.binary(16)))


def _nested(item: pa.Array[Any]) -> dict[str, pa.Array[Any]]:
    """A type within all kinds of nested ones, each with NULLs at every depth."""
    values, type_ = item.to_pylist(), item.type
    kinds: list[tuple[Any, list[Any]]] = [
        (pa.list_(type_), [values, [], None]),
        (pa.large_list(type_), [values, None]),
        (pa.list_view(type_), [values, None]),
        (pa.list_(type_, len(values)), [values, None]),
        (pa.struct([("x", type_), ("y y", pa.list_(type_))]), [{"x": values[0], "y y": values}, {"x": None}, None]),
        (pa.list_(pa.struct([("x", type_)])), [[{"x": values[0]}, None, {"x": None}]]),
        (pa.map_(pa.string(), type_), [list(zip("abcdefgh", values, strict=False)), [], None]),
    ]
    return {f"{number} of {type_}": pa.array(rows, of) for number, (of, rows) in enumerate(kinds)}


LEAVES: dict[str, pa.Array[Any]] = {
    "bool": pa.array([True, False, None]),
    **{str(kind): pa.array([0, 1, None], kind) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16())},
    "int32": pa.array([-(2**31), 2**31 - 1, None], pa.int32()),
    "uint32": pa.array([2**32 - 1, None], pa.uint32()),
    "int64": pa.array([-(2**63), 2**63 - 1, 9007199254740993, None]),
    "uint64": pa.array([2**64 - 1, None], pa.uint64()),
    "half": pa.array([1.5, -65504.0, None], pa.float16()),
    "float": pa.array([0.1, 16777217.0, None], pa.float32()),
    "double": pa.array([0.1, 1e22, 5e-324, -1.7976931348623157e308, None]),
    "string": pa.array([*WORDS, None]),
    "large_string": pa.array([*WORDS, None], pa.large_string()),
    "decimal32": pa.array([Decimal("1.50"), None], pa.decimal32(5, 2)),
    "decimal64": pa.array([Decimal("-0.01"), None], pa.decimal64(12, 2)),
    "decimal128": pa.array([DIGITS, -DIGITS, None], pa.decimal128(38, 3)),
    "small decimal": pa.array([Decimal("1E-10"), None], pa.decimal128(12, 10)),
    "decimal256": pa.array([DIGITS, None], pa.decimal256(38, 3)),
    "date32": pa.array([EARLY.date(), LATE.date(), None]),
    "date64": pa.array([MOMENT.date(), None], pa.date64()),
    "time ms": pa.array([time(1, 2, 3, 4000), None], pa.time32("ms")),
    "time us": pa.array([time(23, 59, 59, 999999), None], pa.time64("us")),
    "time ns": pa.array([time(1, 2, 3, 4), None], pa.time64("ns")),
    "timestamp ms": pa.array([MOMENT.replace(microsecond=123000), None], pa.timestamp("ms")),
    "timestamp us": pa.array([MOMENT, EARLY, LATE, None], pa.timestamp("us")),
    "timestamp ns": pa.array([MOMENT, None], pa.timestamp("ns")),
    "timestamp UTC": pa.array([MOMENT, EARLY, None], pa.timestamp("us", "UTC")),
    "timestamp Berlin": pa.array([MOMENT, None], pa.timestamp("us", "Europe/Berlin")),
    "dictionary": pa.array(["a", "b", "a", None]).dictionary_encode(),
    "nothing": pa.nulls(2),
}
ALONE: dict[str, pa.Array[Any]] = {
    "string_view": pa.array([*WORDS, None], pa.string_view()),
    "binary": pa.array([b"\0\xff", b"", None]),
    "large_binary": pa.array([b"a", None], pa.large_binary()),
    "binary_view": pa.array([b"a", None], pa.binary_view()),
    "fixed": pa.array([b"ab", None], pa.binary(2)),
    "uuid": _uuids(),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', None])),
    "duration ms": pa.array([timedelta(days=1, milliseconds=5), None], pa.duration("ms")),
    "duration us": pa.array([timedelta(microseconds=-5), None], pa.duration("us")),
}
COLUMNS = {
    f"c{number}": array
    for number, array in enumerate(
        [*LEAVES.values(), *ALONE.values(), *(deep for leaf in LEAVES.values() for deep in _nested(leaf).values())]
    )
}
ROWS = max(len(array) for array in COLUMNS.values())


def same(want: Any, found: Any, type_: pa.DataType) -> bool:
    """Whether what a library found is Arrow's value, in whichever form its format has for the type."""
    if want is None:
        return found is None
    if isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    if pa.types.is_nested(type_):
        return isinstance(found, str) and same_json(want, json.loads(found), type_)
    if pa.types.is_floating(type_):
        return pa.array([float(found)], type_).to_pylist() == [want]
    match want:
        case bool():
            return found in (want, str(want).lower())
        case int():
            return int(found) == want
        case bytes():
            return found == want or base64.b64decode(found) == want
        case datetime():
            moment = found if isinstance(found, datetime) else datetime.fromisoformat(found)
            return _in_utc(moment) == _in_utc(want)
        case date():
            return (found if isinstance(found, date) else date.fromisoformat(found)) == want
        case time():
            return isinstance(found, str) and time.fromisoformat(found[:15]) == want and not found[15:].strip("0")
        case timedelta():
            return int(found) == want // timedelta(microseconds=1)
        case Decimal():
            return Decimal(found) == want and not (isinstance(found, str) and "E" in found)
        case _:
            return bool(found == str(want))


def same_json(want: Any, found: Any, type_: pa.DataType) -> bool:
    """The same within JSON text, whose objects and lists are nested values."""
    if want is None or not pa.types.is_nested(type_):
        return same(want, found, type_)
    if pa.types.is_map(type_):
        want, item = dict(want), type_.item_type
        return found.keys() == want.keys() and all(same_json(want[key], found[key], item) for key in want)
    if pa.types.is_struct(type_):
        names = [field.name for field in type_]
        return list(found) == names and all(same_json(want[f.name], found[f.name], f.type) for f in type_)
    item_type: pa.DataType = cast("Any", type_).value_type
    return len(found) == len(want) and all(same_json(*pair, item_type) for pair in zip(want, found, strict=True))


def _in_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def read_parquet(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("*.parquet")
    return pq.read_table(path).to_pylist()


def read_csv(folder: Path) -> list[dict[str, Any]]:
    """With what is quoted distinguished from NULL, which Python's own reader does not."""
    (path,) = folder.glob("*.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, quoting=csv.QUOTE_NOTNULL))
    return [dict(row) for row in rows]


def read_ndjson(folder: Path) -> list[dict[str, Any]]:
    (path,) = folder.glob("*.ndjson")
    return [json.loads(line) for line in path.read_text().split("\n") if line]


def read_delta(folder: Path) -> list[dict[str, Any]]:
    return pl.read_delta(str(folder)).to_dicts()


def read_sqlite(path: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM everything")]


def test_what_lands_is_what_arrow_says_is_in_the_file(tmp_path: Path, module_lake: OneLake) -> None:
    """One file of all types, nested in each other too, into each kind of store."""
    padded = {
        name: pa.concat_arrays([array, pa.nulls(ROWS - len(array), array.type)]) for name, array in COLUMNS.items()
    }
    table = pa.table({"id": pa.array(range(ROWS)), **padded})
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in/everything.parquet")
    account = {"account_url": module_lake.url, "credential": "account_key", **module_lake.credential}
    mirror = {"type": "open_mirroring", **account, "filesystem": WORKSPACE, "mirror_name": ITEM, "key_columns": ["id"]}
    local = {format_: {"type": "local", "path": f"out/{format_}", "format": format_} for format_ in FILES}
    stores = {**local, "sqlite": {"type": "sqlite", "path": "out/all.db"}, "mirror": mirror}
    (tmp_path / "hygge.yml").write_text("name: types\n")
    for name, store in stores.items():
        (tmp_path / "flows" / name).mkdir(parents=True)
        home = {"type": "local", "path": "in/{entity}.parquet", "key": ["id"]}
        flow = {"home": home, "store": store, "entities": ["everything"]}
        (tmp_path / "flows" / name / "flow.yml").write_text(json.dumps(flow))
    summary = run_load(load_project(tmp_path, {}), LoadRequest(requested_by="tests"), Nobody())
    assert summary["status"] == "success", summary
    found = {format_: read(tmp_path / f"out/{format_}/everything") for format_, read in FILES.items()}
    found["sqlite"] = read_sqlite(tmp_path / "out/all.db")
    zone = module_lake.path(WORKSPACE, ITEM, "Files", "LandingZone")
    found["mirror"] = read_parquet(next(zone.rglob("everything")))
    for store, rows in found.items():
        rows.sort(key=lambda row: int(row["id"]))
        assert len(rows) == ROWS
        for field in table.schema:
            wanted = table.column(field.name).to_pylist()
            landed = [row.get(field.name) for row in rows]
            pairs = zip(wanted, landed, strict=True)
            assert all(same(*pair, field.type) for pair in pairs), (store, field, wanted, landed)


FILES: dict[str, Callable[[Path], list[dict[str, Any]]]] = {
    "parquet": read_parquet,
    "csv": read_csv,
    "ndjson": read_ndjson,
    "delta": read_delta,
}
