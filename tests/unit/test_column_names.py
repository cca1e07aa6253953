"""Which names of columns a destination bears is known before the first row: a table of cases for each of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app

STORES = {
    "csv": "{ type: local, path: out, format: csv }",
    "parquet": "{ type: local, path: out }",
    "delta": "{ type: local, path: out, format: delta }",
    "sqlite": "{ type: sqlite, path: shop.db }",
}
FLOW = """\
home: {{ type: local, path: "in/{{entity}}.parquet" }}
store: {store}
{polish}
entities: [orders]
"""


def project(directory: Path, store: str, names: list[str], polish: str = "") -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (directory / "flows/shop").mkdir(parents=True)
    (directory / "in").mkdir()
    (directory / "hygge.yml").write_text("name: shop\n")
    (directory / "flows/shop/flow.yml").write_text(FLOW.format(store=STORES[store], polish=polish))
    columns = [pa.array([number]) for number in range(len(names))]
    pq.write_table(pa.Table.from_arrays(columns, names), directory / "in/orders.parquet")


def hygge(directory: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--project", str(directory), "--json"])
    return result.exit_code, result.output


ALIKE = [("µ", "μ"), ("ä", "Ä"), ("\u0131l", "il"), ("\u017f", "s"), ("k", "\u212a")]

CASES = [
    *[(store, ["id", f"a{mark}b"], store != "delta") for store in STORES for mark in " ,;{}()\t="],
    *[(store, ["id", "Ä b", "ID"], store in ("csv", "parquet")) for store in STORES],
    # Letters with a capital, or a small letter, in common: one to some readers of Delta tables, several to SQLite.
    *[(store, ["id", *pair], store != "delta") for store in ("delta", "sqlite") for pair in ALIKE],
    *[(store, ["id", "straße", "strasse", "x-y", "ä", "a.b", 'q"q', "a'b", "select"], True) for store in STORES],
    ("sqlite", ["id", "__hygge_row"], False),
]


@pytest.mark.parametrize(("store", "names", "borne"), CASES)
def test_plan_tells_what_go_would_and_nothing_is_written(
    tmp_path: Path, store: str, names: list[str], borne: bool
) -> None:
    project(tmp_path, store, names)
    code, said = hygge(tmp_path, "plan")
    assert code == (0 if borne else 1), said
    if borne:
        assert hygge(tmp_path, "go")[0] == 0
        return
    (error,) = json.loads(said)["entities"][0]["errors"]
    assert repr(names[-1]) in error
    assert "polish.rename" in error
    code, said = hygge(tmp_path, "go")
    assert code == 1
    assert "store.column_refused" in said
    assert not (tmp_path / "out/orders").exists()


def test_a_column_with_another_name_lands(tmp_path: Path) -> None:
    project(tmp_path, "delta", ["id", "a b"], polish='polish: { rename: { "a b": a_b } }')
    assert hygge(tmp_path, "plan")[0] == 0
    assert hygge(tmp_path, "go")[0] == 0


@pytest.mark.parametrize(
    ("store", "columns", "borne"), [("sqlite", 1_998, True), ("sqlite", 1_999, False), ("delta", 2_001, True)]
)
def test_more_columns_than_the_destination_bears_are_told_before_the_first_row(
    tmp_path: Path, store: str, columns: int, borne: bool
) -> None:
    project(tmp_path, store, [f"column_{number}" for number in range(columns)])
    for command in ("plan", "go"):
        code, said = hygge(tmp_path, command)
        assert code == (0 if borne else 1), said
        assert borne or f"SQLite cannot hold a table of {columns:,} columns, 1,998 at most" in said
