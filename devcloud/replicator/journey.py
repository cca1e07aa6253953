"""One table's part of a pass: its metadata, the files whose turn it is, the clean-up behind them."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc
from deltalake.exceptions import DeltaError

from devcloud.replicator.changes import resolve_changes
from devcloud.replicator.data_file import (
    INSERT,
    MARKER,
    UPSERT,
    DataFile,
    gather_facts,
    inspect_evolution,
    inspect_rows,
    open_data_file,
)
from devcloud.replicator.delta_types import unite
from devcloud.replicator.landing_zone import Entry, LandingZone
from devcloud.replicator.layout import (
    LAST_UPDATE,
    METADATA,
    SEQUENTIAL,
    TableFiles,
    TableFolder,
    parse_index,
    parse_metadata,
    sort_entries,
)
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.rules import Code, Finding, TableName, Violation, make_finding
from devcloud.replicator.state import AppliedFile, Failure, TableState, TickReport
from devcloud.replicator.tables import MirroredTables

STREAM_ROWS = 250_000  # a footer has the size of encoded rows, which may be a fraction of that of decoded ones
PURGE_INTERVAL_SECONDS = 3600.0  # processed files wait for days; looking more often would only cost listings


@dataclass(slots=True)
class _Run:
    """Consecutive files that wait to be applied in one commit, and the state after them."""

    state: TableState
    schema: pa.Schema | None
    parts: list[pa.Table] = field(default_factory=list)
    bytes: int = 0
    applied: list[AppliedFile] = field(default_factory=list)


class TableJourney:
    """Brings one table from the state it is in to what its folder says. `state` is the table's state afterwards."""

    def __init__(
        self,
        zone: LandingZone,
        tables: MirroredTables,
        options: ReplicatorOptions,
        table: TableFolder,
        state: TableState,
        report: TickReport,
    ) -> None:
        self.state = state
        self.findings: list[Finding] = []
        self._zone = zone
        self._tables = tables
        self._options = options
        self._name: TableName = table.name
        self._path = table.folder.path
        self._report = report

    def run(self) -> None:
        """Do the table's part of the pass. Raises FileNotFoundError when the folder goes away meanwhile."""
        entries = self._zone.list_folder(self._path)
        etags = {entry.path: entry.etag for entry in entries}
        if self._is_stuck(etags):
            return
        try:
            metadata = next((entry for entry in entries if entry.name == METADATA and not entry.is_directory), None)
            accepted = self._accept_metadata(metadata)
            files = sort_entries(entries, self._name, self.state.detection)
            if not accepted:
                if files.sequential:
                    path = f"{self._path}/{METADATA}"
                    self._note([make_finding(Code.META_MISSING, path, "no ingestion without it", self._name)])
                return
            self._note(files.findings)
            self._check_processed(files)
            self._apply(self._choose(files))
        except Violation as violation:
            self._fail(violation.finding, etags)
        self._clean_up(entries)

    def _note(self, findings: list[Finding]) -> None:
        self.findings += findings

    def _is_stuck(self, etags: dict[str, str]) -> bool:
        failure = self.state.failure
        if failure is None:
            return False
        if self._options.sticky_failures == "folder" or etags.get(failure.path, failure.etag) == failure.etag:
            return True
        self.state.failure = None
        return False

    def _fail(self, finding: Finding, etags: dict[str, str]) -> None:
        sequence = parse_index(finding.path.rpartition("/")[2]) or 0
        self.state.failure = Failure(finding.code, finding.path, etags.get(finding.path, ""), finding.message, sequence)
        self._note([finding])
        self._report.failed.append(finding)

    def _accept_metadata(self, entry: Entry | None) -> bool:
        """Read `_metadata.json` when it is new or changed, freeze the key at first sight; return whether to
        continue."""
        state = self.state
        if entry is None:
            return state.keys is not None or not self._options.metadata_required
        if entry.etag == state.metadata_etag:
            return True
        with self._zone.open_file(entry) as file:
            metadata, findings = parse_metadata(file.read(), entry.path, self._name)
        if metadata is None:
            state.metadata_unreadable = True
            raise Violation(findings[0])
        self._note(findings)
        if state.metadata_unreadable:
            message = "was unreadable for a while: write it aside and rename it"
            self._note([make_finding(Code.META_NOT_ATOMIC, entry.path, message, self._name)])
            state.metadata_unreadable = False
        if state.keys and state.keys != metadata.keys:
            message = f"keyColumns were {list(state.keys)} and are now {list(metadata.keys)}; rebuild the table"
            raise Violation(make_finding(Code.KEY_CHANGED, entry.path, message, self._name))
        state.keys = metadata.keys
        state.detection = metadata.detection
        state.upsert_by_default = metadata.upsert_by_default
        state.metadata_etag = entry.etag
        return True

    def _check_processed(self, files: TableFiles) -> None:
        """Report what happened to files after they were processed: they are never read again."""
        for entry in [*files.sequential.values(), *files.named]:
            known = self.state.processed.get(entry.path)
            if known is not None and known != entry.etag:
                appended = entry.size > self.state.last_size
                code = Code.APPENDED_FINAL if appended else Code.OVERWRITTEN_FINAL
                self._note([make_finding(code, entry.path, "changed after it was processed", self._name)])
            elif known is None and self.state.detection == SEQUENTIAL:
                index = parse_index(entry.name) or 0
                if index < self.state.next_index:
                    message = f"index {index} was used already; the next is {self.state.next_index}"
                    self._note([make_finding(Code.REUSED_INDEX, entry.path, message, self._name)])

    def _choose(self, files: TableFiles) -> list[Entry]:
        if self.state.detection == LAST_UPDATE:
            waiting = [entry for entry in files.named if entry.path not in self.state.processed]
            # Files with the same time have no defined order.
            random.Random(self._options.tie_seed).shuffle(waiting)  # noqa: S311
            return sorted(waiting, key=lambda entry: entry.last_modified)
        chosen = []
        index = self.state.next_index
        if self._options.gaps == "skip":
            return [files.sequential[number] for number in sorted(files.sequential) if number >= index]
        while index in files.sequential:
            chosen.append(files.sequential[index])
            index += 1
        later = [number for number in files.sequential if number > index]
        if later and self._is_missing(index):
            path = files.sequential[min(later)].path
            message = f"waits for index {index}, which is missing"
            self._note([make_finding(Code.GAP, path, message, self._name)])
        return chosen

    def _is_missing(self, index: int) -> bool:
        # A listing taken while files are renamed may show a later one without the one before it.
        return all(parse_index(entry.name) != index for entry in self._zone.list_folder(self._path))

    def _apply(self, entries: list[Entry]) -> None:
        run = self._begin()
        for entry in entries:
            try:
                file, findings = open_data_file(self._zone, entry, self._name, self._options)
                self._admit(findings)
                if file is None:
                    raise AssertionError(f"{entry.path} has neither content nor a finding that stops its table")
                run = self._add(run, file)
            except Violation:
                self._commit(run)
                raise
        self._commit(run)

    def _begin(self) -> _Run:
        return _Run(self.state.draft(), self._tables.schema(self._name))

    def _admit(self, findings: Iterator[Finding] | list[Finding]) -> None:
        """Note findings; raise the first one that stops the table."""
        for finding in findings:
            if finding.stops:
                raise Violation(finding)
            self._note([finding])

    def _add(self, run: _Run, file: DataFile) -> _Run:
        state = run.state
        keys = state.keys or ()
        self._admit(inspect_evolution(file, run.schema, state.required, keys))
        is_large = file.bytes > self._options.apply_bytes or file.rows > STREAM_ROWS
        if is_large and not file.has_marker and not state.upsert_by_default:
            self._commit(run)
            return self._stream(self._begin(), file)
        rows = file.read()
        file.close()
        if not file.has_marker:
            default = UPSERT if state.upsert_by_default else INSERT
            rows = rows.append_column(MARKER, pa.repeat(pa.scalar(default, pa.int32()), rows.num_rows))
        self._admit(inspect_rows(gather_facts([rows], keys), file, run.schema, keys, self._options))
        if not keys:
            # Only with `keyless_changes="ignore"` does this leave anything out.
            rows = rows.filter(pc.equal(rows.column(MARKER), pa.scalar(INSERT, pa.int32())))
        run.parts.append(rows)
        run.bytes += rows.nbytes
        self._count(run, file)
        if run.bytes < self._options.apply_bytes:
            return run
        self._commit(run)
        return self._begin()

    def _stream(self, run: _Run, file: DataFile) -> _Run:
        """Append a large file without holding it in memory."""
        self._count(run, file)
        run.state.last_sync = time.time()
        failures: list[Violation] = []

        def decode() -> Iterator[pa.RecordBatch]:
            try:
                yield from file.batches()
            except Violation as violation:
                # The writer only passes the text of an error on; the finding is kept for the caller.
                failures.append(violation)
                raise

        try:
            self._tables.append(run.state, file.schema, decode())
        except (DeltaError, Violation) as error:
            if failures:
                raise failures[0] from error
            raise
        self._finish(run)
        return self._begin()

    def _count(self, run: _Run, file: DataFile) -> None:
        entry, state = file.entry, run.state
        run.schema = file.schema if run.schema is None else unite(run.schema, file.schema)
        state.required = file.still_required(state.required, is_first=state.files_applied == 0)
        if state.detection == SEQUENTIAL:
            state.next_index = (parse_index(entry.name) or 0) + 1
        state.files_applied += 1
        state.processed[entry.path] = entry.etag
        state.last_size = entry.size
        state.processed_rows += file.rows
        state.processed_bytes += entry.size
        state.last_source_commit = entry.last_modified
        run.applied.append(AppliedFile(self._name, entry.path, file.rows))

    def _commit(self, run: _Run) -> None:
        if not run.applied:
            return
        run.state.last_sync = time.time()
        rows = pa.concat_tables(run.parts, promote_options="default")
        if rows.column_names[-1] != MARKER:
            rows = rows.select([name for name in rows.column_names if name != MARKER] + [MARKER])
        self._tables.apply(run.state, resolve_changes(rows, run.state.keys or ()))
        self._finish(run)

    def _finish(self, run: _Run) -> None:
        self.state = run.state
        self._report.applied += run.applied
        run.applied = []

    def _clean_up(self, entries: list[Entry]) -> None:
        """Move processed files away, except the last one, which stays as a reference; purge old ones."""
        state, folder = self.state, self._options.processed_folder
        processed = [entry for entry in entries if entry.path in state.processed and not entry.is_directory]
        last = self._last_processed(processed)
        moved = [entry for entry in processed if entry is not last and state.processed[entry.path] == entry.etag]
        for entry in moved:
            self._zone.move_into(entry, folder)
            if state.detection == SEQUENTIAL:
                del state.processed[entry.path]
        if state.detection == SEQUENTIAL:
            # Files that were moved before a kill are no longer of interest.
            present = {entry.path for entry in processed}
            for path in [path for path in state.processed if path not in present]:
                del state.processed[path]
        age = self._options.purge_after_seconds
        if age is not None and time.time() - state.last_purge >= min(age, PURGE_INTERVAL_SECONDS):
            self._purge(f"{self._path}/{folder}", age)
            state.last_purge = time.time()

    def _last_processed(self, processed: list[Entry]) -> Entry | None:
        if self.state.detection == LAST_UPDATE:
            return max(processed, key=lambda entry: entry.last_modified, default=None)
        return max(processed, key=lambda entry: entry.name, default=None)

    def _purge(self, folder: str, age_seconds: float) -> None:
        try:
            entries = self._zone.list_folder(folder)
        except FileNotFoundError:
            return
        oldest = time.time() - age_seconds
        for entry in entries:
            if entry.last_modified <= oldest:
                self._zone.delete_file(entry.path)
