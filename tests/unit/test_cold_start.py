"""What the first caller of a cold app waits for, and everybody who asks the command line something small: no driver, no
Arrow and no cloud SDK before a slice needs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Each costs a tenth of a second to several, and megabytes. What the durable SDK itself imports is not among them.
HEAVY = [
    "azure.core",
    "azure.identity",
    "azure.storage.blob",
    "azure.storage.filedatalake",
    "cryptography",
    "deltalake",
    "hygge_engine.flow.run",
    "mssql_python",
    "numpy",
    "polars",
    "pyarrow",
    "pyodbc",
    "requests",
    "sqlite3",
]

SETTINGS = {
    "SQL_SERVER": "sql.example.com",
    "WORKSPACE_ID": "11111111-1111-1111-1111-111111111111",
    "MIRROR_ID": "22222222-2222-2222-2222-222222222222",
    "HYGGE_PROJECT": str(ROOT),
}

APP = """
import asyncio, json, sys
import function_app

class Client:
    async def get_status_by(self, *, runtime_status):
        return []

    async def start_new(self, name, instance_id=None, client_input=None):
        return instance_id

async def start():
    return await function_app.api.start_load(b"{}", Client(), requested_by="test")

found = {"import": None, "health": function_app.api.health(), "flows": function_app.api.flows()}
found["start"] = asyncio.run(start())
statuses = [answer.status for answer in found.values() if answer]
print(json.dumps({"statuses": statuses, "heavy": [name for name in sys.argv[1:] if name in sys.modules]}))
"""

COMMAND_LINE = """
import contextlib, io, json, sys
from hygge_engine.cli.app import app

statuses = []
for arguments in (["--help"], ["validate"]):
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            app(arguments)
        except SystemExit as end:
            statuses.append(end.code or 0)
print(json.dumps({"statuses": statuses, "heavy": [name for name in sys.argv[1:] if name in sys.modules]}))
"""

APP_START = "import function_app"
COMMAND_LINE_START = "import hygge_engine.cli; sys.argv = ['hygge', '--version']; hygge_engine.cli.main()"
LIBRARY = "import hygge_engine.flow.run"

ALLOCATOR = """
import contextlib, io, json, os, sys
os.environ.pop("ARROW_DEFAULT_MEMORY_POOL", None)
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
    {}
import pyarrow
print(json.dumps(["ARROW_DEFAULT_MEMORY_POOL" in os.environ, pyarrow.default_memory_pool().backend_name == "system"]))
"""

LAKE = """
import json, sys
import hygge_engine.lake.datalake
early = "aiohttp" in sys.modules

from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobServiceClient

client = BlobServiceClient("https://example.com", credential={"account_name": "a", "account_key": "a"})
print(json.dumps([early, isinstance(client._pipeline._transport, AioHttpTransport), "aiohttp" in sys.modules]))
"""


def run(program: str) -> Any:
    """What a fresh process says of itself."""
    done = subprocess.run(
        [sys.executable, "-c", program, *HEAVY],
        cwd=ROOT,
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_app_starts_and_takes_a_load_without_anything_heavy() -> None:
    assert run(APP) == {"statuses": [200, 200, 202], "heavy": []}


def test_the_command_line_explains_and_checks_without_anything_heavy() -> None:
    assert run(COMMAND_LINE) == {"statuses": [0, 0], "heavy": []}


@pytest.mark.parametrize(("start", "is_set"), [(APP_START, True), (COMMAND_LINE_START, True), (LIBRARY, False)])
def test_the_programs_choose_how_arrow_allocates_and_the_library_leaves_it(start: str, is_set: bool) -> None:
    assert run(ALLOCATOR.format(start)) == [is_set, is_set]


def test_a_lake_is_opened_without_the_asynchronous_transport_which_stays_there_for_others() -> None:
    assert run(LAKE) == [False, True, True]


def test_ctrl_c_is_minded_before_anything_else_is_imported() -> None:
    """Whatever is imported before `main` could be interrupted with a stack trace."""
    code = (
        "import sys, site; there = set(sys.modules); import hygge_engine.cli; print(*sorted(set(sys.modules) - there))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= {"hygge_engine", "hygge_engine.cli", "os", "_signal"}
