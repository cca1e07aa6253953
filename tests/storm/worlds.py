"""Where a storm's loads read and write: sources that do not change, and what has to be there in the end."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import pyarrow.parquet as pq

from hygge_engine.stores.landing.state import LandingState
from tests.e2e.site import CONNECTION, STORE, Site
from tests.integration.mssql_server import ServerProcess

# Every so many tables one is long enough for several slices.
LONG_TABLE_EVERY = 5
LONG_ROWS, SHORT_ROWS = 30, 5
ROWS_IN_BATCH = 10

# One table is divided into some twenty ranges, which take several slices each.
DIVIDED_ROWS, ROWS_IN_RANGE = 1_000, 50

# A slice ends with its first batch.
OPTIONS = "options: { local_paths: project, concurrency: 8, slice_minutes: 0.0002 }\n"

FLOW = """\
name: {flow}
run_type: {run_type}
{store}home:
  type: local
  path: "in/{{entity}}.csv"
  format: csv
  infer: false
  columns: {{ id: int64, text: string }}
  key: [id]
  batch_rows: {batch_rows}
watermark: {{ column: id }}
entities: [{entities}]
"""

FLOWS = {
    "whole": ("full_drop", "store: { type: local, path: files }\n"),
    "steady": ("incremental", "store: { type: local, path: files }\n"),
    "merged": ("incremental", "store: { type: sqlite, path: merged.db }\n"),
}

MIRRORED_FLOW = """\
name: {flow}
run_type: {run_type}
{store}home:
  type: mssql
  connection: shop_db
  table: "dbo.{{entity}}"
  batch_rows: {batch_rows}
  range_rows: {range_rows}
watermark: {{ column: id, primary_key: id }}
entities: [{entities}]
"""

Row = tuple[int, str]


class World(Protocol):
    """What a storm asks of the place where it rages; a context manager."""

    project: Path

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    @property
    def variables(self) -> dict[str, str]:
        """The app settings."""
        ...

    def differences(self) -> Iterator[str]:
        """Tables that are not their source."""
        ...

    def journal(self) -> list[dict[str, Any]]:
        """The journal's rows, read without the engine."""
        ...

    def left(self) -> Iterator[str]:
        """What should have gone with the loads."""
        ...


class _Tables:
    """The tables of a world and their rows, which follow from their names."""

    def __init__(self, tables: int) -> None:
        self.names = [f"t{number:04}" for number in range(tables)]
        self._count = {
            name: SHORT_ROWS if number % LONG_TABLE_EVERY else LONG_ROWS for number, name in enumerate(self.names)
        }

    def rows(self, name: str) -> list[Row]:
        """The rows of one."""
        return [(id_, f"{name} {id_}") for id_ in range(1, self._count[name] + 1)]

    def lengthen(self, name: str, rows: int) -> None:
        """Give one so many rows."""
        self._count[name] = rows

    def difference(self, name: str, found: Iterable[Row]) -> Iterator[str]:
        """What sets a table apart from its source."""
        there, wanted = Counter(found), Counter(self.rows(name))
        if there != wanted:
            yield f"{name} is not its source: lacks {list(wanted - there)[:3]}, has {list(there - wanted)[:3]}"


class LocalWorld:
    """CSV files that land as Parquet files and in a SQLite database, all on this disk."""

    def __init__(self, root: Path, tables: int) -> None:
        self.project = root / "project"
        self._all = _Tables(tables)
        names = self._all.names
        # Most tables land in files: a database lets one write at a time.
        self.tables = {"merged": names[::8]}
        rest = [name for name in names if name not in self.tables["merged"]]
        self.tables |= {"whole": rest[::2], "steady": rest[1::2]}
        self._rows = {name: SHORT_ROWS if number % LONG_TABLE_EVERY else LONG_ROWS for number, name in enumerate(names)}
        self._write("hygge.yml", f"name: shop\n{OPTIONS}journal: {{ location: ./journal }}\n")
        for flow, (run_type, store) in FLOWS.items():
            text = FLOW.format(
                flow=flow,
                run_type=run_type,
                store=store,
                batch_rows=ROWS_IN_BATCH,
                entities=", ".join(self.tables[flow]),
            )
            self._write(f"flows/{flow}/flow.yml", text)
        for name in names:
            rows = "".join(f"{id_},{text}\n" for id_, text in self._all.rows(name))
            self._write(f"in/{name}.csv", f"id,text\n{rows}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    @property
    def variables(self) -> dict[str, str]:
        """See `World`."""
        own = ("HYGGE_",)
        return {name: value for name, value in os.environ.items() if not name.startswith(own)}

    def differences(self) -> Iterator[str]:
        """See `World`."""
        for flow, names in self.tables.items():
            for name in names:
                yield from self._all.difference(name, self._landed(flow, name))

    def journal(self) -> list[dict[str, Any]]:
        """See `World`."""
        files = sorted((self.project / "journal/.hygge_journal").glob("**/*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def left(self) -> Iterator[str]:
        """See `World`."""
        yield from _left_below(self.project)

    def _landed(self, flow: str, name: str) -> list[Row]:
        if flow == "merged":
            with closing(sqlite3.connect(self.project / "merged.db")) as database:
                known = database.execute("SELECT name FROM sqlite_master WHERE name = ?", (name,)).fetchone()
                return database.execute(f"SELECT id, text FROM {name}").fetchall() if known else []
        files = sorted((self.project / "files" / name).glob("*.parquet"))
        return [(row["id"], row["text"]) for file in files for row in pq.read_table(file).to_pylist()]

    def _write(self, path: str, text: str) -> None:
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")


class MirroredWorld:
    """Tables of a SQL Server that land in a mirrored database, behind which Fabric's replicator looks."""

    def __init__(self, root: Path, tables: int) -> None:
        self._root = root
        self._all = _Tables(tables)
        self._all.lengthen(self._all.names[0], DIVIDED_ROWS)
        self._stack = ExitStack()
        self.project = root / "project"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._server = stack.enter_context(ServerProcess())
            self._site = stack.enter_context(Site(self._root, self._server))
            self._fill()
            self._site.replicator.run_in_background(0.5)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _fill(self) -> None:
        self._site.write("hygge.yml", f"name: shop\nconnections:\n{CONNECTION}{OPTIONS}")
        divided, *names = self._all.names
        whole = names[::3]
        flows = {
            "divided": ("full_drop", [divided], ROWS_IN_RANGE),
            "whole": ("full_drop", whole, 0),
            "steady": ("incremental", [name for name in names if name not in whole], 0),
        }
        for flow, (run_type, entities, range_rows) in flows.items():
            text = MIRRORED_FLOW.format(
                flow=flow,
                run_type=run_type,
                store=STORE,
                batch_rows=ROWS_IN_BATCH,
                range_rows=range_rows,
                entities=", ".join(entities),
            )
            self._site.write(f"flows/{flow}/flow.yml", text)
        for name in self._all.names:
            values = ", ".join(f"({id_}, '{text}')" for id_, text in self._all.rows(name))
            self._server.run(
                f"CREATE TABLE dbo.{name} (id int NOT NULL PRIMARY KEY, text varchar(60) NOT NULL)",
                f"INSERT INTO dbo.{name} VALUES {values}",
            )

    @property
    def variables(self) -> dict[str, str]:
        """See `World`."""
        return self._site.variables

    def differences(self) -> Iterator[str]:
        """See `World`."""
        yield from self._site.breaches()
        for name in self._all.names:
            rows = self._site.mirrored(name).to_pylist()
            yield from self._all.difference(name, [(row["id"], row["text"]) for row in rows])
        shown = Counter(row["entity_run_id"] for row in self._site.mirrored("journal", "__hygge").to_pylist())
        if shown != Counter(row["entity_run_id"] for row in self.journal()):
            yield "the mirrored journal is not the journal"

    def journal(self) -> list[dict[str, Any]]:
        """See `World`."""
        return [row for row in self._site.journal() if "entity_run_id" in row and "status" in row]

    def left(self) -> Iterator[str]:
        """See `World`."""
        yield from _left_below(self._site.item)


def _left_below(root: Path) -> Iterator[str]:
    """Files of loads that have ended, and tables that still belong to one."""
    for folder in (*root.rglob("progress"), *root.rglob("staging")):
        files = [str(path.relative_to(root)) for path in folder.rglob("*") if path.is_file()]
        if files:
            yield f"{len(files)} files are left, {min(files)} among them"
    for path in root.rglob("landing/**/*.json"):
        state = LandingState.from_json(path.read_bytes(), path.name)[0]
        if state.owner is not None or state.open is not None:
            yield f"{path.stem} is owned or open: {state.owner}, {state.open}"
