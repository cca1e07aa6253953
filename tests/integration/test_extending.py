"""Homes and stores of others: the example in docs/extending is installed, loads rows, and keeps what is promised."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest
from pydantic import SecretStr

from devcloud.sqlserver import DEFAULT_LOGINS
from hygge_engine.errors import ConfigurationError
from hygge_engine.flow import factory
from hygge_engine.homes.base import Home, ReadWindow
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import LocalHomeSettings
from hygge_engine.homes.mssql.settings import MssqlConnection
from hygge_engine.lake.local import LocalLake
from hygge_engine.project import Entity, Flow, JournalSettings, Options, Project
from hygge_engine.project.models.settings import HOMES, STORES, load_types
from hygge_engine.project.settings import HomeSettings, StoreSettings, register_home
from hygge_engine.stores.base import Destination
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.folder_table import places_of
from hygge_engine.stores.lake_files.settings import LocalSettings
from hygge_engine.stores.lake_files.table import FilesTable
from hygge_engine.stores.mssql.database import MssqlDatabase
from hygge_engine.stores.sqlite.database import SqliteDatabase
from hygge_engine.testing import check_home, check_store
from tests.integration.mssql_server import ServerProcess, open_home

REPOSITORY = Path(__file__).parents[2]
EXAMPLE = REPOSITORY / "docs/extending"
GUIDE = (REPOSITORY / "docs/extending.md").read_text(encoding="utf-8")

HYGGE = "name: shelf\n"
FLOW = """\
run_type: incremental
home: { type: sqlite_file, path: shop.db, table: "{entity}", batch_rows: 2 }
store: { type: arrow, path: shelf }
watermark: { column: version }
entities: [orders]
"""

Row = Mapping[str, Any]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package as pip leaves it there: its modules, and what pyproject.toml says of them."""
    site = tmp_path_factory.mktemp("site")
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text(encoding="utf-8"))
    for module in project["tool"]["setuptools"]["py-modules"]:
        shutil.copy(EXAMPLE / f"{module}.py", site)
    about = site / "hygge_shelf-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: hygge-shelf\nVersion: 1.0\n")
    groups = project["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in names.items())
        for group, names in groups.items()
    ]
    (about / "entry_points.txt").write_text("".join(lines))
    return site


class Shop:
    """A project that reads by the example's home and writes by its store."""

    def __init__(self, directory: Path, site: Path) -> None:
        self.directory = directory
        self._site = site
        (directory / "flows/shelf").mkdir(parents=True)
        (directory / "hygge.yml").write_text(HYGGE)
        (directory / "flows/shelf/flow.yml").write_text(FLOW)
        self.sql(
            "CREATE TABLE orders (id INTEGER NOT NULL, line TEXT NOT NULL, price REAL, version INTEGER, "
            "PRIMARY KEY (id, line))",
            "INSERT INTO orders VALUES (1, 'a', 1.5, 1), (1, 'b', 2.5, 1), (2, 'a', NULL, 2), (3, 'a', 0, 2), "
            "(3, 'b', 1, 3)",
        )

    def sql(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.directory / "shop.db")) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    def run(self, program: str, *arguments: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self._site)}
        command = [str(Path(sys.executable).parent / program), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def hygge(self, command: str, *arguments: str) -> str:
        return self.run("hygge", command, "--project", str(self.directory), *arguments)

    def landed(self) -> list[tuple[object, ...]]:
        files = sorted((self.directory / "shelf/orders").glob("*.arrow"))
        return sorted((row for file in files for row in pl.read_ipc(file).iter_rows()), key=lambda row: row[:2])


def test_the_example_is_installed_and_moves_rows(installed: Path, tmp_path: Path) -> None:
    shop = Shop(tmp_path, installed)
    assert "The project shelf is valid." in shop.hygge("validate")
    (line,) = json.loads(shop.hygge("plan", "--json"))["entities"]
    assert line["watermark"] == "version"
    sections = json.loads(shop.hygge("doctor", "--json"))["sections"]
    checks = {check["name"]: check for section in sections for check in section["checks"]}
    assert {check["result"] for check in checks.values()} == {"ok"}, checks
    assert "key id, line" in checks["source"]["found"]
    assert checks["destination"]["found"] == "nothing has landed yet"

    shop.hygge("go")
    assert [row[:2] for row in shop.landed()] == [(1, "a"), (1, "b"), (2, "a"), (3, "a"), (3, "b")]
    shop.sql("UPDATE orders SET price = 9, version = 4 WHERE id = 2", "INSERT INTO orders VALUES (4, 'a', 7, 4)")
    settled = [json.loads(text) for text in shop.hygge("go", "--json").splitlines() if '"settled"' in text]
    assert settled[0]["rows"] == 2
    assert (2, "a", 9.0, 4) in shop.landed()
    shop.hygge("go", "--run-type", "full_drop")
    assert len(shop.landed()) == 6

    shop.run("python", "-m", "hygge_engine.project.schema", str(tmp_path / "schema"))
    flow = json.loads((tmp_path / "schema/flow.json").read_text())
    kinds = {
        option["properties"]["type"]["const"]
        for section in ("home", "store")
        for option in flow["properties"][section]["anyOf"][0]["anyOf"]
    }
    assert {"sqlite_file", "arrow", "mssql", "open_mirroring"} <= kinds


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a module of the example; what it registers is removed afterwards."""
    load_types()
    monkeypatch.syspath_prepend(str(EXAMPLE))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for registry in (HOMES, STORES):
        before = dict(registry)
        for name in before:
            monkeypatch.setitem(registry, name, before[name])
    known = set(sys.modules), set(HOMES), set(STORES)
    yield import_module
    for name in set(sys.modules) - known[0]:
        if name in ("shelf", "sqlite_home", "arrow_store"):
            del sys.modules[name]
    for registry, names in ((HOMES, known[1]), (STORES, known[2])):
        for name in set(registry) - names:
            del registry[name]


@pytest.mark.parametrize("cursor", ["version", "line"])
def test_the_examples_home_keeps_its_promises(
    example: Callable[[str], Any], tmp_path: Path, installed: Path, cursor: str
) -> None:
    shop = Shop(tmp_path, installed)
    module = example("sqlite_home")
    check_home(lambda: module.SqliteFileHome(shop.directory / "shop.db", "orders", 2), cursor=cursor)


@pytest.mark.parametrize("key", [("id",), ()])
@pytest.mark.parametrize("format_", ["parquet", "csv", "ndjson"])
def test_files_keep_the_promises_of_a_home(
    tmp_path: Path, format_: Literal["parquet", "csv", "ndjson"], key: tuple[str, ...]
) -> None:
    for number in range(3):
        ids = range(number * 3, number * 3 + 3)
        frame = pl.DataFrame({"id": ids, "version": [id_ // 2 for id_ in ids], "name": [f"n{id_}" for id_ in ids]})
        getattr(frame, f"write_{format_}")(tmp_path / f"{number}.{format_}")
    settings = LocalHomeSettings(path=str(tmp_path), format=format_, key=key, batch_rows=2)
    check_home(lambda: FilesHome(LocalLake(tmp_path), "*", settings), cursor="version")


def test_sql_server_keeps_the_promises_of_a_home(mssql_server: ServerProcess) -> None:
    mssql_server.run(
        "DROP TABLE IF EXISTS dbo.promised",
        "CREATE TABLE dbo.promised (id int NOT NULL, line nchar(1) NOT NULL, at datetime2(3), PRIMARY KEY (id, line))",
        "INSERT INTO dbo.promised SELECT value, N'a', DATEADD(second, value / 2, '2026-01-01') "
        "FROM GENERATE_SERIES(1, 7)",
    )
    check_home(lambda: open_home(mssql_server, "dbo.promised", batch_rows=2), cursor="at")


def arrow_rows(folder: Path) -> list[Row]:
    return [row for file in sorted(folder.glob("*.arrow")) for row in pl.read_ipc(file).to_dicts()]


def test_the_examples_store_keeps_its_promises(example: Callable[[str], Any], tmp_path: Path) -> None:
    module = example("arrow_store")
    settings = example("shelf").ArrowSettings()
    check_store(
        lambda: module.ArrowTable(LocalLake(tmp_path), "flow", "orders", settings),
        lambda: arrow_rows(tmp_path / "orders"),
    )


@pytest.mark.parametrize("key", [("id",), ()])
def test_sqlite_keeps_the_promises_of_a_store(tmp_path: Path, key: tuple[str, ...]) -> None:
    file = tmp_path / "shop.db"

    def read_back() -> list[Row]:
        with closing(sqlite3.connect(file)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'orders'").fetchone():
                return []
            rows = connection.execute("SELECT id, value FROM orders").fetchall()
        return [{"id": id_, "value": value} for id_, value in rows]

    check_store(
        lambda: DatabaseTable(SqliteDatabase(file), "flow.orders", "orders", key_columns=()), read_back, key_columns=key
    )


def test_sql_server_keeps_the_promises_of_a_store(mssql_server: ServerProcess) -> None:
    database = f"promises_{uuid.uuid4().hex[:12]}"
    mssql_server.run(f"CREATE DATABASE {database}")
    connection = MssqlConnection(
        type="mssql",
        server=mssql_server.address,
        database=database,
        username="sa",
        password=SecretStr(DEFAULT_LOGINS["sa"]),
        encrypt=False,
    )

    def read_back() -> list[Row]:
        (found,) = mssql_server.run("SELECT OBJECT_ID('dbo.orders', 'U')", database=database)
        if found[0][0] is None:
            return []
        (rows,) = mssql_server.run("SELECT id, value FROM dbo.orders", database=database)
        return [{"id": id_, "value": value} for id_, value in rows]

    check_store(
        lambda: DatabaseTable(MssqlDatabase(connection, "dbo"), "flow.orders", "orders", key_columns=()), read_back
    )


def test_local_files_keep_the_promises_of_a_store(tmp_path: Path) -> None:
    places = places_of("orders", ".hygge_journal", "flow", "orders")

    def read_back() -> list[Row]:
        files = sorted((tmp_path / "orders").glob("*.parquet"))
        return [row for file in files for row in pl.read_parquet(file).to_dicts()]

    check_store(lambda: FilesTable(LocalLake(tmp_path), places, LocalSettings()), read_back)


def test_a_store_that_breaks_a_promise_is_told_which(tmp_path: Path) -> None:
    places = places_of("orders", ".hygge_journal", "flow", "orders")

    def open_table() -> Destination[Any]:
        return FilesTable(LocalLake(tmp_path), places, LocalSettings())

    with pytest.raises(AssertionError, match=r"promised: the rows of the first load are there; found: \[\]"):
        check_store(open_table, list)


def test_a_home_that_breaks_a_promise_is_told_which(
    example: Callable[[str], Any], tmp_path: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop(tmp_path, installed)
    module = example("sqlite_home")
    read = module.SqliteFileHome.read

    def divide(home: Home, window: ReadWindow, parts: int | None = None) -> list[Any]:
        return [batch.position for batch in home.read(window)][:2]  # shares that overlap

    with monkeypatch.context() as patch:
        patch.setattr(module.SqliteFileHome, "divide", divide, raising=False)
        with pytest.raises(AssertionError, match="shares have each row once"):
            check_home(lambda: module.SqliteFileHome(shop.directory / "shop.db", "orders", 2))
    monkeypatch.setattr(module.SqliteFileHome, "read", lambda self, window, after=None: read(self, window))
    with pytest.raises(AssertionError, match="the same rows follow as before"):
        check_home(lambda: module.SqliteFileHome(shop.directory / "shop.db", "orders", 2))


def test_two_packages_with_the_same_type_are_refused() -> None:
    load_types()
    with pytest.raises(ConfigurationError, match=r"both register the type mssql"):

        @register_home
        class Other(HomeSettings):
            """Another one."""

            kind = "mssql"


@pytest.mark.parametrize(
    ("module", "text", "command", "message"),
    [
        ("shelf", "import not_there", "validate", r"hygge-shelf brings homes or stores in shelf.*not_there"),
        ("shelf", "def (:", "validate", r"in shelf, which cannot be imported: invalid syntax \(shelf.py, line 1\)"),
        ("shelf", "raise OSError('hush')", "validate", r"in shelf, which cannot be imported: OSError"),
        ("arrow_store", "import not_there", "go", r"what opens the type arrow cannot be imported: .*not_there"),
        ("arrow_store", "def (:", "plan", r"what opens the type arrow cannot be imported: invalid syntax"),
        ("sqlite_home", "raise OSError('hush')", "go", r"what opens the type sqlite_file cannot be imported: OSError"),
    ],
)
def test_a_package_that_cannot_be_imported_is_named(
    tmp_path: Path, installed: Path, module: str, text: str, command: str, message: str
) -> None:
    site = tmp_path / "site"
    shutil.copytree(installed, site)
    (site / f"{module}.py").write_text(f"{text}\n")
    shop = Shop(tmp_path / "project", site)
    with pytest.raises(AssertionError, match=message) as failed:
        shop.hygge(command)
    assert "Traceback" not in str(failed.value)
    assert "hush" not in str(failed.value)


def test_a_model_without_an_opener_opens_what_it_describes(tmp_path: Path) -> None:
    class Own(HomeSettings):
        """As models were before there were openers."""

        kind = "own"

        def open(self, project: Project, entity: Entity) -> Any:
            return project.directory, entity.name

        def journal(self, project: Project, entity: Entity) -> Any:
            return project.directory, "journal"

    entity = Entity("things", "flow", "full_drop", Own(type="own"), StoreSettings(type="none"))
    flow = Flow("flow", None, "full_drop", {"things": entity}, JournalSettings(location="home"))
    project = Project("own", tmp_path, {}, Options(), JournalSettings(), {"flow": flow})
    opened: list[Any] = [factory.open_home(project, entity), factory.journal_of(project, entity)]
    assert opened == [(tmp_path, "things"), (tmp_path, "journal")]
    with pytest.raises(ConfigurationError, match="what opens the type none cannot be imported"):
        factory.open_table(project, entity)


def test_the_guide_names_what_there_is() -> None:
    named = re.findall(r"`(hygge_engine(?:\.[a-z_]+)+)(?:\.([A-Z]\w+|[a-z_]+))?`", GUIDE)
    assert len(named) > 10
    for module, name in named:
        parent, _, last = module.rpartition(".")
        try:
            found: Any = import_module(module)
        except ModuleNotFoundError:
            found = getattr(import_module(parent), last)
        assert not name or hasattr(found, name), f"{module}.{name}"
