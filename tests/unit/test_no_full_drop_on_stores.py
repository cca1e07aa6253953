"""A store has no `full_drop` key: wherever one stands, whatever its type, the error says what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import load_project
from hygge_engine.project.models.settings import STORES, load_types
from tests.unit.project_files import ENVIRONMENT, FLOW, FLOW_FILE, HYGGE, find_problems, write_project

STORE = FLOW[FLOW.index("store:") : FLOW.index("watermark:")]

# What each type cannot do without.
REQUIRED = {
    "adls": "account_url: https://shop.dfs.core.windows.net, filesystem: raw",
    "local": "path: out",
    "mssql": "connection: shop_db, schema_name: landed, journal_folder: {path: out}",
    "onelake": "filesystem: w, lakehouse: l",
    "open_mirroring": "account_url: https://shop.dfs.core.windows.net, filesystem: w, mirror_name: m",
    "sqlite": "path: out.db",
}
INSTEAD = ("`run_type: full_drop` on the flow", "`incremental: false` on the store")


def store(kind: str, more: str = "") -> str:
    return f"store: {{type: {kind}, {REQUIRED[kind]}{more}}}\n"


def test_every_store_is_tried() -> None:
    load_types()
    assert set(REQUIRED) == {kind for kind, model in STORES.items() if model.__module__.startswith("hygge_engine.")}


@pytest.mark.parametrize("kind", REQUIRED)
@pytest.mark.parametrize("value", ["true", "false"])
def test_of_every_type(tmp_path: Path, kind: str, value: str) -> None:
    text = store(kind, f", full_drop: {value}")
    (problem,) = find_problems(tmp_path, flow=FLOW.replace(STORE, text))
    assert (problem.file, problem.line, problem.column) == (FLOW_FILE, 8, text.index("full_drop") + 1)
    assert all(words in problem.render() for words in INSTEAD)
    line, caret = problem.excerpt.splitlines()
    assert line[caret.index("^") :].startswith("full_drop")


@pytest.mark.parametrize("kind", REQUIRED)
def test_of_every_place(tmp_path: Path, kind: str) -> None:
    flow = FLOW.replace(STORE, "").replace(
        "[orders, customers]", "[{name: orders, store: {full_drop: true}}, customers]"
    )
    defaults = f"defaults:\n  {store(kind)}"
    (problem,) = find_problems(tmp_path / "item", hygge=HYGGE + defaults, flow=flow)
    assert (problem.file, problem.line) == (FLOW_FILE, 11)
    assert all(words in problem.render() for words in INSTEAD)

    (problem,) = find_problems(
        tmp_path / "file",
        flow=FLOW.replace(STORE, store(kind)),
        flows__orders_to_fabric__entities__items="store:\n  full_drop: true\n",
    )
    assert (problem.file, problem.line, problem.column) == ("flows/orders_to_fabric/entities/items.yml", 2, 3)
    assert all(words in problem.render() for words in INSTEAD)

    everywhere = f"defaults:\n  {store(kind, ', full_drop: true')}"
    (problem,) = find_problems(tmp_path / "defaults", hygge=HYGGE + everywhere, flow=FLOW.replace(STORE, ""))
    assert (problem.file, problem.line) == ("hygge.yml", 11)
    assert all(words in problem.render() for words in INSTEAD)


def test_on_the_command_line(tmp_path: Path) -> None:
    write_project(tmp_path)
    with pytest.raises(ConfigurationError, match="incremental: false") as caught:
        load_project(tmp_path, ENVIRONMENT, ["flow.orders_to_fabric.store.full_drop=true"])
    assert caught.value.problems[0].file == "the command line"
