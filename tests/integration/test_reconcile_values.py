"""Values of every type in every store: what has landed is equal to its source, and no changed cell goes unseen."""

from __future__ import annotations

import uuid
from collections.abc import Generator
from datetime import UTC
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceTask
from hygge_engine.homes.base import Batch, Column, HighWater, Position, ReadWindow, SourceSchema
from hygge_engine.project import Project
from hygge_engine.reconcile import compare
from hygge_engine.reconcile.compare import reconcile
from hygge_engine.reconcile.result import Reconciliation, Unwatched
from tests.integration.mssql_server import ServerProcess, own_name
from tests.integration.warehouse import FLOW, AskedToStop, hygge_mssql
from tests.unit.project_files import HYGGE, load

pytestmark = pytest.mark.any_server

# The types that SQL Server's become, and what a file may have besides.
TYPES: dict[str, pa.DataType] = {
    "flag": pa.bool_(),
    "small": pa.int16(),
    "whole": pa.int32(),
    "large": pa.int64(),
    "money": pa.decimal128(19, 4),
    "exact": pa.decimal128(38, 10),
    "real": pa.float32(),
    "float": pa.float64(),
    "day": pa.date32(),
    "moment": pa.timestamp("us", tz="UTC"),
    "text": pa.string(),
    "bytes": pa.binary(),
}


EXACT = Context(prec=38)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    limit = 10**precision - 1
    return st.integers(-limit, limit).map(lambda digits: Decimal(digits).scaleb(-scale, EXACT))


# SQL Server and Python have the same years in timestamps; text has no NUL, which CSV has no place for.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "flag": st.booleans(),
    "small": st.integers(-(2**15), 2**15 - 1),
    "whole": st.integers(-(2**31), 2**31 - 1),
    "large": st.integers(-(2**63), 2**63 - 1),
    "money": decimals(19, 4),
    "exact": decimals(38, 10),
    "real": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "float": st.floats(allow_nan=False, allow_infinity=False),
    "day": st.dates(),
    "moment": st.datetimes(timezones=st.just(UTC)),
    "text": TEXT | st.sampled_from(["", "NULL", "null", "1", "true", '"', "a,b", "a\nb", "\r\n", " x ", "NaN", "0x00"]),
    "bytes": st.binary(max_size=12),
}

ROWS = st.lists(
    st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}), min_size=1, max_size=20
)
STORES = ("parquet", "csv", "ndjson", "delta", "sqlite", "mssql")


class TableHome:
    """A source with one batch of rows."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    @property
    def batch(self) -> pa.RecordBatch:
        numbered = [row | {"id": number} for number, row in enumerate(self.rows)]
        return pa.RecordBatch.from_pylist(numbered, schema=self.describe().schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def describe(self) -> SourceSchema:
        columns = (Column(name, type_, "") for name, type_ in TYPES.items())
        return SourceSchema("dbo.things", (Column("id", pa.int32(), "int", nullable=False), *columns), key=("id",))

    def high_water(self, cursor: str) -> HighWater:
        raise NotImplementedError

    def count(self, window: ReadWindow) -> int:
        return len(self.rows)

    def count_at(self, cursor: str, value: str) -> int:
        raise NotImplementedError

    def read(self, window: ReadWindow, after: Position | None = None) -> Generator[Batch]:
        yield Batch(self.batch, [str(len(self.rows))])


class Store:
    """A store that is loaded whole."""

    def __init__(self, project: Project, home: TableHome) -> None:
        self.project = project
        self.home = home
        (self._entity,) = project.entities

    def load(self) -> None:
        task = SliceTask(uuid.uuid4().hex, "run", self._entity.flow, self._entity.name, "full_drop", "hash")
        assert self.home.batch.num_rows
        result = flow_run.run_slice(self.project, self._entity, task, AskedToStop())
        assert result.status == "done", result

    def reconcile(self) -> Reconciliation:
        return reconcile(self.project, self._entity, Unwatched())


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    home = TableHome([])
    for module in (flow_run, compare):
        monkeypatch.setattr(module, "open_home", lambda project, entity: home)
    hygge, settings_ = HYGGE, f"{{ type: local, format: {request.param}, path: out }}"
    if request.param == "sqlite":
        settings_ = "{ type: sqlite, path: out/shop.db }"
    elif request.param == "mssql":
        server: ServerProcess = request.getfixturevalue("mssql_server")
        database = own_name(f"values_{uuid.uuid4().hex[:12]}")
        server.run(f"CREATE DATABASE {database}")
        hygge = hygge_mssql(server, database)
        settings_ = "{ type: mssql, connection: shop_db, journal_folder: { path: out/.hygge_journal } }"
    flow = FLOW.format(schema="source", run_type="full_drop", store=settings_, watermark="null", entity="things")
    flow = flow.replace("watermark: null\n", "")
    return Store(load(tmp_path, hygge=hygge, flow=flow), home)


@settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_what_landed_is_equal_and_a_changed_cell_is_seen(store: Store, data: st.DataObject) -> None:
    rows = data.draw(ROWS)
    store.home.rows = rows
    store.load()
    found = store.reconcile()
    assert found.verdict == "equal", found
    assert (found.source_rows, found.destination_rows) == (len(rows), len(rows))

    for _ in range(4):
        store.home.rows = rows
        before = store.home.batch
        number = data.draw(st.integers(0, len(rows) - 1))
        name = data.draw(st.sampled_from(sorted(VALUES)))
        store.home.rows = [
            row | {name: data.draw(st.none() | VALUES[name])} if at == number else row for at, row in enumerate(rows)
        ]
        found = store.reconcile()
        if store.home.batch.equals(before):
            assert found.verdict == "equal"
            continue
        assert (found.verdict, found.different, found.missing, found.extra) == ("differs", 1, 0, 0), found
        assert [(example.key, example.columns) for example in found.examples] == [({"id": str(number)}, (name,))]
