"""The landing protocol through the Azure SDK, against OneLake's emulator: every response that can go wrong does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hygge_engine.retry
from devcloud.onelake import OneLake
from hygge_engine.lake.datalake import DataLake
from hygge_engine.lake.settings import LakeSettings
from tests.faults.world import ITEM, World

WORKSPACE = "workspace"

FAULTS: dict[str, dict[str, Any]] = {
    "500 before": {"status": 500},
    "500 after": {"status": 500, "when": "after"},
    "dropped before": {"drop": True},
    "dropped after": {"drop": True, "when": "after"},
    "dropped in mid-body": {"drop": True, "when": "during"},
    "429 twice": {"status": 429, "retry_after": 0, "times": 2},
    "430 in a storm": {"status": 430, "retry_after": 0, "times": 4},
    "capacity": {"status": 503, "code": "CapacityLimitExceeded"},
    "401 once": {"status": 401},
    "slow": {"bytes_per_second": 20_000},
}


@pytest.fixture
def onelake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OneLake]:
    monkeypatch.setattr(hygge_engine.retry, "FIRST_PAUSE_SECONDS", 0.001)
    with OneLake(tmp_path, mode="onelake") as service:
        yield service


def new_world(onelake: OneLake, number: int, monkeypatch: pytest.MonkeyPatch, run_type: Any) -> World:
    workspace = f"{WORKSPACE}{number}"
    onelake.create_workspace(workspace)
    onelake.create_item(workspace, ITEM)
    settings = LakeSettings(
        account_url=onelake.url,
        filesystem=workspace,
        credential="account_key",
        account_name=onelake.account_name,
        account_key=onelake.account_key,  # type: ignore[arg-type]
    )
    lake = DataLake(settings)
    world = World(onelake.path(workspace), monkeypatch, run_type=run_type, connect=lambda: lake)
    world.source.put(*range(5))
    assert world.load("before").status == "done"
    world.source.put(1, 3, 7)
    return world


@pytest.mark.parametrize("name", FAULTS)
def test_every_mutating_request_may_fail(onelake: OneLake, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # A reload sends every kind of request; the faults of single kinds of load are left to the fault-injection suite.
    run_type, fault = "full_drop" if name in ("430 in a storm", "dropped after") else "incremental", FAULTS[name]
    world = new_world(onelake, 0, monkeypatch, run_type)
    mark = len(onelake.operations)
    world.load("counted")
    requests = len([operation for operation in onelake.operations.select()[mark:] if operation.mutating])
    assert requests > 5
    for number in range(1, requests + 1):
        world = new_world(onelake, number, monkeypatch, run_type)
        rule = onelake.faults.add(mutating=True, nth=number, path=f"{WORKSPACE}{number}", **fault)
        assert world.load("a").status == "done", number
        assert rule.applied
        onelake.faults.clear()
        world.check()


def test_a_lake_that_refuses_the_credential_is_one_clear_error(
    onelake: OneLake, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = new_world(onelake, 0, monkeypatch, "incremental")
    onelake.faults.add(status=403, mutating=True, times=None)
    result = world.load("a")
    assert (result.status, result.error, result.transient) == ("failed", "lake.denied", False)
    assert "403" in result.message
    assert "Check the credential" in result.message


def test_a_reload_waits_for_a_folder_that_fabric_reads(onelake: OneLake, monkeypatch: pytest.MonkeyPatch) -> None:
    world = new_world(onelake, 0, monkeypatch, "full_drop")
    onelake.faults.add(status=409, verb="delete", path=r"dbo\.schema/things$", times=2)
    assert world.load("a").status == "done"
    world.check()
