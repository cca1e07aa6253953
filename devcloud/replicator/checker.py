"""The strict checker: what is in a landing zone against the rules of its specification, read-only."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from devcloud.replicator.data_file import (
    DataFile,
    RowFacts,
    gather_facts,
    inspect_evolution,
    inspect_rows,
    open_data_file,
)
from devcloud.replicator.delta_types import unite
from devcloud.replicator.landing_zone import LANDING_ZONE, DirectoryLandingZone, Entry, LandingZone
from devcloud.replicator.layout import (
    LAST_UPDATE,
    METADATA,
    PARTNER_EVENTS,
    SEQUENTIAL,
    Metadata,
    TableFiles,
    TableFolder,
    discover_tables,
    inspect_partner_events,
    parse_index,
    parse_metadata,
    sort_entries,
)
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.rules import Code, Finding, TableName, Violation, make_finding

LISTINGS_TRIED = 3  # a replicator at work moves files away between our listing and our reading


@dataclass(frozen=True, slots=True)
class _Inspected:
    """What the content of one file says, whatever the table around it."""

    file: DataFile | None
    facts: RowFacts | None
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Seen:
    """What earlier checks saw of a table folder, until its metadata changes (as it does when the folder is new)."""

    metadata_etag: str
    finals: dict[str, Entry]


class LandingZoneChecker:
    """Checks a landing zone again and again, reading each file once, and notices finals that changed in between."""

    def __init__(self, zone: LandingZone, options: ReplicatorOptions | None = None) -> None:
        self._zone = zone
        self._options = options or ReplicatorOptions()
        self._inspected: dict[tuple[str, str, tuple[str, ...]], _Inspected] = {}
        self._seen: dict[TableName, _Seen] = {}

    def check(self) -> list[Finding]:
        """Return what breaks a rule now, each breach once. A folder that is deleted meanwhile is passed over."""
        tables, findings = discover_tables(self._zone, self._options)
        findings += self._check_partner_events()
        present = {table.name for table in tables}
        for name in set(self._seen) - present:
            del self._seen[name]
        for table in tables:
            findings += self._check_steadily(table)
        return list(dict.fromkeys(findings))

    def _check_steadily(self, table: TableFolder) -> list[Finding]:
        for _ in range(LISTINGS_TRIED):
            try:
                return list(self._check_table(table))
            except FileNotFoundError:
                continue
        return []

    def _check_partner_events(self) -> list[Finding]:
        try:
            entries = self._zone.list_folder(LANDING_ZONE)
            for entry in entries:
                if entry.name == PARTNER_EVENTS:
                    return list(inspect_partner_events(self._read(entry), entry.path))
        except FileNotFoundError:
            pass
        return []

    def _read(self, entry: Entry) -> bytes:
        with self._zone.open_file(entry) as file:
            return file.read()

    def _check_table(self, table: TableFolder) -> Iterator[Finding]:
        entries = self._zone.list_folder(table.folder.path)
        found = next((entry for entry in entries if entry.name == METADATA and not entry.is_directory), None)
        metadata, findings = (None, []) if found is None else parse_metadata(self._read(found), found.path, table.name)
        yield from findings
        files = sort_entries(entries, table.name, metadata.detection if metadata else SEQUENTIAL)
        yield from files.findings
        cleaned = [
            entry
            for folder in files.cleanup
            for entry in self._zone.list_folder(folder.path)
            if not entry.is_directory and not entry.name.startswith("_")
        ]
        published = [*files.sequential.values(), *files.named]
        if found is None and published:
            path = f"{table.folder.path}/{METADATA}"
            yield make_finding(Code.META_MISSING, path, "every table folder must contain it", table.name)
        if found is not None and not published and not cleaned:
            message = "a table without data is reported to fail after two weeks"
            yield make_finding(Code.NO_DATA, table.folder.path, message, table.name)
        yield from self._compare(table.name, found.etag if found else "", published)
        detection = metadata.detection if metadata else SEQUENTIAL
        if detection == SEQUENTIAL:
            yield from _check_sequence(files, cleaned, table.name)
        yield from self._check_content(_order([*cleaned, *published], detection), metadata or Metadata(), table.name)

    def _compare(self, name: TableName, metadata_etag: str, published: list[Entry]) -> Iterator[Finding]:
        """Yield finals that are no longer what they were: they are immutable, and their names are used once."""
        seen = self._seen.get(name)
        if seen is None or seen.metadata_etag != metadata_etag:
            seen = self._seen[name] = _Seen(metadata_etag, {})
        for entry in published:
            before = seen.finals.setdefault(entry.path, entry)
            if before.etag != entry.etag:
                code = Code.APPENDED_FINAL if entry.size > before.size else Code.OVERWRITTEN_FINAL
                yield make_finding(code, entry.path, "changed after it was published", name)

    def _check_content(self, entries: list[Entry], metadata: Metadata, name: TableName) -> Iterator[Finding]:
        schema: pa.Schema | None = None
        required: frozenset[str] = frozenset()
        for position, entry in enumerate(entries):
            inspected = self._inspect(entry, metadata.keys, name)
            yield from inspected.findings
            file = inspected.file
            if file is None:
                continue
            yield from inspect_evolution(file, schema, required, metadata.keys)
            if inspected.facts is not None:
                yield from inspect_rows(inspected.facts, file, schema, metadata.keys, self._options)
                if position == 0 and parse_index(entry.name) in (1, None):
                    message = "a row marker in an initial load is not recommended"
                    yield make_finding(Code.MARKER_ON_FIRST_FILE, entry.path, message, name)
            elif metadata.upsert_by_default and not metadata.keys:
                message = "isUpsertDefaultRowMarker needs keyColumns"
                yield make_finding(Code.MARKER_WITHOUT_KEYS, entry.path, message, name)
            required = file.still_required(required, is_first=schema is None)
            schema = file.schema if schema is None else unite(schema, file.schema)

    def _inspect(self, entry: Entry, keys: tuple[str, ...], name: TableName) -> _Inspected:
        known = self._inspected.get((entry.path, entry.etag, keys))
        if known is not None:
            return known
        file, findings = open_data_file(self._zone, entry, name, self._options)
        facts = None
        if file is not None:
            try:
                if file.has_marker:
                    facts = gather_facts(file.batches(), keys)
                else:
                    for _ in file.batches():
                        pass
            except Violation as violation:
                findings.append(violation.finding)
            finally:
                file.close()
        inspected = _Inspected(file, facts, tuple(findings))
        self._inspected[entry.path, entry.etag, keys] = inspected
        return inspected


def _order(entries: list[Entry], detection: str) -> list[Entry]:
    if detection == LAST_UPDATE:
        return sorted(entries, key=lambda entry: entry.last_modified)
    return sorted(entries, key=lambda entry: parse_index(entry.name) or 0)


def _check_sequence(files: TableFiles, cleaned: list[Entry], name: TableName) -> Iterator[Finding]:
    processed = {index for entry in cleaned if (index := parse_index(entry.name)) is not None}
    for index in sorted(processed & set(files.sequential)):
        message = "a processed file had the same index"
        yield make_finding(Code.REUSED_INDEX, files.sequential[index].path, message, name)
    indexes = sorted(processed | set(files.sequential))
    # Processed files are purged at some time; without a clean-up folder none has ever been moved away.
    expected = indexes[0] if files.cleanup and indexes else 1
    for index in indexes:
        if index > expected:
            path = files.sequential[index].path if index in files.sequential else name.table
            message = f"waits for index {expected}, which is missing"
            yield make_finding(Code.GAP, path, message, name)
        expected = index + 1


def check_landing_zone(landing_zone: LandingZone | Path, options: ReplicatorOptions | None = None) -> list[Finding]:
    """Return every breach of the specification in an item's landing zone; changes nothing.

    A path is an item's directory, the one that holds `Files`. Raises FileNotFoundError where there is no such item, and
    LandingZoneUnavailable where its storage does not respond.
    """
    zone = DirectoryLandingZone(landing_zone) if isinstance(landing_zone, Path) else landing_zone
    return LandingZoneChecker(zone, options).check()
