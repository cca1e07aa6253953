"""Everything that can be wrong, each as one clear error; everything else loads, and the journal is right. Every
credential is a canary that must be seen nowhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hygge_engine.cli.messages import describe_code
from tests.e2e.site import CONNECTION, MIRROR, STORE, Outcome, Site
from tests.integration.mssql_server import READER_PASSWORD, ServerProcess

CANARY = "cAnArY"
CANARY_KEY = base64.b64encode(f"{CANARY} as the key of an account, which is base64".encode()).decode()

CONNECTIONS = (
    CONNECTION.replace("shop_db", "wrong_password").replace("${SQL_PASSWORD}", f"{CANARY}-password")
    + CONNECTION.replace("shop_db", "reader")
    .replace("username: sa", "username: reader")
    .replace("${SQL_PASSWORD}", READER_PASSWORD)
    + """\
  bad_token:
    type: mssql
    server: "${SQL_SERVER}"
    database: shop
    auth: access_token
    access_token: cAnArY-token
    trust_server_certificate: true
"""
)

FLOW = """\
home: { type: mssql, connection: shop_db, table: "dbo.customers" }
watermark: { column: modified_at, primary_key: id }
entities:
  - healthy
  - { name: no_table, home: { table: dbo.custmers } }
  - { name: no_watermark, watermark: { column: modifed_at } }
  - { name: no_watermark_key, watermark: { primary_key: idd } }
  - { name: no_key, store: { key_columns: [idd] } }
  - { name: no_permission, home: { connection: reader, table: dbo.secret_things } }
  - { name: wrong_password, home: { connection: wrong_password } }
  - { name: bad_token, home: { connection: bad_token } }
  - { name: forbidden }
"""

# What each failing entity reports: the code, and what must be in the message.
FAILURES = {
    "no_table": ("home.not_found", "dbo.custmers"),
    "no_watermark": ("home.not_found", "no column 'modifed_at'"),
    "no_watermark_key": ("home.not_found", "no column 'idd'"),
    "no_key": ("home.not_found", "no column 'idd'"),
    "no_permission": ("home.permission_denied", "secret_things"),
    "wrong_password": ("home.login_failed", "Login failed for user 'sa'"),
    "bad_token": ("home.login_failed", "Login failed"),
    "forbidden": ("lake.denied", "403"),
    "wrong_key": ("lake.denied", "403"),
    "wrong_sas": ("lake.denied", "403"),
}

# Those of the second flow, whose journal is as forbidden as its tables.
ELSEWHERE = {"wrong_key", "wrong_sas"}

# A second flow, whose mirror has credentials of its own, all of them worthless.
SECOND = (
    "name: elsewhere\nrun_type: full_drop\n"
    + STORE.replace(MIRROR, MIRROR.replace("2", "3"))
    + """\
home: { type: mssql, connection: shop_db, table: "dbo.customers" }
entities:
"""
    + f"  - {{ name: wrong_key, store: {{ account_key: {CANARY_KEY} }} }}\n"
    + f'  - {{ name: wrong_sas, store: {{ credential: sas, sas_token: "sv=2021-06-08&sp=rwdl&sig={CANARY}-sas" }} }}\n'
)


@pytest.fixture(scope="module")
def source(mssql_server: ServerProcess) -> ServerProcess:
    columns = "(id int NOT NULL PRIMARY KEY, name nvarchar(20), modified_at datetime2(3) NOT NULL)"
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.customers, dbo.secret_things",
        *(f"CREATE TABLE dbo.{table} {columns}" for table in ("customers", "secret_things")),
        "INSERT INTO dbo.customers VALUES (1, N'one', '2013-01-01T00:00:00')",
        "GRANT SELECT ON dbo.customers TO reader",
        "DENY SELECT ON dbo.secret_things TO reader",
    )
    return mssql_server


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, source: ServerProcess) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("errors"), source) as site:
        site.write_project(FLOW, connections=CONNECTIONS)
        site.write("flows/elsewhere/flow.yml", SECOND)
        site.lake.faults.add(status=403, code="AuthorizationPermissionMismatch", times=None, path="/forbidden")
        yield site


@pytest.fixture(scope="module")
def load(site: Site) -> Outcome:
    """One load in which all of it goes wrong at once."""
    return site.run("go", "--json")


@pytest.mark.parametrize("entity", FAILURES)
def test_each_failure_has_its_code_and_says_what_and_where(load: Outcome, entity: str) -> None:
    result, (code, text) = load.results[entity], FAILURES[entity]
    assert (result["status"], result["error"]) == ("fail", code)
    assert text in result["message"]


def test_the_rest_loads(load: Outcome) -> None:
    assert load.code == 1
    assert (load.results["healthy"]["status"], load.results["healthy"]["rows"]) == ("success", 1)
    assert load.errors == ""


def test_the_journal_tells_the_truth(site: Site, load: Outcome) -> None:
    rows = {row["entity"]: row for row in site.journal() if row["coordinator_run_id"] == load.summary["load_id"]}
    expected = {name: ("fail", code) for name, (code, _) in FAILURES.items() if name not in ELSEWHERE}
    assert {name: (row["status"], row["error"]) for name, row in rows.items()} == expected | {
        "healthy": ("success", "")
    }
    assert all(FAILURES[name][1] in rows[name]["message"] for name in expected)
    assert rows["healthy"]["row_count"] == 1


def test_a_journal_that_the_lake_refuses_is_an_error_too(load: Outcome) -> None:
    assert (load.summary["journal"]["status"], load.summary["journal"]["error"]) == ("failed", "lake.denied")


def test_people_are_told_each_failure_once_and_without_a_stack_trace(site: Site, load: Outcome) -> None:
    outcome = site.run("go", "--flow", "shop")
    assert outcome.code == 1
    told = [line for line in outcome.errors.splitlines() if ": error: " in line]
    names = [name for line in told for name in line.split(": error: ")[0].split(", ")]
    assert sorted(names) == sorted(f"shop.{name}" for name in FAILURES if name not in ELSEWHERE)
    assert all(any(line.endswith(describe_code(code)) for line in told) for code, _ in FAILURES.values())
    assert "Traceback" not in outcome.output + outcome.errors
    assert "1 settled, 8 failed" in outcome.output


def test_a_plan_names_what_a_load_would_fail_of(site: Site, load: Outcome) -> None:
    outcome = site.run("plan", "--json")
    assert outcome.code == 1
    lines = {line["entity"]: line for line in outcome.summary["entities"]}
    assert {name for name, line in lines.items() if line["errors"]} == set(FAILURES)
    assert lines["healthy"]["rows"] == 1


BROKEN_FILES = {
    "malformed YAML": ("entities: [orders", ["flows/shop/flow.yml:13"]),
    "unknown key": ("wathermark: {}\nentities: [orders]\n", ["wathermark", "watermark"]),
    "missing variable": ('home: { type: mssql, connection: "${NOWHERE_SET}" }\nentities: [orders]\n', ["NOWHERE_SET"]),
}


@pytest.mark.parametrize("mistake", BROKEN_FILES)
def test_a_mistake_in_a_file_is_told_before_anything_starts(tmp_path: Path, site: Site, mistake: str) -> None:
    flow, expected = BROKEN_FILES[mistake]
    with Site(tmp_path, site.server) as broken:
        broken.write_project(flow, connections=CONNECTIONS)
        outcome = broken.run("go")
        assert not broken.item.exists(), "something was written"
    assert outcome.code == 2
    assert all(text in outcome.errors for text in expected), outcome.errors
    assert CANARY not in outcome.errors
    assert "Traceback" not in outcome.errors


def test_no_secret_is_anywhere(site: Site, load: Outcome) -> None:
    chosen = [f"--entity={name}" for name in ("wrong_password", "bad_token", "wrong_key", "wrong_sas")]
    override = f"--var=connections.wrong_password.password={CANARY}-other"
    outcomes = [
        load,
        site.run("go", "--verbose", override, *chosen),
        site.run("plan", "--json", "--verbose"),
        site.run("doctor", "--json", "--verbose"),
        site.run("runs", load.summary["load_id"], "--json"),
        site.run("validate", "--json", override),
    ]
    for outcome in outcomes:
        assert outcome.output, str(outcome)
        assert CANARY not in outcome.output + outcome.errors
        assert CANARY_KEY not in outcome.output + outcome.errors
    assert CANARY not in json.dumps(site.journal())
    for file in (site.root / "lake").rglob("*"):
        if file.is_file():
            assert CANARY.encode() not in file.read_bytes(), file
            assert CANARY_KEY.encode() not in file.read_bytes(), file
