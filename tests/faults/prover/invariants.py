"""What has to hold in a world where all loads have settled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hygge_engine.journal import Manifest
from hygge_engine.lake.local import LocalLake
from hygge_engine.stores.landing.state import LandingState
from tests.faults.prover.tables import Refuted

if TYPE_CHECKING:
    from tests.faults.prover.world import ProverWorld

# Where the mirrored telemetry is.
TELEMETRY_SCHEMA = "__hygge"


def check(world: ProverWorld, *, landed_rows: int | None) -> None:
    """Raise Refuted where a guarantee is broken. ``landed_rows`` is what the journal has to speak of, where the loads
    have reported every row."""
    _check_table(world)
    world.table.check(world)
    _check_staging(world)
    _check_states(world)
    _check_journal(world, landed_rows)
    if world.mirror_journal:
        _check_telemetry(world)


def _check_table(world: ProverWorld) -> None:
    landed, rows = world.table.rows(), world.source.rows
    if landed != rows:
        lost, extra = sorted(set(rows) - set(landed)), sorted(set(landed) - set(rows))
        raise Refuted(f"the table is not the source: lacks {lost}, has {extra}")


def _check_staging(world: ProverWorld) -> None:
    staging = world.directory / world.journal_root / "staging"
    kept = world.state.staged_paths if world.state else set()
    found = {str(path.relative_to(world.directory)) for path in staging.rglob("*") if path.is_file()}
    if missing := kept - found:
        raise Refuted(f"digests that the state names are gone: {', '.join(sorted(missing))}")
    left = sorted(found - kept)
    if left:
        raise Refuted(f"staged files are left behind: {', '.join(left)}")


def _check_states(world: ProverWorld) -> None:
    """No worker is on any table, and none is half done."""
    for path in (world.directory / world.journal_root / "landing").rglob("*.json"):
        state, _ = LandingState.from_json(path.read_bytes(), str(path))
        if state.open is not None:
            raise Refuted(f"{path.stem} is still open, for {state.open.load_id}")
        if state.owner is not None:
            raise Refuted(f"{path.stem} is still owned, by {state.owner.load_id}")


def _check_journal(world: ProverWorld, landed_rows: int | None) -> None:
    journal = world.journal.read()
    remembered: dict[str, dict[str, Any]] = {row["coordinator_run_id"]: row for row in journal.to_dicts()}
    settled = {load.load_id for load in world.loads.values() if load.settled}
    answered = {load.load_id for load in world.loads.values() if load.answer is not None}
    if journal.height != len(remembered) or not settled <= remembered.keys() <= answered:
        raise Refuted(f"{sorted(settled)} have settled, the journal knows {journal['coordinator_run_id'].to_list()}")
    failed = [f"{load_id}: {row['message']}" for load_id, row in remembered.items() if row["status"] == "fail"]
    if failed:
        raise Refuted(f"failed: {'; '.join(failed)}")
    finished = world.state.finished if world.state else None
    if finished is not None and finished.load_id in remembered:
        row = remembered[finished.load_id]
        told = (row["row_count"], row["bytes"], row["files"], row["watermark"] or None)
        watermark = world.state.watermark if world.state else None
        known = (finished.rows, finished.bytes, finished.files, watermark.value if watermark else None)
        if told != known:
            raise Refuted(f"of {finished.load_id} the journal says {told}, the landing state {known}")
    told_rows = sum(row["row_count"] for row in remembered.values())
    if landed_rows is not None and told_rows != landed_rows:
        raise Refuted(f"the journal speaks of {told_rows} rows, {landed_rows} were landed")


def _check_telemetry(world: ProverWorld) -> None:
    manifest = Manifest(LocalLake(world.directory), world.journal_root)
    tables = {
        "journal": world.journal.changes_since(None).upserts,
        "loads": world.journal.load_changes_since(None).upserts,
        "schema_manifest": manifest.changes_since(None).upserts,
    }
    for name, expected in tables.items():
        mirrored = world.replicator.table(TELEMETRY_SCHEMA, name)
        if _rows(mirrored.select(expected.column_names)) != _rows(expected):
            raise Refuted(f"{TELEMETRY_SCHEMA}.{name} is not what it mirrors: {_rows(mirrored)}, not {_rows(expected)}")


def _rows(table: pa.Table) -> list[str]:
    return sorted(str(row) for row in table.to_pylist())
