"""Every home with every store, in every format, by every run type: real rows move and are read back.

One project has a flow for each home. It is switched from store to store by the one line of its defaults.
"""

from __future__ import annotations

import io
import json
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from devcloud.onelake import OneLake
from devcloud.sqlserver import DEFAULT_LOGINS
from hygge_engine.homes.files.opening import place_of
from hygge_engine.homes.files.settings import LakeHomeSettings, LocalHomeSettings
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project, load_project
from hygge_engine.project.models.settings import RunType
from tests.integration.mssql_server import ServerProcess
from tests.integration.onelake_clients import ITEM, WORKSPACE
from tests.integration.warehouse import Nobody

# id, value; `MODIFIED` has the time of each change.
type Row = tuple[int, str]

BEFORE: list[Row] = [(1, "one"), (2, "two"), (3, 'a "quote", and\na line'), (4, ""), (5, "fünf")]
CHANGES: list[Row] = [(2, "zwei"), (6, "six")]
AFTER: list[Row] = [row for row in BEFORE if row[0] != 2] + CHANGES
MODIFIED = {"before": datetime(2024, 1, 31, 12), "changes": datetime(2024, 2, 1, 0, 0, 0, 500_000)}

DATABASE = "homes_and_stores"

HYGGE = """\
name: everything
connections:
  shop_db:
    {{ type: mssql, server: "{address}", database: {database}, username: sa, password: "{password}", encrypt: false }}
defaults:
  run_type: {run_type}
  watermark: {{ column: modified }}
  store: {store}
"""

FLOW = """\
home: {home}
entities: ["{entity}"]
"""


@dataclass(frozen=True)
class Stage:
    """Where everything is."""

    directory: Path
    server: ServerProcess
    lake: OneLake

    @property
    def account(self) -> dict[str, Any]:
        return {"account_url": self.lake.url, "credential": "account_key"} | self.lake.credential

    def homes(self) -> dict[str, dict[str, Any]]:
        """The home of each flow, by the flow's name."""
        onelake = {"type": "onelake", **self.account, "filesystem": WORKSPACE, "lakehouse": ITEM}
        adls = {"type": "adls", **self.account, "filesystem": "raw"}
        homes: dict[str, dict[str, Any]] = {
            "mssql": {"type": "mssql", "connection": "shop_db", "table": "dbo.things"},
            "adls_parquet": adls | {"format": "parquet", "path": "in/things", "key": ["id"]},
        }
        for format_ in ("parquet", "csv", "ndjson"):
            files = {"format": format_, "path": f"in/{format_}/things/**/*.{format_}", "key": ["id"]}
            homes |= {f"local_{format_}": {"type": "local"} | files, f"onelake_{format_}": onelake | files}
        return homes

    def project(self, store: dict[str, Any], run_type: RunType, entity: str) -> Project:
        text = HYGGE.format(
            address=self.server.address,
            database=DATABASE,
            password=DEFAULT_LOGINS["sa"],
            run_type=run_type,
            store=json.dumps(store),
        )
        self.directory.mkdir(exist_ok=True)
        (self.directory / "hygge.yml").write_text(text)
        for name, home in self.homes().items():
            flow = self.directory / "flows" / name / "flow.yml"
            flow.parent.mkdir(parents=True, exist_ok=True)
            flow.write_text(FLOW.format(home=json.dumps(home), entity=entity))
        return load_project(self.directory, {})

    def fill(self, project: Project, *, changed: bool) -> None:
        """Put the rows into every source: as they were, or as they are after the changes."""
        parts = {"before": [row for row in BEFORE if row in AFTER] if changed else BEFORE}
        if changed:
            parts["changes"] = CHANGES
        self.server.run("DELETE FROM dbo.things", database=DATABASE)
        for part, rows in parts.items():
            for id_, value in rows:
                text, modified = value.replace("'", "''"), MODIFIED[part].isoformat()
                self.server.run(
                    f"INSERT INTO dbo.things (id, value, modified) VALUES ({id_}, N'{text}', '{modified}')",
                    database=DATABASE,
                )
        for entity in project.entities:
            if isinstance(entity.home, LocalHomeSettings | LakeHomeSettings):
                self._fill_files(project, entity.home, parts, changed=changed)

    def _fill_files(
        self,
        project: Project,
        home: LocalHomeSettings | LakeHomeSettings,
        parts: dict[str, list[Row]],
        *,
        changed: bool,
    ) -> None:
        lake, pattern = place_of(home, project, project.entities[0])
        if isinstance(home, LocalHomeSettings):
            lake = LocalLake(home.split(project.directory)[0])  # a home's own may only be read
        folder = pattern.partition("**")[0].strip("/")
        if not changed:
            lake.delete_directory(f"{folder}/day=2".lstrip("/"))
        for number, (part, rows) in enumerate(parts.items(), start=1):
            frame = pl.DataFrame(
                {
                    "id": [id_ for id_, _ in rows],
                    "value": [value for _, value in rows],
                    "modified": [MODIFIED[part]] * len(rows),
                }
            )
            path = f"{folder}/day={number}/part-0.{home.format}".lstrip("/")
            lake.put(path, _file(frame, home.format))
        lake.put(f"{folder}/_SUCCESS".lstrip("/"), b"")


def _file(frame: pl.DataFrame, format_: str) -> bytes:
    sink = io.BytesIO()
    match format_:
        case "parquet":
            frame.write_parquet(sink)
        case "csv":
            frame.write_csv(sink, datetime_format="%Y-%m-%dT%H:%M:%S%.6f", include_bom=True)
        case _:
            frame.write_ndjson(sink)
    return sink.getvalue()


class Store(ABC):
    """One kind of store: its settings, and what another reader finds in a table of it."""

    merges = False

    def __init__(self, places: Stage) -> None:
        self.places = places

    @abstractmethod
    def settings(self) -> dict[str, Any]: ...

    @abstractmethod
    def rows(self, table: str) -> list[Row]: ...


class FileStore(Store):
    """Tables as folders of files below ``folder``."""

    def __init__(self, places: Stage, settings: dict[str, Any], folder: Path) -> None:
        super().__init__(places)
        self._settings = settings
        self._folder = folder

    def settings(self) -> dict[str, Any]:
        return self._settings

    def rows(self, table: str) -> list[Row]:
        if self._settings["format"] == "delta":
            frame = pl.read_delta(str(self._folder / table))
        else:
            read: Any = getattr(pl, f"read_{self._settings['format']}")
            frame = pl.concat(read(path) for path in sorted((self._folder / table).glob("part-*")))
        return sorted(frame.select("id", "value").rows())


class OpenMirroring(Store):
    """Files of a landing zone, applied in their order by key."""

    merges = True

    def settings(self) -> dict[str, Any]:
        return {
            "type": "open_mirroring",
            **self.places.account,
            "filesystem": WORKSPACE,
            "mirror_name": ITEM,
            "key_columns": ["id"],
            "folder_deletion_wait_seconds": 0,
        }

    def rows(self, table: str) -> list[Row]:
        folder = self.places.lake.path(WORKSPACE, ITEM, "Files", "LandingZone", "dbo.schema", table)
        found: dict[int, str] = {}
        for path in sorted(folder.glob("*.parquet")):
            found |= {row["id"]: row["value"] for row in pl.read_parquet(path).to_dicts()}
        return sorted(found.items())


class Sqlite(Store):
    merges = True

    def settings(self) -> dict[str, Any]:
        return {"type": "sqlite", "path": "out.db", "key_columns": ["id"]}

    def rows(self, table: str) -> list[Row]:
        with closing(sqlite3.connect(self.places.directory / "out.db")) as connection:
            return sorted(connection.execute(f'SELECT id, value FROM "{table}"'))


class Mssql(Store):
    merges = True

    def settings(self) -> dict[str, Any]:
        journal = {"path": "out/.hygge_journal"}
        return {"type": "mssql", "connection": "shop_db", "key_columns": ["id"], "journal_folder": journal}

    def rows(self, table: str) -> list[Row]:
        (found,) = self.places.server.run(f"SELECT id, value FROM dbo.[{table}]", database=DATABASE)
        return sorted((int(str(id_)), str(value)) for id_, value in found)


STORES = (
    "open_mirroring",
    "local-parquet",
    "local-csv",
    "local-ndjson",
    "local-delta",
    "adls-parquet",
    "adls-delta",
    "onelake-parquet",
    "onelake-csv",
    "onelake-delta",
    "sqlite",
    "mssql",
)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, mssql_server: ServerProcess) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("everything")
    with OneLake(directory / "lake") as lake:
        lake.create_workspace(WORKSPACE)
        lake.create_item(WORKSPACE, ITEM)
        lake.create_filesystem("raw")
        mssql_server.run(f"CREATE DATABASE {DATABASE}")
        mssql_server.run(
            "CREATE TABLE dbo.things (id int NOT NULL PRIMARY KEY, value nvarchar(50), modified datetime2(6))",
            database=DATABASE,
        )
        yield Stage(directory / "project", mssql_server, lake)


def store_of(name: str, places: Stage) -> Store:
    kind, _, format_ = name.partition("-")
    match kind:
        case "open_mirroring":
            return OpenMirroring(places)
        case "sqlite":
            return Sqlite(places)
        case "mssql":
            return Mssql(places)
        case "local":
            return FileStore(places, {"type": kind, "path": "out", "format": format_}, places.directory / "out")
        case "adls":
            account = places.account | {"filesystem": "raw", "path": "out"}
            return FileStore(places, {"type": kind, "format": format_, **account}, places.lake.path("raw", "out"))
        case _:
            folder = places.lake.path(WORKSPACE, ITEM, "Tables" if format_ == "delta" else "Files")
            account = places.account | {"filesystem": WORKSPACE, "lakehouse": ITEM}
            return FileStore(places, {"type": kind, "format": format_, **account}, folder)


# The design's table of six, as flow's run type and store's own word: True where rows are added, not replaced.
CASES: dict[tuple[RunType, bool | None], bool] = {
    ("incremental", None): True,
    ("incremental", True): True,
    ("incremental", False): False,
    ("full_drop", None): False,
    ("full_drop", True): True,
    ("full_drop", False): False,
}


# Whether rows are added or replaced does not depend on the home, nor a store's own word on its format: there a home of
# one kind after the other, and one store of each, will do.
SOME_HOMES = ("mssql", "local_csv", "onelake_parquet")
ONE_OF_EACH_KIND = ("open_mirroring", "local-csv", "adls-parquet", "onelake-delta", "sqlite", "mssql")

CELLS = [
    pytest.param(name, case, id=f"{name}-{case[0]}-{case[1]}")
    for case in CASES
    for name in (STORES if case[1] is None else ONE_OF_EACH_KIND)
]


@pytest.mark.parametrize(("name", "case"), CELLS)
def test_every_home_moves_its_rows_into_every_store(
    places: Stage, name: str, case: tuple[RunType, bool | None]
) -> None:
    run_type, incremental = case
    store = store_of(name, places)
    # Each case has an entity of its own, and by that a landing state.
    suffix = f"{name.replace('-', '_')}_{run_type}_{incremental}".lower()
    settings = store.settings() | {"table_name": "{flow}_{entity}"}
    if incremental is not None:
        settings["incremental"] = incremental
    project = places.project(settings, run_type, suffix)
    one = SOME_HOMES[(sum(name.encode()) + list(CASES).index(case)) % len(SOME_HOMES)]
    flows = list(project.flows) if case == ("incremental", None) else [one]
    expected = sorted(BEFORE)
    for changed in (False, True):
        places.fill(project, changed=changed)
        summary = run_load(project, LoadRequest(flows=tuple(flows), requested_by="tests"), Nobody())
        assert summary["status"] == "success", summary
        if changed:
            adds = CASES[case] and not store.merges
            expected = sorted([*BEFORE, *CHANGES] if adds else AFTER)
        found = {flow: store.rows(f"{flow}_{suffix}") for flow in flows}
        assert found == dict.fromkeys(flows, expected)
