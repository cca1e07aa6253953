"""What a native library does not survive costs one entity: the others land, and the journal remembers all of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from polars.exceptions import PanicException

from hygge_engine.errors import StoreError
from hygge_engine.flow import run
from hygge_engine.flow.factory import journal_of
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.files import types
from hygge_engine.homes.files.home import FilesHome
from hygge_engine.homes.files.settings import LocalHomeSettings
from hygge_engine.journal.journal import Journal
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import activities
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project import Project, load_project
from hygge_engine.stores.sqlite.types import rows_of
from tests.integration.warehouse import Nobody

FAR = pa.array([2_932_897], pa.int32()).view(pa.date32())


def project_of(directory: Path, store: dict[str, Any], **columns: pa.Array[Any]) -> Project:
    """A project whose entities are Parquet files of one column, ``v``."""
    for name, column in columns.items():
        (directory / "in").mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"v": column}), directory / f"in/{name}.parquet")
    (directory / "flows/f").mkdir(parents=True)
    (directory / "hygge.yml").write_text("name: panics\n")
    flow = {
        "home": {"type": "local", "path": "in/{entity}.parquet"},
        "store": store,
        "entities": list(columns),
    }
    (directory / "flows/f/flow.yml").write_text(json.dumps(flow))
    return load_project(directory, {})


def load(project: Project) -> dict[str, tuple[str, str, str]]:
    """How each entity ended, with its error and message; the journal has to say the same."""
    summary = run_load(project, LoadRequest(requested_by="tests"), Nobody())
    found = {
        entry["entity"]: (entry["status"], entry.get("error", ""), entry.get("message", ""))
        for entry in summary["results"]
    }
    runs = Journal(*journal_of(project, project.entities[0])).read().to_dicts()
    assert {row["entity"]: row["status"] for row in runs} == {name: status for name, (status, *_) in found.items()}
    return found


def panic(*_: object, **__: object) -> None:
    raise PanicException("not yet implemented")


def test_a_reader_that_panics_costs_one_entity_and_names_file_and_column(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(types, "_json_text", panic)
    project = project_of(tmp_path, {"type": "local", "path": "out"}, bad=pa.array([[1]]), good=pa.array([1]))
    found = load(project)
    assert found["good"][0] == "success"
    assert found["bad"][:2] == ("fail", "home.unreadable")
    assert "in/bad.parquet, rows 1 to 1, column 'v'" in found["bad"][2]


def test_values_that_libraries_panic_at_are_refused_by_name(tmp_path: Path) -> None:
    text = pa.array([b"\xff\xfe"]).view(pa.string())
    columns = {"bytes": pa.array([{"a": b"x"}]), "far": FAR, "text": text, "good": pa.array([1])}
    found = load(project_of(tmp_path, {"type": "sqlite", "path": "out.db"}, **columns))
    assert {name: error for name, (_, error, _) in found.items()} == {
        "bytes": "home.unsupported_type",
        "far": "store",
        "text": "home.unreadable",
        "good": "",
    }
    assert "column 'v' has a date" in found["far"][2].replace("Column", "column")
    assert "in/text.parquet, rows 1 to 1, column 'v'" in found["text"][2]


@pytest.mark.parametrize(("store", "path"), [("local", "out"), ("sqlite", "out.db")])
def test_a_panic_that_nobody_foresaw_costs_one_entity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, path: str
) -> None:
    written = run._Slice.run

    def run_or_panic(self: Any) -> Any:
        if self._task.entity == "bad":
            panic()
        return written(self)

    monkeypatch.setattr(run._Slice, "run", run_or_panic)
    monkeypatch.setattr(activities, "backoff_seconds", lambda attempt, asked=None: 0.0)
    project = project_of(tmp_path, {"type": store, "path": path}, bad=pa.array([1]), good=pa.array([1]))
    found = load(project)
    assert found["good"][0] == "success"
    assert found["bad"][:2] == ("fail", "load.unexpected")
    assert "PanicException" in found["bad"][2]


def test_what_ends_a_process_still_ends_it() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        activities._as_failure(1, interrupt)


@pytest.mark.parametrize("type_", [pa.date32(), pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us")])
def test_sqlite_takes_every_time_that_sorts_as_text(type_: pa.DataType) -> None:
    def written(day: int) -> str:
        column: Any = pa.array([day], pa.int32()).view(pa.date32()).cast(type_)
        return str(rows_of(pa.record_batch({"v": column}))[0][0])

    assert (written(-719_162)[:10], written(2_932_896)[:10]) == ("0001-01-01", "9999-12-31")
    for day in (-719_163, 2_932_897):
        with pytest.raises(StoreError, match="years 1 to 9999"):
            written(day)


@pytest.mark.parametrize("format_", ["csv", "ndjson"])
def test_text_files_hold_no_year_and_no_number_that_nobody_reads_back(tmp_path: Path, format_: str) -> None:
    columns: dict[str, pa.Array[Any]] = {
        "far": FAR,
        "farthest": pa.array([2**31 - 1], pa.int32()).view(pa.date32()),
        "before": pa.array([-62_135_596_800_000_001], pa.timestamp("us")),
        "beyond": pa.array([1.0, float("-inf")]),
        "none": pa.array([1.5, float("nan")]),
        "last": pa.array([-719_162, 2_932_896], pa.int32()).view(pa.date32()),
    }
    found = load(project_of(tmp_path, {"type": "local", "path": "out", "format": format_}, **columns))
    for name in ("far", "farthest", "before"):
        assert found[name][:2] == ("fail", "store")
        assert "'v' has a date or time outside the years 1 to 9999" in found[name][2]
    [none] = (tmp_path / "out/none").glob("part-*")
    [last] = (tmp_path / "out/last").glob("part-*")
    assert ("0001-01-01" in last.read_text(), "9999-12-31" in last.read_text()) == (True, True)
    if format_ == "ndjson":
        assert "'v' has an infinite number" in found["beyond"][2]
        assert none.read_text() == '{"v":1.5}\n{"v":null}\n'
    else:
        [beyond] = (tmp_path / "out/beyond").glob("part-*")
        assert [float(line) for line in beyond.read_text().split()[1:]] == [1.0, float("-inf")]
        assert none.read_text().split()[1:] == ["1.5", "nan"]


@pytest.mark.parametrize("format_", ["csv", "ndjson", "parquet"])
def test_a_file_of_one_column_is_read_back_row_by_row_or_not_written(tmp_path: Path, format_: str) -> None:
    texts: dict[str, list[str | None]] = {"texts": ["", " ", "a"], "nulls": [None, "", " ", None], "null": [None]}
    given = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    found = load(project_of(tmp_path, {"type": "local", "path": "out", "format": format_}, **given))
    for name, values in texts.items():
        if format_ == "csv" and None in values:
            assert found[name][:2] == ("fail", "store")
            assert "'v' is the only one and has a NULL" in found[name][2]
            assert not list(tmp_path.glob(f"out/{name}/part-*"))
            continue
        keys = {"type": "local", "path": f"out/{name}/*", "format": format_, "columns": {"v": "string"}}
        home = FilesHome(LocalLake(tmp_path), f"out/{name}/*", LocalHomeSettings.model_validate(keys))
        assert [row["v"] for batch in home.read(ReadWindow()) for row in batch.rows.to_pylist()] == values


def test_a_key_without_a_name_is_refused_as_such(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/bad.ndjson").write_text('{"id":1,"":2}\n')
    (tmp_path / "in/good.ndjson").write_text('{"id":1}\n')
    (tmp_path / "hygge.yml").write_text("name: panics\n")
    (tmp_path / "flows/f").mkdir(parents=True)
    home = {"type": "local", "path": "in/{entity}.ndjson", "format": "ndjson"}
    flow = {"home": home, "store": {"type": "local", "path": "out"}, "entities": ["bad", "good"]}
    (tmp_path / "flows/f/flow.yml").write_text(json.dumps(flow))
    found = load(load_project(tmp_path, {}))
    assert found["good"][0] == "success"
    assert found["bad"][:2] == ("fail", "store.column_refused")
    assert "'' is empty" in found["bad"][2]


# What becomes of an entry of a Delta table's log, and what is said of it: its number, and its new content, if any.
DAMAGES: dict[str, tuple[int, Callable[[bytes], bytes] | None, str]] = {
    "cut short": (1, lambda entry: entry[:50], "an entry of its log"),
    "no text": (1, lambda entry: b"\xff\x99\x00" * 9, "an entry of its log"),
    "another type": (0, lambda entry: entry.replace(b"string", b"str1ng"), "an entry of its log"),
    "gone": (0, None, "does not say what the table is"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_delta_log_is_told_with_the_tables_place_and_the_way_out(tmp_path: Path, damage: str) -> None:
    store = {"type": "local", "path": "out dir", "format": "delta"}
    project = project_of(tmp_path / "a b", store, t=pa.array(["x"]))
    assert {load(project)["t"][0], load(project)["t"][0]} == {"success"}
    number, change, said = DAMAGES[damage]
    entry = tmp_path / f"a b/out dir/t/_delta_log/{number:020}.json"
    content = entry.read_bytes()
    entry.unlink()
    if change is not None:
        entry.write_bytes(change(content))
    entity = run_load(project, LoadRequest(requested_by="tests"), Nobody())["results"][0]
    assert (entity["status"], entity["error"]) == ("fail", "store")
    for part in (
        f"the Delta table {tmp_path}/a b/out dir/t cannot be read: ",
        said,
        "Put back the files of _delta_log",
    ):
        assert part in entity["message"], entity
    assert not re.search(r"Kernel|Json error|<unknown>|%20", entity["message"])
