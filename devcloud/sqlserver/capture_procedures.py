"""The procedures of change data capture."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from devcloud.sqlserver.arguments import Arguments, Procedure, read_arguments
from devcloud.sqlserver.engine.capture import last_lsn
from devcloud.sqlserver.engine.catalogue import CATALOGUE_SCHEMA
from devcloud.sqlserver.engine.definitions import Definer
from devcloud.sqlserver.engine.sysviews import SYSTEM_VIEWS, system_query
from devcloud.sqlserver.engine.values import Scalar, quote
from devcloud.sqlserver.errors import make_error, refuse
from devcloud.sqlserver.execution import Execution
from devcloud.sqlserver.tds.typeinfo import ResultColumn

_HELP: Final = "sp_cdc_help_change_data_capture"

_TABLE: Final = (
    *("source_schema", "source_name", "role_name", "capture_instance", "supports_net_changes", "index_name"),
    *("captured_column_list", "filegroup_name", "allow_partition_switch"),
)


def _switch(*, on: bool) -> Procedure:
    """Return sp_cdc_enable_db, or sp_cdc_disable_db, which ends the capture of every table."""

    def procedure(executor: Execution, arguments: Arguments) -> None:
        session = executor.session
        session.require_administrator("sp_cdc_enable_db" if on else "sp_cdc_disable_db")
        if not on:
            executor.define(lambda definer: definer.disable_all_captures())
        settings = replace(session.current.settings, change_data_capture=on, captured_up_to=-1)
        session.instance.change_settings(session.current, settings)
        if on:
            executor.results.done()

    return procedure


def _job(*, on: bool) -> Procedure:
    """Return sp_cdc_start_job, or sp_cdc_stop_job: without its job capture stays at the commit that it has reached."""

    def procedure(executor: Execution, arguments: Arguments) -> None:
        session = executor.session
        name = "sp_cdc_start_job" if on else "sp_cdc_stop_job"
        given = read_arguments(name, arguments, ("job_type",))
        session.require_administrator(name)
        if str(given.get("job_type") or "capture").lower() != "capture":
            raise refuse("the cleanup job of change data capture")
        reached = -1 if on else last_lsn(session.connection, session.database) or 0
        session.instance.change_settings(session.current, replace(session.current.settings, captured_up_to=reached))
        executor.results.done()

    return procedure


def _define(name: str, parameters: tuple[str, ...], action: Callable[[Definer, dict[str, Scalar]], None]) -> Procedure:
    """Return a procedure that changes definitions."""

    def procedure(executor: Execution, arguments: Arguments) -> None:
        given = read_arguments(name, arguments, parameters)
        executor.define(lambda definer: action(definer, given))

    return procedure


def _help(executor: Execution, arguments: Arguments) -> None:
    """Send the capture instances of a table, or all that the user may see. Raises SqlError 22901 or 22981."""
    session = executor.session
    given = read_arguments(_HELP, arguments, ("source_schema", "source_name"))
    catalogue = session.catalogue(session.database)
    if not session.current.settings.change_data_capture:
        raise make_error(22901, session.database)
    visible = [
        instance.object_id
        for table in catalogue.tables.values()
        for instance in table.captures
        if catalogue.may_see_captured(session.user, table, instance)
    ]
    if given.get("source_name") is not None:
        table = catalogue.find(str(given.get("source_schema") or ""), str(given["source_name"]))
        if table is None or any(each.object_id not in visible for each in table.captures):
            raise make_error(22981)
    view, where = SYSTEM_VIEWS[_HELP], f"{quote(catalogue.database)}.{CATALOGUE_SCHEMA}"
    names = {name: re.escape(str(given[name])) if given.get(name) else ".*" for name, _ in view.parameters}
    executor.send_query(
        [ResultColumn(name, kind) for name, kind in view.columns],
        system_query(view, session.database, where, session.databases),
        {**names, "visible": visible},
    )


CAPTURE_PROCEDURES: Final[dict[str, Procedure]] = {
    "sp_cdc_enable_db": _switch(on=True),
    "sp_cdc_disable_db": _switch(on=False),
    "sp_cdc_start_job": _job(on=True),
    "sp_cdc_stop_job": _job(on=False),
    "sp_cdc_enable_table": _define("sp_cdc_enable_table", _TABLE, Definer.enable_capture),
    "sp_cdc_disable_table": _define(
        "sp_cdc_disable_table", ("source_schema", "source_name", "capture_instance"), Definer.disable_capture
    ),
    "sp_cdc_cleanup_change_table": _define(
        "sp_cdc_cleanup_change_table", ("capture_instance", "low_water_mark", "threshold"), Definer.clean_up_captured
    ),
    "sp_addrolemember": _define("sp_addrolemember", ("rolename", "membername"), Definer.add_role_member),
    _HELP: _help,
}
