"""``--var``: settings of the command line count as if they stood in the files, and mistakes in them are located."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from hygge_engine.errors import ConfigurationError
from hygge_engine.project import Entity, Problem, Project, load_project
from tests.unit.project_files import ENVIRONMENT, FLOW, write_project

CANARY = "cAnArY-1f9e"

OTHER = (
    FLOW.replace("orders_to_fabric", "zoo")
    .replace("22222222-2222", "33333333-2222")
    .replace("dbo.{entity}", "dbo.[{entity}]")
    .replace("[orders, customers]", "[{name: lions.males, run_type: full_drop}]")
)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    items = "home: {table: dbo.things}\n"
    return write_project(tmp_path, flows__zoo__flow=OTHER, flows__orders_to_fabric__entities__items=items)


def load(directory: Path, *overrides: str, environment: Mapping[str, str] = ENVIRONMENT) -> Project:
    return load_project(directory, environment, overrides)


def entities(directory: Path, *overrides: str) -> dict[str, Entity]:
    return {entity.id: entity for entity in load(directory, *overrides).entities}


def problem(directory: Path, *overrides: str, environment: Mapping[str, str] = ENVIRONMENT) -> Problem:
    with pytest.raises(ConfigurationError) as caught:
        load(directory, *overrides, environment=environment)
    (found,) = caught.value.problems
    return found


def run_types(directory: Path, *overrides: str) -> str:
    """The first letters of the run types of orders, customers, items and lions.males."""
    return "".join(entity.effective_run_type[0] for entity in entities(directory, *overrides).values())


def test_settings_of_the_project(directory: Path) -> None:
    project = load(directory, "options.concurrency=3", "connections.shop_db.pool_size = 9", "name=zoo")
    assert (project.options.concurrency, project.connections["shop_db"].pool_size, project.name) == (3, 9, "zoo")
    assert load(directory, "options={concurrency: 5}").options.concurrency == 5
    assert load(directory, "defaults.run_type=full_drop").settings_hash() == load(directory).settings_hash()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("flow.orders_to_fabric.run_type=full_drop", "ffff"),
        ("flows.orders_to_fabric.run_type=full_drop", "ffff"),
        ("orders_to_fabric.run_type=full_drop", "ffff"),
        ("flow.zoo.run_type=full_drop", "iiif"),
        ("flow.run_type=full_drop", "ffff"),
        ("flow.zoo.store.incremental=true", "iiii"),
        ("flow.orders_to_fabric.entities.customers.run_type=full_drop", "ifif"),
        ("flow.orders_to_fabric.entities.items.run_type=full_drop", "iiff"),
        ("flow.zoo.entities.lions.males.run_type=incremental", "iiii"),
        ("flow.entities.items.run_type=full_drop", "iiff"),
        ("flow.orders_to_fabric.entities=[orders]", "iif"),
    ],
)
def test_settings_of_flows_and_entities(directory: Path, override: str, expected: str) -> None:
    assert run_types(directory) == "iiif"
    assert run_types(directory, override) == expected


def test_an_entity_overrides_what_the_command_line_says_of_its_flow(directory: Path) -> None:
    found = entities(directory, "flow.orders_to_fabric.home.table=sales.{entity}")
    tables = {name: entity.home.model_dump()["table"] for name, entity in found.items()}
    assert tables["orders_to_fabric.orders"] == "sales.orders"
    assert tables["orders_to_fabric.items"] == "dbo.things"


def test_a_flow_is_known_by_its_directory_too(directory: Path) -> None:
    (directory / "flows/zoo").rename(directory / "flows/animals")
    assert run_types(directory, "flow.animals.store.incremental=true") == "iiii"


def test_nothing_takes_a_key_away_and_a_section_can_be_replaced(directory: Path) -> None:
    overrides = ["flow.watermark=", "flow.run_type=full_drop"]
    assert {entity.watermark for entity in entities(directory, *overrides).values()} == {None}
    found = entities(directory, "flow.zoo.store={type: local, path: warehouse}", "flow.zoo.run_type=full_drop")
    assert found["zoo.lions.males"].store.type == "local"


def test_values_are_text_numbers_lists_and_variables(directory: Path) -> None:
    overrides = ["flow.store.key_columns=[a, 'b c']", "flow.watermark.column=007", "name=${NAME}: x"]
    found = load(directory, *overrides, environment={**ENVIRONMENT, "NAME": "it"})
    (first, *_) = found.entities
    assert (first.store.key_columns, first.watermark and first.watermark.column) == (("a", "b c"), "007")
    assert found.name == "it: x"


# The override, the column of the problem, and words that the report must hold.
MISTAKES = {
    "no assignment": ("options.concurrency", 7, ["not an assignment", "path.to.key=value"]),
    "no path": ("=3", 7, ["not an assignment"]),
    "an empty key": ("options..concurrency=3", 7, ["not an assignment"]),
    "unknown setting": ("optins.concurrency=3", 7, ["no setting `optins`", "Did you mean `options`?"]),
    "a flow's key without a flow": ("run_type=full_drop", 7, ["`flow.run_type`"]),
    "unknown flow": ("flow.orders_to_fabrik.run_type=x", 12, ["no flow", "Did you mean `orders_to_fabric`?"]),
    "unknown key of a flow": ("flow.zoo.stor.path=x", 16, ["no key `stor`", "Did you mean `store`?"]),
    "unknown key of a section": ("flow.zoo.store.row_markr=4", 22, ["Did you mean `row_marker`?"]),
    "unknown entity": ("flow.zoo.entities.tigers.run_type=full_drop", 25, ["no entity `tigers`", "lions.males"]),
    "a flow as a whole": ("flow.zoo=x", 12, ["not a key of a flow", "run_type"]),
    "an entity as a whole": ("flow.zoo.entities.lions.males=x", 25, ["not a key of an entity"]),
    "a wrong choice": ("flow.zoo.run_type=full_dro", 25, ["Did you mean `full_drop`?"]),
    "a wrong number": ("options.concurrency=many", 27, ["`many`", "a whole number"]),
    "out of bounds": ("options.concurrency=0", 27, ["at least 1"]),
    "a duration": ("flow.zoo.watermark.lag=5 minutes", 30, ["`5 minutes`", "5m"]),
    "an unknown connection": ("flow.zoo.home.connection=shopdb", 32, ["Did you mean `shop_db`?"]),
    "an unknown variable": ("name=${NOWHERE}", 12, ["`NOWHERE` is not set", "the environment"]),
    "brackets": ("flow.zoo.entities=[a, b", 25, ["not valid YAML", "brackets"]),
    "no entities": ("flow.zoo.entities=[]", 16, ["the flow has no entities"]),
    "an unknown option": ("options.concurency=3", 15, ["Did you mean `concurrency`?"]),
}


@pytest.mark.parametrize(("override", "column", "words"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_located_on_the_command_line(
    directory: Path, override: str, column: int, words: list[str]
) -> None:
    found = problem(directory, "options.slice_minutes=2", override)
    assert (found.file, found.line, found.column) == ("the command line", 2, column)
    assert f"--var {override}" in found.excerpt
    assert [word for word in words if word not in found.render()] == []


@pytest.mark.parametrize(
    "override",
    [
        "connections.shop_db.pasword={}",
        "connections.shop_db.password=[{}]",
        "connections.shop_db.password",
        "connections.shop_db.password='{}",
        "connections.shop_db.server=[Server=h;Pwd={}]",
        "flow.zoo.store.account_key={}",
        "flow.zoo.store={{type: open_mirroring, account_key: {}, acount_url: x}}",
        "flow.zoo.api_token={}",
    ],
)
def test_a_mistake_shows_no_secret(directory: Path, override: str) -> None:
    overrides = [override.format(CANARY), "optins=1"]
    with pytest.raises(ConfigurationError) as caught:
        load(directory, *overrides)
    assert CANARY not in str(caught.value)
    assert CANARY not in "".join(problem.render() for problem in caught.value.problems)


def test_a_flow_that_cannot_be_read_is_not_said_to_be_unknown(directory: Path) -> None:
    (directory / "flows/zoo/flow.yml").write_text("name: [")
    assert problem(directory, "flow.zoo.run_type=full_drop").file == "flows/zoo/flow.yml"


@pytest.mark.parametrize(
    "override",
    [
        "flow.polish.constants.leak=${SHOP_PASSWORD}",
        "flow.zoo.polish.constants={leak: 'a ${SHOP_PASSWORD} b'}",
        "flow.zoo.store.table_name=${SOURCE}",
        "name=${SOURCE}",
    ],
)
def test_a_secret_of_the_command_line_stands_in_its_own_key_too(directory: Path, override: str) -> None:
    environment = {**ENVIRONMENT, "SOURCE": f"Server=a;Password={CANARY};"}
    found = problem(directory, override, environment=environment)
    assert "holds a secret" in found.message
    assert CANARY not in found.render()


def test_a_password_of_the_command_line_may_be_made_of_parts(directory: Path) -> None:
    load(directory, "connections.shop_db.password=${SHOP_PASSWORD}-2")


def test_text_of_the_command_line_that_can_be_written_nowhere_is_a_problem(directory: Path) -> None:
    assert "can be written nowhere" in problem(directory, "name=caf\udce9").message
