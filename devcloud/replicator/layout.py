"""What lies where in a landing zone: table folders, `_metadata.json`, data files and strays."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from devcloud.replicator.landing_zone import FILES, LANDING_ZONE, Entry, LandingZone
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.rules import Code, Finding, TableName, make_finding

METADATA = "_metadata.json"
PARTNER_EVENTS = "_partnerEvents.json"
SCHEMA_SUFFIX = ".schema"
CLEANUP_FOLDERS = ("_FilesReadyToDelete", "_ProcessedFiles")
FILE_EXTENSIONS = (".parquet", ".csv", ".tsv", ".psv", ".txt")
KEY_COUNT_ADVISED = 4  # best practices: "fewer than five key columns"

_SEQUENTIAL_NAME = re.compile(r"(\d{20})(\.[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)?)")

Detection = Literal["SequentialFileName", "LastUpdateTimeFileDetection"]
SEQUENTIAL: Detection = "SequentialFileName"
LAST_UPDATE: Detection = "LastUpdateTimeFileDetection"


@dataclass(frozen=True, slots=True)
class TableFolder:
    """A folder of the landing zone that is a table."""

    name: TableName
    folder: Entry


def discover_tables(zone: LandingZone, options: ReplicatorOptions) -> tuple[list[TableFolder], list[Finding]]:
    """Return the table folders, by name, and what lies beside them that should not.

    Raises FileNotFoundError where the whole item is missing.
    """
    tables: dict[TableName, TableFolder] = {}
    findings: list[Finding] = []

    def add(schema: str, folder: Entry) -> None:
        name = TableName(schema, folder.name)
        if name in tables:
            message = f"{tables[name].folder.path} is the table {name} already"
            findings.append(make_finding(Code.DUPLICATE_TABLE, folder.path, message, name))
        else:
            tables[name] = TableFolder(name, folder)

    entries = _list_or_nothing(zone, LANDING_ZONE)
    if not entries:
        # No landing zone means no tables, but no item means that there is nothing to say about tables.
        zone.list_folder(FILES)
    for entry in entries:
        if entry.is_directory and entry.name.endswith(SCHEMA_SUFFIX):
            if entry.name.startswith("_"):
                message = "Fabric's newest page says that names beginning with an underscore are ignored"
                findings.append(make_finding(Code.UNDERSCORE_SCHEMA, entry.path, message))
                if options.underscore_schemas == "ignore":
                    continue
            for child in _list_or_nothing(zone, entry.path):
                if child.is_directory and not child.name.startswith("_"):
                    add(entry.name.removesuffix(SCHEMA_SUFFIX), child)
                else:
                    findings += _inspect_stray(child)
        elif entry.is_directory and not entry.name.startswith("_"):
            add(options.default_schema, entry)
        elif entry.name != PARTNER_EVENTS:
            findings += _inspect_stray(entry)
    return sorted(tables.values(), key=lambda table: table.name), findings


def _list_or_nothing(zone: LandingZone, path: str) -> list[Entry]:
    try:
        return sorted(zone.list_folder(path), key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def _inspect_stray(entry: Entry, table: TableName | None = None) -> Iterator[Finding]:
    if entry.name == PARTNER_EVENTS:
        message = "belongs into LandingZone itself, never to a schema or table"
        yield make_finding(Code.PARTNER_EVENTS_PLACE, entry.path, message, table)
    elif not entry.name.startswith("_"):
        kind = "folder" if entry.is_directory else "file"
        message = f"a {kind} that is neither data nor begins with an underscore"
        yield make_finding(Code.STRAY_NON_UNDERSCORE_ITEM, entry.path, message, table)


@dataclass(frozen=True, slots=True)
class Metadata:
    """What `_metadata.json` says, as far as the replicator understands it."""

    keys: tuple[str, ...] = ()
    detection: Detection = SEQUENTIAL
    upsert_by_default: bool = False


_KNOWN_PROPERTIES = (
    "keyColumns",
    "fileDetectionStrategy",
    "isUpsertDefaultRowMarker",
    "SchemaDefinition",
    "FileFormat",
    "FileExtension",
    "FileFormatTypeProperties",
)


def parse_metadata(content: bytes, path: str, table: TableName) -> tuple[Metadata | None, list[Finding]]:
    """Return what the file says and what is wrong with it; None where it cannot be understood."""

    def fail(message: str) -> tuple[None, list[Finding]]:
        return None, [make_finding(Code.META_JSON, path, message, table)]

    try:
        document = json.loads(content)
    except ValueError as error:
        return fail(f"Exception reading the metadata file: {error}")
    if not isinstance(document, dict):
        return fail("Exception reading the metadata file: not a JSON object")
    findings = []
    properties = {}
    spellings = {name.lower(): name for name in _KNOWN_PROPERTIES}
    for name, value in document.items():
        known = spellings.get(name.lower())
        if name != known:
            found = f"write {known!r}" if known else "not a documented property"
            findings.append(make_finding(Code.META_PROPERTY, path, f"{name!r}: {found}", table))
        properties[known or name] = value
    keys = properties.get("keyColumns")
    keys = [] if keys is None else keys
    if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
        return fail("keyColumns is not a list of column names")
    if len(set(keys)) < len(keys):
        return fail("keyColumns names a column twice")
    if len(keys) > KEY_COUNT_ADVISED:
        findings.append(make_finding(Code.KEY_COUNT, path, f"{len(keys)} key columns; advised are at most four", table))
    strategy = properties.get("fileDetectionStrategy", SEQUENTIAL)
    if strategy not in (SEQUENTIAL, LAST_UPDATE):
        return fail(f"fileDetectionStrategy {strategy!r} is neither {SEQUENTIAL} nor {LAST_UPDATE}")
    upsert = properties.get("isUpsertDefaultRowMarker", False)
    if not isinstance(upsert, bool):
        return fail("isUpsertDefaultRowMarker is not true or false")
    return Metadata(tuple(keys), LAST_UPDATE if strategy == LAST_UPDATE else SEQUENTIAL, upsert), findings


_PARTNER_PROPERTIES = {"sourceType": str, "sourceVersion": str, "additionalInformation": dict}


def inspect_partner_events(content: bytes, path: str) -> Iterator[Finding]:
    """Yield what is wrong with `_partnerEvents.json`."""
    try:
        document = json.loads(content)
    except ValueError as error:
        yield make_finding(Code.PARTNER_EVENTS_JSON, path, f"not JSON: {error}")
        return
    partner = document.get("partnerName") if isinstance(document, dict) else None
    if not isinstance(partner, str) or not partner:
        yield make_finding(Code.PARTNER_EVENTS_JSON, path, "partnerName is missing or no text")
        return
    source = document.get("sourceInfo", {})
    if not isinstance(source, dict):
        yield make_finding(Code.PARTNER_EVENTS_JSON, path, "sourceInfo is not an object")
        return
    for name, kind in _PARTNER_PROPERTIES.items():
        if name in source and not isinstance(source[name], kind):
            yield make_finding(Code.PARTNER_EVENTS_JSON, path, f"sourceInfo.{name} is not of the type {kind.__name__}")


@dataclass(slots=True)
class TableFiles:
    """The content of a table folder. `sequential` holds data files by index, `named` those of the last-update mode."""

    metadata: Entry | None = None
    sequential: dict[int, Entry] = field(default_factory=dict)
    named: list[Entry] = field(default_factory=list)
    cleanup: list[Entry] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def parse_index(name: str) -> int | None:
    """Return the index in a sequential file name, or None where it is not one; the first file has index 1."""
    match = _SEQUENTIAL_NAME.fullmatch(name)
    return int(match[1]) or None if match else None


def sort_entries(entries: list[Entry], table: TableName, detection: Detection) -> TableFiles:
    """Separate a table folder's data files from metadata, cleanup folders and strays."""
    files = TableFiles()
    for entry in sorted(entries, key=lambda entry: entry.name):
        if entry.name == METADATA:
            files.metadata = entry
        elif entry.name in CLEANUP_FOLDERS and entry.is_directory:
            files.cleanup.append(entry)
        elif entry.is_directory or entry.name.startswith("_"):
            files.findings += _inspect_stray(entry, table)
        elif detection == LAST_UPDATE:
            if entry.name.lower().endswith(FILE_EXTENSIONS):
                files.named.append(entry)
            else:
                files.findings += _inspect_stray(entry, table)
        else:
            _add_sequential(files, entry, table)
    return files


def _add_sequential(files: TableFiles, entry: Entry, table: TableName) -> None:
    index = parse_index(entry.name)
    if index is None:
        message = "not 20 decimal digits (from 00000000000000000001) and an extension"
        files.findings.append(make_finding(Code.BAD_NAME, entry.path, message, table))
    elif index in files.sequential:
        message = f"{files.sequential[index].name} has the same index"
        files.findings.append(make_finding(Code.REUSED_INDEX, entry.path, message, table))
    else:
        files.sequential[index] = entry
