"""The command line in this process: real flow, landing and journal, sources in memory, a local lake."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import Mock, call

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from hygge_engine.cli import crowds, go
from hygge_engine.cli import plan as cli_plan
from hygge_engine.cli.app import app
from hygge_engine.cli.bars import BarDisplay
from hygge_engine.cli.crowds import FIRST_SHOWN
from hygge_engine.cli.go import SilenceMonitor
from hygge_engine.cli.interrupt import GRACE_SECONDS
from hygge_engine.cli.observers import choose_display
from hygge_engine.cli.reachability import Pulse
from hygge_engine.errors import HomeLoginFailed, HomeNotFound, HomeUnavailable, LakeUnavailable
from hygge_engine.flow.slices import SliceResult
from hygge_engine.journal import Journal
from hygge_engine.journal.journal import FULL, FULL_REMEDY
from tests.faults.source import SourceHome
from tests.journal_rows import make_row
from tests.unit.load_world import FLOW_YML, LoadWorld
from tests.unit.project_files import ENVIRONMENT, HYGGE, write_project

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", ENVIRONMENT["SHOP_PASSWORD"])
    monkeypatch.delenv("HYGGE_PROJECT", raising=False)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    monkeypatch.setattr(cli_plan, "open_home", world._open_home)
    return world


def hygge(world: LoadWorld, command: str, *arguments: str) -> Result:
    return CliRunner().invoke(app, [command, "--project", str(world.directory), *arguments])


def events(result: Result) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for line in result.stdout.splitlines():
        value = json.loads(line)
        found.setdefault(value["event"], []).append(value)
    return found


def test_a_window_is_loaded_again_and_the_watermark_stays(world: LoadWorld) -> None:
    orders = world.sources["orders"]
    for id_ in (6, 7, 8):
        orders.put(id_)
    assert hygge(world, "go").exit_code == 0
    before = plan_of(world)["committed"]
    result = hygge(world, "go", "--json", "--entity", "orders", "--from", "2", "--to", "3")
    (settled,) = events(result)["settled"]
    assert (settled["status"], settled["rows"], settled["watermark"]) == ("done", 2, before)
    assert "from 2 to 3; the watermark stays" in settled["message"]
    assert plan_of(world)["committed"] == before == "4"
    orders.put(9)
    (settled,) = events(hygge(world, "go", "--json", "--entity", "orders"))["settled"]
    assert settled["rows"] == 1


def test_a_reload_lands_what_differs_or_drops_as_it_was_asked_to(world: LoadWorld) -> None:
    at_once = "flow.orders_to_fabric.store.folder_deletion_wait_seconds=0"
    only = ("--entity", "orders", "--json", "--var", "flow.orders_to_fabric.reload=difference", "--var", at_once)
    whole = ("--run-type", "full_drop", *only)

    def mode(*more: str) -> str:
        (line,) = json.loads(hygge(world, "plan", *whole, *more).stdout)["entities"]
        return " ".join([line["mode"], *line["warnings"]])

    def settled(*arguments: str) -> dict[str, Any]:
        return events(hygge(world, "go", *arguments))["settled"][0]

    settled("--entity", "orders", "--json")
    assert mode().startswith("reload reload: difference cannot be applied yet, the table is dropped: what has landed")
    assert "by a drop, not by difference: what has landed was not remembered" in settled(*whole)["message"]
    assert mode().split()[0] == "difference"
    told = "a reload drops the table, and readers miss it"
    assert told in mode("--var", "flow.orders_to_fabric.reload=drop")
    assert told not in mode()
    world.sources["orders"].put(9)
    assert (found := settled(*whole))["rows"] == 1
    assert "by difference: 1 new or changed, 0 deleted, 5 unchanged" in found["message"]
    found = settled(*whole, "--reload", "drop")
    assert found["rows"] == 6
    assert "message" not in found
    assert settled(*whole)["rows"] == 0, "a drop is remembered, too"
    refused = hygge(world, "go", "--entity", "orders", "--reload", "drop")
    assert refused.exit_code == 2
    assert "Nothing of this load is a reload" in refused.output


def test_a_plan_says_when_keys_are_compared_and_a_load_what_it_has_found(world: LoadWorld) -> None:
    deletes = "flow.orders_to_fabric.deletes.compare=true"
    only = ("--json", "--entity", "orders", "--var", deletes)

    def planned(*more: str) -> dict[str, Any]:
        (line,) = json.loads(hygge(world, "plan", *only, *more).stdout)["entities"]
        return dict(line)

    def settled(*more: str) -> dict[str, Any]:
        return events(hygge(world, "go", *only, *more))["settled"][0]

    assert planned()["deletes"] == "keys compared every 24 h 00 min, counted from the first load on"
    settled()
    assert ", next from 20" in planned()["deletes"]
    world.sources["orders"].remove(1)
    assert "message" not in settled(), "it is not due yet"
    at_once = ("--var", "flow.orders_to_fabric.deletes.every=0")
    assert planned(*at_once)["deletes"].endswith("due with this load")
    found = settled(*at_once)
    assert (found["rows"], found["message"]) == (1, "keys compared: 1 of 5 rows deleted")
    world.sources["orders"].put(9)
    assert hygge(world, "go", "--json", "--entity", "orders").exit_code == 0
    (told,) = planned(*at_once)["warnings"]
    assert told == "keys cannot be compared yet, so that no deletes are known: what has landed was not remembered"
    world.sources["orders"].remove(9)
    (wrong,) = planned(*at_once)["errors"]
    assert "fallen behind, and what differs cannot be landed: what has landed was not remembered" in wrong
    failed = hygge(world, "go", *only)
    assert failed.exit_code == 1
    assert "home.cursor_moved_back" in failed.output
    assert "what differs cannot be landed: what has landed was not remembered" in failed.output


def test_a_history_is_planned_loaded_and_left_out_of_comparisons(world: LoadWorld) -> None:
    flow = world.directory / "flows/orders_to_fabric/flow.yml"
    flow.write_text(flow.read_text().replace("[orders,", "[{name: orders, history: versions},"))
    only = ("--entity", "orders_history")

    def mode(*arguments: str) -> str:
        (line,) = json.loads(hygge(world, "plan", "--json", *only, *arguments).stdout)["entities"]
        return " ".join([line["mode"], *line["warnings"], *line["errors"]])

    def settled(*arguments: str) -> dict[str, Any]:
        return events(hygge(world, "go", "--json", *arguments))["settled"][0]

    assert mode() == "initial"
    assert len(events(hygge(world, "go", "--json"))["settled"]) == 4
    world.sources["orders"].put(2, 9)
    assert mode() == "changes"
    found = settled(*only)
    assert (found["rows"], found["rows_inserted"], found["rows_updated"]) == (2, 1, 1)
    world.sources["orders"].remove(1)
    assert mode("--run-type", "full_drop") == "difference"
    found = settled(*only, "--run-type", "full_drop", "--reload", "drop")
    assert (found["rows"], found["message"]) == (1, "reloaded by difference: 0 new or changed, 1 deleted, 5 unchanged")
    assert settled("--entity", "orders", "--from", "0")["entity"] == "orders"
    refused = hygge(world, "go", *only, "--from", "0")
    assert (refused.exit_code, "no window of it" in refused.output) == (2, True)
    assert json.loads(hygge(world, "reconcile", "--json", *only).stdout)["entities"] == []


def test_a_journal_that_is_full_is_told_of_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hygge.yml").write_text("name: shop\njournal: { fold_after_loads: 1 }\n")
    (tmp_path / "orders.csv").write_text("id\n1\n")
    (tmp_path / "flows/shop").mkdir(parents=True)
    flow = "home: {type: local, path: orders.csv, format: csv}\nstore: {type: local}\nentities: [orders]\n"
    (tmp_path / "flows/shop/flow.yml").write_text(flow)
    monkeypatch.setattr("hygge_engine.journal.files.FULL_BYTES", 0)

    def said(command: str, *arguments: str) -> str:
        return " ".join(CliRunner().invoke(app, [command, "--project", str(tmp_path), *arguments]).output.split())

    for output in (said("go"), said("go", "--json"), said("runs"), said("doctor"), said("compact")):
        assert FULL in output
        assert FULL_REMEDY in output
    monkeypatch.undo()
    assert FULL not in said("runs") + said("doctor") + said("go") + said("runs")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--run-type", "full_drop", "--from", "2"], "is reloaded as a whole"),
        (["--from", "yesterday"], "'yesterday' is not a whole number"),
        (["--from", "3", "--to", "2"], "The window begins at 3 and ends at 2"),
        (["--from", ""], "--from is empty"),
        (["--from", "1", "--to", " "], "--to is empty"),
    ],
)
def test_a_window_that_cannot_be_loaded_is_refused(world: LoadWorld, arguments: list[str], words: str) -> None:
    assert hygge(world, "go").exit_code == 0
    result = hygge(world, "go", "--entity", "orders", *arguments)
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert len(world.journal()) == 3  # nothing was begun


def test_a_lag_beside_a_number_is_refused_before_the_first_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = FLOW_YML.replace("watermark:\n", "watermark:\n  lag: 5m\n")
    assert flow != FLOW_YML
    world = LoadWorld(tmp_path, monkeypatch, flow=flow)
    world.fill(orders=5)
    monkeypatch.setattr(cli_plan, "open_home", world._open_home)
    for command in ("plan", "go"):
        result = hygge(world, command, "--entity", "orders")
        assert result.exit_code == 1
        assert "no minutes that a lag could go back" in " ".join(result.output.split())
    assert world.landed_files() == []


def plan_of(world: LoadWorld) -> dict[str, Any]:
    """The plan's line of the orders."""
    result = hygge(world, "plan", "--json", "--entity", "orders")
    (line,) = json.loads(result.stdout)["entities"]
    return dict(line)


def fail_orders(error: Exception) -> Any:
    def fail(entity: str, batch: int) -> None:
        if entity == "orders":
            raise error

    return fail


def test_go_moves_everything_and_ends_with_zero(world: LoadWorld) -> None:
    result = hygge(world, "go")
    assert result.exit_code == 0, result.output
    assert re.search(r"✓ orders_to_fabric\.orders +5 rows", result.stdout)
    assert "3 settled: 8 rows in" in result.stdout
    assert len(world.journal()) == 3


def test_go_takes_what_it_is_told(world: LoadWorld) -> None:
    result = hygge(world, "go", "--entity", "orders", "--entity", "orders_to_fabric.stock", "--concurrency", "1")
    assert result.exit_code == 0
    assert {row["entity"] for row in world.journal()} == {"orders", "stock"}
    hygge(world, "go", "-e", "customers", "--run-type", "full_drop")
    assert [row["run_type"] for row in world.journal() if row["entity"] == "customers"] == ["full_drop"]


def test_go_speaks_json(world: LoadWorld) -> None:
    result = hygge(world, "go", "--json")
    assert result.exit_code == 0
    found = events(result)
    assert [entity["entity"] for entity in found["planned"][0]["entities"]] == ["orders", "customers", "stock"]
    assert {event["entity"]: event["rows"] for event in found["settled"]} == {"orders": 5, "customers": 3, "stock": 0}
    assert found["progress"][0]["rows"] > 0
    (summary,) = found["summary"]
    assert (summary["status"], summary["rows"], summary["journal"]["status"]) == ("success", 8, "settled")
    assert result.stdout.splitlines()[-1].startswith('{"event": "summary"')


def test_a_failed_entity_is_explained_and_ends_with_one(world: LoadWorld) -> None:
    world.before_read = fail_orders(HomeNotFound("There is no column modified.", hint="The table has id and value."))
    result = hygge(world, "go")
    assert result.exit_code == 1
    assert "2 settled, 1 failed: 3 rows" in result.stdout
    what, why, todo = result.stderr.splitlines()
    assert what == "orders_to_fabric.orders: error: The file, database, table, view or column does not exist"
    assert why == "  why: There is no column modified."
    assert todo.startswith("  do:  The table has id and value.")
    assert "Traceback" not in result.output
    assert world.journal()[1]["message"] == "There is no column modified. The table has id and value."


def test_a_column_that_the_source_lacks_is_told_with_the_place_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "flows/f").mkdir(parents=True)
    (tmp_path / "hygge.yml").write_text("name: shop\n")
    (tmp_path / "orders.csv").write_text("id\n1\n")
    lines = [
        "home: {type: local, path: orders.csv, format: csv}",
        "store: {type: local}",
        "run_type: incremental",
        "entities: [orders]",
        "watermark:",
        "  column: modified",
    ]
    (tmp_path / "flows/f/flow.yml").write_text("\n".join(lines))
    place = "flows/f/flow.yml:6:11"
    for command, stream in (("plan", "stdout"), ("go", "stderr")):
        result = CliRunner().invoke(app, [command, "--project", str(tmp_path)])
        assert result.exit_code == 1
        assert place in getattr(result, stream), result.output


def test_files_that_a_folder_has_and_no_load_reads_are_told_by_plan_and_by_each_load(tmp_path: Path) -> None:
    for name, text in {
        "hygge.yml": "name: shop\n",
        "flows/f/flow.yml": "home: {type: local, path: in/, format: csv}\nstore: {type: local}\nentities: [orders]\n",
        "in/orders.csv": "id\n1\n",
        "in/orders.csv.bak": "id\n2\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for command in ("plan", "go", "go"):
        result = CliRunner().invoke(app, [command, "--project", str(tmp_path)])
        assert result.exit_code == 0, result.output
        assert "1 row" in result.output
        assert "do not end in .csv or .tsv: in/orders.csv.bak" in " ".join(result.output.split())


def test_the_version_is_told() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"hygge-engine {version('hygge-engine')}\n")


def test_what_fails_for_the_same_reason_is_explained_once(world: LoadWorld) -> None:
    def refuse(entity: str, batch: int) -> None:
        raise HomeLoginFailed("Login failed for user 'me'.", hint="Check the password.")

    world.before_read = refuse
    result = hygge(world, "go")
    assert result.exit_code == 1
    assert result.stderr.count("Login failed") == 1
    names = result.stderr.split(": error")[0].split(", ")
    assert sorted(names) == ["orders_to_fabric.customers", "orders_to_fabric.orders"]


def test_a_journal_that_cannot_be_written_yet_is_no_silence(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    append, failures = Journal.append, iter([LakeUnavailable("cannot write the journal: 503")])

    def fail_once(journal: Journal, *arguments: Any) -> Any:
        if error := next(failures, None):
            raise error
        return append(journal, *arguments)

    monkeypatch.setattr(Journal, "append", fail_once)
    result = hygge(world, "go")
    assert result.exit_code == 0
    assert "  journal: cannot write the journal: 503" in result.stdout
    assert len(world.journal()) == 3


def test_what_an_entity_waits_for_is_said_while_it_waits(world: LoadWorld) -> None:
    failures = iter([HomeUnavailable("the connection was lost")])

    def fail(entity: str, batch: int) -> None:
        if entity == "orders" and (error := next(failures, None)):
            raise error

    world.before_read = fail
    result = hygge(world, "go")
    assert result.exit_code == 0
    assert "orders_to_fabric.orders: the connection was lost" in result.stdout


def test_ctrl_c_commits_what_is_whole_and_the_next_load_goes_on(world: LoadWorld) -> None:
    def interrupt(entity: str, batch: int) -> None:
        if entity == "orders" and batch == 1:
            os.kill(os.getpid(), signal.SIGINT)
            # The signal is handled on the main thread; this one must not read on before.
            assert handled(signal.SIGINT)

    def handled(number: int) -> bool:
        deadline = time.monotonic() + 10
        while signal.getsignal(number) is not signal.SIG_DFL:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    before = signal.getsignal(signal.SIGINT)
    world.before_read = interrupt
    result = hygge(world, "go", "--concurrency", "1")
    assert result.exit_code == 130
    assert "Cancelled. What was committed stays" in result.stdout
    assert signal.getsignal(signal.SIGINT) is before
    assert "cancel" in {row["status"] for row in world.journal()}
    world.before_read = lambda entity, batch: None
    assert hygge(world, "go").exit_code == 0
    assert sum(row["row_count"] for row in world.journal() if row["entity"] == "customers") == 3


@pytest.mark.parametrize("command", ["go", "plan"])
def test_a_misspelt_name_starts_nothing(world: LoadWorld, command: str) -> None:
    result = hygge(world, command, "--flow", "orders_to_fabrik")
    assert result.exit_code == 2
    assert "`orders_to_fabric`" in result.stderr
    assert world.journal() == []


@pytest.mark.parametrize("command", ["go", "plan", "runs", "validate"])
def test_a_broken_project_starts_nothing_and_shows_every_problem(tmp_path: Path, command: str) -> None:
    flow = FLOW_YML.replace("mirror_name", "miror_name")
    write_project(tmp_path, flows__orders_to_fabric__flow=flow, hygge=HYGGE.replace("server", "sever"))
    result = CliRunner().invoke(app, [command, "--project", str(tmp_path)])
    assert result.exit_code == 2
    assert "flows/orders_to_fabric/flow.yml:12:3" in result.stderr
    assert "hygge.yml:5:5" in result.stderr
    assert "Did you mean `mirror_name`?" in result.stderr
    assert result.stdout == ""
    (error,) = events(CliRunner().invoke(app, [command, "--json", "--project", str(tmp_path)]))["error"]
    assert [problem["line"] for problem in error["problems"]] == [12, 5]


def test_a_stack_trace_only_with_verbose(world: LoadWorld) -> None:
    assert "Traceback" not in hygge(world, "go", "--flow", "x").output
    assert "Traceback" in hygge(world, "go", "--flow", "x", "--verbose").stderr


def test_any_setting_can_be_given_for_one_command(world: LoadWorld) -> None:
    result = hygge(world, "go", "--var", "flow.orders_to_fabric.entities=[stock]", "--var", "options.concurrency=1")
    assert result.exit_code == 0, result.output
    assert {row["entity"] for row in world.journal()} == {"stock"}
    override = "orders_to_fabric.home.table=sales.{entity}"
    plan = json.loads(hygge(world, "plan", "--offline", "--json", "--var", override).stdout)
    assert {line["source"] for line in plan["entities"]} == {
        f"shop_db: sales.{name}" for name in ("orders", "customers", "stock")
    }
    validated = hygge(world, "validate", "--var", "flow.orders_to_fabric.schedule=0 0 6 * * *")
    assert "incremental, 0 0 6 * * *" in validated.stdout


@pytest.mark.parametrize("command", ["go", "plan", "validate", "doctor", "runs"])
def test_a_mistake_in_a_setting_of_the_command_line_starts_nothing(world: LoadWorld, command: str) -> None:
    result = hygge(world, command, "--var", "flow.orders_to_fabric.store.row_markr=4")
    assert result.exit_code == 2
    assert "the command line:1:35" in result.stderr
    assert "Did you mean `row_marker`?" in result.stderr
    assert world.journal() == []


def test_plan_shows_where_everything_goes_and_moves_nothing(world: LoadWorld) -> None:
    result = hygge(world, "plan")
    assert result.exit_code == 0, result.output
    assert "orders_to_fabric.orders  first load by modified" in result.stdout
    assert "shop_db: dbo.orders → https://onelake" in result.stdout
    assert world.landed_files() == []
    assert world.journal() == []


def test_plan_warns_of_entities_that_read_the_same_rows(world: LoadWorld) -> None:
    shared = ("--var", "orders_to_fabric.home.table=dbo.orders", "--offline")
    lines = json.loads(hygge(world, "plan", "--json", *shared).stdout)["entities"]
    warning = "reads the same rows as orders; if it should not, write {entity} in the home's table"
    assert {line["entity"]: line["warnings"] for line in lines} == {
        "orders": [],
        "customers": [warning],
        "stock": [warning],
    }
    assert f"warning: {warning}" in hygge(world, "plan", *shared).stdout
    own = ("--var", "orders_to_fabric.entities.orders.home.table=dbo.{entity}", "--offline")
    assert "same rows" not in hygge(world, "plan", *own).stdout


def test_plan_knows_how_far_the_destination_has_come(world: LoadWorld) -> None:
    hygge(world, "go")
    plan = json.loads(hygge(world, "plan", "--json").stdout)
    line = next(line for line in plan["entities"] if line["entity"] == "orders")
    assert line["mode"] == "changes"
    assert line["committed"]
    assert not line["errors"]
    # Only first loads are known, and the next one has less to do wherever it reads what is new.
    assert plan["estimate"]["unknown"] == sum(line["mode"] == "changes" for line in plan["entities"]) > 0
    hygge(world, "go")
    plan = json.loads(hygge(world, "plan", "--json").stdout)
    assert (plan["estimate"]["known"], plan["estimate"]["unknown"]) == (len(plan["entities"]), 0)
    assert "a load takes about" in hygge(world, "plan").stdout
    (world.lake_directory / world.place().root / "journal.parquet").write_bytes(b"not Parquet")
    result = hygge(world, "plan", "--json")
    assert json.loads(result.stdout)["estimate"] is None
    assert result.stderr.count("not estimated: how long a load takes, because the journal cannot be read: ") == 1
    assert (result.exit_code, result.stderr.count("\n")) == (0, 1)
    offline = json.loads(hygge(world, "plan", "--json", "--offline", "--run-type", "full_drop").stdout)
    assert {(line["mode"], line["committed"]) for line in offline["entities"]} == {("full_drop", "")}
    assert offline["estimate"] is None


def test_plan_estimates_what_was_never_loaded_by_its_rows(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    described = SourceHome.describe
    rows = {"rows": 1_000_000}
    monkeypatch.setattr(SourceHome, "describe", lambda self: replace(described(self), approximate_rows=rows["rows"]))
    estimate = json.loads(hygge(world, "plan", "--json").stdout)["estimate"]
    assert (estimate["known"], estimate["by_rows"], estimate["unknown"]) == (0, 3, 0)
    assert estimate["seconds"] == pytest.approx(1 + 1_000_000 / 50_000)
    told = "3 of 3 entities have not been loaded like this before, 3 of them estimated by their rows"
    assert told in hygge(world, "plan").stdout
    hygge(world, "go")
    rows["rows"] = 10**18
    estimate = json.loads(hygge(world, "plan", "--json").stdout)["estimate"]
    assert (estimate["by_rows"], estimate["seconds"] < 60) == (0, True)  # what is new is not all that there is


def test_durations_that_there_cannot_be_are_unknown(world: LoadWorld) -> None:
    numbers: list[Any] = [float("inf"), float("nan"), float("-inf"), 1e300, -5.0, None]
    for load in range(2):
        rows = [make_row(load, at, flow="orders_to_fabric", duration=number) for at, number in enumerate(numbers)]
        rows += [
            replace(make_row(load, 9, flow="orders_to_fabric", duration=float("inf"), row_count=-1), entity="orders")
        ]
        world.place().journal.append(f"load-{load}", rows)

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is not JSON")

    for command in (["runs", "load-1"], ["runs", "--entity", "orders"], ["runs", "--by", "entity"], ["plan"]):
        json.loads(hygge(world, *command, "--json").stdout, parse_constant=refuse)
        result = hygge(world, *command)
        assert result.exit_code == 0, result.stderr
        assert not re.search(r"\b(inf|nan)\b|-\d[\d.]* s\b|\d{9} h", result.stdout), result.stdout
    assert hygge(world, "runs", "load-1").stdout.count(" unknown") == len(numbers) + 1
    assert "a load takes" not in hygge(world, "plan").stdout


def test_plan_says_which_source_does_not_answer(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(project: Any, entity: Any) -> Any:
        if entity.name == "orders":
            raise HomeUnavailable("sql.example.com does not answer")
        return world._open_home(project, entity)

    monkeypatch.setattr(cli_plan, "open_home", refuse)
    result = hygge(world, "plan")
    assert result.exit_code == 1
    assert "error: the source: sql.example.com does not answer" in result.stdout
    assert "orders_to_fabric.stock" in result.stdout


def test_runs_lists_loads_and_shows_one(world: LoadWorld) -> None:
    assert "There are no loads yet" in hygge(world, "runs").stdout
    hygge(world, "go")
    world.before_read = fail_orders(HomeNotFound("There is no column modified."))
    world.fill(orders=6)
    hygge(world, "go")
    loads = json.loads(hygge(world, "runs", "--json").stdout)
    assert [(load["status"], load["rows"]) for load in loads] == [("fail", 0), ("success", 8)]
    assert loads[0]["coordinator_run_id"] in hygge(world, "runs").stdout
    assert len(json.loads(hygge(world, "runs", "--json", "--limit", "1").stdout)) == 1
    failed = json.loads(hygge(world, "runs", "--json", "--failed").stdout)
    assert [load["status"] for load in failed] == ["fail"]
    for name in ("a\n.parquet", "b.parquet"):
        (world.lake_directory / world.place().root / "runs" / name).mkdir(parents=True)
    one = hygge(world, "runs", loads[0]["coordinator_run_id"])
    for result in (one, hygge(world, "runs"), hygge(world, "runs", "--entity", "orders", "--json")):
        (told,) = result.stderr.splitlines()
        assert re.fullmatch(r"not shown: .*/runs/(a\\n|b)\.parquet is passed over: it is a folder.* 1 more\.", told)
    assert "There is no column modified." in one.stdout
    rows = json.loads(hygge(world, "runs", loads[0]["coordinator_run_id"], "--failed", "--json").stdout)
    assert [row["entity"] for row in rows] == ["orders"]


def test_runs_shows_how_one_entity_has_come_along(world: LoadWorld) -> None:
    hygge(world, "go")
    world.before_read = fail_orders(HomeNotFound("There is no column modified."))
    world.fill(orders=6)
    hygge(world, "go")
    found = json.loads(hygge(world, "runs", "--entity", "orders", "--json").stdout)
    assert [(row["entity"], row["status"], row["row_count"]) for row in found] == [
        ("orders", "fail", 0),
        ("orders", "success", 5),
    ]
    text = hygge(world, "runs", "-e", "orders_to_fabric.orders").stdout
    assert len(re.findall(r"orders_to_fabric\.orders +incremental", text)) == 2
    assert "There is no column modified." in text
    assert len(json.loads(hygge(world, "runs", "-e", "orders", "--failed", "--json").stdout)) == 1
    assert len(json.loads(hygge(world, "runs", "-e", "orders", "-n", "1", "--json").stdout)) == 1
    load_id = found[0]["coordinator_run_id"]
    assert len(json.loads(hygge(world, "runs", load_id, "-e", "stock", "--json").stdout)) == 1
    assert "No run of stock has failed" in hygge(world, "runs", "-e", "stock", "--failed").stdout
    assert "Did you mean `orders`?" in hygge(world, "runs", "-e", "ordrs").stdout


def test_runs_of_an_unknown_load(world: LoadWorld) -> None:
    result = hygge(world, "runs", "no-such-load")
    assert result.exit_code == 2
    assert "no-such-load" in result.stderr


def test_validate_says_what_is_there(world: LoadWorld) -> None:
    result = hygge(world, "validate")
    assert result.exit_code == 0
    assert "orders_to_fabric: 3 entities, incremental, 0 */15 * * * *" in result.stdout
    assert json.loads(hygge(world, "validate", "--json").stdout)["settings_hash"] == world.project.settings_hash()


def test_the_laptop_cloud_is_named_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    monkeypatch.chdir(write_project(tmp_path))
    hint = "`hygge dev` starts a cloud on this machine"
    assert CliRunner().invoke(app, ["go"]).stderr.count(hint) == 1
    monkeypatch.setattr("hygge_engine.cli.messages.find_spec", lambda name: None)
    assert hint not in CliRunner().invoke(app, ["go"]).stderr
    result = CliRunner().invoke(app, ["dev"])
    assert result.exit_code == 2
    assert "checkout" in result.stderr


def test_bars_show_progress_and_settled_entities_on_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "terminal").open("w+", encoding="utf-8") as terminal:
        with BarDisplay(Console(file=terminal, force_terminal=True, width=120)) as display:
            display.planned([{"flow": "f", "entity": "orders"}, {"flow": "f", "entity": "stock"}])
            display.ranges_read("f", "orders", 12, 40)
            display.entity_progress("f", "orders", 1200, 4096)
            display._progress.refresh()
            display.slice_ended("f", "orders", SliceResult("failed", message="deadlock victim", transient=True))
            display.entity_ended("f", "orders", {"status": "done", "rows": 2400, "bytes": 9000})
            display.stopping()
            display.entity_ended("f", "stock", {"status": "failed", "error": "home.not_found"})
        terminal.seek(0)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.read())
    assert re.search(r"f\.orders .*1,200 rows +4\.1 kB.* 12 of 40 ranges", text)
    assert re.search(r"✓ f\.orders +2,400 rows +9\.0 kB", text)
    assert re.search(r"✗ f\.stock +failed +home\.not_found", text)
    assert "f.orders: deadlock victim" in text
    assert re.search(r"all +━+ 2 of 2 settled, 1 failed  2,400 rows", text)
    assert "Press Ctrl-C again to quit at once" in text


def test_a_load_of_thousands_is_shown_as_one(tmp_path: Path) -> None:
    """On a terminal and in a file: how they all stand, what failed first, what keeps them waiting; no line for each."""
    names = [f"table_{number}" for number in range(1000)]
    for is_terminal in (True, False):
        with (tmp_path / f"{is_terminal}").open("w+", encoding="utf-8") as output:
            console = Console(file=output, force_terminal=is_terminal, width=120)
            with choose_display(console, json_=False, verbose=False) as display:
                display.planned([{"flow": "f", "entity": name} for name in names])
                for name in names:
                    display.entity_progress("f", name, 10, 100)
                    display.slice_ended("f", name, SliceResult("failed", message="deadlock victim", transient=True))
                for number, name in enumerate(names):
                    word = "failed" if number % 20 == 0 else "done"
                    display.entity_ended("f", name, {"status": word, "rows": 10, "error": "home.not_found"})
            output.seek(0)
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.read())
        assert text.count("✗") == FIRST_SHOWN
        assert re.search(r"✗ f\.table_180 ", text)
        assert text.count("✓") == 0
        assert text.count("deadlock victim") == 1
        assert is_terminal or len(text.splitlines()) < 20
        assert not is_terminal or "1,000 of 1,000 settled, 50 failed  10,000 rows" in text


def test_what_went_wrong_with_thousands_is_told_in_a_page(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowds, "LINES_LIMIT", 1)
    monkeypatch.setattr(go, "FIRST_SHOWN", 1)

    def fail(entity: str, batch: int) -> None:
        raise HomeNotFound(f"There is no {entity}.")

    world.before_read = fail
    result = hygge(world, "go", "--concurrency", "1")
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if "There is no" in line] == [
        line for line in result.stderr.splitlines() if "There is no orders." in line
    ]
    assert "1 more failed: 1 home.not_found. All of them: `hygge runs" in result.stderr
    assert "Longest: orders_to_fabric." in result.stdout


def test_runs_shows_a_load_of_thousands_in_a_page(world: LoadWorld) -> None:
    rows = [
        make_row(
            "big",
            number,
            flow="orders_to_fabric",
            status="fail" if number % 10 == 3 else "success",
            message=f"lost {number}" if number % 10 == 3 else "",
            duration=float(number),
        )
        for number in range(1000)
    ]
    world.place().journal.append("big", rows)
    shown = hygge(world, "runs", "big").stdout
    assert "1,000 entities: 900 success, 100 fail; 10,000 rows." in shown
    assert [name in shown for name in ("table_3 ", "table_93 ", "table_103 ", "table_999 ", "table_989 ")] == [
        *(True, True, False, True, False)
    ]
    assert "lost 3\n" in shown
    assert len(shown.splitlines()) < 50
    assert len(hygge(world, "runs", "big", "--limit", "500").stdout.splitlines()) > 500
    assert len(json.loads(hygge(world, "runs", "big", "--json").stdout)) == 1000
    assert len(json.loads(hygge(world, "runs", "big", "--json", "--limit", "7").stdout)) == 7


def test_no_color_is_respected() -> None:
    script = "from hygge_engine.cli.display_lines import *; from rich.console import Console; import sys\n"
    script += "Console(force_terminal=True).print(ended_line('f', 'e', {'status': 'failed'}, 1))"
    for environment, coloured in (({"NO_COLOR": "1"}, False), ({}, True)):
        output = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONIOENCODING": "utf-8", **environment},
        ).stdout
        assert ("\x1b[31m" in output) == coloured


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("hygge go --fl", ["--flow"]),
        ("hygge va", ["validate"]),
        ("hygge go --run-type in", ["incremental"]),
        ("hygge go --project {project} --flow or", ["orders_to_fabric"]),
        ("hygge runs -p {project} --entity cust", ["customers"]),
        ("hygge plan -p {project} -e orders_to_fabric.s", ["orders_to_fabric.stock"]),
        ("hygge plan -p {project}/nowhere -e o", []),
    ],
)
def test_the_shell_completes(world: LoadWorld, typed: str, expected: list[str]) -> None:
    words = typed.format(project=world.directory)
    environment = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" ")), "_HYGGE_COMPLETE": "complete_bash"}
    result = CliRunner().invoke(app, prog_name="hygge", env=environment)
    assert result.stdout.split() == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_set_up_for_each_shell(shell: str) -> None:
    result = CliRunner().invoke(app, prog_name="hygge", env={"_HYGGE_COMPLETE": f"source_{shell}"})
    assert result.exit_code == 0
    assert "_HYGGE_COMPLETE" in result.stdout


def test_help_imports_nothing_heavy() -> None:
    script = "import sys, hygge_engine.cli; heavy = ('pyarrow', 'polars', 'azure', 'pydantic', 'yaml', 'pyodbc')\n"
    script += "print([name for name in heavy if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command", [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]
)
def test_every_option_is_documented(command: str) -> None:
    documentation = (REPOSITORY / "docs/cli.md").read_text(encoding="utf-8")
    section = documentation.split(f"## hygge {command}", 1)[1].split("\n## ", 1)[0]
    help_text = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).stdout
    options = set(re.findall(r"--[a-z][a-z-]+", help_text)) - {"--help"}
    assert options
    assert not [option for option in sorted(options) if f"`{option}" not in section]
    tables = "".join(line for line in section.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(--[a-z][a-z-]+)", tables)) <= options


def test_runs_by_entity_says_how_each_table_has_come_along(world: LoadWorld) -> None:
    assert hygge(world, "go").exit_code == 0
    world.before_read = fail_orders(HomeNotFound("There is no table orders."))
    hygge(world, "go", "--entity", "orders", "--run-type", "full_drop")
    result = hygge(world, "runs", "--by", "entity", "--json")
    found = {line["entity"]: line for line in json.loads(result.stdout)}
    assert {name: (line["runs"], line["failed"], line["status"]) for name, line in found.items()} == {
        "orders": (2, 1, "fail"),
        "customers": (1, 0, "success"),
        "stock": (1, 0, "success"),
    }
    assert found["orders"]["succeeded_at"] < found["orders"]["finished"]
    text = hygge(world, "runs", "--by", "flow").stdout
    assert re.search(r"orders_to_fabric +\S+ \S+ +fail +4 +1 +8", text), text
    assert "There is no table orders." in text


def test_compact_folds_and_takes_out_what_is_old_at_once(world: LoadWorld) -> None:
    assert hygge(world, "go").exit_code == 0
    assert "1 file compacted, 0 rows removed" in hygge(world, "compact").stdout
    before = world.journal()
    journal = world.place().lake.read(f"{world.place().root}/journal.parquet").data
    dry = hygge(world, "compact", "--dry-run", "--retention", "400d", "--json")
    assert json.loads(dry.stdout)["would_retire"] == 0
    result = hygge(world, "compact", "--retention", "1d")
    assert result.exit_code == 2
    assert "at least 7 days" in " ".join(result.output.split())
    # The way back: the file as it was.
    world.place().journal.retire(world.place().lake.now())
    assert world.journal() == []
    world.place().lake.put(f"{world.place().root}/journal.parquet", journal)
    assert world.journal() == before


@pytest.mark.parametrize(
    ("silent", "settling", "journals", "hurries", "left", "told"),
    [
        (0.5, True, 9.0, 0, False, False),
        (9.0, False, 0.0, 2, True, False),  # a source or lake that rows wait for
        (9.0, False, 9.0, 0, True, False),  # there is no journal that could record it
        (9.0, True, 0.0, 0, False, True),  # a slow machine, or a slow lake
        (9.0, True, 9.0, 0, True, False),  # a lake that is gone
        (99.0, True, 0.0, 0, True, False),  # one that says something to every question but ours
    ],
)
def test_a_load_is_hurried_and_left_only_where_no_journal_answers_or_nothing_is_left_to_do(
    silent: float, settling: bool, journals: float, hurries: int, left: bool, told: bool
) -> None:
    clock = itertools.count(step=100.0)
    load, display, pulse = Mock(is_settling=settling), Mock(), Mock(count=2)
    load.silence_seconds.return_value, pulse.silence_seconds.return_value = silent, journals
    load.hurry.side_effect = [True, True, False]
    pulse.silent.return_value = ["f.a"] if journals < GRACE_SECONDS else ["f.a", "f.b"]
    monitor = SilenceMonitor(load, display, pulse, lambda: next(clock))
    asked = [monitor.silence_seconds() >= GRACE_SECONDS for _ in range(hurries + 1)]
    assert asked == [*[False] * hurries, left]
    assert display.settling.call_count == int(told)
    assert load.hurry.call_args_list[:2] == [call(["f.a"])] * hurries


def test_a_journal_has_no_credit_where_tables_could_not_be_given_up() -> None:
    clock = itertools.count(step=100.0)
    load, display, pulse = Mock(is_settling=False), Mock(), Mock(count=1)
    load.silence_seconds.return_value, pulse.silence_seconds.return_value = 9.0, 0.0
    load.hurry.return_value, pulse.silent.return_value = True, []
    monitor = SilenceMonitor(load, display, pulse, lambda: next(clock))
    for left in (False, True):
        assert monitor.silence_seconds() == 0.0
        load.is_settling = True
        assert (monitor.silence_seconds() >= GRACE_SECONDS) == left
        load.is_settling = False


def test_a_load_that_was_silent_before_it_was_asked_to_stop_has_its_grace() -> None:
    load, display = Mock(is_settling=False), Mock()
    load.silence_seconds.return_value = 600.0
    assert SilenceMonitor(load, display, Pulse({"f.a": {}})).silence_seconds() < GRACE_SECONDS
    assert not load.hurry.called


def test_the_pulse_of_several_places_is_that_of_the_most_silent() -> None:
    gone, hung = threading.Event(), threading.Event()

    def hangs() -> None:
        hung.set()
        gone.wait()

    mixed = Pulse({"f.a": {"here": lambda: None}, "f.b": {"there": hangs}, "f.c": {}})
    mixed.begin()
    try:
        assert hung.wait(30)
        first = mixed.silence_seconds()
        assert mixed.silence_seconds() > first
        assert mixed.silent(first) == ["f.b"]
        assert mixed.silence_seconds(without=["f.a", "f.b"]) == 0.0
    finally:
        gone.set()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["go", "-t", "full"], "'full' is not one of 'full_drop', 'incremental'. Did you mean 'full_drop'?"),
        (["runs", "--by", "entities"], "'entities' is not one of 'load', 'flow', 'entity'. Did you mean 'entity'?"),
        (["go", "-c", "0"], "it takes 1 at least"),
        (["go", "-c", "257"], "it takes 256 at most"),
        (["go", "-c", "two"], "it takes a whole number"),
        (["probe", "--minutes", "x"], "it takes a number"),
    ],
)
def test_an_option_s_value_is_refused_in_our_words(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert f": {said}" in result.output
