"""Whole projects: inheritance, variables, types, and the repository's own sample."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hygge_engine.homes.mssql.settings import MssqlConnection, MssqlHomeSettings
from hygge_engine.project import Entity, Project, load_project
from hygge_engine.project.models.project import DeletesSettings
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from tests.unit.project_files import ENVIRONMENT, FLOW, HYGGE, find_problems, load, write_project

REPOSITORY = Path(__file__).parents[2]


def home_of(entity: Entity) -> MssqlHomeSettings:
    assert isinstance(entity.home, MssqlHomeSettings)
    return entity.home


def store_of(entity: Entity) -> OpenMirroringSettings:
    assert isinstance(entity.store, OpenMirroringSettings)
    return entity.store


def connection_of(project: Project, name: str = "shop_db") -> MssqlConnection:
    connection = project.connections[name]
    assert isinstance(connection, MssqlConnection)
    return connection


def test_entities_inherit_from_their_flow(tmp_path: Path) -> None:
    project = load(
        tmp_path,
        flows__orders_to_fabric__entities__items="""\
name: items
run_type: full_drop
reload: difference
home: { table: "sales.{entity}", batch_rows: 10 }
store: { schema_name: sales }
watermark: { column: changed, lag: 5m }
""",
    )
    orders, customers, items = project.entities
    assert [orders.id, customers.id, items.id] == [f"orders_to_fabric.{n}" for n in ("orders", "customers", "items")]
    assert home_of(orders).table == "dbo.orders"
    assert store_of(orders).table_name == "orders"
    assert orders.run_type == "incremental"
    assert (home_of(items).table, home_of(items).connection) == ("sales.items", "shop_db")
    assert (store_of(items).schema_name, store_of(items).mirror_name) == ("sales", store_of(orders).mirror_name)
    assert items.run_type == "full_drop"
    assert [orders.reload, items.reload] == ["drop", "difference"]
    assert items.watermark is not None
    assert (items.watermark.column, items.watermark.primary_key, items.watermark.lag) == ("changed", "id", 300.0)


def test_a_history_is_an_entity_beside_the_one_whose_versions_it_lands(tmp_path: Path) -> None:
    entities = "\n  - {name: orders, schema_changes: {added: rebuild}}\n  - {name: customers, history: none}\n"
    kept = "history: versions\nhistory_retention: 30d\n"
    project = load(tmp_path, flow=FLOW.replace("[orders, customers]", entities) + kept)
    assert [entity.name for entity in project.entities] == ["orders", "customers", "orders_history"]
    orders, _, history = project.entities
    assert (history.history_of, history.reads_as.name, history.run_type) == ("orders", "orders", "incremental")
    assert store_of(history).table_name == "orders_history"
    assert history.history_retention == 30 * 86_400.0
    assert (history.home, history.watermark) == (orders.home, orders.watermark)
    assert (history.schema_changes.added, orders.schema_changes.added) == ("evolve", "rebuild")
    without = load(tmp_path / "without", flow=FLOW.replace("[orders, customers]", entities))
    assert project.settings_hash() != without.settings_hash()


def test_items_of_a_list_may_override_too(tmp_path: Path) -> None:
    entities = "\n  - orders\n  - name: customers\n    watermark: null\n    run_type: full_drop\n"
    orders, customers = load(tmp_path, flow=FLOW.replace("[orders, customers]", entities)).entities
    assert orders.watermark is not None
    assert customers.watermark is None


def test_flows_inherit_the_projects_defaults(tmp_path: Path) -> None:
    store = FLOW[FLOW.index("store:") : FLOW.index("watermark:")]
    indented = "".join(f"  {line}\n" for line in store.splitlines())
    project = load(
        tmp_path,
        hygge=HYGGE + "defaults:\n  run_type: incremental\n  reload: difference\n" + indented,
        flow=FLOW.replace(store, "store: {schema_name: sales}\n").replace("run_type: incremental\n", ""),
    )
    entity = project.entities[0]
    assert store_of(entity).schema_name == "sales"
    assert store_of(entity).key_columns == ("id",)
    assert (entity.run_type, entity.reload) == ("incremental", "difference")
    assert project.flows["orders_to_fabric"].run_type == "incremental"


@pytest.mark.parametrize("where", ["defaults", "flow", "listed", "file"])
def test_deletes_may_be_written_as_one_word(tmp_path: Path, where: str) -> None:
    """In each file, and inherited key by key like the section that it stands for."""
    defaults = "defaults:\n  deletes: compare\n" if where == "defaults" else ""
    flow = FLOW + ("deletes: compare\n" if where == "flow" else "")
    listed = "{name: orders, deletes: compare}" if where == "listed" else "orders"
    own = "deletes: compare\n" if where in ("listed", "file") else "deletes: {every: 6h}\n"
    project = load(
        tmp_path,
        hygge=HYGGE + defaults,
        flow=flow.replace("[orders, customers]", f"\n  - {listed}\n  - {{name: customers, deletes: null}}\n"),
        flows__orders_to_fabric__entities__items="name: items\n" + own,
    )
    orders, customers, items = (entity.deletes for entity in project.entities)
    assert items == DeletesSettings(compare=True, every=86_400 if where in ("listed", "file") else 21_600)
    assert orders.compare == (where != "file")
    assert customers == DeletesSettings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("mark", "`deletes.mark` changes one column"),  # Open Mirroring cannot
        ("compair", "Did you mean `compare`?"),
    ],
)
def test_a_word_for_deletes_that_does_not_fit_is_told_at_its_place(tmp_path: Path, text: str, told: str) -> None:
    (problem,) = find_problems(tmp_path, flow=FLOW + f"deletes: {text}\n")
    assert told in str(problem)
    assert problem.line == FLOW.count("\n") + 1


def test_a_stores_incremental_overrules_the_flow(tmp_path: Path) -> None:
    watermark = FLOW[FLOW.index("watermark:") : FLOW.index("entities:")]
    flow = FLOW.replace(watermark, "").replace("  key_columns", "  incremental: false\n  key_columns")
    entity = load(tmp_path, flow=flow).entities[0]
    assert (entity.run_type, entity.effective_run_type) == ("incremental", "full_drop")


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("${HOST}", {"HOST": "h"}, "h"),
        ("${HOST:-fallback}", {}, "fallback"),
        ("${HOST:-fallback}", {"HOST": ""}, "fallback"),
        ("${HOST}.${DOMAIN:-example.com}", {"HOST": "h"}, "h.example.com"),
        ("${HOST:-${OTHER:-deep}}", {}, "deep"),
        ("${HOST:-${OTHER:-deep}}", {"OTHER": "o"}, "o"),
        ("007", {}, "007"),
        ("${HOST}", {"HOST": "12"}, "12"),
    ],
)
def test_variables(tmp_path: Path, text: str, environment: dict[str, str], expected: str) -> None:
    write_project(tmp_path, hygge=HYGGE.replace("server: sql.example.com", f'server: "{text}"'))
    project = load_project(tmp_path, ENVIRONMENT | environment)
    assert connection_of(project).server == expected


def test_an_escaped_variable_is_text(tmp_path: Path) -> None:
    query = r"""select '$${x}' as a, '{b}' as b, '{\"entity\": 1}' as c from {entity}"""
    flow = FLOW.replace("table: dbo.{entity}", f'query: "{query}"')
    found = home_of(load(tmp_path, flow=flow).entities[0]).query
    assert found == "select '${x}' as a, '{b}' as b, '{\"entity\": 1}' as c from orders"


def test_settings_of_every_type_come_from_variables(tmp_path: Path) -> None:
    lines = """\
    encrypt: "${ENCRYPT}"
    pool_size: "${POOL}"
    port: "${PORT:-}"
    client_id: "${CLIENT}"
"""
    write_project(
        tmp_path,
        hygge=HYGGE + lines,
        flows__orders_to_fabric__flow=FLOW.replace("  key_columns", '  row_marker: "${MARKER}"\n  key_columns'),
    )
    project = load_project(tmp_path, ENVIRONMENT | {"ENCRYPT": "False", "POOL": "9", "CLIENT": "", "MARKER": "4"})
    connection = connection_of(project)
    assert (connection.encrypt, connection.pool_size, connection.port, connection.client_id) == (False, 9, None, None)
    assert store_of(project.entities[0]).row_marker == 4


def test_a_quoted_number_is_a_number_where_one_is_wanted(tmp_path: Path) -> None:
    project = load(tmp_path, flow=FLOW.replace("  key_columns", '  row_marker: "1"\n  key_columns'))
    assert store_of(project.entities[0]).row_marker == 1


@pytest.mark.parametrize("password", ["0123", "1e5", "true", "null", "a b", "{entity}", "~"])
def test_a_password_stays_as_it_is(tmp_path: Path, password: str) -> None:
    write_project(tmp_path)
    secret = connection_of(load_project(tmp_path, {"SHOP_PASSWORD": password})).password
    assert secret is not None
    assert secret.get_secret_value() == password


def test_local_settings_come_after_the_environment(tmp_path: Path) -> None:
    write_project(tmp_path, hygge=HYGGE.replace("sql.example.com", '"${HOST}"'))
    (tmp_path / "local.settings.json").write_text('{"Values": {"HOST": "local", "SHOP_PASSWORD": "local"}}')
    connection = connection_of(load_project(tmp_path, {"HOST": "environment"}))
    assert connection.server == "environment"
    assert connection.password is not None
    assert connection.password.get_secret_value() == "local"


def test_words_that_yaml_1_1_takes_for_something_else_are_names(tmp_path: Path) -> None:
    names = [
        e.name for e in load(tmp_path, flow=FLOW.replace("[orders, customers]", "[no, on, 2013, 2013-01-01]")).entities
    ]
    assert names == ["no", "on", "2013", "2013-01-01"]


def test_anchors_and_merge_keys(tmp_path: Path) -> None:
    hygge = HYGGE.replace("shop_db:\n", "shop_db: &base\n") + "  copy_db:\n    <<: *base\n    database: copy\n"
    project = load(tmp_path, hygge=hygge)
    assert (connection_of(project, "copy_db").server, connection_of(project, "copy_db").database) == (
        "sql.example.com",
        "copy",
    )


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("45", 45)])
def test_durations(tmp_path: Path, text: str, seconds: float) -> None:
    watermark = load(tmp_path, flow=FLOW.replace("primary_key: id", f"lag: {text}")).entities[0].watermark
    assert watermark is not None
    assert watermark.lag == seconds


def test_the_sample_project_needs_three_variables() -> None:
    project = load_project(
        REPOSITORY, {"SQL_SERVER": "sql.example.com", "WORKSPACE_ID": "w", "MIRROR_ID": "m", "LAKE_SAS_TOKEN": ""}
    )
    assert [entity.name for entity in project.entities] == ["flights", "weather", "planes", "airports", "airlines"]
    assert {entity.effective_run_type for entity in project.entities} == {"incremental"}
    assert connection_of(project, "flights_db").auth == "managed_identity"


def test_reading_a_project_imports_neither_arrow_nor_azure() -> None:
    # Every command and the app's cold start pay for what this imports.
    script = (
        "import sys; from hygge_engine.project import load_project; from hygge_engine.project.models.settings import "
        "load_types; load_types(); "
        "print([m for m in ('pyarrow', 'polars', 'azure', 'mssql_python', 'pyodbc') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert output.stdout.strip() == "[]"
