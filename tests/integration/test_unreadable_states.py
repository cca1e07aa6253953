"""Landing states that are damaged or come from elsewhere: no load guesses, and the way on that messages name works."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from hygge_engine.cli.app import app
from tests.integration.onelake_clients import ITEM, WORKSPACE

FLOW = """\
run_type: full_drop
home: {{ type: local, path: "in/{{entity}}.csv", format: csv }}
store: {store}
entities: [orders]
"""

STORES = {
    "csv": "{ type: local, path: out, format: csv }",
    "delta": "{ type: local, path: out, format: delta }",
    "sqlite": "{ type: sqlite, path: shop.db }",
}


def of_another_version(state: bytes) -> bytes:
    return json.dumps(json.loads(state) | {"format": 99}).encode()


def with_a_field_of_tomorrow(state: bytes) -> bytes:
    return json.dumps(json.loads(state) | {"tomorrow": 1}).encode()


def with_a_number_for_columns(state: bytes) -> bytes:
    return json.dumps(json.loads(state) | {"columns": 7}).encode()


def without_an_epoch(state: bytes) -> bytes:
    return json.dumps(json.loads(state) | {"epoch": None}).encode()


DAMAGES = {
    "emptied": lambda state: b"",
    "cut off": lambda state: state[: len(state) // 2],
    "a list": lambda state: b"[]",
    "a number": lambda state: b"7",
    "no text": lambda state: b"\xff\xfe" * 40,
    "too deep": lambda state: b"[" * 200_000,
    "another version": of_another_version,
    "a field of tomorrow": with_a_field_of_tomorrow,
    "no epoch": without_an_epoch,
    "no columns": with_a_number_for_columns,
}


def hygge(directory: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--project", str(directory)])
    assert "Traceback" not in result.output
    return result.exit_code, " ".join(result.output.split())


def project(directory: Path, store: str) -> None:
    (directory / "flows/shop").mkdir(parents=True)
    (directory / "in").mkdir()
    (directory / "hygge.yml").write_text("name: shop\n")
    (directory / "flows/shop/flow.yml").write_text(FLOW.format(store=store))
    (directory / "in/orders.csv").write_text("id,v\n1,a\n2,b\n")


def damage(directory: Path, kind: str, damaged: str) -> None:
    change = DAMAGES[damaged]
    if kind == "sqlite":
        with closing(sqlite3.connect(directory / "shop.db")) as connection, connection:
            ((document,),) = connection.execute("SELECT state FROM __hygge_landing").fetchall()
            text = change(document.encode()).decode(errors="replace")
            connection.execute("UPDATE __hygge_landing SET state = ?", (text,))
        return
    (state,) = (directory / "out/.hygge_journal/landing").rglob("*.json")
    state.write_bytes(change(state.read_bytes()))


def remove_table(directory: Path, kind: str) -> None:
    if kind == "sqlite":
        with closing(sqlite3.connect(directory / "shop.db")) as connection, connection:
            connection.execute("DROP TABLE orders")
        return
    for path in sorted((directory / "out/orders").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (directory / "out/orders").rmdir()


def values(directory: Path, kind: str) -> list[str]:
    if kind == "sqlite":
        with closing(sqlite3.connect(directory / "shop.db")) as connection:
            return [v for (v,) in connection.execute("SELECT v FROM orders ORDER BY v")]
    folder = directory / "out/orders"
    if kind == "delta":
        return sorted(pl.read_delta(str(folder))["v"])
    return sorted(pl.concat([pl.read_csv(path) for path in folder.glob("part-*.csv")])["v"])


CASES = [("csv", damaged) for damaged in DAMAGES] + [
    (kind, damaged) for kind in ("delta", "sqlite") for damaged in ("cut off", "another version")
]


@pytest.mark.parametrize(("kind", "damaged"), CASES)
@pytest.mark.parametrize("left", ["the table", "nothing"])
def test_the_way_on_that_the_message_names_works(tmp_path: Path, kind: str, damaged: str, left: str) -> None:
    project(tmp_path, STORES[kind])
    assert hygge(tmp_path, "go")[0] == 0
    damage(tmp_path, kind, damaged)
    if left == "nothing":
        remove_table(tmp_path, kind)
    (tmp_path / "in/orders.csv").write_text("id,v\n1,c\n3,d\n")
    code, said = hygge(tmp_path, "go")
    assert code == 1, said
    assert "`hygge adopt shop.orders`" in said
    assert not re.search(r"Error\b|FLOW|expected|object has no|0x|argument", said), said
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")}
    assert hygge(tmp_path, "adopt", "shop.orders")[0] == 2  # says what would happen
    assert hygge(tmp_path, "adopt", "shop.orders", "--confirm", "orders")[0] == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")} == before
    assert hygge(tmp_path, "go")[0] == 0
    assert values(tmp_path, kind) == ["c", "d"]


def test_a_damaged_history_of_columns_is_told_and_begins_anew_once_it_is_moved(tmp_path: Path) -> None:
    project(tmp_path, STORES["csv"])
    assert hygge(tmp_path, "go")[0] == 0
    (history,) = (tmp_path / "out/.hygge_journal/schemas").glob("*.json")
    for damaged in (b"", b"[]", b'{"versions": 7}', b'{"table": "orders", "versions": [{}]}'):
        history.write_bytes(damaged)
        code, said = hygge(tmp_path, "go")
        assert (code, "schemas/orders.json cannot be read: it " in said) == (1, True), said
    history.unlink()
    assert hygge(tmp_path, "go")[0] == 0


def test_files_of_others_stay_and_staged_ones_of_lost_attempts_go(tmp_path: Path) -> None:
    project(tmp_path, STORES["csv"])
    assert hygge(tmp_path, "go")[0] == 0
    (tmp_path / "out/orders/notes.xlsx").write_bytes(b"notes")
    staging = tmp_path / "out/.hygge_journal/staging/shop/orders"
    staging.mkdir(parents=True, exist_ok=True)
    (staging / "00000077-0001-00001.csv").write_bytes(b"id,v\n9,never\n")
    damage(tmp_path, "csv", "cut off")
    assert hygge(tmp_path, "adopt", "orders", "--confirm", "orders")[0] == 0
    assert hygge(tmp_path, "go")[0] == 0
    assert (tmp_path / "out/orders/notes.xlsx").read_bytes() == b"notes"
    assert not [path for path in staging.rglob("*") if path.is_file()]
    assert values(tmp_path, "csv") == ["a", "b"]


@pytest.fixture(scope="module")
def lake(module_lake: OneLake) -> OneLake:
    return module_lake


@pytest.mark.parametrize("left", ["the table", "nothing"])
def test_a_mirrored_table_is_replaced_once_fabric_has_dropped_it(tmp_path: Path, lake: OneLake, left: str) -> None:
    credential = ", ".join(f"{name}: '{value}'" for name, value in lake.credential.items())
    schema = "whole" if left == "the table" else "gone"
    project(
        tmp_path,
        f"{{ type: open_mirroring, account_url: '{lake.url}', filesystem: {WORKSPACE}, mirror_name: {ITEM}, "
        f"schema_name: {schema}, key_columns: [id], credential: account_key, {credential}, "
        "folder_deletion_wait_seconds: 0.2 }",
    )
    code, said = hygge(tmp_path, "go")
    assert code == 0, said
    files = lake.path(WORKSPACE, ITEM, "Files")
    (state,) = files.rglob(".hygge_journal/landing/shop/orders.json")
    (table,) = files.rglob(f"LandingZone/{schema}.schema/orders")
    state.write_bytes(state.read_bytes()[:40])
    if left == "nothing":
        for path in table.iterdir():
            path.unlink()
        table.rmdir()
    assert hygge(tmp_path, "go")[0] == 1
    code, said = hygge(tmp_path, "adopt", "orders", "--confirm", "orders")
    assert code == 0, said
    assert json.loads(state.read_bytes())["folder_etag"] == ("" if left == "the table" else "gone")
    code, said = hygge(tmp_path, "go")
    assert code == 0, said
    found = [path.name for path in table.iterdir() if path.suffix == ".parquet"]
    assert found == ["00000000000000000001.parquet"]
