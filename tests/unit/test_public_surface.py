"""What others count on, name by name: a change of it changes this file, on purpose."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hygge_engine
from hygge_engine import testing
from hygge_engine.homes.base import ChecksAccess, ChecksCursors, Divides, Home, Remarks
from hygge_engine.journal.rows import SCHEMA
from hygge_engine.lake.base import Lake
from hygge_engine.project import settings
from hygge_engine.stores.base import Destination, ReadBack, RowWriter
from hygge_engine.stores.database.base import Database, Transaction
from hygge_engine.stores.database.table import DatabaseTable
from hygge_engine.stores.folder_table import FolderTable
from hygge_engine.stores.landing.lease import TableLease

REPOSITORY = Path(__file__).parents[2]

NAMES = """
    ConfigurationError ConnectionSettings Entity Flow HomeSettings HyggeError JournalPlaceSettings Problem Project
    StoreSettings __version__ load_project register_connection register_home register_journal_place register_store
"""
SETTINGS = """
    ConnectionSettings HomeSettings JournalPlaceSettings Settings StoreSettings Surroundings register_connection
    register_home register_journal_place register_store
"""
METHODS = {
    Home: "__enter__ __exit__ count count_at describe high_water read",
    Destination: """adopt attach check_access check_columns check_history check_place claim clear digest_writer drop
        drop_wait hold_range publish ranges read_back read_digests state state_to_replace states writer""",
    RowWriter: "abandon delete finish write",
    ReadBack: "count pending read version",
    ChecksAccess: "check_access",
    ChecksCursors: "bound cursor_type",
    Divides: "divide",
    Remarks: "remarks",
    Lake: "delete delete_directory info list make_directory now put read read_range rename stage",
    Database: """check_access check_names columns create_stage describe_table drop_stage has_landing_table has_table now
        plain_columns read_back read_state stages state_names table_id transaction""",
    Transaction: "merge replace replace_state table_id",
    DatabaseTable: """adopt attach check_access check_history check_place claim clear digest_writer publish read_back
        read_digests state states writer""",
    FolderTable: """adopt attach check_history check_place claim claimed data_file drop first_files hold_range
        landed_paths publish ranges read_digests state state_of states""",
    TableLease: """adopt attach begin check_finishable discard drop_finished finish forget_changes forget_snapshot
        intend is_outdated move_on note_back note_pruned note_waiting record_drop release renew stage_changes sweep
        take_over withdraw write_changes""",
}
ABSTRACT = {
    Destination: "attach publish state writer",
    ReadBack: "count read",
    Database: """create_stage drop_stage has_table now plain_columns read_back read_state stages state_names table_id
        transaction""",
    DatabaseTable: "",
    FolderTable: "data_file writer",
    TableLease: "_make_visible _now sweep",
}
PARAMETERS: dict[Callable[..., None], str] = {
    testing.check_home: "open_home cursor",
    testing.check_store: "open_table read_back key_columns",
}
ROUTES = """
    POST loads · GET loads/{load_id} · POST loads/{load_id}/cancel · GET flows · GET runs
    · GET runs/{coordinator_run_id} · GET health · GET openapi.json
"""
COLUMNS = """
    entity_run_id coordinator_run_id flow_run_id coordinator flow entity start_time finish_time status run_type
    row_count duration primary_key watermark_column watermark_type watermark message schema_version bytes files error
    attempts requested_by expectations principal rows_inserted rows_updated rows_deleted rows_unchanged
"""


def methods_of(kind: type) -> set[str]:
    own = {name for name, value in vars(kind).items() if inspect.isfunction(value)}
    return {name for name in own if not name.startswith("_") or name in ("__enter__", "__exit__")}


def test_programs_may_count_on_these_names() -> None:
    assert hygge_engine.__all__ == NAMES.split()
    assert all(getattr(hygge_engine, name) is not None for name in hygge_engine.__all__)
    assert settings.__all__ == SETTINGS.split()


def test_a_type_checker_believes_the_annotations() -> None:
    assert (REPOSITORY / "hygge_engine/py.typed").is_file()


def test_importing_the_package_imports_nothing_of_it() -> None:
    script = "import sys, hygge_engine; print([name for name in sys.modules if name.startswith('hygge_engine.')])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_homes_and_stores_of_others_have_these_methods() -> None:
    for kind, names in METHODS.items():
        assert methods_of(kind) == set(names.split()), kind
    for abstract, names in ABSTRACT.items():
        assert abstract.__abstractmethods__ == set(names.split()), abstract


def test_checks_for_others_take_these_arguments() -> None:
    for check, names in PARAMETERS.items():
        assert list(inspect.signature(check).parameters) == names.split(), check


def test_callers_have_these_routes() -> None:
    program = ast.parse((REPOSITORY / "function_app.py").read_text(encoding="utf-8"))
    found = [
        f"{ast.literal_eval(given['methods'])[0]} {ast.literal_eval(given['route'])}"
        for call in ast.walk(program)
        if isinstance(call, ast.Call)
        for given in [{word.arg: word.value for word in call.keywords}]
        if {"route", "methods"} <= given.keys()
    ]
    assert sorted(found) == sorted(" ".join(route.split()) for route in ROUTES.split("·"))


def test_the_journal_has_these_columns_and_grows_at_its_end() -> None:
    assert SCHEMA.names == COLUMNS.split()


def test_make_help_tells_of_every_target() -> None:
    text = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    done = subprocess.run(["make", "-s", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(phony.split())
    assert all(len(line.split(maxsplit=1)) == 2 for line in done.stdout.splitlines())
