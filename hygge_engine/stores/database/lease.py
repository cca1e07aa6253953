"""The landing protocol in a database: the state is a row of it, and rows become visible in the transaction that commits
the state.

So there is nothing to roll forward: an attempt that dies leaves either all of a slice or none of it. The state is
replaced first, on the nonce that was read, and stays locked until the transaction ends; an attempt that another one has
taken over finds another nonce and touches nothing. Where the response to a commit is lost, the nonce shows whether it
took effect.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from hygge_engine.errors import LandingBroken, LandingFenced, NotOurs, StoreUnavailable
from hygge_engine.retry import call_with_retries
from hygge_engine.stores.database.base import Database, StoredState, Transaction, epoch_of, stage_name
from hygge_engine.stores.landing.lease import NO_TABLE_HINT, NOT_OURS_HINT, TableLease
from hygge_engine.stores.landing.state import LandingState, StagedFile
from hygge_engine.stores.landing.types import schema_of


class StateRow:
    """Reads and conditionally replaces one landing state.

    Holds the nonce of what was last read or written, so that a foreign write in between makes the next one fail.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._database = database
        self.name = name
        self._nonce: str | None = None
        self._transaction: Transaction | None = None

    def read(self) -> LandingState | None:
        """The state, or None where the table has none yet. Raises LandingUnreadable for an unreadable document."""
        stored = call_with_retries(lambda: self._database.read_state(self.name))
        self._nonce = stored.nonce if stored else None
        return LandingState.from_json(stored.document.encode(), self.name)[0] if stored else None

    def write(self, state: LandingState) -> LandingState:
        """Replace what was read; in the open transaction, where there is one.

        Raises LandingFenced where another attempt has written since.
        """
        nonce = uuid.uuid4().hex
        stored = StoredState(state.to_json(nonce).decode(), nonce)
        if self._transaction is not None:
            found = self._transaction.replace_state(self.name, stored, self._nonce)
        else:
            found = call_with_retries(lambda: self._write_alone(stored))
        if found != nonce:
            raise LandingFenced(f"another attempt has taken over {self.name}")
        self._nonce = nonce
        return state

    @contextmanager
    def together(self) -> Iterator[Transaction]:
        """One transaction for all writes of the body and for what it does to tables; undone where it raises."""
        before = self._nonce
        try:
            with self._database.transaction() as transaction:
                self._transaction = transaction
                yield transaction
        except StoreUnavailable:
            written, self._nonce = self._nonce, before
            if written == before or not self._has_arrived(written):
                raise
            self._nonce = written
        except BaseException:
            self._nonce = before
            raise
        finally:
            self._transaction = None

    def _write_alone(self, stored: StoredState) -> str | None:
        with self._database.transaction() as transaction:
            return transaction.replace_state(self.name, stored, self._nonce)

    def _has_arrived(self, nonce: str | None) -> bool:
        """Whether a write is there although its transaction has reported a failure: its response may have been lost."""
        stored = self._database.read_state(self.name)
        return stored is not None and stored.nonce == nonce


class DatabaseTableLease(TableLease):
    """A hold on a table of a database."""

    def __init__(self, database: Database, name: str, table: str, *, load_id: str, attempt: int) -> None:
        self._database = database
        self._row = StateRow(database, name)
        self._table = table
        self._transaction: Transaction | None = None
        self._table_id = ""
        self._stages = 0
        super().__init__(self._row, load_id=load_id, attempt=attempt)

    @property
    def place(self) -> str:
        return self._table

    def stage_name(self) -> str:
        """The name of a stage of this epoch that no other attempt writes to."""
        self._stages += 1
        return stage_name(self._table, self.state.epoch, self._attempt, self._stages)

    def intend(
        self,
        files: Sequence[StagedFile],
        *,
        position: list[str] | None,
        last: bool,
        new_generation: bool = False,
    ) -> None:
        """Publish and commit in one transaction; the intent is never visible outside."""
        before, written, owns_place = self.state, self._written, self.owns_place
        self._table_id = before.table_id if owns_place else ""

        def land() -> LandingFenced | None:
            """Returns what is not to be tried again."""
            self.state, self._written = before, written
            if not owns_place:
                check_unclaimed(self._database, self._table, self._row.name)
            try:
                with self._row.together() as transaction:
                    self._transaction = transaction
                    super(DatabaseTableLease, self).intend(
                        files, position=position, last=last, new_generation=new_generation
                    )
            except LandingFenced as fenced:
                return fenced
            finally:
                self._transaction = None
            return None

        try:
            if fenced := call_with_retries(land):
                raise fenced
        except BaseException:
            self.state, self._written = before, written
            raise
        if last:
            self.sweep()

    def sweep(self) -> None:
        """Drop the stages that can never be published any more, by the rule of all stores.

        Of the state's own epoch only its owner may: there another attempt may be filling one just now. Inside a
        transaction nothing is swept: a stage that a dead attempt still locks would hold up the commit.
        """
        if self._transaction is not None:
            return
        named = self.state.staged_paths
        newest = self.state.epoch if self._owned else self.state.epoch - 1
        for stage in self._database.stages(self._table):
            epoch = epoch_of(self._table, stage)
            if epoch is not None and epoch <= newest and stage not in named:
                self._database.drop_stage(stage)

    def _now(self) -> datetime:
        return self._database.now()

    def _make_visible(self, files: Sequence[StagedFile]) -> None:
        if self._transaction is None or self.state.open is None:
            raise LandingBroken(f"the landing state of {self._row.name} holds an intent, which no database ever does")
        # Again, and in the transaction: a load may take hours, and the table may have changed meanwhile.
        check_same(self._transaction, self._table, self._row.name, self._table_id)
        schema, key = schema_of(self.state.columns), self.state.key_columns
        told_apart, mark = self.state.open.told_apart, self.state.open.marks
        if self.state.open.mode == "reload" and not self.state.open.difference:
            self._transaction.replace([file.staged for file in files], self._table, schema, key, told_apart)
        else:
            for file in files:
                self._transaction.merge(file.staged, self._table, schema, key, told_apart, mark)
        self.state = replace(self.state, table_id=self._transaction.table_id(self._table) or "")


def check_unclaimed(database: Database, table: str, entity: str) -> None:
    """Raise NotOurs where there is a table of this name, of which the landing state of ``entity`` knows nothing."""
    if database.has_table(table):
        raise NotOurs(
            f"{table} exists, and no load of {entity} has written it: {database.describe_table(table)}",
            hint=_hint_for(database, table, entity),
        )


def _hint_for(database: Database | Transaction, table: str, entity: str) -> str:
    """What to do about what has the name of a table; only a table can be handed over."""
    is_other = isinstance(database, Database) and database.plain_columns(table) == []
    return NO_TABLE_HINT if is_other else NOT_OURS_HINT.format(entity)


def check_same(database: Database | Transaction, table: str, entity: str, table_id: str) -> None:
    """Raise NotOurs where there is another table than that of ``table_id``, which is empty where it is unknown."""
    if table_id and database.table_id(table) not in (None, table_id):
        raise NotOurs(
            f"{table} is no longer the table that loads of {entity} have written: another table or view has been put "
            "in its place",
            hint=_hint_for(database, table, entity),
        )
