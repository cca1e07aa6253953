"""The replicator: follows a landing zone and keeps the mirrored tables equal to what was published there."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Self

import pyarrow as pa

from devcloud.replicator.delta_tables import DeltaTables
from devcloud.replicator.journey import TableJourney
from devcloud.replicator.landing_zone import MONITORING, DirectoryLandingZone, LandingZone
from devcloud.replicator.layout import CLEANUP_FOLDERS, TableFolder, discover_tables
from devcloud.replicator.monitoring import (
    MirroringStatus,
    render_replicator_file,
    render_tables_file,
    table_payload,
)
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.rest import Credential, DataLakeLandingZone
from devcloud.replicator.rules import Finding, TableName
from devcloud.replicator.state import TableState, TickReport
from devcloud.replicator.tables import MemoryTables, MirroredTables

_log = logging.getLogger(__name__)


class Replicator:
    """Applies one landing zone to mirrored tables, one `tick` at a time; safe to use from several threads.

    A replicator that is killed continues where it was, because a table's rows and its position are one commit (except
    in memory, where both are gone). One replicator per mirror: two would both move files.
    """

    def __init__(self, zone: LandingZone, tables: MirroredTables, options: ReplicatorOptions | None = None) -> None:
        self.options = options or ReplicatorOptions()
        self._zone = zone
        self._tables = tables
        self._states = tables.load_states()
        self._status = MirroringStatus.RUNNING
        self._findings: dict[Finding, None] = {}
        self._published: dict[str, bytes] = {}
        self._lock = threading.RLock()
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def on_disk(
        cls,
        item_directory: Path,
        tables_dir: Path | None = None,
        *,
        in_memory: bool = False,
        options: ReplicatorOptions | None = None,
    ) -> Self:
        """Follow an item kept as files in a directory; its tables go to its `Tables/`, `tables_dir`, or memory."""
        tables = MemoryTables() if in_memory else DeltaTables(tables_dir or item_directory / "Tables")
        return cls(DirectoryLandingZone(item_directory), tables, options)

    @classmethod
    def over_rest(
        cls,
        account_url: str,
        filesystem: str,
        item: str,
        credential: Credential,
        tables_dir: Path | None = None,
        *,
        options: ReplicatorOptions | None = None,
        folder_identity: Literal["etag", "mark"] = "etag",
        **client_options: Any,
    ) -> Self:
        """Follow an item behind the Data Lake Storage REST API; its tables go to `tables_dir`, or to memory without it.

        `item` may be a path below the filesystem. A credential of `{"account_name": …, "account_key": …}` works over
        plain http; a token credential needs https. `client_options` go to the Azure client.
        """
        zone = DataLakeLandingZone(
            account_url, filesystem, item, credential, folder_identity=folder_identity, **client_options
        )
        return cls(zone, MemoryTables() if tables_dir is None else DeltaTables(tables_dir), options)

    def status(self) -> MirroringStatus:
        """Return the status of the whole mirror."""
        return self._status

    @property
    def checks(self) -> list[Finding]:
        """Every breach of a rule seen so far, each once, in the order of discovery."""
        return list(self._findings)

    def tables(self) -> list[TableName]:
        """Return the names of the tables that a reader can read."""
        with self._lock:
            return [name for name in sorted(self._states) if self._tables.schema(name) is not None]

    def states(self) -> list[TableState]:
        """Return what is known of every table, those without rows yet and those that failed included."""
        states = dict(self._states)
        return [states[name].draft() for name in sorted(states)]

    def table(self, schema: str, table: str) -> pa.Table:
        """Return all rows of a table as a Fabric reader sees them. Raises KeyError where there is no such table."""
        with self._lock:
            name = TableName(schema, table)
            if name not in self._states:
                raise KeyError(str(name))
            return self._tables.read(name)

    def tables_status(self) -> list[dict[str, Any]]:
        """Return what `getTablesMirroringStatus` says of each table."""
        # Without the lock: who asks for the status does not wait for a long pass.
        return [table_payload(state, self._status, self.options.status_names) for state in self.states()]

    def start_mirroring(self) -> None:
        """Start; after a stop, from the beginning: Fabric then drops the mirrored tables (an option says otherwise)."""
        with self._lock:
            if self._status is MirroringStatus.STOPPED and self.options.restart_wipes_tables:
                for name in list(self._states):
                    self._tables.drop(name)
                self._states.clear()
                self._tables.remember_states(self._states)
            self._status = MirroringStatus.RUNNING

    def stop_mirroring(self) -> None:
        """Stop: ticks do nothing until mirroring starts again."""
        with self._lock:
            self._status = MirroringStatus.STOPPED
            self._publish()

    def tick(self) -> TickReport:
        """Pass over the landing zone once and return what happened; storage that fails ends only the pass."""
        report = TickReport()
        with self._lock:
            if self._status is not MirroringStatus.RUNNING:
                return report
            before = self._lasting_facts()
            try:
                self._follow(report)
            except OSError as error:
                report.unavailable = str(error)
            if report.changed or before != self._lasting_facts():
                self._tables.remember_states(self._states)
            try:
                self._publish()
            except OSError as error:
                report.unavailable = str(error)
        return report

    def _lasting_facts(self) -> dict[TableName, object]:
        """Return what must outlive this process although no rows changed."""
        return {name: (state.failure, state.keys) for name, state in self._states.items()}

    def _follow(self, report: TickReport) -> None:
        folders, findings = discover_tables(self._zone, self.options)
        self._note(findings)
        present = {table.name for table in folders}
        for name in sorted(set(self._states) - present) if self.options.dropped_tables == "gone" else ():
            self._drop(name)
            report.dropped.append(name)
        for table in folders:
            try:
                self._follow_table(table, report)
            except FileNotFoundError:
                # The publisher deletes the folder while we read it; the next pass sees what became of it.
                continue

    def _follow_table(self, table: TableFolder, report: TickReport) -> None:
        name = table.name
        identity = self._zone.identify_folder(table.folder)
        state = self._states.get(name)
        if state is None or state.folder != identity:
            if state is not None:
                self._drop(name)
            entries = self._zone.list_folder(table.folder.path)
            if entries and all(entry.name in CLEANUP_FOLDERS for entry in entries):
                # Not a new table: a clean-up that met the deletion of its folder half-way has made it again.
                if state is not None:
                    report.dropped.append(name)
                return
            (report.created if state is None else report.rebuilt).append(name)
            state = self._states[name] = TableState(name, identity)
        journey = TableJourney(self._zone, self._tables, self.options, table, state, report)
        try:
            journey.run()
        finally:
            self._states[name] = journey.state
            self._note(journey.findings)

    def _drop(self, name: TableName) -> None:
        self._tables.drop(name)
        del self._states[name]

    def _note(self, findings: list[Finding]) -> None:
        for finding in findings:
            if finding not in self._findings:
                self._findings[finding] = None
                _log.warning("%s", finding)

    def _publish(self) -> None:
        states = [self._states[name] for name in sorted(self._states)]
        self._replace(f"{MONITORING}/replicator.json", render_replicator_file(self._status))
        self._replace(f"{MONITORING}/tables.json", render_tables_file(states, self._status, self.options.status_names))

    def _replace(self, path: str, content: bytes) -> None:
        if self._published.get(path) != content:
            self._zone.replace_file(path, content)
            self._published[path] = content

    def run_in_background(
        self, interval_seconds: float = 20.0, on_tick: Callable[[TickReport], None] | None = None
    ) -> None:
        """Tick in a thread until `stop`; field reports give Fabric's own interval as about 20 s."""
        if self._thread is not None:
            raise RuntimeError("the replicator runs already")
        self._ending.clear()

        def run() -> None:
            while not self._ending.is_set():
                started = time.monotonic()
                report = self.tick()
                if on_tick is not None:
                    on_tick(report)
                self._ending.wait(max(0.0, interval_seconds - (time.monotonic() - started)))

        self._thread = threading.Thread(target=run, name="replicator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the background thread, after the pass in hand."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
