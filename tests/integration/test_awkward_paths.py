"""Projects and tables in places with awkward names: either they work, or `plan` says why not, at once."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from devcloud.onelake import OneLake
from hygge_engine.cli.app import app
from tests.integration.onelake_clients import ITEM, WORKSPACE

NAMES = ["a b", "p%20x", "50%", "a[1]", "ü", "a#b", "a|b"]
FLOW = """\
home: {{ type: local, path: {home}, format: csv }}
store: {store}
entities: [orders]
"""


def project(directory: Path, store: str, home: str = '"in/{entity}*.csv"') -> None:
    (directory / "flows/shop").mkdir(parents=True)
    (directory / "in").mkdir()
    (directory / "hygge.yml").write_text("name: shop\n")
    (directory / "flows/shop/flow.yml").write_text(FLOW.format(store=store, home=home))
    (directory / "in/orders_1.csv").write_text("id,v\n1,a\n2,b\n")


def hygge(directory: Path, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, [*arguments, "--project", str(directory)])
    return result.exit_code, " ".join(result.output.split())


@pytest.mark.parametrize("name", NAMES)
def test_a_project_works_in_a_directory_of_any_name(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    project(directory, "{ type: local, path: out }")
    for command in ("validate", "plan", "go", "runs"):
        code, said = hygge(directory, command)
        assert code == 0, said
    assert pl.read_parquet(next((directory / "out/orders").iterdir()).read_bytes()).height == 2


@pytest.mark.parametrize("name", NAMES)
def test_a_delta_table_on_disk_lands_or_plan_says_why_not(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    project(directory, "{ type: local, path: out, format: delta }")
    code, said = hygge(directory, "plan")
    if name in ("p%20x", "a[1]", "a|b"):
        assert (code, "cannot be the path of a Delta table" in said) == (1, True), said
        assert hygge(directory, "go")[0] == 1
        assert not (directory / "out/orders").exists()
        return
    assert code == 0, said
    assert hygge(directory, "go")[0] == 0
    assert (directory / "out/orders/_delta_log").is_dir()


@pytest.fixture(scope="module")
def lake(module_lake: OneLake) -> OneLake:
    return module_lake


@pytest.mark.parametrize("name", ["a b", "p%20x", "50%", "a[1]", "ü", "a+b", "a'b"])
def test_a_delta_table_in_a_lake_lands_or_plan_says_why_not(tmp_path: Path, lake: OneLake, name: str) -> None:
    credential = ", ".join(f"{key}: {value!r}" for key, value in lake.credential.items())
    account = f"account_url: {lake.url}, credential: account_key, {credential}"
    place = f"filesystem: {WORKSPACE}, lakehouse: {ITEM}, format: delta, table_name: {name!r}"
    if "'" in name:
        place = place.replace(repr(name), f'"{name}"')
    project(tmp_path, f"{{ type: onelake, {account}, {place} }}")
    code, said = hygge(tmp_path, "plan")
    if name in ("p%20x", "a b"):
        assert (code, "cannot be the path of a Delta table" in said) == (1, True), said
        return
    assert code == 0, said
    code, said = hygge(tmp_path, "go")
    assert code == 0, said
    assert (lake.path(WORKSPACE, ITEM, "Tables", name) / "_delta_log").is_dir()


def test_an_absolute_path_into_the_projects_directory_is_no_pattern_up_to_there(tmp_path: Path) -> None:
    directory = tmp_path / "a[1]"
    project(directory, "{ type: local, path: out }", home=f'"{directory}/in/*.csv"')
    assert hygge(directory, "go")[0] == 0
