"""`python -m devcloud.onelake` serves until a signal; `python -m devcloud.onelake ceiling` measures the server."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import threading
from pathlib import Path

from devcloud.onelake.auth import DEFAULT_ACCOUNT_KEY, DEFAULT_ACCOUNT_NAME
from devcloud.onelake.behaviour import Behaviour
from devcloud.onelake.ceiling import measure
from devcloud.onelake.server import OneLake
from devcloud.switches import read_switches


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devcloud.onelake", description=__doc__)
    parser.add_argument("command", nargs="?", choices=("serve", "ceiling"), default="serve")
    parser.add_argument("--root", type=Path, help="directory that holds the filesystems (default: a temporary one)")
    parser.add_argument("--port", type=int, default=0, help="port on loopback (default: a free one)")
    parser.add_argument("--mode", choices=("onelake", "adls"), default="onelake")
    parser.add_argument("--workspace", action="append", default=[], help="make this workspace; repeatable")
    parser.add_argument("--item", action="append", default=[], help="make this item in every --workspace; repeatable")
    parser.add_argument("--filesystem", action="append", default=[], help="make this plain filesystem; repeatable")
    parser.add_argument("--account-name", default=DEFAULT_ACCOUNT_NAME)
    parser.add_argument("--account-key", default=DEFAULT_ACCOUNT_KEY)
    parser.add_argument("--sas-token", action="append", default=[], help="accept this SAS token; repeatable")
    parser.add_argument("--bearer-token", action="append", help="accept only these bearer tokens; repeatable")
    parser.add_argument("--tls", action="store_true", help="serve https with a certificate of its own")
    parser.add_argument(
        "--behaviour", action="append", default=[], metavar="NAME=VALUE", help="a switch of Behaviour; repeatable"
    )
    parser.add_argument("--operations-file", type=Path, help="append the operations log here, as JSON lines")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        behaviour = Behaviour(**read_switches(Behaviour, options.behaviour))
    except ValueError as error:
        parser.error(f"--behaviour: {error}")
    if options.command == "ceiling":
        measure()
        return 0
    with tempfile.TemporaryDirectory(prefix="onelake-") as temporary:
        return _serve(options, options.root or Path(temporary), behaviour)


def _serve(options: argparse.Namespace, root: Path, behaviour: Behaviour) -> int:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    lake = OneLake(
        root,
        options.port,
        options.mode,
        options.account_name,
        options.account_key,
        bearer_tokens=options.bearer_token,
        sas_tokens=options.sas_token,
        behaviour=behaviour,
        tls=options.tls,
        operations_file=options.operations_file,
    )
    for workspace in options.workspace:
        lake.create_workspace(workspace)
        for item in options.item:
            lake.create_item(workspace, item)
    for filesystem in options.filesystem:
        lake.create_filesystem(filesystem)
    with lake:
        print(f"url           {lake.url}")
        print(f"account_name  {lake.account_name}")
        print(f"account_key   {lake.account_key}")
        if options.tls:
            print(f"certificate   {lake.ca_certificate}")
        print(f"contents      {root}", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
