"""The assumptions about Fabric's replicator: tables that are landed, changed, broken and dropped side by side.

Each case is a generator that yields what it waits for; `Mirroring.run` looks at Fabric's status for all of them at
once, so that the whole takes about as long as the slowest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hygge_engine.errors import HyggeError, StoreError
from hygge_engine.probe.assumptions import MIRRORING, Finding, Holds
from hygge_engine.probe.ground import SCHEMA, UNDERSCORE_SCHEMA, Ground
from hygge_engine.probe.tables import MARKER, PLAIN, TYPES, ProbeTable, encode, marked, plain
from hygge_engine.probe.wire import ServiceResponse, Spent, Wire
from hygge_engine.stores.open_mirroring.fabric import TableStatus, read_status_file, table_statuses
from hygge_engine.stores.open_mirroring.layout import METADATA_FILE
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.open_mirroring.store import DELETE, FABRICS_FOLDERS, ROW_MARKER

# Fabric looks about every 20 seconds; a table shows within minutes, a dropped one leaves within as many.
SHOW_SECONDS = 600.0
DROP_SECONDS = 1800.0
# How long a status may be missing altogether before nothing more is expected of it.
STATUS_SECONDS = 180.0

FIRST_POLL_SECONDS = 0.5
LONGEST_POLL_SECONDS = 5.0

# How long nothing has to happen before it counts as proof: a multiple of the time that the first table took to show.
STILL_FACTOR = 4
STILL_POLLS = 6

# How often a mirrored table is read until it has the rows that the status has counted.
READ_ATTEMPTS = 6

type _Until = Callable[[TableStatus | None], bool]


@dataclass(frozen=True)
class Awaited:
    """What a case waits for: a status of its table, for a number of seconds at most."""

    table: ProbeTable
    until: _Until
    seconds: float


@dataclass(frozen=True)
class Observation:
    """The status with which a wait ended, whether it is the one that was waited for, and after how many seconds."""

    status: TableStatus | None
    met: bool
    seconds: float

    @property
    def words(self) -> str:
        """The status, for a report."""
        if self.status is None:
            return f"not listed after {self.seconds:.0f} s"
        error = f", {self.status.error}" if self.status.error else ""
        return f"{self.status.status}, {self.status.rows} changes{error} after {self.seconds:.0f} s"


type Case = Generator[Awaited, Observation]


class Mirroring:
    """All cases over one mirrored database."""

    def __init__(
        self,
        wire: Wire,
        ground: Ground,
        settings: OpenMirroringSettings,
        *,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._wire = wire
        self._ground = ground
        self._settings = settings
        self._say = say
        self._findings: dict[str, Finding] = {}
        self._readable = ""  # why mirrored tables cannot be read; empty where they can
        self._shown_after: float | None = None
        self._has_status = False
        self._silent_since = time.monotonic()

    def statuses(self) -> list[TableStatus] | None:
        """What Fabric says of its tables now; None where it is unknown."""
        try:
            if self._settings.fabric_api_url:
                self._wire.allowance.spend()
                return table_statuses(self._settings)
            return self._status_file()
        except HyggeError:
            return None

    def run(self) -> Iterator[Finding]:
        """One finding for each assumption, in order, when all cases have ended."""
        why = "its case ended before"
        try:
            self._run(dict(self._cases()))
        except Spent as spent:
            why = str(spent)
        except _NoStatusError:
            how = "its REST API" if self._settings.fabric_api_url else "Files/Monitoring/tables.json"
            why = f"Fabric reported no status of a table by {how} within {STATUS_SECONDS:.0f} s"
            self._found("status_told", "no", why)
        for assumption in MIRRORING:
            yield self._findings.get(assumption.id) or Finding(assumption.id, "unknown", why)

    def _cases(self) -> Iterator[tuple[str, Case]]:
        yield "rows", self._rows()
        yield "inserts", self._inserts()
        yield "keyless", self._keyless()
        yield "marker_first", self._misplaced("marker_first", "First", 0)
        yield "marker_within", self._misplaced("marker_within", "Within", 1)
        yield "types", self._types()
        yield "underscore_schema", self._underscore()
        yield "failures", self._failures()

    def _run(self, cases: Mapping[str, Case]) -> None:
        waits: dict[str, tuple[Awaited, float]] = {}
        for name, case in cases.items():
            self._advance(name, case, None, waits)
        poll = FIRST_POLL_SECONDS
        while waits:
            self._say(f"waiting for Fabric: {', '.join(waits)}")
            time.sleep(poll)
            self._ground.renew()
            tables = self.statuses()
            self._note_status(tables)
            moved = False
            for name in list(waits):
                wait, since = waits[name]
                status = _status_of(tables or (), wait.table.key)
                seconds = time.monotonic() - since
                met = tables is not None and wait.until(status)
                if met or seconds > wait.seconds:
                    moved = True
                    self._advance(name, cases[name], Observation(status, met, seconds), waits)
            poll = FIRST_POLL_SECONDS if moved else min(LONGEST_POLL_SECONDS, poll * 1.3)

    def _advance(
        self, name: str, case: Case, moment: Observation | None, waits: dict[str, tuple[Awaited, float]]
    ) -> None:
        waits.pop(name, None)
        try:
            wait = next(case) if moment is None else case.send(moment)
        except StopIteration:
            return
        except HyggeError as error:
            for assumption in _OF_CASE[name]:
                if assumption not in self._findings:
                    self._found(assumption, "unknown", error.message)
            return
        waits[name] = (wait, time.monotonic())

    def _note_status(self, tables: Sequence[TableStatus] | None) -> None:
        if tables is not None:
            self._has_status = True
            return
        if not self._has_status and time.monotonic() - self._silent_since > STATUS_SECONDS:
            raise _NoStatusError

    def _found(self, id_: str, holds: Holds, seen: str, seconds: float | None = None) -> None:
        self._findings[id_] = Finding(id_, holds, seen, seconds)

    def _judge(self, id_: str, holds: bool, seen: str, seconds: float | None = None) -> None:
        self._found(id_, "yes" if holds else "no", seen, seconds)

    def _table(self, kind: str, schema: str = SCHEMA) -> ProbeTable:
        return ProbeTable(self._wire, self._ground, self._settings, kind, schema)

    def _still(self) -> float:
        """How long nothing has to happen before it is taken for granted."""
        return max(STILL_POLLS * FIRST_POLL_SECONDS, STILL_FACTOR * (self._shown_after or LONGEST_POLL_SECONDS))

    # --- cases

    def _rows(self) -> Case:
        """The life of a table: first rows, a rename that is refused, changes, a new column, a gap, its drop."""
        table = self._table("Rows")
        table.open()
        etag = table.folder_etag()
        first = encode(plain((1, "a"), (2, "b"), (3, "c")))
        self._try_landing_rename(table, first)
        moment = yield Awaited(table, _applied(3), SHOW_SECONDS)
        self._shown_after = moment.seconds if moment.met else None
        self._judge("shows", moment.met, moment.words, moment.seconds)
        self._found("status_told", "yes" if self._has_status else "no", moment.words)
        self._compare_status_file()
        if not moment.met:
            return
        self._judge_spelling(table, moment)
        yield from self._compare("readable", table, [(1, "a"), (2, "b"), (3, "c")])
        self._readable = "" if self._findings["readable"].holds == "yes" else self._findings["readable"].seen

        table.publish(2, marked((2, "B", 4), (4, "d", 4), (3, None, DELETE)))
        yield Awaited(table, _applied(6), SHOW_SECONDS)
        yield from self._compare("upserts", table, [(1, "a"), (2, "B"), (4, "d")])

        later = pa.schema([*PLAIN, pa.field("note", pa.string()), MARKER])
        row = {"id": 5, "name": "e", "note": "new", ROW_MARKER: 4}
        table.publish(3, pa.Table.from_pylist([row], schema=later))
        yield Awaited(table, _applied(7), SHOW_SECONDS)
        rows = [(1, "a", None), (2, "B", None), (4, "d", None), (5, "e", "new")]
        yield from self._compare("new_column", table, rows, "note")
        yield from self._gap(table, later)

        after = table.folder_etag()
        self._judge("fabrics_etag", etag == after != "", f"{etag or 'none'} before, {after or 'none'} after")
        self._judge_folder(table)
        yield from self._drop(table, "dropped")
        if self._findings["dropped"].holds != "yes":
            return
        table.open()
        table.publish(1, plain((9, "z")))
        yield Awaited(table, _applied(1), SHOW_SECONDS)
        yield from self._compare("rebuilt", table, [(9, "z")])

    def _gap(self, table: ProbeTable, schema: pa.Schema) -> Case:
        def row(name: str) -> pa.Table:
            return pa.Table.from_pylist([{"id": 1, "name": name, "note": None, ROW_MARKER: 4}], schema=schema)

        table.publish(5, row("last"))
        early = yield Awaited(table, _applied(8), self._still())
        table.publish(4, row("first"))
        both = yield Awaited(table, _applied(9), self._still() if early.met else SHOW_SECONDS)
        if early.met or not both.met:
            seen = "file 5 was applied before file 4 was there" if early.met else f"file 4 came late: {both.words}"
            self._found("order", "no", seen)
            return
        rows = [(1, "last", None), (2, "B", None), (4, "d", None), (5, "e", "new")]
        yield from self._compare("order", table, rows, "note")

    def _drop(self, table: ProbeTable, id_: str) -> Case:
        """Delete a table's folder and wait until Fabric lists it no more."""
        response = ServiceResponse(0)
        for _ in range(READ_ATTEMPTS):
            response = self._wire.delete_directory(table.layout.folder, if_match=table.folder_etag())
            if response.done or response.status == 404:
                break
            yield _tick(table)
        else:
            self._found(id_, "no", f"its folder could not be deleted: {response}")
            return
        moment = yield Awaited(table, lambda status: status is None, DROP_SECONDS)
        seen = f"gone after {moment.seconds:.0f} s" if moment.met else f"still listed: {moment.words}"
        self._judge(id_, moment.met, seen, moment.seconds)

    def _inserts(self) -> Case:
        table = self._table("Inserts")
        table.open()
        table.publish(1, plain((1, "a")))
        yield Awaited(table, _applied(1), SHOW_SECONDS)
        table.publish(2, marked((1, "again", 0), (2, "new", 1)))
        yield Awaited(table, _applied(3), SHOW_SECONDS)
        yield from self._compare("inserts", table, [(1, "a"), (1, "again"), (2, "new")])

    def _keyless(self) -> Case:
        table = self._table("Keyless")
        table.open(())
        table.publish(1, plain((1, "a")))
        yield Awaited(table, _applied(1), SHOW_SECONDS)
        table.publish(2, marked((1, "a", 0), (2, "b", 0)))
        yield Awaited(table, _applied(3), SHOW_SECONDS)
        yield from self._compare("keyless", table, [(1, "a"), (1, "a"), (2, "b")])

    def _misplaced(self, id_: str, kind: str, at: int) -> Case:
        table = self._table(kind)
        table.open()
        table.publish(1, plain((1, "a")))
        yield Awaited(table, _applied(1), SHOW_SECONDS)
        table.publish(2, marked((1, "b", 4), at=at))
        moment = yield Awaited(table, lambda status: _applied(2)(status) or _failed(status), SHOW_SECONDS)
        if _failed(moment.status):
            self._found(id_, "yes", f"stops the table: {moment.words}")
            return
        yield from self._compare(id_, table, [(1, "b")])

    def _types(self) -> Case:
        table = self._table("Types")
        schema = pa.schema([PLAIN.field("id"), *(pa.field(name, kind) for name, (kind, _) in TYPES.items())])
        values = {name: value for name, (_, value) in TYPES.items()}
        sent = pa.Table.from_pylist([{"id": 1, **values}, {"id": 2}], schema=schema)
        table.open()
        table.publish(1, sent)
        yield Awaited(table, lambda status: _applied(2)(status) or _failed(status), SHOW_SECONDS)
        if why := self._unreadable(table):
            self._found("types", "unknown", why)
            return
        found = table.rows("id", *TYPES)
        expected = sent.to_pylist()
        wrong = [name for name in TYPES if [row.get(name) for row in found] != [row[name] for row in expected]]
        self._judge("types", not wrong, f"other values in {', '.join(wrong)}" if wrong else "all arrive unchanged")

    def _underscore(self) -> Case:
        table = self._table("Rows", UNDERSCORE_SCHEMA)
        table.open()
        table.publish(1, plain((1, "a")))
        moment = yield Awaited(table, _applied(1), SHOW_SECONDS)
        if not moment.met and self._shown_after is None:
            self._found("underscore_schema", "unknown", "no table has shown")
            return
        self._judge("underscore_schema", moment.met, moment.words, moment.seconds)

    def _failures(self) -> Case:
        """A file that is none, a good one in its place, and a table that is dropped while it fails."""
        table = self._table("Failures")
        broken = b"PAR1 this is no Parquet file PAR1"
        table.open()
        table.publish(1, plain((1, "a")))
        yield Awaited(table, _applied(1), SHOW_SECONDS)
        table.publish(2, broken)
        moment = yield Awaited(table, _failed, SHOW_SECONDS)
        told = moment.met and moment.status is not None and moment.status.error != ""
        self._judge("failure_told", told, moment.words, moment.seconds)
        self._wire.delete(table.layout.data_file(2))
        table.publish(2, marked((1, "b", 4)))
        mended = yield Awaited(table, lambda status: _applied(2)(status) and not _failed(status), self._still())
        self._judge("failure_mended", mended.met, mended.words, mended.seconds)
        if mended.met:
            table.publish(3, broken)
            yield Awaited(table, _failed, SHOW_SECONDS)
        yield from self._drop(table, "failure_reloaded")
        if self._findings["failure_reloaded"].holds != "yes":
            return
        table.open()
        table.publish(1, plain((9, "z")))
        again = yield Awaited(table, _applied(1), SHOW_SECONDS)
        self._judge("failure_reloaded", again.met and not _failed(again.status), again.words)

    # --- judgements

    def _try_landing_rename(self, table: ProbeTable, data: bytes) -> None:
        """Publish file 1, then try to publish it again and to put another one in its place."""
        final = table.layout.data_file(1)
        staged = table.stage(data)
        published = self._wire.rename(staged, final, if_absent=True)
        again = self._wire.rename(staged, final, if_absent=True)
        # The same rows in another order: where the condition is ignored, the cases that follow find what they wait for.
        other = table.stage(encode(plain((3, "c"), (2, "b"), (1, "a"))))
        refused = self._wire.rename(other, final, if_absent=True)
        kept = self._wire.read(final).data == data
        holds = kept and again.status in (404, 409, 412) and refused.refused and self._wire.head(other).done
        seen = f"first {published}, the same again {again}, another file {refused}"
        self._judge("landing_rename", holds, seen if kept else f"{seen}; the file is another one")
        if not published.done:
            raise StoreError(f"cannot rename a file to {final}: {published}")

    def _judge_spelling(self, table: ProbeTable, moment: Observation) -> None:
        status = moment.status
        if status is not None:
            spelt = (status.schema_name, status.table_name)
            self._judge("names_as_spelt", spelt == table.key, ".".join(spelt))

    def _judge_folder(self, table: ProbeTable) -> None:
        entries = self._wire.list(table.layout.folder) or []
        others = [
            entry.name
            for entry in entries
            if entry.name != METADATA_FILE
            and not entry.name.startswith(FABRICS_FOLDERS)
            and entry.path not in {table.layout.data_file(number) for number in range(1, 6)}
        ]
        names = ", ".join(entry.name for entry in entries if entry.name.startswith("_") or entry.name in others)
        self._judge("fabrics_files", not others, names)

    def _compare_status_file(self) -> None:
        if not self._settings.fabric_api_url:
            self._found("status_file", "yes" if self._has_status else "unknown", "it is what is asked")
            return
        by_api = self.statuses()
        try:
            by_file = self._status_file()
        except HyggeError as error:
            self._found("status_file", "no", error.message)
            return
        if by_api is None or by_file is None:
            self._found("status_file", "no" if by_file is None else "unknown", "there is none")
            return
        alike = _names(by_api) <= _names(by_file)
        self._judge("status_file", alike, f"{len(by_file)} tables by the file, {len(by_api)} by the API")

    def _status_file(self) -> list[TableStatus] | None:
        path = f"{self._ground.item}/Files/Monitoring/tables.json"
        response = self._wire.read(path)
        if not response.done:
            return None
        try:
            return read_status_file(response.data)
        except ValueError:
            return None

    def _unreadable(self, table: ProbeTable) -> str:
        """Why a mirrored table cannot be read; empty where it can."""
        if self._readable:
            return self._readable
        try:
            table.rows("id")
        except HyggeError as error:
            return error.message
        return ""

    def _compare(self, id_: str, table: ProbeTable, rows: list[tuple[Any, ...]], *more: str) -> Case:
        """Judge by the rows of the mirrored table, which may come a little after its status."""
        if self._readable:
            self._found(id_, "unknown", f"mirrored tables cannot be read: {self._readable}")
            return
        names = ("id", "name", *more)
        expected = [dict(zip(names, row, strict=True)) for row in rows]
        seen = ""
        for _ in range(READ_ATTEMPTS):
            try:
                found = table.rows(*names)
            except HyggeError as error:
                seen = error.message
            else:
                if found == expected:
                    self._found(id_, "yes", f"{len(rows)} row{'' if len(rows) == 1 else 's'} as expected")
                    return
                seen = f"{len(found)} rows: {'; '.join(_row_text(row) for row in found[:5])}"
            yield _tick(table)
        self._found(id_, "no", seen)


class _NoStatusError(Exception):
    """There is no status of tables."""


# Which assumptions a case decides, for when it ends early.
_OF_CASE = {
    "rows": (
        *("landing_rename", "shows", "status_told", "status_file", "names_as_spelt", "readable", "upserts"),
        *("new_column", "order", "fabrics_files", "fabrics_etag", "dropped", "rebuilt"),
    ),
    "inserts": ("inserts",),
    "keyless": ("keyless",),
    "marker_first": ("marker_first",),
    "marker_within": ("marker_within",),
    "types": ("types",),
    "underscore_schema": ("underscore_schema",),
    "failures": ("failure_told", "failure_mended", "failure_reloaded"),
}


def _applied(rows: int) -> _Until:
    """Until Fabric has counted a number of changes of a table."""
    return lambda status: status is not None and status.rows >= rows


def _failed(status: TableStatus | None) -> bool:
    return status is not None and bool(status.error or status.status == "Failed")


def _tick(table: ProbeTable) -> Awaited:
    """One more look at the status."""
    return Awaited(table, lambda status: True, 0.0)


def _status_of(tables: Sequence[TableStatus], key: tuple[str, str]) -> TableStatus | None:
    """A table's status, whose names may be spelt otherwise."""
    wanted = tuple(name.casefold() for name in key)
    return next(
        (table for table in tables if (table.schema_name.casefold(), table.table_name.casefold()) == wanted), None
    )


def _names(tables: Sequence[TableStatus]) -> set[tuple[str, str]]:
    return {(table.schema_name, table.table_name) for table in tables}


def _row_text(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value!r}" for name, value in row.items())
