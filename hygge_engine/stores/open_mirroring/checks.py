"""What `hygge doctor` asks about a mirrored database: the landing zone, and what Fabric makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hygge_engine.checks import DoctorCheck, attempt, failure
from hygge_engine.errors import HyggeError, LakeNotFound
from hygge_engine.lake.base import Lake
from hygge_engine.plain_text import counted
from hygge_engine.stores.landing.state import LandingState, StateFile
from hygge_engine.stores.open_mirroring.fabric import (
    TableStatus,
    keeps_change_data_feed,
    mirroring_status,
    read_status_file,
    status_of,
    table_statuses,
)
from hygge_engine.stores.open_mirroring.layout import Layout, layout_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings

# The mirrored tables about the loads themselves.
TELEMETRY_TABLES = ("journal", "loads", "schema_manifest")

_START = "Start replication of the mirrored database in Fabric; it looks for new files about every 20 seconds."
_RELOAD = "Look at the table's error in Fabric's monitoring, then replace it: hygge go --run-type full_drop --entity …"
_ANEW = (
    "Look at the table's error in Fabric's monitoring, then set mirror_schema to another name: the next load "
    "publishes the tables there, from the journal."
)
_MAY_READ = (
    "To see it, the identity needs to be Contributor of the workspace, or the item shared for reading and writing."
)
_FEED_ON = "on: Fabric keeps the changes of every table, and bills that work"
_RENAME = "Fabric may ignore names that begin with an underscore: set mirror_schema to one that does not."


@dataclass(frozen=True)
class Replication:
    """What Fabric says of a mirrored database. ``tables`` is None where it is unknown; ``how`` names the source."""

    checks: tuple[DoctorCheck, ...]
    tables: Sequence[TableStatus] | None
    how: str


def check_landing_zone(lake: Lake, layout: Layout) -> DoctorCheck:
    """Whether the folder that Fabric watches can be listed."""
    how = f"list {layout.landing_zone}"

    def look() -> DoctorCheck:
        if lake.info(layout.landing_zone) is None and next(lake.list(layout.landing_zone), None) is None:
            remedy = "The first load makes it. If there have been loads, check filesystem and mirror_name."
            return DoctorCheck("landing zone", "warning", "it does not exist yet", how, remedy)
        folders = sum(entry.is_directory for entry in lake.list(layout.landing_zone))
        return DoctorCheck("landing zone", "ok", counted(folders, "schema"), how)

    return attempt("landing zone", how, look)


def ask_replication(lake: Lake, settings: OpenMirroringSettings, layout: Layout) -> Replication:
    """Fabric's status, from the REST API where `fabric_api_url` is set, else from the file that it writes."""
    name = "replication"
    if settings.fabric_api_url:
        how = "Fabric's REST API"
        try:
            status, tables = mirroring_status(settings), table_statuses(settings)
        except HyggeError as error:
            return Replication((failure(name, how, error),), None, how)
        running = status.casefold() == "running"
        check = DoctorCheck(name, "ok" if running else "warning", status or "unknown", how, "" if running else _START)
        return Replication((check,), tables, how)
    how = layout.status
    try:
        tables = read_status_file(lake.read(layout.status).data)
    except LakeNotFound:
        found = "Fabric has written no status; replication has not started, or nothing replicates here"
        check = DoctorCheck(name, "unknown", found, how, f"{_START} Or set fabric_api_url, to ask Fabric's REST API.")
        return Replication((check,), None, how)
    except ValueError as error:
        return Replication((DoctorCheck(name, "unknown", f"the status file cannot be read: {error}", how),), None, how)
    except HyggeError as error:
        return Replication((failure(name, how, error),), None, how)
    count = f"Fabric lists {counted(len(tables), 'table')}"
    return Replication((DoctorCheck(name, "ok", count, how),), tables, how)


def check_change_data_feed(settings: OpenMirroringSettings) -> list[DoctorCheck]:
    """Whether Fabric keeps the changes of the mirrored tables, and bills for it; nothing where it cannot be asked."""
    if not settings.fabric_api_url:
        return []
    name, how = "change data feed", "the item's definition, by Fabric's REST API"
    try:
        kept = keeps_change_data_feed(settings)
    except HyggeError as error:
        return [DoctorCheck(name, "unknown", error.message, how, _MAY_READ)]
    if kept is None:
        return [DoctorCheck(name, "unknown", "Fabric's answer does not say", how)]
    return [DoctorCheck(name, "ok", _FEED_ON if kept else "off", how)]


def check_table(lake: Lake, layout: Layout, replication: Replication) -> list[DoctorCheck]:
    """What has been landed of one table, and whether it has arrived."""
    how = layout.state
    try:
        state = StateFile(lake, layout.state).read() or LandingState()
    except HyggeError as error:
        return [failure("landing", how, error)]
    return [_check_state(state, how), _check_arrival("replication", state, layout, replication, _RELOAD)]


def check_telemetry(lake: Lake, settings: OpenMirroringSettings, replication: Replication) -> list[DoctorCheck]:
    """Whether the mirrored journal has arrived; nothing where none is published."""
    checks: list[DoctorCheck] = []
    for table in TELEMETRY_TABLES if settings.mirror_journal else ():
        own = settings.model_copy(update={"schema_name": settings.mirror_schema, "table_name": table})
        layout = layout_of(own, settings.mirror_schema, table)
        name = f"{settings.mirror_schema}.{table}"
        remedy = _RENAME if settings.mirror_schema.startswith("_") else _ANEW
        try:
            state = StateFile(lake, layout.state).read() or LandingState()
        except HyggeError as error:
            checks.append(failure(name, layout.state, error))
            continue
        checks.append(_check_arrival(name, state, layout, replication, remedy))
    return checks


def _check_state(state: LandingState, how: str) -> DoctorCheck:
    if state.open is not None:
        remedy = "Nothing to do: the next load of the table finishes it first. `hygge runs` says how it ended."
        found = f"the load {state.open.load_id} has begun and not ended (phase {state.open.phase})"
        return DoctorCheck("landing", "warning", found, how, remedy)
    if not state.has_history:
        return DoctorCheck("landing", "ok", "nothing has been landed yet", how)
    mark = state.watermark
    reached = f", up to {mark.column} = {mark.value}" if mark is not None and mark.value is not None else ""
    return DoctorCheck("landing", "ok", f"files landed: {state.next_sequence - 1}{reached}", how)


def _check_arrival(
    name: str, state: LandingState, layout: Layout, replication: Replication, remedy: str
) -> DoctorCheck:
    how = replication.how
    found = status_of(replication.tables or (), layout.schema_name, layout.table_name)
    if found is None:
        if not state.has_history:
            return DoctorCheck(name, "ok", "nothing has been landed yet", how)
        if replication.tables is None:
            return DoctorCheck(name, "unknown", "Fabric's status is not known", how)
        text = f"Fabric does not list {layout.schema_name}.{layout.table_name}, though files of it have been landed"
        return DoctorCheck(name, "warning", text, how, remedy if remedy == _RENAME else _START)
    synced = f", last at {found.synced}" if found.synced else ""
    text = f"{found.status}, {counted(found.rows, 'change')} processed{synced}"
    if found.error or found.status == "Failed":
        return DoctorCheck(name, "failed", f"{found.status}: {found.error or 'no reason given'}", how, remedy, "store")
    if found.status == "Stopped":
        return DoctorCheck(name, "warning", text, how, _START)
    return DoctorCheck(name, "ok", text, how)
