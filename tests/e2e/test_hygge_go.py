"""``hygge go`` against a SQL Server and a plain data lake that it has never seen: what lands, and what Fabric makes of
it, value by value."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.site import MIRROR, Site
from tests.integration.mssql_server import ServerProcess

# Column declarations with, in this order: a smallest or emptiest value, a largest or strangest one, and what Fabric's
# readers must see of the two. A third row has NULL in every column.
TYPES: dict[str, tuple[str, str, Any, Any]] = {
    "bit": ("0", "1", False, True),
    "tinyint": ("0", "255", 0, 255),
    "smallint": ("-32768", "32767", -32768, 32767),
    "int": ("-2147483648", "2147483647", -(2**31), 2**31 - 1),
    "bigint": ("-9223372036854775808", "9223372036854775807", -(2**63), 2**63 - 1),
    "decimal(38, 10)": (
        "-9999999999999999999999999999.9999999999",
        "0.0000000001",
        Decimal("-9999999999999999999999999999.9999999999"),
        Decimal("1E-10"),
    ),
    "numeric(5, 0)": ("-99999", "99999", Decimal(-99999), Decimal(99999)),
    "money": (
        "-922337203685477.5808",
        "922337203685477.5807",
        Decimal("-922337203685477.5808"),
        Decimal("922337203685477.5807"),
    ),
    "smallmoney": ("-214748.3648", "214748.3647", Decimal("-214748.3648"), Decimal("214748.3647")),
    "real": ("-3.4E38", "1.5", -3.3999999521443642e38, 1.5),
    "float": ("-1.7976931348623157E308", "2.2250738585072014E-308", -1.7976931348623157e308, 2.2250738585072014e-308),
    "date": ("'0001-01-01'", "'9999-12-31'", date(1, 1, 1), date(9999, 12, 31)),
    "datetime": (
        "'1753-01-01T00:00:00'",
        "'9999-12-31T23:59:59.997'",
        datetime(1753, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 997000, UTC),
    ),
    "smalldatetime": (
        "'1900-01-01T00:00:00'",
        "'2079-06-06T23:59:00'",
        datetime(1900, 1, 1, tzinfo=UTC),
        datetime(2079, 6, 6, 23, 59, tzinfo=UTC),
    ),
    "datetime2(7)": (
        "'0001-01-01T00:00:00'",
        "'9999-12-31T23:59:59.9999999'",
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, UTC),
    ),
    "datetimeoffset(7)": (
        "'2013-01-01T00:30:00+14:00'",
        "'2013-06-30T23:30:00.1234567-08:00'",
        datetime(2012, 12, 31, 10, 30, tzinfo=UTC),
        datetime(2013, 7, 1, 7, 30, 0, 123456, UTC),
    ),
    "time(7)": ("'00:00:00'", "'23:59:59.9999999'", "00:00:00.0000000", "23:59:59.9999999"),
    "char(3)": ("''", "'a'", "   ", "a  "),
    "varchar(20)": ("''", "'it''s'", "", "it's"),
    "nchar(2)": ("N''", "N'é'", "  ", "é "),
    "nvarchar(20)": ("N''", "N'naïve 🛩'", "", "naïve 🛩"),
    "nvarchar(max)": ("N''", "REPLICATE(CAST(N'long' AS nvarchar(max)), 5000)", "", "long" * 5000),
    "varchar(max)": ("''", "'text'", "", "text"),
    "xml": ("'<a/>'", "'<a b=\"1\">c</a>'", "<a/>", '<a b="1">c</a>'),
    "binary(2)": ("0x", "0xFFFE", b"\0\0", b"\xff\xfe"),
    "varbinary(10)": ("0x", "0x00FF", b"", b"\0\xff"),
    "varbinary(max)": ("0x", "0x0102", b"", b"\x01\x02"),
    "uniqueidentifier": (
        "'00000000-0000-0000-0000-000000000000'",
        "'6f9619ff-8b86-d011-b42d-00c04fc964ff'",
        "00000000-0000-0000-0000-000000000000",
        "6F9619FF-8B86-D011-B42D-00C04FC964FF",
    ),
}

# Every table of more than one row is read in ranges of one.
FLOW = """\
home: { type: mssql, connection: shop_db, table: "dbo.{entity}", range_rows: 1 }
watermark: { column: modified_at, primary_key: id }
entities: [orders, every_type, empty]
"""


@pytest.fixture(scope="module")
def source(mssql_server: ServerProcess) -> ServerProcess:
    columns = ", ".join(f"c{number} {declaration}" for number, declaration in enumerate(TYPES))
    smallest, largest = (", ".join(values[which] for values in TYPES.values()) for which in (0, 1))
    nulls = ", ".join("NULL" for _ in TYPES)
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.orders, dbo.every_type, dbo.empty",
        "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, item nvarchar(20), modified_at datetime2(3) NOT NULL)",
        "INSERT INTO dbo.orders VALUES (1, N'one', '2013-01-01T01:00:00'), (2, N'two', '2013-01-01T02:00:00')",
        "CREATE TABLE dbo.empty (id int NOT NULL PRIMARY KEY, modified_at datetime2(3) NOT NULL)",
        f"CREATE TABLE dbo.every_type (id int NOT NULL PRIMARY KEY, modified_at datetime2(3) NOT NULL, {columns}, "
        "version rowversion)",
        *(
            f"INSERT INTO dbo.every_type (id, modified_at, {', '.join(f'c{n}' for n in range(len(TYPES)))}) "
            f"VALUES ({number}, '2013-01-01T00:00:00', {values})"
            for number, values in ((1, smallest), (2, largest), (3, nulls))
        ),
    )
    return mssql_server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, source: ServerProcess) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("go"), source) as site:
        site.write_project(FLOW)
        first = site.run("go", "--json")
        assert first.code == 0, str(first)
        assert {name: result["rows"] for name, result in first.results.items()} == {
            "orders": 2,
            "every_type": 3,
            "empty": 0,
        }
        assert "read in 3 ranges" in first.results["every_type"]["message"]
        yield site


def orders(site: Site) -> dict[int, str]:
    rows = site.mirrored("orders").to_pylist()
    assert len(rows) == len({row["id"] for row in rows}), "a key is there twice"
    return {row["id"]: row["item"] for row in rows}


@pytest.mark.parametrize("declaration", TYPES)
def test_every_type_arrives_as_it_was(site: Site, declaration: str) -> None:
    rows = {row["id"]: row for row in site.mirrored("every_type").to_pylist()}
    column = f"c{list(TYPES).index(declaration)}"
    *_, smallest, largest = TYPES[declaration]
    assert (rows[1][column], rows[2][column], rows[3][column]) == (smallest, largest, None)


def test_rowversions_arrive_as_eight_bytes(site: Site) -> None:
    versions = {bytes(row["version"]) for row in site.mirrored("every_type").to_pylist()}
    assert len(versions) == 3
    assert {len(version) for version in versions} == {8}


def test_the_landing_zone_keeps_the_specification(site: Site) -> None:
    site.mirrored("orders")
    assert site.breaches() == []
    landing_zone = site.item / "Files/LandingZone"
    assert json.loads((landing_zone / "_partnerEvents.json").read_text())["partnerName"]
    metadata = json.loads((landing_zone / "dbo.schema/orders/_metadata.json").read_text())
    assert metadata["keyColumns"] == ["id"]
    assert not (landing_zone / "dbo.schema/empty").exists(), "Fabric fails tables that stay empty"


def test_the_second_load_moves_what_changed_and_nothing_else(site: Site) -> None:
    site.server.run(
        "UPDATE dbo.orders SET item = N'deux', modified_at = '2013-01-02T00:00:00' WHERE id = 2",
        "INSERT INTO dbo.orders VALUES (3, N'three', '2013-01-02T00:00:00')",
        "INSERT INTO dbo.empty VALUES (1, '2013-01-02T00:00:00')",
    )
    second = site.run("go", "--json")
    assert second.code == 0, str(second)
    rows = {name: result["rows"] for name, result in second.results.items()}
    assert rows == {"orders": 2, "every_type": 0, "empty": 1}
    assert orders(site) == {1: "one", 2: "deux", 3: "three"}
    assert site.mirrored("empty").num_rows == 1
    assert site.breaches() == []


def test_a_full_drop_waits_for_the_replicator_and_says_so(site: Site) -> None:
    """The replicator drops the table when it has seen that its folder is gone: not before the load waits for that."""
    site.mirrored("orders")
    site.server.run("DELETE FROM dbo.orders WHERE id = 1")
    with site.start("go", "-e", "orders", "--run-type", "full_drop") as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "waiting for Fabric to drop the table" in line)
        assert ("dbo", "orders") in {tuple(state.name) for state in site.replicator.states()}
        ticking = threading.Event()
        thread = threading.Thread(target=tick_until, args=(site, ticking))
        thread.start()
        output, errors = process.communicate(timeout=60)
        ticking.set()
        thread.join()
    assert process.returncode == 0, line + output + errors
    assert orders(site) == {2: "deux", 3: "three"}
    assert site.breaches() == []
    assert "full_drop" in [row["run_type"] for row in site.journal() if row["entity"] == "orders"]


def tick_until(site: Site, ended: threading.Event) -> None:
    while not ended.wait(0.2):
        site.replicator.tick()


def test_the_journal_and_its_mirror_agree(site: Site) -> None:
    journal = {row["entity_run_id"]: (row["entity"], row["status"], row["row_count"]) for row in site.journal()}
    mirrored = site.mirrored("journal", "__hygge").to_pylist()
    assert {row["entity_run_id"]: (row["entity"], row["status"], row["row_count"]) for row in mirrored} == journal
    loads = site.mirrored("loads", "__hygge").to_pylist()
    assert {row["coordinator_run_id"] for row in loads} == {row["coordinator_run_id"] for row in site.journal()}


def test_without_a_replicator_a_full_drop_waits_as_long_as_it_is_told(tmp_path: Path, source: ServerProcess) -> None:
    with Site(tmp_path, source) as site:
        site.write_project(FLOW.replace("[orders, every_type, empty]", "[orders]"))
        assert site.run("go").code == 0
        outcome = site.run("go", "--run-type", "full_drop", "--json")
        assert outcome.code == 0, str(outcome)
        waiting = [json.loads(line) for line in outcome.output.splitlines() if '"waiting"' in line]
        assert waiting[0]["message"].startswith("waiting 2 s for Fabric to drop the table")
        [[(count,)]] = site.server.run("SELECT COUNT(*) FROM dbo.orders")
        assert site.mirrored("orders").num_rows == count


def test_a_path_below_the_account_needs_nothing_but_the_filesystem(site: Site) -> None:
    made = {operation.path for operation in site.lake.operations.select(mutating=True)}
    assert made
    assert all(MIRROR in path for path in made)
