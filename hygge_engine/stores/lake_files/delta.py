"""A table as a Delta table: files are renamed into its folder, where no reader sees them, and appear by one commit.

The commit carries the application transaction of the Delta protocol (the ``txn`` action: an application's id, and a
version that only grows): an intent that is finished twice finds its version there and commits nothing. A reload is one
commit too, which removes the old files and adds the new ones, so that readers see either table and nothing between.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.schema import Field, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from hygge_engine.errors import LandingBroken, NotOurs, StoreError, StoreUnavailable
from hygge_engine.lake.base import Lake
from hygge_engine.retry import call_with_retries
from hygge_engine.stores.base import Adoption, ReadBack
from hygge_engine.stores.column_names import DELTA_REFUSED, ColumnNames
from hygge_engine.stores.delta import DeltaLocation, open_table, own_words, reading
from hygge_engine.stores.folder_table import Places, named
from hygge_engine.stores.lake_files.delta_rules import describe, reasons_against
from hygge_engine.stores.lake_files.table import FilesTable, generation_of
from hygge_engine.stores.landing.lake_lease import LakeTableLease
from hygge_engine.stores.landing.lease import A_LOAD_MAKES_IT
from hygge_engine.stores.landing.settled import DELTA, RELOAD, check_format
from hygge_engine.stores.landing.state import LandingState, StagedFile
from hygge_engine.stores.landing.types import schema_of

if TYPE_CHECKING:
    from hygge_engine.stores.lake_files.settings import FilesSettings

# A generation's commits are numbered within it; more files than this in one generation would need 200 years at one
# load a minute.
GENERATION_STRIDE = 10**8


class DeltaFilesTable(FilesTable):
    """Rows are appended: each version of a row lands once. ``name`` identifies the application's transactions."""

    replaces_at_once = True

    def __init__(self, lake: Lake, places: Places, settings: FilesSettings, location: DeltaLocation, name: str) -> None:
        super().__init__(lake, places, settings)
        self._location = location
        self.names = ColumnNames("Delta", refused=DELTA_REFUSED)
        self._log = DeltaLog(lake, places.folder, location, f"hygge-engine:{name}")

    def check_place(self, state: LandingState, schema: pa.Schema, *, reload: bool) -> list[str]:
        """Raises NotOurs for a foreign table, LandingBroken for the engine's own that was changed so that its rows
        would not be what was written."""
        if not state.owns(self.places.folder):
            self._check_is_no_file()  # the Delta package would say that there is nothing
        table = self._log.open()
        if not state.owns(self.places.folder):
            if table is not None:
                raise NotOurs(
                    f"{self.where} is {describe(table)}, and no load of {self.places.entity} has written it",
                    hint=self._not_ours_hint(),
                )
            self._check_unclaimed()
            return []
        check_format(self.with_format(state), self.places.folder, self.format, reload=reload)
        if table is None:
            return []
        if not state.handed_over_at and not self._log.knows(table):
            raise NotOurs(
                f"the table at {self.where} has been replaced: {describe(table)}, and no load of "
                f"{self.places.entity} has written it",
                hint=f"Move it away, and use this place for nothing else. Then {RELOAD}",
            )
        if reasons := reasons_against(table, schema, replaces=reload):
            raise LandingBroken(
                f"rows cannot be written to the Delta table {self.where}: {'; '.join(reasons)}",
                hint="Name another table_name, or take that off the table.",
            )
        return []

    def adopt(self) -> Adoption:
        """The table as it is becomes this entity's; its versions stay until a vacuum."""
        self._check_is_no_file()
        (state, unreadable), table = self.state_to_replace(), self._log.open()
        others = named(self.lake.list(self.places.folder)) if table is None else ""
        if others or (table is None and not unreadable):
            what = f", but {others}" if others else ""
            raise LandingBroken(
                f"there is no Delta table at {self.where}{what}",
                hint="Move that away, or name another place in the store's settings." if others else A_LOAD_MAKES_IT,
            )
        self._check_is_not_ours(state)
        if table is not None and (reasons := reasons_against(table, pa.schema([]), replaces=True)):
            raise LandingBroken(
                f"rows cannot be written to the Delta table {self.where}: {'; '.join(reasons)}",
                hint="Name another table_name, or take that off the table.",
            )
        # The engine's commit counts as made where the log knows its number: it has to begin beyond all of them.
        generation = self._log.newest(table) // GENERATION_STRIDE + 1 if table is not None else 1
        # Its files need unused names.
        generations = (generation_of(entry.name) or 0 for entry in self.lake.list(self.places.folder))
        generation = max(generation, max(generations, default=0))
        adopted = LandingState(generation=generation, file_format=self.format)
        kept = "its older versions, until the table is vacuumed"
        return Adoption(
            self.table_name,
            describe(table) if table is not None else "nothing",
            "all of its rows",
            kept,
            lambda: self._write_adopted(state, adopted),
        )

    def attach(self, load_id: str, attempt: int) -> LakeTableLease:
        return DeltaTableLease(self.lake, self.places, self._log, load_id=load_id, attempt=attempt).attach()

    def drop(self, lease: LakeTableLease) -> bool:
        """Nothing: the commit of the new generation removes the old one."""
        lease.write_changes(phase="waiting")
        return True

    def clear(self, lease: LakeTableLease) -> None:
        lease.intend((), position=None, last=True, new_generation=True)

    def read_back(self) -> ReadBack:
        from hygge_engine.stores.lake_files.reading import DeltaFilesReadBack

        return DeltaFilesReadBack(self.lake, self.places.folder, self._location)


class DeltaTableLease(LakeTableLease):
    """A landing whose intent becomes visible by one commit of the Delta log, after its files have been renamed."""

    def __init__(self, lake: Lake, places: Places, log: DeltaLog, *, load_id: str, attempt: int) -> None:
        super().__init__(
            lake,
            state_path=places.state,
            staging=places.staging,
            folder=places.folder,
            load_id=load_id,
            attempt=attempt,
            file_format=DELTA,
        )
        self._log = log

    def _make_visible(self, files: Sequence[StagedFile]) -> None:
        super()._make_visible(files)
        state = self.state
        version = state.generation * GENERATION_STRIDE + state.next_sequence + len(files)
        replaces = state.open is not None and state.open.mode == "reload"
        schema, adopted = schema_of(state.columns), bool(state.handed_over_at)
        call_with_retries(lambda: self._log.commit(files, schema, version, replaces=replaces, adopted=adopted))


class DeltaLog:
    """The log of one Delta table, whether or not it exists yet."""

    def __init__(self, lake: Lake, folder: str, location: DeltaLocation, application: str) -> None:
        self._lake = lake
        self._folder = folder
        self._location = location
        self._application = application

    def open(self) -> DeltaTable | None:
        """The newest version of the table; None where there is none."""
        with reading(self._location, self._folder):
            return open_table(self._location, self._folder)

    def newest(self, table: DeltaTable) -> int:
        """The number of the engine's newest commit in the table's log, 0 where there is none."""
        return table.transaction_version(self._application) or 0

    def knows(self, table: DeltaTable) -> bool:
        """Whether we have written to the table."""
        return table.transaction_version(self._application) is not None

    def commit(
        self, files: Sequence[StagedFile], schema: pa.Schema, version: int, *, replaces: bool, adopted: bool
    ) -> None:
        """Add ``files`` to the table, or put them in place of all that it holds, once for each ``version``.

        A table that the engine has never written to, and that was not handed over (``adopted``), is foreign. Raises
        NotOurs for that, StoreUnavailable (transient) where the log cannot be reached or another writer has just
        written to it, StoreError where the table does not take such files.
        """
        try:
            self._commit(files, schema, version, replaces=replaces, adopted=adopted)
        except CommitFailedError as error:
            raise StoreUnavailable(f"{self._where} changed while it was being written") from error
        except DeltaError as error:
            # The package has no error of its own for a table that was created just before.
            if self._committed(version):
                return
            raise StoreError(f"{self._where} does not take the rows: {own_words(error)}") from error
        except OSError as error:
            raise StoreUnavailable(f"{self._where} could not be read or written: {own_words(error)}") from error

    @property
    def _where(self) -> str:
        return f"the Delta table {self._lake.url}/{self._folder}"

    def _commit(
        self, files: Sequence[StagedFile], schema: pa.Schema, version: int, *, replaces: bool, adopted: bool
    ) -> None:
        properties = CommitProperties(app_transactions=[Transaction(self._application, version)])
        added = [self._action(file) for file in files]
        wanted = Schema.from_arrow(schema)
        table = open_table(self._location, self._folder)
        if table is None:
            create_table_with_add_actions(
                self._location.address(self._folder),
                wanted,
                added,
                storage_options=self._location.options(),
                commit_properties=properties,
            )
            return
        if self.newest(table) >= version:
            return
        if not adopted and not self.knows(table):
            raise NotOurs(f"{self._where} has come up while its first rows were being landed: {describe(table)}")
        if not replaces:
            known = {field.name for field in table.schema().fields}
            fresh = [field for field in wanted.fields if field.name not in known]
            if fresh:
                table.alter.add_columns([Field(field.name, field.type, nullable=True) for field in fresh])
            wanted = table.schema()
        mode = "overwrite" if replaces else "append"
        table.create_write_transaction([*added], mode, wanted, commit_properties=properties)

    def _committed(self, version: int) -> bool:
        table = open_table(self._location, self._folder)
        return table is not None and self.newest(table) >= version

    def _action(self, file: StagedFile) -> AddAction:
        name = file.final.rpartition("/")[2]
        milliseconds = int(self._lake.now().timestamp() * 1000)
        return AddAction(name, file.length, {}, milliseconds, True, json.dumps({"numRecords": file.rows}))
