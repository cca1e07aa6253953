"""The data lake keeps what every lake promises, over both modes of the emulator; the journal runs on it as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from devcloud.onelake import OneLake
from devcloud.onelake.behaviour import Mode
from hygge_engine.errors import LakeDenied
from hygge_engine.journal import Journal, Manifest, ProgressFiles
from hygge_engine.lake.base import Lake
from hygge_engine.lake.datalake import DataLake
from hygge_engine.lake.settings import LakeSettings
from tests.integration.onelake_clients import FILES, ITEM, WORKSPACE, connect
from tests.journal_rows import make_row
from tests.lake_contract import LakeContract


@pytest.fixture(params=["onelake", "adls"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lake]:
    mode: Mode = request.param
    with OneLake(tmp_path / "server", mode=mode) as server:
        if mode == "onelake":
            server.create_workspace(WORKSPACE)
            server.create_item(WORKSPACE, ITEM)
        else:
            with connect(server) as clients:
                clients.files.create_file_system()
                clients.files.create_directory(FILES)
        credential = server.credential
        yield DataLake(
            LakeSettings(
                account_url=server.url,
                filesystem=WORKSPACE,
                credential="account_key",
                account_name=credential["account_name"],
                account_key=SecretStr(credential["account_key"]),
            )
        )


class TestContract(LakeContract):
    """Below an item's Files, as on OneLake."""

    area = f"{FILES}/area"


@pytest.mark.parametrize("lake", ["onelake"], indirect=True)
def test_onelake_makes_no_folder_beside_files(lake: Lake) -> None:
    with pytest.raises(LakeDenied):
        lake.put(f"{ITEM}/elsewhere/file", b"1")


def test_a_journal_in_a_data_lake_is_the_same(lake: Lake) -> None:
    root = f"{FILES}/.hygge_journal"
    journal = Journal(lake, root)
    assert journal.read().is_empty()
    for load in range(3):
        for _ in range(2):
            journal.append(f"load-{load}", [make_row(load, entity) for entity in range(2)])
    changes = journal.changes_since(None)
    assert journal.fold(after_loads=1) == 3
    assert journal.changes_since(changes.position).empty
    journal.append("load-3", [make_row(3)])
    assert journal.changes_since(changes.position).upserts.column("entity_run_id").to_pylist() == ["run-3-0"]
    assert journal.summary(limit=2)["coordinator_run_id"].to_list() == ["load-3", "load-2"]
    assert journal.read().height == 7

    manifest = Manifest(lake, root)
    column = {"name": "id", "type": "int64", "source_type": "bigint", "nullable": False, "loss": ""}
    assert manifest.record("flow", "planes", "dbo", "planes", [column], "load-1") == 1
    assert manifest.record("flow", "planes", "dbo", "planes", [{**column, "nullable": True}], "load-2") == 2
    assert manifest.read().height == 2

    progress = ProgressFiles(lake, root)
    failed = {"state": "failed", "message": "gone"}
    for state in ({"rows": 6}, {"rows": 7}, failed):
        progress.write("load-3", "flights", "planes", state)
    ProgressFiles(lake, root).write("load-3", "flights", "planes", {"attempt": 2, "rows": 8})
    progress.request_cancel("load-3")
    assert progress.is_cancelled("load-3")
    assert [state.rows for state in progress.states("load-3").values()] == [8]
    assert sum(not entry.is_directory for entry in lake.list(f"{root}/progress", recursive=True)) == 2
    progress.clear("load-3")
    assert not progress.is_cancelled("load-3")
    names = {entry.path.split("/")[2] for entry in lake.list(FILES, recursive=True) if not entry.is_directory}
    assert names == {".hygge_journal"}
