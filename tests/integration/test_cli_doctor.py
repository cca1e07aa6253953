"""`hygge doctor` against the real protocols: all well, and one part at a time broken."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from devcloud.onelake.faults import Fault
from devcloud.replicator import Replicator
from devcloud.sqlserver import DEFAULT_LOGINS, SqlServer
from hygge_engine.cli.app import app
from hygge_engine.homes.mssql import checks
from hygge_engine.stores.landing.state import LandingState, OpenLoad, Owner
from tests.integration.fabric_item import MIRROR, WORKSPACE

HYGGE = """\
name: shop
connections:
  shop_db: {{ type: mssql, server: "{server}", database: shop, auth: sql, username: "{user}", password: "{password}",
              encrypt: false, login_timeout_seconds: 5 }}
"""
FLOW = """\
run_type: incremental
home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}" }}
store: {{ type: open_mirroring, account_url: "{lake_url}", filesystem: "{workspace}", mirror_name: "{mirror}",
          mirror_journal: true, credential: account_key, account_name: "{account}", account_key: "{key}" }}
watermark: {{ column: modified }}
entities: [orders, customers]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[SqlServer]:
    with SqlServer(databases=["shop"], logins={**DEFAULT_LOGINS, "reader": "Reader!2025"}) as running:
        for table in ("orders", "customers"):
            running.execute(
                f"CREATE TABLE dbo.{table} (id int NOT NULL PRIMARY KEY, modified datetime2(3) NOT NULL)", "shop"
            )
            running.execute(f"INSERT INTO dbo.{table} VALUES (1, '2025-01-01T00:00:00')", "shop")
        running.execute("CREATE TABLE dbo.log (line xml, modified nvarchar(max) NULL)", "shop")
        yield running


@pytest.fixture
def project(tmp_path: Path, server: SqlServer, lake: OneLake) -> Path:
    directory = tmp_path / "project"
    write(directory, server, lake)
    return directory


def write(directory: Path, server: SqlServer, lake: OneLake, flow: str = FLOW, **changes: str) -> None:
    values = {
        "server": server.address,
        "user": "sa",
        "password": DEFAULT_LOGINS["sa"],
        "lake_url": lake.url,
        "workspace": WORKSPACE,
        "mirror": MIRROR,
        "account": lake.account_name,
        "key": lake.account_key,
    } | changes
    (directory / "flows/shop_to_fabric").mkdir(parents=True, exist_ok=True)
    (directory / "hygge.yml").write_text(HYGGE.format(**values))
    (directory / "flows/shop_to_fabric/flow.yml").write_text(flow.format(**values))


def doctor(project: Path, expected: int) -> dict[tuple[str, str], dict[str, Any]]:
    """The checks by (section, check)."""
    result = CliRunner().invoke(app, ["doctor", "--json", "--project", str(project)])
    assert (result.exit_code, bool(result.stdout)) == (expected, True), (result.output, result.exception)
    return {
        (section["name"], check["name"]): check
        for section in json.loads(result.stdout)["sections"]
        for check in section["checks"]
    }


def plan(project: Path, expected: int) -> dict[str, dict[str, Any]]:
    """What is planned, by entity."""
    result = CliRunner().invoke(app, ["plan", "--json", "--project", str(project)])
    assert (result.exit_code, bool(result.stdout)) == (expected, True), (result.output, result.exception)
    return {line["entity"]: line for line in json.loads(result.stdout)["entities"]}


def results(found: dict[tuple[str, str], dict[str, Any]], section: str) -> dict[str, str]:
    return {name: check["result"] for (where, name), check in found.items() if where == section}


def files_of(lake: OneLake) -> list[str]:
    root = lake.path(WORKSPACE, MIRROR)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_all_is_well_before_and_after_a_load_and_nothing_is_left(project: Path, lake: OneLake) -> None:
    before = files_of(lake)
    found = doctor(project, 0)
    assert files_of(lake) == before
    assert set(results(found, "shop_db").values()) <= {"ok", "unknown"}
    assert found["shop_db", "change tracking"]["found"]
    assert found["shop_to_fabric.orders", "key"]["found"] == "id"
    assert "about 1" in found["shop_to_fabric.orders", "rows"]["found"]
    assert found["shop_to_fabric.orders", "landing"]["found"] == "nothing has been landed yet"
    store = next(name for name, check in found if check == "rename")
    assert results(found, store)["conditional write"] == "ok"
    assert found[store, "landing zone"]["result"] == "warning"
    assert CliRunner().invoke(app, ["go", "--project", str(project)]).exit_code == 0
    Replicator.on_disk(lake.path(WORKSPACE, MIRROR)).tick()
    before = files_of(lake)
    found = doctor(project, 0)
    assert files_of(lake) == before
    assert found["shop_to_fabric.orders", "replication"]["found"].startswith("Replicating, 1 change processed")
    assert found[store, "__hygge.journal"]["result"] == "ok"
    assert "2025-01-01" in found["shop_to_fabric.orders", "landing"]["found"]


@pytest.mark.parametrize(
    ("position", "owned", "result", "words", "store"),
    [
        (["0"], False, "ok", "the next load continues from there", ""),
        (["0"], True, "ok", "under way", ""),
        (["0", "0"], False, "failed", "a key of 2 columns", ""),
        (["0", "0"], False, "failed", "a key of 2 columns", "incremental: true, "),
    ],
)
def test_a_table_that_is_blocked_is_seen_and_freed(
    project: Path,
    server: SqlServer,
    lake: OneLake,
    position: list[str],
    owned: bool,
    result: str,
    words: str,
    store: str,
) -> None:
    write(project, server, lake, flow=FLOW.replace("mirror_journal", f"{store}mirror_journal"))
    assert CliRunner().invoke(app, ["go", "--project", str(project)]).exit_code == 0
    path = lake.path(WORKSPACE, MIRROR) / "Files/.hygge_journal/landing/shop_to_fabric/orders.json"
    state = LandingState.from_json(path.read_bytes(), "")[0]
    started = "2025-02-01T00:00:00+00:00"
    opened = OpenLoad("open", "changes", "landing", started, "2024-01-01T00:00:00.000", upper=state.watermark)
    owner = Owner("open", 1, (datetime.now(UTC) + timedelta(minutes=2)).isoformat()) if owned else None
    path.write_bytes(replace(state, open=replace(opened, position=position), owner=owner).to_json("nonce"))
    check = doctor(project, int(result == "failed"))["shop_to_fabric.orders", "open load"]
    assert (check["result"], words in check["found"]) == (result, True)
    if result == "failed":
        _, command, _ = check["remedy"].split("`")
        no_wait = "flow.shop_to_fabric.store.folder_deletion_wait_seconds=0"
        go = [*shlex.split(command)[1:], "--project", str(project), "--var", no_wait]
        assert CliRunner().invoke(app, go).exit_code == 0
        assert ("shop_to_fabric.orders", "open load") not in doctor(project, 0)


def test_the_lake_is_checked_though_the_login_fails(project: Path, server: SqlServer, lake: OneLake) -> None:
    write(project, server, lake, password="cAnArY-77")
    found = doctor(project, 1)
    assert found["shop_db", "login"]["code"] == "home.login_failed"
    assert found["shop_db", "login"]["page"] == "docs/errors/home.login_failed.md"
    assert results(found, "shop_to_fabric.orders") == {"source": "unknown", "landing": "ok", "replication": "ok"}
    assert "cAnArY" not in json.dumps([*found.values()])


def test_the_source_is_checked_though_nobody_serves_the_lake(project: Path, server: SqlServer, lake: OneLake) -> None:
    write(project, server, lake, lake_url="http://127.0.0.1:1")
    found = doctor(project, 1)
    assert found["shop_to_fabric.orders", "select"]["result"] == "ok"
    assert found["shop_to_fabric.orders", "destination"]["result"] == "unknown"
    assert [name for (_, name), check in found.items() if check["result"] == "failed"] == ["reachable"]


def test_a_source_that_cannot_be_loaded_is_explained(project: Path, server: SqlServer, lake: OneLake) -> None:
    flow = FLOW.replace("[orders, customers]", "[orders, log, custommers]").replace(
        "mirror_journal", "key_columns: [idd], mirror_journal"
    )
    write(project, server, lake, flow=flow)
    found = doctor(project, 1)
    assert "dbo.customers" in found["shop_to_fabric.custommers", "table"]["remedy"]
    assert "`id`" in found["shop_to_fabric.orders", "store.key_columns"]["remedy"]
    log = results(found, "shop_to_fabric.log")
    assert (log["key"], log["watermark"], log["select"]) == ("warning", "failed", "ok")


def test_a_key_whose_spelling_may_change_is_named_until_it_is_folded(
    project: Path, server: SqlServer, lake: OneLake
) -> None:
    for name, kind in {"plain": "int", "ci": "nvarchar(9)", "bin": "varchar(9) COLLATE Latin1_General_BIN2"}.items():
        table = f"dbo.spelt_{name}"
        server.execute(
            f"CREATE TABLE {table} (code {kind} NOT NULL PRIMARY KEY, modified datetime2(3) NOT NULL)", "shop"
        )
    flow = FLOW.replace("[orders, customers]", "[spelt_plain, spelt_ci, spelt_bin]")
    write(project, server, lake, flow=flow)
    found = doctor(project, 0)
    assert "spelling of the key" not in results(found, "shop_to_fabric.spelt_plain")
    assert "case or trailing blanks" in found["shop_to_fabric.spelt_ci", "spelling of the key"]["found"]
    assert " in trailing blanks alone" in found["shop_to_fabric.spelt_bin", "spelling of the key"]["found"]
    assert "fold: true" in found["shop_to_fabric.spelt_ci", "spelling of the key"]["remedy"]
    for changed in (f"{flow}polish: {{{{ fold: true }}}}\n", flow.replace("incremental", "full_drop")):
        write(project, server, lake, flow=changed)
        assert not any(check == "spelling of the key" for _, check in doctor(project, 0))


def test_a_table_that_may_not_be_read(project: Path, server: SqlServer, lake: OneLake) -> None:
    server.execute(
        "DROP USER IF EXISTS reader; CREATE USER reader FOR LOGIN reader; GRANT SELECT ON dbo.orders TO reader", "shop"
    )
    write(project, server, lake, user="reader", password="Reader!2025")
    found = doctor(project, 1)
    assert found["shop_to_fabric.orders", "select"]["result"] == "ok"
    failed = [check for (name, _), check in found.items() if name.endswith("customers") and check["result"] == "failed"]
    assert [check["code"] for check in failed] == ["home.permission_denied"]


def test_what_the_login_lacks_is_named_by_doctor_and_plan(project: Path, server: SqlServer, lake: OneLake) -> None:
    columns, denied = ", ".join(f"c{number} int" for number in range(40)), "(c0, c17, c39)"
    for statement in (
        "DROP USER IF EXISTS reader",
        "CREATE USER reader FOR LOGIN reader",
        f"CREATE TABLE dbo.pay (id int NOT NULL PRIMARY KEY, modified datetime2(3) NOT NULL, {columns})",
        "CREATE VIEW dbo.paid AS SELECT * FROM dbo.pay",
        "CREATE SYNONYM dbo.payment FOR dbo.pay",
        *(f"GRANT SELECT ON dbo.{name} TO reader" for name in ("pay", "paid", "payment")),
        *(f"DENY SELECT ON dbo.{name} {denied} TO reader" for name in ("pay", "paid")),
        "ALTER DATABASE shop SET CHANGE_TRACKING = ON",
        "ALTER TABLE dbo.pay ENABLE CHANGE_TRACKING",
    ):
        server.execute(statement, "shop")
    flow = FLOW.replace("[orders, customers]", "[pay, paid, payment]")
    write(project, server, lake, user="reader", password="Reader!2025", flow=flow)
    found, planned = doctor(project, 1), plan(project, 1)
    for name in ("pay", "paid"):
        check = found[f"shop_to_fabric.{name}", "select"]
        assert f"may not read c0, c17, c39 of dbo.{name}" in check["found"]
        assert f"GRANT SELECT ON [dbo].[{name}] ([c0], [c17], [c39])" in check["remedy"]
        assert planned[name]["errors"] == [f"the source: {check['found']}. {check['remedy']}"]
    assert (found["shop_to_fabric.payment", "select"]["result"], planned["payment"]["errors"]) == ("ok", [])
    flow = flow.replace("column: modified", "change_tracking: true").replace(", paid, payment", "")
    write(project, server, lake, user="reader", password="Reader!2025", flow=flow)
    check = doctor(project, 1)["shop_to_fabric.pay", "change tracking"]
    assert check["found"] == "The login lacks VIEW CHANGE TRACKING on dbo.pay."
    assert "GRANT VIEW CHANGE TRACKING ON [dbo].[pay]" in check["remedy"]
    both = plan(project, 1)["pay"]["errors"]
    assert ["c17" in both[0], check["found"] in both[1]] == [True, True]


@pytest.mark.parametrize(("state", "result"), [("ON", "ok"), ("OFF", "failed")])
def test_whether_the_database_allows_the_snapshots_that_are_asked_for(
    project: Path, server: SqlServer, lake: OneLake, state: str, result: str
) -> None:
    write(project, server, lake, flow=FLOW.replace("home: {{", "home: {{ consistency: snapshot,"))
    server.execute(f"ALTER DATABASE shop SET ALLOW_SNAPSHOT_ISOLATION {state}", "shop")
    found = doctor(project, 1 if result == "failed" else 0)
    assert found["shop_to_fabric.orders", "consistency"]["result"] == result


def test_a_lake_that_denies_writing(project: Path, lake: OneLake) -> None:
    lake.faults.add(Fault(mutating=True, times=None, status=403, code="AuthorizationPermissionMismatch"))
    found = doctor(project, 1)
    denied = next(check for (_, name), check in found.items() if name == "write")
    assert (denied["result"], denied["code"]) == ("failed", "lake.denied")
    assert found["shop_to_fabric.orders", "select"]["result"] == "ok"


def test_a_mirrored_database_that_does_not_exist(project: Path, server: SqlServer, lake: OneLake) -> None:
    write(project, server, lake, mirror=MIRROR.replace("b", "c"))
    (failed,) = [check for check in doctor(project, 1).values() if check["result"] == "failed"]
    assert failed["code"] == "lake.not_found"
    assert "mirror_name" in failed["remedy"]


def test_what_a_server_lacks_is_unknown_and_no_failure(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_VERSION", "_ENCRYPTION", "_CLOCK", "_SNAPSHOT", "_TRACKING", "VERSIONS"):
        monkeypatch.setattr(checks, name, "SELECT missing FROM sys.missing")
    file = project / "hygge.yml"
    file.write_text(file.read_text().replace("encrypt: false", "encrypt: false, driver: pyodbc"))
    found = doctor(project, 0)
    assert found["pyodbc", "pyodbc"]["result"] == "ok"
    lacking = {name for name, result in results(found, "shop_db").items() if result == "unknown"}
    assert lacking == {"clock", "snapshot isolation", "change tracking"}
    assert found["shop_db", "version"]["how"] == "@@VERSION"
    assert found["shop_to_fabric.orders", "change tracking"]["found"] == "not available on this server"


def test_words_for_people(project: Path, server: SqlServer, lake: OneLake) -> None:
    write(project, server, lake, password="wrong")
    result = CliRunner().invoke(app, ["doctor", "--project", str(project)])
    assert "✗ login: " in result.stdout
    assert "See docs/errors/home.login_failed.md" in result.stdout
    assert result.stdout.splitlines()[-1].endswith("unknown")
    assert CliRunner().invoke(app, ["doctor", "--project", str(project / "flows")]).exit_code == 2
