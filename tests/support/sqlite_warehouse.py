"""A warehouse in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.integration.warehouse import DatabaseWarehouse


class SqliteWarehouse(DatabaseWarehouse):
    """A table of a SQLite file."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, **store: Any) -> None:
        super().__init__(directory, monkeypatch, "things", {"type": "sqlite", "path": "out/shop.db"} | store)

    def tables(self) -> list[str]:
        return [name for (name,) in self.ask("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]

    def ask(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.directory / "project/out/shop.db")) as connection:
            return connection.execute(sql).fetchall()
