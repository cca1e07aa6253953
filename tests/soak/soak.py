"""A soak: the app on its host over a real server and a real lake, while everything changes, fails and dies."""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from devcloud.functions import FunctionsHost
from hygge_engine.journal.progress import ProgressFiles
from hygge_engine.lake.local import LocalLake
from hygge_engine.stores.landing.state import LandingState
from tests.e2e.site import CONNECTION, REPOSITORY, STORE, Site
from tests.integration.mssql_server import ServerProcess
from tests.soak.figures import Figures, files_below, resident_megabytes
from tests.support import loopback

# Two flows: one that follows changes, one that is reloaded whole and sees deletes as well.
FLOWS = {"steady": "incremental", "whole": "full_drop"}
FLOW = """\
name: {name}
schedule: "*/5 * * * * *"
run_type: {run_type}
{store}home: {{ type: mssql, connection: shop_db, table: "dbo.{{entity}}", batch_rows: 40 }}
watermark: {{ column: modified_at, primary_key: id }}
entities: [{entities}]
"""

# Short slices, so that loads are in many phases when something happens to them.
OPTIONS = "options: { slice_minutes: 0.005 }\n"

# Comes due on New Year's Day only: the soak fires the timer itself.
NEVER = "0 0 0 1 1 *"

ROWS_AT_FIRST = 120
REQUEST_SECONDS = 30.0
SAMPLE_SECONDS = 2.0
SAY_SECONDS = 60.0

# How long loads may take to settle when nothing fails any more: an owner's time, several times over.
SETTLING_SECONDS = 900.0

# What happens next, and how often; loads under way are bounded, or nothing would ever get through.
WEIGHTS = {"change": 30, "load": 12, "look": 30, "runs": 12, "cancel": 4, "tick": 4, "kill worker": 3, "kill host": 1}
LOADS_AT_ONCE = 6

# What no fault of the soak explains.
INEXPLICABLE = ("load.unexpected", "load.no_progress", "store.landing_broken", "store.schema_changed", "configuration")

_ANSWERED = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.CONFLICT)


class Soak:
    """Everything below one directory; a context manager."""

    def __init__(self, directory: Path, *, tables: int, seed: int, faults: float) -> None:
        self._directory = directory
        self._random = random.Random(seed)
        self._faults = faults
        names = [f"t{number:02}" for number in range(max(2, tables))]
        self._tables = {"steady": names[::2], "whole": names[1::2]}
        self._next_id = dict.fromkeys(names, 0)
        self._clock = 0
        self._loads: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._figures = Figures()
        self._stack = ExitStack()
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        try:
            self._source = self._stack.enter_context(ServerProcess())
            self._site = self._stack.enter_context(Site(self._directory, self._source))
            self._site.write("hygge.yml", f"name: shop\nconnections:\n{CONNECTION}{OPTIONS}")
            for flow, run_type in FLOWS.items():
                entities = ", ".join(self._tables[flow])
                text = FLOW.format(name=flow, run_type=run_type, store=STORE, entities=entities)
                self._site.write(f"flows/{flow}/flow.yml", text)
            for table in self._next_id:
                self._source.run(
                    f"CREATE TABLE dbo.{table} (id int NOT NULL PRIMARY KEY, text varchar(60) NOT NULL, "
                    "modified_at datetime2(3) NOT NULL)"
                )
                self._insert(table, ROWS_AT_FIRST)
            self._site.replicator.run_in_background(0.5)
            self._host = self._start_host()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._host.close()
        self._stack.close()

    def run(self, seconds: float, say: Callable[[str], None]) -> None:
        """Let things happen for a time; ``say`` receives the progress now and then."""
        self._began = time.monotonic()
        self._fail_now_and_then()
        sampled = said = -SAMPLE_SECONDS
        while (now := self._now()) < seconds:
            [what] = self._random.choices(list(WEIGHTS), list(WEIGHTS.values()))
            self._happen(what)
            if now - sampled >= SAMPLE_SECONDS:
                sampled = now
                self._sample()
            if now - said >= SAY_SECONDS:
                said = now
                say(f"  {now / 60:5.1f} minutes: {len(self._loads)} loads, {self._unsettled()} of them under way")
        self._site.lake.faults.clear()

    def conclude(self) -> list[str]:
        """Let all loads settle and one more of everything go through; what is wrong then."""
        deadline = time.monotonic() + SETTLING_SECONDS
        self._settle(deadline)
        last = self._post({})
        self._settle(deadline)
        if self._loads.get(last) != "success":
            return [f"the last load, with nothing in its way, ended as {self._loads.get(last)}", *self.check()]
        return self.check()

    def check(self) -> list[str]:
        """What is wrong where all loads have settled."""
        return [*self._check_loads(), *self._check_tables(), *self._check_journal(), *self._check_left()]

    def change_behind_its_back(self) -> None:
        """Change a table that no load will look at any more."""
        self._insert(self._tables["steady"][0], 1)

    def failures(self) -> Counter[str]:
        """Entity runs that failed, by their errors."""
        runs = {row["entity_run_id"]: row for row in self._site.journal() if row.get("status") == "fail"}
        return Counter(str(row["error"]) for row in runs.values())

    def report(self) -> str:
        """What happened, and what was measured."""
        happened = ", ".join(f"{what} {count:,}" for what, count in sorted(self._counts.items()))
        ended = Counter(state for state in self._loads.values())
        loads = ", ".join(f"{count} {state}" for state, count in sorted(ended.items()))
        failed = ", ".join(f"{count} {error}" for error, count in sorted(self.failures().items())) or "none"
        told = [f"happened: {happened}", f"loads: {loads}", f"entity runs that failed: {failed}"]
        return "\n".join([*told, "", *self._figures.lines(), ""])

    # What happens

    def _happen(self, what: str) -> None:
        if what == "load" and self._unsettled() >= LOADS_AT_ONCE:
            return
        self._counts[what] += 1
        match what:
            case "change":
                self._change()
            case "load":
                self._post(self._any_request())
            case "look":
                self._look(self._any_load())
            case "runs":
                self._call("GET", "/api/runs?limit=50", "GET /api/runs")
            case "cancel":
                if load := self._any_load():
                    self._call("POST", f"/api/loads/{load}/cancel", "POST …/cancel")
            case "tick":
                key = {"x-functions-key": self._host.master_key}
                self._call("POST", "/admin/functions/load_on_schedule", "tick", headers=key, json={})
            case "kill worker":
                self._host.kill_worker()
            case "kill host":
                self._host.kill()
                self._host = self._start_host()

    def _start_host(self) -> FunctionsHost:
        settings = {
            **self._site.variables,
            "HYGGE_PROJECT": str(self._site.project),
            "HYGGE_SCHEDULE": NEVER,
            "AzureFunctionsJobHost__logging__logLevel__default": "None",  # the journal has all that matters
            "PYTHONWARNINGS": "ignore",
        }
        host = FunctionsHost(REPOSITORY, self._directory / "functions", settings=settings, worker="process")
        host.__enter__()  # it is left for another one now and then, and closed at the end
        return host

    def _fail_now_and_then(self) -> None:
        """A share of the lake's requests fails, before or after it took effect, in a way that passes."""
        kinds: list[dict[str, Any]] = [
            {"status": 503},
            {"status": 500, "when": "after"},
            {"status": 429, "retry_after": 1},
            {"drop": True},
            {"drop": True, "when": "after"},
        ]
        for number, kind in enumerate(kinds):
            share = self._faults / len(kinds)
            self._site.lake.faults.add(
                **kind, times=None, probability=share, seed=self._random.randrange(1 << 30) + number
            )

    def _change(self) -> None:
        flow = self._random.choice(list(FLOWS))
        table = self._random.choice(self._tables[flow])
        match self._random.choice(["insert", "update", "delete"]):
            case "delete" if flow == "whole":
                self._source.run(f"DELETE FROM dbo.{table} WHERE id % 13 = {self._random.randrange(13)}")
            case "update":
                self._source.run(
                    f"UPDATE dbo.{table} SET text = 'changed {self._clock}', modified_at = {self._moment()} "
                    f"WHERE id % 11 = {self._random.randrange(11)}"
                )
            case _:
                self._insert(table, self._random.randrange(1, 30))

    def _insert(self, table: str, rows: int) -> None:
        first = self._next_id[table]
        self._next_id[table] += rows
        moment = self._moment()
        values = ", ".join(f"({first + row}, 'row {first + row}', {moment})" for row in range(rows))
        self._source.run(f"INSERT INTO dbo.{table} VALUES {values}")

    def _moment(self) -> str:
        """Later than every time before it."""
        self._clock += 1
        return f"DATEADD(millisecond, {self._clock}, CAST('2024-01-01' AS datetime2(3)))"

    def _any_request(self) -> dict[str, Any]:
        flow = self._random.choice(list(FLOWS))
        some = self._random.sample(self._tables[flow], self._random.randrange(1, len(self._tables[flow]) + 1))
        request: dict[str, Any] = {"flows": [flow], "entities": some}
        if self._random.random() < 0.2:
            request["run_type"] = "full_drop"
        return request

    def _any_load(self) -> str:
        running = [load for load, state in self._loads.items() if state == "running"]
        return self._random.choice(running) if running else ""

    # What is asked of the app

    def _call(self, method: str, path: str, name: str, **options: Any) -> httpx.Response | None:
        """Ask the app; None where a death or a fault came between."""
        keys = {"headers": {"x-functions-key": self._host.function_key}, "timeout": REQUEST_SECONDS, **options}
        began = time.monotonic()
        try:
            answer = loopback.request(method, f"{self._host.url}{path}", **keys)
        except httpx.TransportError:
            self._counts["answers that never came"] += 1
            return None
        if answer.status_code not in _ANSWERED:
            self._counts[f"answers of {answer.status_code}"] += 1
            return None
        self._figures.took(name, self._now(), time.monotonic() - began)
        return answer

    def _post(self, request: dict[str, Any]) -> str:
        answer = self._call("POST", "/api/loads", "POST /api/loads", json=request)
        if answer is None:
            return ""
        load_id = str(answer.json()["load_id"])
        self._loads[load_id] = "running"
        return load_id

    def _look(self, load_id: str) -> None:
        if load_id and (answer := self._call("GET", f"/api/loads/{load_id}", "GET /api/loads/{id}")):
            status = answer.json()
            if status["state"] in ("settled", "lost"):
                self._loads[load_id] = status["status"] if status["state"] == "settled" else "lost"

    def _unsettled(self) -> int:
        return sum(state == "running" for state in self._loads.values())

    def _settle(self, deadline: float) -> None:
        while self._unsettled() and time.monotonic() < deadline:
            for load in [load for load, state in self._loads.items() if state == "running"]:
                self._look(load)
            time.sleep(0.2)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _sample(self) -> None:
        at, journal = self._now(), self._journal
        hub = sum(path.stat().st_size for path in (self._directory / "functions").glob("*.sqlite3"))
        levels = {
            "worker, MB": resident_megabytes(self._host.worker_pid or 0),
            "host, replicator and lake, MB": resident_megabytes(os.getpid()),
            "files of the journal": float(files_below(journal / "runs")),
            "progress files": float(files_below(journal / "progress")),
            "staged files": float(files_below(journal / "staging")),
            "task hub, MB": hub / 1e6,
            "history events": float(self._host.history_events),
        }
        for name, value in levels.items():
            if value is not None:
                self._figures.level(name, at, value)

    # What is left

    @property
    def _journal(self) -> Path:
        return self._site.item / "Files/.hygge_journal"

    def _check_loads(self) -> Iterator[str]:
        for load, state in self._loads.items():
            if state in ("running", "lost"):
                yield f"load {load} is {state}"

    def _check_tables(self) -> Iterator[str]:
        yield from self._site.breaches()
        for table in self._next_id:
            columns = "id, text, CONVERT(varchar(30), modified_at, 126)"
            source: list[Any] = self._source.run(f"SELECT {columns} FROM dbo.{table}")[0]
            wanted = sorted((id_, text, _milliseconds(moment)) for id_, text, moment in source)
            rows = self._site.mirrored(table).to_pylist()
            found = sorted((row["id"], row["text"], _milliseconds(row["modified_at"].isoformat())) for row in rows)
            if wanted != found:
                lost, extra = ({row[0] for row in side} for side in (wanted, found))
                yield f"{table} is not its source: lacks {sorted(lost - extra)[:9]}, has {sorted(extra - lost)[:9]}"

    def _check_journal(self) -> Iterator[str]:
        """Every entity run once, one for each load that ended, and the mirror has the same."""
        rows = {row["entity_run_id"]: row for row in self._site.journal() if "entity_run_id" in row and "status" in row}
        told = {row["coordinator_run_id"] for row in rows.values()}
        if missing := [
            load for load, state in self._loads.items() if state not in ("running", "lost") and load not in told
        ]:
            yield f"the journal knows nothing of {missing[:9]}"
        mirrored = self._site.mirrored("journal", "__hygge").to_pylist()
        shown = Counter(row["entity_run_id"] for row in mirrored)
        if twice := [run for run, count in shown.items() if count > 1]:
            yield f"the mirror shows entity runs twice: {twice[:9]}"
        for name, one, other in (("mirror", rows, shown), ("journal", shown, rows)):
            if lacking := sorted(set(one) - set(other)):
                yield f"the {name} lacks {len(lacking)} entity runs, {lacking[0]} among them"
        for row in mirrored:
            known = rows.get(row["entity_run_id"], row)
            if any(row[key] != known[key] for key in ("status", "row_count", "bytes", "files", "message")):
                yield f"the mirror tells otherwise of {row['entity_run_id']}"

    def _check_left(self) -> Iterator[str]:
        for path in (self._journal / "landing").rglob("*.json"):
            state = LandingState.from_json(path.read_bytes(), path.name)[0]
            if state.owner is not None or state.open is not None:
                yield f"{path.stem} is owned or open: {json.dumps(str(state.owner))}, {state.open}"
        # A worker that was dead or slow while its load settled writes its progress afterwards: the sweep takes it away.
        ProgressFiles(LocalLake(self._site.item), "Files/.hygge_journal").sweep(timedelta())
        for folder in ("progress", "staging"):
            if left := files_below(self._journal / folder):
                yield f"{left} files are left in {folder}"


def _milliseconds(moment: str) -> str:
    """An ISO 8601 timestamp to the millisecond, however many digits it was given with."""
    head, _, digits = moment.partition(".")
    return f"{head}.{digits.ljust(3, '0')[:3]}"
