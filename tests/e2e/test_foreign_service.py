"""Whole loads by ``hygge go`` on a service that is not ours, which loses a response now and then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devcloud.replicator import Replicator, check_landing_zone
from tests.dfs_server import DfsServer
from tests.e2e.site import MIRROR, WORKSPACE, Site
from tests.integration.mssql_server import ServerProcess

FLOW = """\
home: { type: mssql, connection: shop_db, table: "dbo.{entity}" }
watermark: { column: modified_at, primary_key: id }
entities: [crates]
"""

# More requests than a load sends.
REQUESTS_LIMIT = 200

# One response in this many is lost: a number that shares no divisor with the four requests that replace a file.
STRIDE = 17


@pytest.fixture
def source(mssql_server: ServerProcess) -> ServerProcess:
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.crates",
        "CREATE TABLE dbo.crates (id int NOT NULL PRIMARY KEY, item varchar(20), modified_at datetime2(3) NOT NULL)",
        "INSERT INTO dbo.crates VALUES (1, 'one', '2013-01-01T01:00:00'), (2, 'two', '2013-01-01T02:00:00')",
    )
    return mssql_server


@pytest.fixture
def service(tmp_path: Path) -> Iterator[DfsServer]:
    root = tmp_path / "service"
    (root / WORKSPACE / MIRROR / "Files").mkdir(parents=True)
    with DfsServer(root, prefix="/account") as service:
        yield service


@pytest.mark.timeout(300)
def test_every_kind_of_load_ends_with_the_source(tmp_path: Path, source: ServerProcess, service: DfsServer) -> None:
    item = service.root / WORKSPACE / MIRROR
    with Site(tmp_path, source) as site:
        site.write_project(FLOW)
        replicator = Replicator.on_disk(item, in_memory=True)
        replicator.run_in_background(0.05)

        def load(*options: str, **fault: Any) -> None:
            """Load while one request in some takes effect without a response."""
            for number in range(STRIDE, REQUESTS_LIMIT, STRIDE):
                service.plan(nth=number, when="after", **fault)
            outcome = site.run("go", "--json", *options, LAKE_URL=service.url)
            assert outcome.code == 0, str(outcome)
            assert len(service.faults) < REQUESTS_LIMIT // STRIDE, "no answer was lost"
            service.faults.clear()
            replicator.tick()
            mirrored = replicator.table("dbo", "crates").select(["id", "item"]).sort_by("id").to_pylist()
            [rows] = source.run("SELECT id, item FROM dbo.crates ORDER BY id")
            assert [(row["id"], row["item"]) for row in mirrored] == [tuple(row) for row in rows]

        try:
            load(status=500)
            source.run(
                "UPDATE dbo.crates SET item = 'deux', modified_at = '2013-01-02T00:00:00' WHERE id = 2",
                "INSERT INTO dbo.crates VALUES (3, 'three', '2013-01-02T00:00:00')",
            )
            load(drop=True)
            source.run("DELETE FROM dbo.crates WHERE id = 1")
            load("--run-type", "full_drop", status=503, retry_after=0)
        finally:
            replicator.stop()
        findings = [*check_landing_zone(item), *replicator.checks]
        assert [str(finding) for finding in findings if finding.stops] == []
        files = [path for path in item.rglob("*") if path.is_file()]
        assert not [file for file in files if "staging" in file.parts or file.name.endswith(".unfinished")]
