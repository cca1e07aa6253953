"""Where a storm's loads read and write: sources that do not change, and what has to be there in the end."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from hygge_engine.stores.landing.state import LandingState

# Every so many tables one is long enough for several slices.
LONG_TABLE_EVERY = 5
LONG_ROWS, SHORT_ROWS = 30, 5
ROWS_IN_BATCH = 10

# A slice ends with its first batch.
OPTIONS = "{ local_paths: project, concurrency: 8, slice_minutes: 0.0002 }"

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

Row = tuple[int, str]


class LocalWorld:
    """CSV files that land as Parquet files and in a SQLite database, all on this disk."""

    def __init__(self, root: Path, tables: int) -> None:
        self.project = root / "project"
        names = [f"t{number:04}" for number in range(tables)]
        # Most tables land in files: a database lets one write at a time.
        self.tables = {"merged": names[::8]}
        rest = [name for name in names if name not in self.tables["merged"]]
        self.tables |= {"whole": rest[::2], "steady": rest[1::2]}
        self._rows = {name: SHORT_ROWS if number % LONG_TABLE_EVERY else LONG_ROWS for number, name in enumerate(names)}
        self._write("hygge.yml", f"name: shop\noptions: {OPTIONS}\njournal: {{ location: ./journal }}\n")
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
            rows = "".join(f"{id_},{text}\n" for id_, text in self._rows_of(name))
            self._write(f"in/{name}.csv", f"id,text\n{rows}")

    @property
    def variables(self) -> dict[str, str]:
        """The app settings."""
        own = ("HYGGE_",)
        return {name: value for name, value in os.environ.items() if not name.startswith(own)}

    def differences(self) -> Iterator[str]:
        """Tables that are not their source."""
        for flow, names in self.tables.items():
            for name in names:
                found, wanted = Counter(self._landed(flow, name)), Counter(self._rows_of(name))
                if found != wanted:
                    yield f"{name} is not its source: lacks {list(wanted - found)[:3]}, has {list(found - wanted)[:3]}"

    def journal(self) -> list[dict[str, Any]]:
        """The journal's rows, read without the engine."""
        files = sorted((self.project / "journal/.hygge_journal").glob("**/*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def left(self) -> Iterator[str]:
        """What should have gone with the loads."""
        for folder in (*self.project.rglob("progress"), *self.project.rglob("staging")):
            files = [str(path.relative_to(self.project)) for path in folder.rglob("*") if path.is_file()]
            if files:
                yield f"{len(files)} files are left, {min(files)} among them"
        for path in self.project.rglob("landing/**/*.json"):
            yield from _unfinished(path.stem, LandingState.from_json(path.read_bytes(), path.name)[0])

    def _rows_of(self, name: str) -> list[Row]:
        return [(id_, f"{name} {id_}") for id_ in range(1, self._rows[name] + 1)]

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


def _unfinished(name: str, state: LandingState) -> Iterator[str]:
    if state.owner is not None or state.open is not None:
        yield f"{name} is owned or open: {state.owner}, {state.open}"
