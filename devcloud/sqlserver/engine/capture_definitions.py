"""Carries out the procedures that begin and end change data capture of tables, and guards the tables it captures."""

from __future__ import annotations

import re

from devcloud.sqlserver.engine.capture import captured_table, draw_lsn, key_names, lsn_bytes
from devcloud.sqlserver.engine.catalogue import CaptureInstance, Catalogue, Key, Table, type_text
from devcloud.sqlserver.engine.moments import ticks_to_datetime
from devcloud.sqlserver.engine.tracking_definitions import TrackingDefiner
from devcloud.sqlserver.engine.values import Scalar, quote
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.tsql import commands
from devcloud.sqlserver.tsql.syntax import Name

MOST_INSTANCES = 2
"""Capture instances that a table may have."""


class CaptureDefiner(TrackingDefiner):
    """Begins and ends the capture of tables."""

    def enable_capture(self, given: dict[str, Scalar]) -> None:
        """Carry out sp_cdc_enable_table. Raises SqlError 22901, 22926 or 22962."""
        catalogue, table = self._captured(given)
        name = str(given.get("capture_instance") or f"{table.schema}_{table.name}")
        if any(name.lower() == each.name.lower() for one in catalogue.tables.values() for each in one.captures):
            raise make_error(22926, name)
        if len(table.captures) == MOST_INSTANCES:
            raise make_error(22962, table.schema, table.name)
        if not key_names(table):
            raise refuse("sp_cdc_enable_table of a table without a primary key")
        columns = [column for column in table.stored if column.name in self._listed(table, given)]
        missing = [key for key in key_names(table) if key not in [column.name for column in columns]]
        if missing and int(str(given.get("supports_net_changes") or 0)):
            raise refuse("net changes of a table whose key is not captured")
        start = draw_lsn(self._connection, catalogue.database, None)
        role = given.get("role_name")
        key = table.primary_key
        instance = CaptureInstance(
            self._new_id(catalogue),
            table.object_id,
            name,
            tuple(column.name for column in columns),
            tuple(column.column_id for column in columns),
            tuple(column.type for column in columns),
            start,
            None if role is None else str(role),
        )
        self._run(
            f"INSERT INTO {self._where(catalogue)}.capture_instances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(instance.object_id, table.object_id, name, list(instance.columns), list(instance.column_ids)),
            *(
                [type_text(each) for each in instance.types],
                key_names(table),
                start,
                instance.role,
                key.name if key else None,
            ),
            ticks_to_datetime(self._environment.now),
        )
        held = ", ".join(f"{quote(column.name)} {column.type.storage}" for column in columns)
        target = captured_table(catalogue.database, instance)
        self._run(f"CREATE TABLE {target} (number BIGINT, step INTEGER, operation INTEGER, {held})")

    def disable_capture(self, given: dict[str, Scalar]) -> None:
        """Carry out sp_cdc_disable_table. Raises SqlError 22901 or 22960."""
        catalogue, table = self._captured(given)
        name = str(given.get("capture_instance") or "")
        ended = [each for each in table.captures if name.lower() in ("all", each.name.lower())]
        if not ended:
            raise make_error(22960, name, table.schema, table.name)
        for instance in ended:
            self._end_capture(catalogue, instance)

    def disable_all_captures(self) -> None:
        """End the capture of every table, as sp_cdc_disable_db does."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        for table in catalogue.tables.values():
            for instance in table.captures:
                self._end_capture(catalogue, instance)
        self._run(f"DELETE FROM {self._where(catalogue)}.captured_commits")

    def clean_up_captured(self, given: dict[str, Scalar]) -> None:
        """Carry out sp_cdc_cleanup_change_table: forget what lies before an LSN, in every instance that reaches back
        further."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        mark = given.get("low_water_mark")
        if mark is None:
            return
        number = int.from_bytes(mark[4:8] if isinstance(mark, bytes) else b"", "big")
        where = self._where(catalogue)
        known = self._connection.execute(f"SELECT 1 FROM {where}.captured_commits WHERE lsn = ?", [number]).fetchall()
        if not known or mark != lsn_bytes(number):
            raise refuse("sp_cdc_cleanup_change_table up to an LSN that no commit has")
        earlier = f"(SELECT number FROM {where}.captured_commits WHERE lsn < {number})"
        for table in catalogue.tables.values():
            for instance in table.captures:
                if instance.start < number:
                    self._run(f"DELETE FROM {captured_table(catalogue.database, instance)} WHERE number IN {earlier}")
        self._run(f"UPDATE {where}.capture_instances SET start = ? WHERE start < ?", number, number)

    def add_role_member(self, given: dict[str, Scalar]) -> None:
        """Carry out sp_addrolemember."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        role, member = (str(given.get(name) or "") for name in ("rolename", "membername"))
        for name in (role, member):
            if name.lower() not in catalogue.principals:
                raise make_error(15151, "principal", name)
        self._run(f"INSERT INTO {self._where(catalogue)}.role_members VALUES (?, ?)", role, member)

    def _captured(self, given: dict[str, Scalar]) -> tuple[Catalogue, Table]:
        """The table that a procedure names, whose database has to be captured."""
        catalogue = self._environment.catalogue(self._environment.database)
        self._require_administrator(catalogue)
        if not self._environment.settings(catalogue.database).change_data_capture:
            raise make_error(22901, catalogue.database)
        name: Name = (str(given.get("source_schema") or ""), str(given.get("source_name") or ""))
        return self._existing(name)

    @staticmethod
    def _listed(table: Table, given: dict[str, Scalar]) -> set[str]:
        """The names of the columns that are to be captured."""
        text = given.get("captured_column_list")
        if text is None:
            return {column.name for column in table.columns}
        named = [part.strip().removeprefix("[").removesuffix("]") for part in re.split(",", str(text))]
        found = [table.column(name) for name in named]
        if None in found:
            raise make_error(207, named[found.index(None)])
        return {column.name for column in found if column is not None}

    def _end_capture(self, catalogue: Catalogue, instance: CaptureInstance) -> None:
        self._run(f"DROP TABLE {captured_table(catalogue.database, instance)}")
        self._run(f"DELETE FROM {self._where(catalogue)}.capture_instances WHERE object_id = ?", instance.object_id)

    def _end_captures(self, catalogue: Catalogue, table: Table) -> None:
        for instance in table.captures:
            self._end_capture(catalogue, instance)

    def alter_column(self, statement: commands.AlterColumn) -> None:
        """Carry out ALTER TABLE … ALTER COLUMN, but for columns that are captured."""
        column = self._existing(statement.table)[1].column(statement.column)
        self._check_not_captured(statement.table, column.column_id if column else 0, "ALTER COLUMN")
        super().alter_column(statement)

    def rename_column(self, table_name: Name, old: str, new: str) -> None:
        """Carry out sp_rename of a column, but for columns that are captured."""
        column = self._existing(table_name)[1].column(old)
        self._check_not_captured(table_name, column.column_id if column else 0, "sp_rename")
        super().rename_column(table_name, old, new)

    def _check_not_captured(self, table_name: Name, column_id: int, what: str) -> None:
        table = self._existing(table_name)[1]
        if any(column_id in instance.column_ids for instance in table.captures):
            raise refuse(f"{what} of a column that change data capture captures")

    def _drop_key(self, catalogue: Catalogue, table: Table, key: Key) -> None:
        if key.primary and table.captures:
            raise refuse("dropping the primary key of a table that change data capture captures")
        super()._drop_key(catalogue, table, key)
