"""A table of a database as a destination: staged beside it, then moved into it together with the landing state."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq

from hygge_engine.errors import HyggeError, LandingBroken, LandingUnreadable, NotOurs, StoreError
from hygge_engine.letter_case import confusable, in_any_case
from hygge_engine.stores.base import Adoption, Claim, Destination, ReadBack, claim_among
from hygge_engine.stores.database.base import DELETED, NAMED_COLUMNS, Database, Inserter
from hygge_engine.stores.database.lease import DatabaseTableLease, StateRow, check_same, check_unclaimed
from hygge_engine.stores.landing.lease import A_LOAD_MAKES_IT, NO_TABLE_HINT, NOTHING_TO_HAND_OVER
from hygge_engine.stores.landing.settled import RELOAD
from hygge_engine.stores.landing.state import LandingState, StagedFile, fresh_epoch

# Entries of digests that are kept together, in one table of one row: some 20 bytes each.
DIGEST_ENTRIES = 500_000

# The columns of such a table. SQL Server has no order of rows without one.
_COLUMNS: dict[str, pa.DataType] = {"part": pa.int64(), "content": pa.binary()}
_DIGESTS = pa.schema(_COLUMNS)

# Bytes in one row of it: what a driver sends at once.
_PART_BYTES = 1 << 20


class DatabaseTable(Destination[DatabaseTableLease]):
    """A row that lands again replaces the one with its key, and one that is deleted removes it; without a key, each
    version of a row lands once.

    ``name`` (``flow.entity``) identifies the landing state in a database.
    """

    merges = True
    keeps_digests = True
    # A database may take a text of the key that was respelt for the same: in one transaction it goes before it comes.
    deletes_first = True

    def __init__(
        self, database: Database, name: str, table: str, *, key_columns: tuple[str, ...], schema_name: str = ""
    ) -> None:
        self._database = database
        self._name = name
        self.schema_name = schema_name
        self.table_name = table
        self.names = database.names
        self.equates_texts = database.equates_texts
        self.key_columns = key_columns

    def state(self) -> LandingState | None:
        return self.states().read()

    def states(self) -> StateRow:
        return StateRow(self._database, self._name)

    def claim(self) -> Claim | None:
        others = [name for name in self._database.state_names() if name != self._name]
        states = [(name, StateRow(self._database, name)) for name in others]
        return claim_among(states, self._name, lambda place: confusable(place) == confusable(self.table_name))

    def attach(self, load_id: str, attempt: int) -> DatabaseTableLease:
        return DatabaseTableLease(
            self._database, self._name, self.table_name, load_id=load_id, attempt=attempt
        ).attach()

    def check_history(self, lease: DatabaseTableLease) -> None:
        """Raises LandingBroken where the state and the database disagree."""
        if lease.state.has_history and not self._database.has_table(self.table_name):
            raise LandingBroken(
                f"the table {self.table_name} is missing, though rows have been landed in it",
                hint=f"If it was dropped on purpose, {RELOAD}",
            )

    def check_access(self) -> None:
        self._database.check_access()

    def check_place(self, state: LandingState, schema: pa.Schema, *, reload: bool) -> list[str]:
        """Raises NotOurs also for columns that were added to the engine's table: their values would be lost."""
        if reload:
            self._database.check_names(self.table_name)
        if not state.owns(self.table_name):
            check_unclaimed(self._database, self.table_name, self._name)
            return []
        check_same(self._database, self.table_name, self._name, state.table_id)
        added = self._added_by_others(state)
        if added and not state.handed_over_at:
            raise NotOurs(
                f"the table {self.table_name} has columns that no load of {self._name} has written, and whose values "
                f"would be lost: {', '.join(added[:NAMED_COLUMNS])}",
                hint="Keep them in a table of their own, beside this one, and drop them here; or give them up with the "
                f"next full_drop: `hygge adopt {self._name}` asks.",
            )
        return []

    def _added_by_others(self, state: LandingState) -> list[str]:
        """The columns of the engine's own table that no load has written."""
        known = {in_any_case(name) for name in (*state.columns, *state.removed_columns)}
        return [name for name in self._database.columns(self.table_name) if in_any_case(name) not in known]

    def adopt(self) -> Adoption:
        """The table as it is becomes this entity's, to be replaced by its next full_drop."""
        state, unreadable = self.state_to_replace()
        if state is not None and state.owns(self.table_name) and self._is_the_same(state):
            if (added := self._added_by_others(state)) and not state.handed_over_at:
                columns = f"the columns that no load has written, {', '.join(added[:NAMED_COLUMNS])}, included"
                found = self._database.describe_table(self.table_name)
                return Adoption(self.table_name, found, f"all of it, {columns}", "nothing", self._give_up_columns)
            where = f"the table {self.table_name} is that of {self._name} already"
            raise LandingBroken(where, hint=NOTHING_TO_HAND_OVER)
        exists = self._database.has_table(self.table_name)
        if not exists and not unreadable:
            raise LandingBroken(f"there is no table {self.table_name}", hint=A_LOAD_MAKES_IT)
        found = self._database.describe_table(self.table_name) if exists else "nothing"
        if exists and not self._database.plain_columns(self.table_name):
            raise NotOurs(
                f"{self.table_name} cannot be handed over: it is {found}, and no table that a load could replace",
                hint=NO_TABLE_HINT,
            )
        return Adoption(self.table_name, found, "all of it", "nothing", lambda: self._write_adopted(state))

    def _is_the_same(self, state: LandingState) -> bool:
        """Whether the table is the one that was landed, as far as the state shows."""
        return not state.table_id or self._database.table_id(self.table_name) in (None, state.table_id)

    def _give_up_columns(self) -> None:
        """Let the next full_drop replace a table of ours with what others have added to it."""
        row = self.states()
        if (state := row.read()) is not None:
            at = self._database.now().isoformat()
            row.write(replace(state, epoch=state.epoch + 1, owner=None, open=None, set_aside=None, handed_over_at=at))

    def _write_adopted(self, before: LandingState | None) -> None:
        row = self.states()
        with suppress(LandingUnreadable):
            row.read()
        now, place = self._database.now(), self.table_name
        epoch = fresh_epoch(before, now)
        row.write(LandingState(epoch=epoch, place=place, landed_in=place, handed_over_at=now.isoformat()))

    def writer(self, lease: DatabaseTableLease, schema: pa.Schema, *, marked: bool) -> StageWriter:
        return StageWriter(self._database, lease, schema, marked=marked)

    def publish(
        self,
        lease: DatabaseTableLease,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        intent = [replace(file, final=self.table_name) for file in files]
        lease.intend(intent, position=position, last=last, new_generation=new_generation)

    def digest_writer(self, lease: DatabaseTableLease, schema: pa.Schema) -> DigestWriter:
        return DigestWriter(self._database, lease, schema)

    def read_digests(self, file: StagedFile) -> bytes | None:
        if not self._database.has_table(file.staged):
            return None
        parts: dict[int, bytes] = {}
        for batch in self._database.read_back(file.staged).read(_DIGESTS.names):
            if batch.schema.names != _DIGESTS.names:
                return None
            found = zip(*(column.to_pylist() for column in batch.columns), strict=True)
            parts |= {number: content for number, content in found if isinstance(content, bytes)}
            if sum(map(len, parts.values())) > file.length:
                return None
        data = b"".join(parts[number] for number in sorted(parts))
        return data if hashlib.sha256(data).hexdigest() == file.sha256 else None

    def clear(self, lease: DatabaseTableLease) -> None:
        lease.intend((), position=None, last=True, new_generation=True)

    def read_back(self) -> ReadBack:
        return self._database.read_back(self.table_name)


class StageWriter:
    """Fills one stage, created with its first row; a `RowWriter`. What was staged is durable batch by batch.

    ``marked`` rows of a table with a key may be deleted ones: a column marks these.
    """

    def __init__(self, database: Database, lease: DatabaseTableLease, schema: pa.Schema, *, marked: bool) -> None:
        self._database = database
        self._lease = lease
        self._key = lease.state.key_columns
        self._schema = schema.append(pa.field(DELETED, pa.bool_())) if marked and self._key else schema
        self._stage = ""
        self._inserter: Inserter | None = None
        self._rows = 0
        self._bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._insert(batch, deleted=False)

    def delete(self, rows: pa.RecordBatch) -> None:
        if DELETED not in self._schema.names:
            raise StoreError(
                "the source says that rows were deleted, and without a key it is unknown which",
                hint="Name the columns that identify a row in the store's key_columns.",
            )
        if unknown := [name for name in self._key if rows.column(name).null_count]:
            raise StoreError(
                f"of deleted rows the source knows only its own key, and the table's has {', '.join(unknown)}",
                hint=f"Leave key_columns out, and {RELOAD}",
            )
        self._insert(rows, deleted=True)

    def finish(self) -> list[StagedFile]:
        if self._inserter is None:
            return []
        self._inserter.close()
        return [StagedFile(self._stage, self._bytes, "", self._rows)]

    def abandon(self) -> None:
        if self._inserter is None:
            return
        with suppress(HyggeError):
            self._inserter.close()
            self._database.drop_stage(self._stage)

    def _insert(self, batch: pa.RecordBatch, *, deleted: bool) -> None:
        if not batch.num_rows:
            return
        if self._inserter is None:
            self._stage = self._lease.stage_name()
            self._inserter = self._database.create_stage(self._stage, self._schema, self._key)
        self._rows += batch.num_rows
        self._bytes += batch.nbytes
        if DELETED in self._schema.names:
            marks = pa.repeat(pa.scalar(deleted), batch.num_rows)
            batch = pa.RecordBatch.from_arrays([*batch.columns, marks], schema=self._schema)
        self._inserter.insert(batch)


class DigestWriter:
    """Keeps digests of rows as Parquet files in tables of their own beside the table, which are stages to the sweep;
    a `RowWriter`."""

    def __init__(self, database: Database, lease: DatabaseTableLease, schema: pa.Schema) -> None:
        self._database = database
        self._lease = lease
        self._schema = schema
        self._held: list[pa.RecordBatch] = []
        self._files: list[StagedFile] = []

    def write(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        if sum(each.num_rows for each in self._held) >= DIGEST_ENTRIES:
            self._keep()

    def delete(self, rows: pa.RecordBatch) -> None:
        raise StoreError("digests are only added to")

    def finish(self) -> list[StagedFile]:
        if self._held:
            self._keep()
        return self._files

    def abandon(self) -> None:
        self._held.clear()
        for file in self._files:
            with suppress(HyggeError):
                self._database.drop_stage(file.staged)

    def _keep(self) -> None:
        table = pa.Table.from_batches(self._held, self._schema)
        self._held.clear()
        sink = pa.BufferOutputStream()
        pq.write_table(
            table, sink, use_dictionary=False, write_statistics=False, compression="zstd", compression_level=1
        )
        data = sink.getvalue().to_pybytes()
        stage = self._lease.stage_name()
        inserter = self._database.create_stage(stage, _DIGESTS, ["part"])
        for number, start in enumerate(range(0, len(data), _PART_BYTES)):
            part = {"part": number, "content": data[start : start + _PART_BYTES]}
            inserter.insert(pa.RecordBatch.from_pylist([part], schema=_DIGESTS))
        inserter.close()
        self._files.append(StagedFile(stage, len(data), hashlib.sha256(data).hexdigest(), table.num_rows))
