"""The command line where the system is not Linux: what POSIX alone has is hidden, and Windows' locks stand in."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Runs as a program of its own: what other packages import for this system is imported before it is hidden.
HIDING = """
import importlib, importlib.abc, json, os, pkgutil, platform, signal, sys, types
import azure.identity, azure.storage.blob, azure.storage.filedatalake, deltalake, polars, pyarrow.parquet, rich.console
import azure.durable_functions, mssql_python, opentelemetry.sdk.metrics, opentelemetry.sdk.trace, pyodbc
import azure.monitor.opentelemetry.exporter, opentelemetry.exporter.otlp.json.http.trace_exporter
import asyncio, subprocess, tempfile, typer.testing, webbrowser

HIDDEN = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

for name in HIDDEN:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Refuse())
for module, names in {
    os: "O_DIRECTORY O_NOFOLLOW fork forkpty geteuid getuid register_at_fork setxattr getxattr killpg getpgid sysconf",
    signal: "SIGKILL SIGURG SIGHUP SIGUSR1 pthread_kill",
}.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
platform.libc_ver = lambda *arguments, **options: ("", "")
sys.modules["msvcrt"] = types.SimpleNamespace(LK_NBLCK=2, locking=lambda descriptor, mode, count: None)

import pathlib
real = pathlib.Path.read_text
def read_text(self, *arguments, **options):
    if str(self).startswith("/proc"):
        raise FileNotFoundError(2, "No such file or directory", str(self))
    return real(self, *arguments, **options)
pathlib.Path.read_text = read_text

PLATFORM = sys.argv[1]
sys.platform = PLATFORM
import hygge_engine
names = [m.name for m in pkgutil.walk_packages(hygge_engine.__path__, "hygge_engine.") if "__main__" not in m.name]
for name in names:
    importlib.import_module(name)

from typer.testing import CliRunner
from hygge_engine.cli.app import app

codes = {}
commands = ["--version", "--help", "validate", "plan --offline", "go --json", "go --run-type full_drop", "runs"]
for command in [line.split() for line in commands]:
    where = [] if command[0].startswith("--") else ["--project", sys.argv[2]]
    result = CliRunner().invoke(app, [*command, *where])
    codes[" ".join(command)] = (result.exit_code, result.output[-2000:] + repr(result.exception))
print(json.dumps({"modules": len(names), "codes": codes}))
"""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_every_module_and_the_basic_commands_do_without_posix(tmp_path: Path, platform: str) -> None:
    (tmp_path / "flows/shop").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    # With the line ends and the mark at the beginning that editors on Windows write.
    (tmp_path / "data/orders.csv").write_bytes(b"\xef\xbb\xbfid,name\r\n1,a\r\n2,b\r\n")
    (tmp_path / "hygge.yml").write_bytes(b"name: shop\r\n")
    (tmp_path / "flows/shop/flow.yml").write_bytes(
        b"run_type: full_drop\r\nhome: { type: local, path: data/orders.csv, format: csv }\r\n"
        b"store: { type: local, path: warehouse }\r\nentities: [orders]\r\n"
    )
    hidden = set() if platform == "win32" else {'"fcntl", ', '"termios", ', '"resource", '}
    program = HIDING
    for name in hidden:  # macOS has them
        program = program.replace(name, "")
    if platform == "darwin":
        program = program.replace("pthread_kill", "").replace("SIGURG", "").replace("register_at_fork", "")
    ended = subprocess.run(
        [sys.executable, "-c", program, platform, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["modules"] > 200
    assert {command: code for command, (code, _) in found["codes"].items()} == dict.fromkeys(found["codes"], 0), found
