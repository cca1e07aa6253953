"""`python -m devcloud up`: the laptop cloud, left running until Ctrl-C. `hygge dev` starts it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from devcloud.cloud import MIRROR, WORKSPACE, LaptopCloud
from devcloud.doors import write_private
from devcloud.functions.settings import parse_instances

if sys.platform != "win32":
    import fcntl

REPOSITORY = Path(__file__).parent.parent

# Where the settings of the running cloud go; `hygge` commands on this project find them there.
SETTINGS_FILE = "local.settings.json"

# Held while a cloud runs on a directory, with the number of its process.
LOCK_FILE = "running.pid"

# Says that a settings file is this program's own, to be written again; a user's own file is never touched.
MADE_BY = "devcloud"


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m devcloud", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start everything and leave it running")
    up.add_argument("--project", type=Path, default=Path.cwd(), help="the project to load (default: this directory)")
    up.add_argument(
        "--directory", type=Path, default=Path(".devcloud"), help="where its data lives (default: .devcloud)"
    )
    up.add_argument("--functions-port", type=int, default=7071)
    up.add_argument("--instances", type=parse_instances, default=1, help="instances of the app (default: 1)")
    up.add_argument("--sql-port", type=int, default=14330)
    up.add_argument("--lake-port", type=int, default=10004)
    up.add_argument(
        "--schedule", default="0 */15 * * * *", help="HYGGE_SCHEDULE, six fields (default: every 15 minutes)"
    )
    options = parser.parse_args(arguments)
    if taken := _taken_ports(options):
        print("The laptop cloud could not start. Is it running already?", *taken, sep="\n", file=sys.stderr)
        return 2
    with _hold(options.directory.resolve()) as holder:
        if holder is not None:
            print(
                f"The laptop cloud could not start: another `hygge dev` (process {holder}) uses {options.directory}.\n"
                "  Stop it, or choose another directory with --directory OTHER.",
                file=sys.stderr,
            )
            return 2
        return _serve(options)


@contextlib.contextmanager
def _hold(directory: Path) -> Iterator[str | None]:
    """Keep other clouds off a directory for the time being; yields the process that does so already."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (directory / LOCK_FILE).open("a+") as file:
        if not _lock(file.fileno()):
            file.seek(0)
            yield file.read().strip() or "unknown"
            return
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield None


if sys.platform == "win32":

    def _lock(descriptor: int) -> bool:
        """DuckDB's own locks, which name the process, have to do there."""
        return True

else:

    def _lock(descriptor: int) -> bool:
        """Whether the lock was free; its holder's end frees it."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _taken_ports(options: argparse.Namespace) -> list[str]:
    """A line for each port that another program listens on, with the option that chooses another."""
    lines = []
    for option in ("functions_port", "sql_port", "lake_port"):
        port = getattr(options, option)
        with socket.socket() as listener:
            # As the servers do: a port whose last connections are still closing is free.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError as error:
                name = option.replace("_", "-")
                lines.append(
                    f"  port {port}: {error.strerror}; choose another with --{name} PORT (0: any that is free)"
                )
    return lines


def _serve(options: argparse.Namespace) -> int:
    started, ended = threading.Event(), threading.Event()

    def stop(*_: object) -> None:
        """The first signal stops what runs, or the start; the second ends the process, and its children with it."""
        if ended.is_set():
            os._exit(130)
        ended.set()
        if not started.is_set():
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    cloud = LaptopCloud(
        options.directory.resolve(),
        options.project.resolve(),
        say=lambda part, where, seconds: print(f"  {part:<20} {where:<26} ({seconds:.1f} s)", flush=True),
        schedule=options.schedule,
        functions_port=options.functions_port,
        instances=options.instances,
        sql_port=options.sql_port,
        lake_port=options.lake_port,
    )
    print("Starting the laptop cloud:", flush=True)
    try:
        with cloud:
            started.set()
            _explain(cloud, _write_settings(options.project.resolve(), cloud.settings()))
            ended.wait()
    except KeyboardInterrupt:
        pass  # stopped while it started
    except (OSError, RuntimeError) as error:
        print(f"The laptop cloud could not start: {error}.", file=sys.stderr)
        return 2
    print("Stopped; the data stays in", options.directory)
    return 0


def _write_settings(project: Path, settings: dict[str, str]) -> str:
    file = project / SETTINGS_FILE
    if file.exists() and not _is_ours(file):
        variables = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in settings.items())
        return f"{file} is yours and was left alone; what leads to this cloud:\n{variables}"
    text = json.dumps({"IsEncrypted": False, "MadeBy": MADE_BY, "Values": settings}, indent=2) + "\n"
    write_private(file, text)  # it holds the keys of the whole cloud
    return f"{file} now points at this cloud, so `hygge go` and `hygge runs` work here"


def _is_ours(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text())["MadeBy"] == MADE_BY)
    except (ValueError, KeyError, TypeError):
        return False


def _explain(cloud: LaptopCloud, settings: str) -> None:
    key, host = cloud.host.function_key, cloud.host
    several = len(host.instances) > 1
    instances = f"\n  instances            {host.url}/devcloud/instances   key: {host.master_key}" if several else ""
    print(
        f"""
  app                  {host.url}/api   key: {key}{instances}
  landing zone         {cloud.item / "Files" / "LandingZone"}
  mirrored tables      {cloud.item / "Tables"}   (Delta)
  replication status   {cloud.status.url}/v1/workspaces/{WORKSPACE}/mirroredDatabases/{MIRROR}/getTablesMirroringStatus
  settings             {settings}

Try:
  curl -X POST '{host.url}/api/loads' -H 'x-functions-key: {key}' -H 'content-type: application/json' -d '{{}}'
  curl '{host.url}/api/runs' -H 'x-functions-key: {key}'
Ctrl-C stops everything.""",
        flush=True,
    )
