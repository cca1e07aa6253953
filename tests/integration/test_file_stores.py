"""Every store of files, in every format, by every run type: real rows land and are read back by other libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from devcloud.onelake import OneLake
from hygge_engine.project.models.settings import RunType
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.support.file_warehouse import FORMATS, FileWarehouse


@pytest.fixture(scope="module")
def server(module_lake: OneLake) -> OneLake:
    return module_lake


@pytest.fixture(params=[f"{kind}-{format_}" for kind in ("local", "adls", "onelake") for format_ in FORMATS])
def warehouse(
    request: pytest.FixtureRequest, tmp_path: Path, server: OneLake, monkeypatch: pytest.MonkeyPatch
) -> FileWarehouse:
    kind, format_ = request.param.split("-")
    name = f"t{abs(hash(request.node.name)):x}"
    store: dict[str, Any] = {"type": kind, "format": format_}
    account = {"account_url": server.url, "credential": "account_key"} | server.credential
    if kind == "local":
        folder = tmp_path / "project" / "out" / name
        store |= {"path": "out"}
    elif kind == "adls":
        folder = server.path("raw", "landing", name)
        store |= account | {"filesystem": "raw", "path": "landing"}
    else:
        folder = server.path(WORKSPACE, ITEM, "Tables" if format_ == "delta" else "Files", name)
        store |= account | {"filesystem": WORKSPACE, "lakehouse": ITEM}
    return FileWarehouse(tmp_path, monkeypatch, name, store, folder)


# A lake's own service takes each of these in test_homes_and_stores.py.
@pytest.mark.parametrize("warehouse", [f"local-{format_}" for format_ in FORMATS], indirect=True)
@pytest.mark.parametrize("run_type", ["incremental", "full_drop"])
@pytest.mark.parametrize("incremental", [None, True, False])
def test_run_type_and_the_stores_own_word_decide_between_append_and_reload(
    warehouse: FileWarehouse, run_type: RunType, incremental: bool | None
) -> None:
    appends = incremental if incremental is not None else run_type == "incremental"
    warehouse.source.put(1, 2, 3, 4, 5)
    warehouse.load(run_type, incremental)
    first = warehouse.source.rows
    assert warehouse.rows() == first
    warehouse.source.put(2, 6)
    warehouse.source.remove(5)
    warehouse.load(run_type, incremental)
    changed = [row for row in warehouse.source.rows if row not in first]
    assert warehouse.rows() == (sorted(first + changed) if appends else warehouse.source.rows)


def test_a_store_that_appends_takes_each_version_of_a_row_once(warehouse: FileWarehouse) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load()
    warehouse.source.put_late(4)  # bears the time of the rows before, and came after the load
    assert warehouse.load()["rows"] == 1
    assert warehouse.load()["rows"] == 0
    warehouse.source.put(1)
    warehouse.load()
    assert warehouse.rows() == sorted(warehouse.source.history)


def test_another_table_name_takes_a_reload_and_leaves_the_old_folder_alone(warehouse: FileWarehouse) -> None:
    warehouse.source.put(1, 2, 3)
    warehouse.load()
    old, before = warehouse.folder, warehouse.rows()
    warehouse.settle_in(f"others_of_{warehouse.folder.name}")
    refused = warehouse.run("moved", "incremental")
    assert (refused.error, refused.transient) == ("store.landing_broken", False)
    assert "others" in refused.message
    warehouse.source.put(4)
    warehouse.load("full_drop")
    assert warehouse.rows() == before
    warehouse.folder = old.parent / f"others_of_{old.name}"
    assert warehouse.rows() == warehouse.source.rows


def test_a_reload_of_an_empty_source_leaves_an_empty_table(warehouse: FileWarehouse) -> None:
    warehouse.source.put(1, 2)
    warehouse.load("full_drop")
    warehouse.source.remove(1, 2)
    warehouse.load("full_drop")
    assert warehouse.rows() == []
    warehouse.source.put(3)
    warehouse.load("full_drop")
    assert warehouse.rows() == warehouse.source.rows
