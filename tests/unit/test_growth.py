"""What an operation asks of a lake, beside a short history and a long one, and beside many loads that have not ended.

The figures stand in docs/architecture.md: work whose cost grows with all that ever ran comes to an end one day.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.journal import progress
from hygge_engine.journal.files import WHOLE_BYTES, JournalFiles
from hygge_engine.journal.rows import table_of
from hygge_engine.lake.base import Content, PathInfo
from hygge_engine.lake.local import LocalLake
from hygge_engine.orchestration.board import Board
from hygge_engine.orchestration.lanes import Group
from hygge_engine.orchestration.places import JournalPlace
from hygge_engine.orchestration.retention import FORGOTTEN_AFTER, sweep_progress
from hygge_engine.orchestration.schedule import Tick, start_due_loads
from hygge_engine.orchestration.settling import settle
from hygge_engine.web.api import Api
from hygge_engine.web.pages import PAGE_DEFAULT
from tests.journal_rows import EPOCH, make_row
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.support.orchestration_answers import plan
from tests.unit.load_world import FLOW_YML, LoadWorld

MIRRORED = FLOW_YML.replace("key_columns: [id]", "key_columns: [id]\n  mirror_journal: true")

FEW, MANY = 10, 2_000
UNFINISHED = 100
PER_SHELF = 8
MORNING = datetime(2026, 3, 1, 6, tzinfo=UTC)

# Bytes beside the canonical file: landing states, the tick's file, a load's own rows.
OTHER_BYTES = 256 * 1024


class Asked(Counter[str]):
    """How often each verb was asked for, with ``bytes`` read and ``entries`` listed."""

    @property
    def requests(self) -> dict[str, int]:
        return {verb: count for verb, count in self.items() if verb not in ("bytes", "entries")}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Counts from now on whatever any local lake is asked for."""
    counter = Asked()

    def count(verb: str) -> None:
        method = getattr(LocalLake, verb)

        def counted(self: LocalLake, *given: Any, **named: Any) -> Any:
            counter[verb] += 1
            answer = method(self, *given, **named)
            if isinstance(answer, Content):
                counter["bytes"] += len(answer.data)
            elif isinstance(answer, bytes):
                counter["bytes"] += len(answer)
            return answer

        monkeypatch.setattr(LocalLake, verb, counted)

    for verb in ("read", "read_range", "info", "put", "rename", "make_directory", "delete", "delete_directory"):
        count(verb)
    listing = LocalLake.list

    def counted_list(self: LocalLake, directory: str, *, recursive: bool = False) -> Iterator[PathInfo]:
        counter["list"] += 1
        for entry in listing(self, directory, recursive=recursive):
            counter["entries"] += 1
            yield entry

    monkeypatch.setattr(LocalLake, "list", counted_list)
    return counter


def make(directory: Path) -> Path:
    directory.mkdir()
    return directory


def remember(world: LoadWorld, loads: int) -> None:
    """Fill a world's journal with settled loads, and settle one more, so that everything is published."""
    place = world.place()
    files = JournalFiles(place.lake, place.root)
    rows = [make_row(load, flow="orders_to_fabric") for load in range(loads)]
    files.replace_canonical(files.read_canonical(), table_of(rows))
    settle_one(world, "load-before")


def begin(world: LoadWorld, loads: int, *, ago: timedelta = timedelta(0)) -> None:
    """Leave the progress of loads that have not ended."""
    place = world.place()
    then = (datetime.now(UTC) - ago).timestamp()
    top = world.lake_directory / place.root / "progress"
    for load in range(loads):
        folder = top / f"unfinished-{load}"
        (folder / "orders_to_fabric").mkdir(parents=True)
        (folder / "orders_to_fabric" / "orders.json").write_text("{}")
    for path in top.rglob("*"):
        os.utime(path, (then, then))


def settle_one(world: LoadWorld, load_id: str) -> None:
    moment = (EPOCH + timedelta(days=300)).isoformat()
    summary: Any = {
        "load_id": load_id,
        "status": "skip",
        "started": moment,
        "finished": moment,
        "message": "nothing",
        "error": "",
        "requested_by": "http",
        "totals": {},
    }
    answer = settle(world.project, {"summary": summary, "request": {"flows": []}, "results": []})
    assert answer["status"] == "settled", answer


def client_with(load_id: str) -> Client:
    client = Client()
    client.put(load_id)
    return client


def post_a_load(world: LoadWorld) -> None:
    answer = asyncio.run(promised(Api(lambda: world.project)).start_load(b"{}", Client(), requested_by="http"))
    assert answer.status == HTTPStatus.ACCEPTED


def look_at_a_load(world: LoadWorld) -> None:
    answer = asyncio.run(promised(Api(lambda: world.project)).load_status("running", client_with("running")))
    assert answer.status == HTTPStatus.OK


def look_at_a_purged_load(world: LoadWorld) -> None:
    answer = asyncio.run(promised(Api(lambda: world.project)).load_status("load-3", Client()))
    assert answer.status == HTTPStatus.OK


def list_loads(world: LoadWorld) -> None:
    assert len(promised(Api(lambda: world.project)).runs("5", None).payload["runs"]) == 5


def show_a_load(world: LoadWorld) -> None:
    assert promised(Api(lambda: world.project)).run("load-3").status == HTTPStatus.OK


def settle_a_load(world: LoadWorld) -> None:
    settle_one(world, "load-now")


def tick(world: LoadWorld) -> None:
    due = Tick(MORNING, MORNING - timedelta(minutes=15))
    assert asyncio.run(start_due_loads(lambda: world.project, due, Client(), []))


def sweep(world: LoadWorld) -> None:
    sweep_progress(world.project, world.project.entities)


OPERATIONS: list[Callable[[LoadWorld], None]] = [
    post_a_load,
    tick,
    look_at_a_load,
    look_at_a_purged_load,
    list_loads,
    show_a_load,
    settle_a_load,
    sweep,
]


def test_no_operation_asks_for_more_beside_a_long_history_or_many_loads_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setenv("WEBSITE_HOSTNAME", "app.example.com")
    found: dict[tuple[str, str], Asked] = {}
    for name, loads, unfinished in (("few", FEW, 0), ("many", MANY, 0), ("unfinished", FEW, UNFINISHED)):
        world = LoadWorld(make(tmp_path / name), monkeypatch, flow=MIRRORED)
        remember(world, loads)
        begin(world, unfinished)
        for operation in OPERATIONS:
            asked.clear()
            operation(world)
            found[name, operation.__name__] = Asked(asked)
    for name in (each.__name__ for each in OPERATIONS):
        few, many, under_way = (found[world_name, name] for world_name in ("few", "many", "unfinished"))
        assert few.requests == many.requests == under_way.requests, name
        assert many["entries"] == few["entries"], name
        assert under_way["entries"] == few["entries"] + UNFINISHED * (name == "sweep"), name
        assert many["bytes"] <= WHOLE_BYTES + OTHER_BYTES, name
    assert found["many", "sweep"] == {"list": 1}


def test_a_status_costs_one_listing_however_many_tables_are_under_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    names = [f"table_{number:03}" for number in range(PAGE_DEFAULT * 3)]
    flow = FLOW_YML.replace("[orders, customers, stock]", f"[{', '.join(names)}]")
    world = LoadWorld(tmp_path, monkeypatch, flow=flow)
    progress = world.place().progress
    failed = {"state": "failed", "rows": 1, "message": "connection lost"}
    for number, name in enumerate(names):
        state = failed if number % 100 == 0 else {"state": "running" if number % 2 else "done", "rows": number}
        progress.write("running", "orders_to_fabric", name, state)
    sizes = []
    for _ in range(2):
        asked.clear()
        answer = asyncio.run(promised(Api(lambda: world.project)).load_status("running", client_with("running")))
        assert len(answer.payload["entities"]) == PAGE_DEFAULT
        sizes.append(asked.requests)
    # What the one failure on the page says is read once.
    assert sizes == [{"list": 1, "read": 1}, {"list": 1}]


def test_a_report_costs_one_request_and_a_table_leaves_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    world = LoadWorld(tmp_path, monkeypatch)
    for attempt in range(1, 4):
        progress = world.place().progress
        for rows in range(1, 6):
            state = {"state": "running", "attempt": attempt, "rows": rows}
            progress.write("running", "orders_to_fabric", "orders", state)
    assert asked.requests == {"put": 3, "rename": 12, "list": 2, "delete": 2}
    [left] = world.place().progress.states("running").values()
    assert (left.attempt, left.rows) == (3, 5)


def test_taking_a_table_costs_the_same_however_many_there_are(tmp_path: Path, asked: Asked) -> None:
    """Two instances that take in turn, so that each finds what the other has taken."""
    most: list[Asked] = []
    for tables in (2 * PER_SHELF, 10 * PER_SHELF):
        place = JournalPlace(LocalLake(make(tmp_path / str(tables))), "journal")
        boards = [Board(place, "load-1", "b", PER_SHELF) for _ in range(2)]
        boards[0].write(plan(tables)["entities"])
        costs = []
        for turn in range(tables):
            asked.clear()
            assert boards[turn % 2].take(f"lane-{turn % 2}", turn, Group("db", 1)) is not None
            costs.append(Asked(asked))
        most.append(Asked({verb: max(cost[verb] for cost in costs[2:]) for verb in ("read", "put", "list", "entries")}))
    assert most[0] == most[1]
    assert most[1]["entries"] <= PER_SHELF


def test_a_sweep_looks_into_so_many_folders_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setattr(progress, "SWEPT_AT_ONCE", 20)
    world = LoadWorld(tmp_path, monkeypatch)
    begin(world, UNFINISHED, ago=FORGOTTEN_AFTER * 2)
    asked.clear()
    assert sweep_progress(world.project, world.project.entities) == 20
    assert asked.requests == {"list": 1 + 20, "delete_directory": 20}
