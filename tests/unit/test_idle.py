"""Tables that end with the plan: never where a slice would have done or said anything."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from hygge_engine.errors import HomeError
from hygge_engine.flow import run as flow_run
from hygge_engine.flow.slices import SliceResult
from hygge_engine.homes.mssql import survey as mssql
from hygge_engine.homes.mssql.survey import Asked
from hygge_engine.lake import opening
from hygge_engine.lake.base import PathInfo
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration import idle as packing
from hygge_engine.orchestration import survey as surveys
from hygge_engine.orchestration.idle import lines_of, names_of, pack, results_of
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.project.models.project import Entity
from hygge_engine.stores.landing import summary as summaries
from hygge_engine.stores.landing.state import LandingState
from hygge_engine.stores.landing.summary import Entry
from hygge_engine.watermark import Watermark
from tests.faults import source
from tests.faults.source import SourceHome
from tests.faults.world import KeyedTable
from tests.support.recorder import Recorder
from tests.unit.load_world import FLOW_YML, LoadWorld
from tests.unit.project_files import HYGGE, load

TABLES = ("orders", "customers", "stock")
FRESH = FLOW_YML + "expectations: { freshness: { column: modified, max_age: 1h } }\n"
OTHER_KEY = FLOW_YML.replace("key_columns: [id]", "key_columns: [value]")
ON_BACKWARDS = ("reload", "ignore", "fail")


class IdleWorld(LoadWorld):
    """A project whose survey asks the tables in memory; of ``asked`` are those that it was asked about last."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> None:
        super().__init__(root, monkeypatch, **files)
        self.asked: set[str] = set()
        monkeypatch.setattr(surveys, "FEWEST_TABLES", 1)
        monkeypatch.setattr(surveys, "survey", self._survey)

    def _survey(self, _connection: object, tables: Mapping[str, Asked], *_: object) -> dict[str, SourceHome]:
        self.asked = {id_.rpartition(".")[2] for id_ in tables}
        return {id_: SourceHome(self.sources[id_.rpartition(".")[2]]) for id_ in tables}

    def load(self, **request: Any) -> dict[str, Mapping[str, Any]]:
        """The last results of a load, by table."""
        recorder = Recorder()
        run_load(self.project, LoadRequest(**request), recorder)
        return dict(recorder.settled)

    def idle(self, **request: Any) -> set[str]:
        """The tables of a load that end without an activity."""
        return {name for name, result in self.load(**request).items() if not result["attempts"]}

    @property
    def summary(self) -> Path:
        (found,) = self.lake_directory.rglob("landing_summary/*.gz")
        return found

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let loads move this world's tables."""
        monkeypatch.setattr(opening, "open_lake", lambda settings: LocalLake(self.lake_directory))
        monkeypatch.setattr(flow_run, "open_home", self._open_home)
        monkeypatch.setattr(surveys, "survey", self._survey)

    def set_flow(self, flow: str) -> None:
        options = self.project.options
        self.project = replace(load(self.directory, flow=flow), options=options)

    def load_without_summary(self, entity: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A load of somebody whose version keeps no summary."""
        with monkeypatch.context() as patched:
            patched.setattr(surveys, "remember_states", lambda *_: None)
            patched.setattr(surveys, "find_idle", lambda *_, **__: [])
            self.load(entities=(entity,))

    def watermark(self, entity: str) -> Watermark | None:
        return LandingState.from_json(self.state_file(entity).read_bytes(), "")[0].watermark

    def landed_rows(self) -> dict[str, int]:
        """How many rows each landed file has."""
        files = sorted(self.lake_directory.rglob("LandingZone/*/*/*.parquet"))
        return {f"{file.parent.name}/{file.name}": pq.read_metadata(file).num_rows for file in files}

    def state_file(self, entity: str) -> Path:
        (found,) = self.lake_directory.rglob(f"landing/*/{entity}.json")
        return found


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdleWorld:
    world = IdleWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=2)
    world.load()
    return world


def test_a_table_whose_keys_are_due_to_be_compared_is_not_idle(world: IdleWorld) -> None:
    at_once = FLOW_YML.replace("  key_columns", "  folder_deletion_wait_seconds: 0\n  key_columns")
    world.set_flow(at_once + "deletes: { compare: true }\n")
    assert world.idle() == set(), "what has landed was not remembered"
    world.load(run_type="full_drop")
    assert world.idle() == set(TABLES)
    world.sources["orders"].remove(2)
    world.set_flow(at_once + "deletes: { compare: true, every: 0 }\n")
    assert world.idle() == set()
    assert sum(world.landed_rows().values()) == 5 + 3 + 2 + 1


def test_tables_without_news_end_with_the_plan_and_the_journal_says_so(world: IdleWorld) -> None:
    recorder = Recorder()
    world.sources["orders"].put(9)
    summary = run_load(world.project, LoadRequest(coordinator_run_id="c2"), recorder)
    assert (summary["status"], summary["success"], summary["entities"], summary["rows"]) == ("success", 3, 3, 1)
    assert sorted(line["entity"] for line in summary["results"]) == sorted(TABLES) == sorted(recorder.settled)
    rows = {row["entity"]: row for row in world.journal() if row["coordinator_run_id"] == "c2"}
    told = {name: (row["status"], row["row_count"], row["attempts"], row["message"]) for name, row in rows.items()}
    nothing = ("success", 0, 0, "nothing new")
    assert told == {"orders": ("success", 1, 1, ""), "customers": nothing, "stock": nothing}
    before = {row["entity"]: row for row in world.journal() if row["coordinator_run_id"] != "c2"}
    for name in ("customers", "stock"):
        for fact in ("primary_key", "watermark_column", "watermark_type", "watermark", "run_type"):
            assert rows[name][fact] == before[name][fact]
        assert rows[name]["start_time"] <= rows[name]["finish_time"]


LIES: dict[str, Callable[[dict[str, list[Any]]], object]] = {
    "another watermark": lambda entries: [
        part.__setitem__(2, part[2].replace('"value": "1"', '"value": "2"')) for part in entries.values()
    ],
    "entries of others": lambda entries: entries.update(
        dict(zip(entries, [*list(entries.values())[1:], *list(entries.values())[:1]], strict=True))
    ),
    "etags of others": lambda entries: [part.__setitem__(0, "etag") for part in entries.values()],
    "no times": lambda entries: [part.__setitem__(1, "soon") for part in entries.values()],
    "no texts": lambda entries: [part.__setitem__(2, None) for part in entries.values()],
    "too few": lambda entries: [part.pop() for part in entries.values()],
}


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_entry_of_the_summary_does_not_count(world: IdleWorld, lie: str) -> None:
    document = json.loads(gzip.decompress(world.summary.read_bytes()))
    LIES[lie](document["entries"])
    for name in TABLES:
        world.sources[name].put(50)  # what the lie about the watermark would hide
    world.summary.write_bytes(gzip.compress(json.dumps(document).encode()))
    assert {name: result["rows"] for name, result in world.load().items()} == dict.fromkeys(TABLES, 1)
    assert world.asked == set()


@pytest.mark.parametrize(
    "spoilt",
    [
        lambda data: b"",
        lambda data: data[:-20],
        lambda data: data[:40] + bytes([data[40] ^ 255]) + data[41:],
        lambda data: b"no summary",
        lambda data: gzip.compress(b'{"format": 2, "entries": {}}'),
        lambda data: gzip.compress(b"[" * 100_000),
        lambda data: gzip.compress(bytes(200_000)),
        lambda data: data + bytes(200_000),
    ],
)
def test_a_summary_that_cannot_be_read_costs_time_alone(
    world: IdleWorld, monkeypatch: pytest.MonkeyPatch, spoilt: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(summaries, "MOST_BYTES", 90_000)
    monkeypatch.setattr(summaries, "MOST_COMPRESSED_BYTES", 90_000)
    world.summary.write_bytes(spoilt(world.summary.read_bytes()))
    assert world.idle() == set()
    assert world.idle() == set(TABLES), "it was written again"


def test_whatever_a_slice_would_see_leads_to_an_activity(world: IdleWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    assert world.idle() == set(TABLES)
    path = world.state_file("orders")
    document = json.loads(path.read_bytes())
    # Another load is at work on it, or has left something behind.
    for change in (
        {"owner": {"load_id": "x", "attempt": 1, "expires": datetime.now(UTC).isoformat()}},
        {"went_back": "it fell behind"},
        {"adopted": "2026-01-01"},
        {"author": document["author"] | {"project": "another"}},
        {"author": document["author"] | {"source": "elsewhere"}},
        {"landed_in": "elsewhere"},
        {"watermark": document["watermark"] | {"column": "other"}},
        {"watermark": None},
        {"columns": {**document["columns"], "gone": "string"}},
        {"treatments": {"value": "masked"}},
    ):
        path.write_text(json.dumps(document | change))
        entry = Entry.of("landing/orders.json", "e", datetime.now(UTC).isoformat(), path.read_text())
        monkeypatch.setattr(summaries.LandingSummary, "read", lambda self, entry=entry: _read_of(world, entry))
        assert "orders" not in {
            entity.name for entity, _ in surveys.find_idle(world.project, "x", world.project.entities)
        }
    monkeypatch.undo()


def _read_of(world: IdleWorld, entry: Entry) -> dict[str, Entry]:
    """A summary that says what the landing state of orders is, truthfully."""
    path = world.state_file("orders").relative_to(world.lake_directory).as_posix()
    found = next(info for info in _listing(world) if info.path == path)
    return {path: Entry.of(path, found.etag, entry.looked, entry.document)}


def _listing(world: IdleWorld) -> list[PathInfo]:
    place = world.place()
    return list(place.lake.list(f"{place.root}/landing", recursive=True))


def test_settings_count_as_they_are_now(world: IdleWorld) -> None:
    directory = world.directory
    for flow, expected in (
        (FLOW_YML, set(TABLES)),
        (OTHER_KEY, set()),
        (FLOW_YML.replace("primary_key: id", "primary_key: id\n  lag: 5m"), set()),
        (FRESH, set()),
        (FLOW_YML.replace("run_type: incremental", "run_type: full_drop"), set()),
    ):
        world.project = load(directory, flow=flow)
        found = surveys.find_idle(world.project, "x", world.project.entities)
        assert {entity.name for entity, _ in found} == expected, flow
    world.project = load(directory, flow=FLOW_YML, hygge=HYGGE + "options: { skip_idle: false }\n")
    assert surveys.find_idle(world.project, "x", world.project.entities) == []
    assert world.idle() == set()


def test_a_table_is_looked_at_now_and_then_and_never_by_a_clock_that_was_set_back(
    world: IdleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        shift = timedelta(0)

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + cls.shift

    monkeypatch.setattr(surveys, "datetime", Clock)
    for shift, expected in ((-60, set()), (3 * 86_400, set(TABLES)), (8 * 86_400, set())):
        Clock.shift = timedelta(seconds=shift)
        found = surveys.find_idle(world.project, "x", world.project.entities)
        assert {entity.name for entity, _ in found} == expected, shift


def test_a_survey_that_fails_or_is_silent_leaves_every_table_its_activity(
    world: IdleWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> dict[str, SourceHome]:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(surveys, "survey", fail)
    world.sources["orders"].put(9)
    assert {name: (result["status"], result.get("rows", 0)) for name, result in world.load().items()} == {
        "orders": ("done", 1),
        "customers": ("done", 0),
        "stock": ("done", 0),
    }


@dataclass
class Table(KeyedTable):
    """A table whose time of change may get another type."""

    is_narrow: bool = False

    @property
    def content(self) -> source.Content:
        return super().content._replace(narrow=self.is_narrow)

    def put_late(self, *ids: int) -> None:
        self.put_at(dict.fromkeys(ids, self.clock))

    def put_below(self, *ids: int) -> None:
        self.put_at(dict.fromkeys(ids, self.clock - 1))

    def restore(self, *ids: int) -> None:
        self.rows, self.clock = {}, 1
        self.put(*ids)

    def narrow(self, *ids: int) -> None:
        self.is_narrow = not self.is_narrow

    def nothing(self, *ids: int) -> None:
        """Nothing happens."""


HAPPENINGS = ("nothing", "nothing", "nothing", "put", "put_late", "put_below", "remove", "restore", "narrow")
FLOWS = (FLOW_YML, FLOW_YML, *(FLOW_YML.replace("primary_key: id", f"on_backwards: {word}") for word in ON_BACKWARDS))


@pytest.mark.parametrize("seed", [1])
def test_a_load_that_skips_idle_tables_lands_and_says_what_one_without_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Two worlds with the same history: in one of them nothing is skipped."""
    chosen = random.Random(seed)
    skipping = IdleWorld(tmp_path / "skipping", monkeypatch)
    plain = IdleWorld(tmp_path / "plain", monkeypatch, hygge=HYGGE + "options: { skip_idle: false }\n")
    worlds = (skipping, plain)
    skipped, old = 0, b""
    for world in worlds:
        world.sources = {name: Table() for name in TABLES}
        world.fill(orders=5, customers=3, stock=2)
    for step in range(8):
        flow = chosen.choice(FLOWS)
        happenings = {name: (chosen.choice(HAPPENINGS), chosen.sample(range(1, 9), 2)) for name in TABLES}
        others = chosen.choice((None, None, *TABLES))
        spoilt = chosen.randrange(8)
        results = []
        for world in worlds:
            world.use(monkeypatch)
            world.set_flow(flow)
            for name, (word, ids) in happenings.items():
                if step:
                    getattr(world.sources[name], word)(*ids)
            if others:
                world.load_without_summary(others, monkeypatch)
            if world is skipping and step:
                now = world.summary.read_bytes()
                spoil(world.summary, spoilt, old or now)
                old = now
            results.append(world.load())
        skipped += sum(not result["attempts"] for result in results[0].values())
        told = [{name: what_is_told(result) for name, result in each.items()} for each in results]
        assert told[0] == told[1], (step, flow, happenings)
        for name in TABLES:
            assert skipping.watermark(name) == plain.watermark(name), (step, name)
    assert skipped > 3
    assert skipping.landed_rows() == plain.landed_rows()


def spoil(summary: Path, how: int, old: bytes) -> None:
    data = summary.read_bytes()
    match how:
        case 0:
            summary.unlink()
        case 1:
            summary.write_bytes(data[: len(data) // 2])
        case 2:
            summary.write_bytes(data[:30] + bytes([data[30] ^ 1]) + data[31:])
        case 3:
            summary.write_bytes(old)


def what_is_told(result: Mapping[str, Any]) -> tuple[object, ...]:
    message = str(result.get("message", "")).removeprefix("nothing new")
    return (result["status"], result.get("rows", 0), result.get("error"), message, result.get("watermark"))


def entity(name: str) -> Entity:
    return cast("Entity", SimpleNamespace(flow="shop", name=name))


def test_packed_tables_come_out_as_they_went_in_and_never_outgrow_a_payload(monkeypatch: pytest.MonkeyPatch) -> None:
    result = SliceResult("done", primary_key="id", watermark_column="at", watermark_type="int", watermark="7")
    many = [(entity(f"tablé {number}"), replace(result, watermark=str(number))) for number in range(5_000)]
    idle = pack(many, "2026-01-01T00:00:00+00:00", "2026-01-01T00:00:09+00:00")
    assert idle is not None
    assert len(idle["packed"]) < 100_000
    results = list(results_of(idle, "load"))
    assert [(each["entity"], each["watermark"]) for each in results] == [
        (one.name, kept.watermark) for one, kept in many
    ]
    assert len({each["entity_run_id"] for each in results}) == 5_000
    assert [line["entity"] for line in lines_of({"idle": idle})] == [one.name for one, _ in many]
    monkeypatch.setattr(packing, "MOST_CHARACTERS", 2_000)
    cut = pack(many, "", "")
    assert cut is not None
    assert len(cut["packed"]) <= 2_000
    assert names_of(cut) == {("shop", one.name) for one, _ in many[: cut["count"]]}
    assert 0 < cut["count"] < 5_000
    assert pack([], "", "") is None
    assert list(results_of(None, "load")) == []


class PickySession:
    """A server that refuses what is about some tables, or about several at once."""

    def __init__(self, denied: set[int], most: int = mssql.TABLES_AT_ONCE) -> None:
        self.denied = denied
        self.most = most
        self.statements = 0

    def fetch_some(self, sql: str, *_: Any, **__: Any) -> list[tuple[int]]:
        self.statements += 1
        numbers = [int(part) for part in sql.split(" UNION ALL ")]
        if self.denied.intersection(numbers) or len(numbers) > self.most:
            raise HomeError("It is denied.")
        return [(number,) for number in numbers]

    def known(self, tables: int) -> set[int]:
        search = mssql._Survey(cast(Any, None), cast(Any, self), float("inf"), lambda: False)
        return {table for table, _ in search._numbered(range(tables), lambda number, _: str(number))}


@pytest.mark.parametrize("tables", [1, 8, 32, 180])
@pytest.mark.parametrize("seed", range(6))
def test_tables_that_are_denied_cost_nobody_else_the_survey(tables: int, seed: int) -> None:
    chosen = random.Random(seed)
    denied = set(chosen.sample(range(tables), chosen.randint(0, min(tables, mssql.MOST_FAILED_TABLES))))
    session = PickySession(denied)
    assert session.known(tables) == set(range(tables)) - denied
    assert session.statements <= 1 + 2 * len(denied) * tables.bit_length()


def test_what_fails_for_another_reason_is_not_divided_for_ever() -> None:
    everything, one_by_one = PickySession(set(range(180))), PickySession(set(), most=1)
    assert everything.known(180) == set()
    assert everything.statements < 2 * 180
    assert len(one_by_one.known(180)) < 180
    assert one_by_one.statements < 100
