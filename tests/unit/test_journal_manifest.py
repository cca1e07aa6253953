from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import JournalError, LakeConditionNotMet
from hygge_engine.journal import MANIFEST_SCHEMA, Manifest
from hygge_engine.lake.local import LocalLake
from tests.journal_rows import ROOT, LostAnswers


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    return LocalLake(tmp_path / "lake")


@pytest.fixture
def manifest(lake: LocalLake) -> Manifest:
    return Manifest(lake, ROOT)


def columns(*names: str, **changes: Any) -> list[dict[str, Any]]:
    default = {"type": "int64", "source_type": "bigint", "nullable": False, "loss": ""}
    return [{"name": name, **default, **changes} for name in names]


def test_columns_are_remembered_in_their_order(manifest: Manifest) -> None:
    landed = [*columns("id"), *columns("at", type="timestamp[us, tz=UTC]", source_type="datetime2(7)", loss="100 ns")]
    assert manifest.record("flights", "planes", "dbo", "planes", landed, "load-1") == 1
    rows = manifest.read().drop("valid_from").to_dicts()
    common = {
        "table": "dbo.planes",
        "version": 1,
        "flow": "flights",
        "entity": "planes",
        "load_id": "load-1",
        "change": "",
    }
    assert rows == [
        {
            **common,
            "column": "id",
            "position": 1,
            "source_type": "bigint",
            "arrow_type": "int64",
            "nullable": False,
            "loss": "",
        },
        {
            **common,
            "column": "at",
            "position": 2,
            "source_type": "datetime2(7)",
            "arrow_type": "timestamp[us, tz=UTC]",
            "nullable": False,
            "loss": "100 ns",
        },
    ]


def test_the_same_columns_keep_their_version(manifest: Manifest) -> None:
    for load in range(3):
        assert manifest.record("flights", "planes", "dbo", "planes", columns("id", "name"), f"load-{load}") == 1
    assert manifest.read()["load_id"].unique().to_list() == ["load-0"]


@pytest.mark.parametrize(
    "changed",
    [
        columns("id", "name", "added"),
        columns("id"),
        columns("name", "id"),
        columns("id", "name", type="int32"),
        columns("id", "name", source_type="int"),
        columns("id", "name", nullable=True),
        columns("id", "name", loss="digits"),
    ],
)
def test_any_change_makes_a_version(manifest: Manifest, changed: list[dict[str, Any]]) -> None:
    manifest.record("flights", "planes", "dbo", "planes", columns("id", "name"), "load-1")
    assert manifest.record("flights", "planes", "dbo", "planes", changed, "load-2") == 2
    assert manifest.record("flights", "planes", "dbo", "planes", changed, "load-3") == 2
    assert manifest.record("flights", "planes", "dbo", "planes", columns("id", "name"), "load-4") == 3
    versions = manifest.read().select("version", "load_id").unique().sort("version").rows()
    assert versions == [(1, "load-1"), (2, "load-2"), (3, "load-4")]
    starts = manifest.read().sort("version")["valid_from"].to_list()
    assert starts == sorted(starts)


def test_tables_of_one_name_in_two_schemas_are_two(manifest: Manifest) -> None:
    manifest.record("a", "planes", "dbo", "planes", columns("id"), "load-1")
    manifest.record("b", "planes", "sales", "planes", columns("id", "name"), "load-1")
    manifest.record("c", "planes", "", "planes", columns("id"), "load-1")
    assert manifest.read()["table"].unique(maintain_order=True).to_list() == ["dbo.planes", "planes", "sales.planes"]


def test_loads_of_many_tables_and_of_one_lose_nothing(lake: LocalLake) -> None:
    def record(number: int) -> int:
        manifest = Manifest(lake, ROOT)
        manifest.record("flow", f"entity_{number}", "dbo", f"table_{number}", columns("id"), "load")
        return manifest.record("flow", "shared", "dbo", "shared", columns("id", f"column_{number}"), "load")

    with ThreadPoolExecutor(4) as threads:
        versions = list(threads.map(record, range(4)))
    assert sorted(versions) == [1, 2, 3, 4]
    rows = Manifest(lake, ROOT).read()
    assert rows["table"].n_unique() == 5
    assert set(rows.filter(table="dbo.shared")["column"]) == {"id", *(f"column_{number}" for number in range(4))}


def test_a_version_whose_answer_was_lost_is_recognised(lake: LocalLake) -> None:
    manifest = Manifest(LostAnswers(lake), ROOT)
    assert manifest.record("flow", "planes", "dbo", "planes", columns("id"), "load-1") == 1
    assert manifest.record("flow", "planes", "dbo", "planes", columns("id", "name"), "load-2") == 2
    assert manifest.read()["version"].to_list() == [1, 2, 2]


def test_a_version_that_cannot_be_written_is_an_error(lake: LocalLake, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **conditions: object) -> str:
        raise LakeConditionNotMet("Another writer was faster.", status=412)

    monkeypatch.setattr(LocalLake, "put", refuse)
    with pytest.raises(JournalError, match=r"dbo\.planes could not be written"):
        Manifest(lake, ROOT).record("flow", "planes", "dbo", "planes", columns("id"), "load-1")


def test_only_new_versions_are_published(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    first = manifest.changes_since(None)
    assert first.snapshot
    manifest.record("flow", "planes", "dbo", "planes", columns("id"), "load-1")
    second = manifest.changes_since(json.loads(json.dumps(first.position)))
    assert not second.snapshot
    assert second.upserts.schema.equals(MANIFEST_SCHEMA)
    assert second.upserts.num_rows == 1
    manifest.record("flow", "planes", "dbo", "planes", columns("id", "name"), "load-2")
    manifest.record("flow", "airports", "dbo", "airports", columns("id"), "load-2")
    third = manifest.changes_since(json.loads(json.dumps(second.position)))
    found = [(row["table"], row["column"], row["version"]) for row in third.upserts.to_pylist()]
    assert found == [("dbo.airports", "id", 1), ("dbo.planes", "id", 2), ("dbo.planes", "name", 2)]
    monkeypatch.setattr(LocalLake, "read", _unexpected)
    assert manifest.changes_since(json.loads(json.dumps(third.position))).empty


def _unexpected(lake: LocalLake, path: str) -> None:
    raise AssertionError(f"{path} was read, although nothing has changed")


@pytest.mark.parametrize(
    "damage",
    [
        lambda lake, path: lake.delete(path),
        lambda lake, path: lake.put(path, json.dumps({"table": "dbo.planes", "versions": []}).encode()),
    ],
    ids=["removed", "emptied"],
)
def test_a_history_that_was_replaced_is_published_anew(
    manifest: Manifest, lake: LocalLake, damage: Callable[[LocalLake, str], object]
) -> None:
    manifest.record("flow", "planes", "dbo", "planes", columns("id"), "load-1")
    manifest.record("flow", "airports", "dbo", "airports", columns("id"), "load-1")
    position = manifest.changes_since(None).position
    damage(lake, f"{ROOT}/schemas/dbo.planes.json")
    changes = manifest.changes_since(position)
    assert changes.snapshot
    assert changes.upserts.column("table").to_pylist() == ["dbo.airports"]
