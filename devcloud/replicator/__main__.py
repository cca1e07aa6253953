"""Runs the replicator, or checks a landing zone, from the command line: `python -m devcloud.replicator --help`."""

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from azure.core.credentials import AzureSasCredential

from devcloud.replicator.checker import check_landing_zone
from devcloud.replicator.delta_tables import DeltaTables
from devcloud.replicator.landing_zone import DirectoryLandingZone, LandingZone
from devcloud.replicator.options import ReplicatorOptions
from devcloud.replicator.replicator import Replicator
from devcloud.replicator.rest import Credential, DataLakeLandingZone
from devcloud.replicator.rules import Severity
from devcloud.replicator.state import TickReport
from devcloud.replicator.status_api import StatusServer
from devcloud.switches import read_switches


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: of a check, 1 for a broken rule and 2 for no item; otherwise 0 once stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    checks = given[:1] == ["check"]
    parser = _parser(checks)
    settings = parser.parse_args(given[1:] if checks else given)
    if (settings.directory is None) == (settings.account_url is None):
        parser.error("give either --directory or --account-url")
    if settings.account_url is not None and not (settings.filesystem and settings.item):
        parser.error("--account-url needs --filesystem and --item")
    options = ReplicatorOptions(
        metadata_required=not settings.metadata_optional,
        underscore_schemas="ignore" if settings.ignore_underscore_schemas else "accept",
        accept_leading_marker=settings.accept_leading_marker,
    )
    try:
        options = replace(options, **read_switches(ReplicatorOptions, settings.option))
    except ValueError as error:
        parser.error(f"--option: {error}")
    zone = _zone(settings)
    return _check(zone, options, strict=settings.strict) if checks else _serve(parser, settings, zone, options)


def _parser(checks: bool) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devcloud.replicator" + (" check" if checks else ""))
    parser.description = (
        "Print what breaks the landing zone's rules; exit with 1 when a documented one is broken."
        if checks
        else "Mirror a landing zone into Delta tables until SIGTERM or SIGINT; with `check` first, check it instead."
    )
    where = parser.add_argument_group("where the item is")
    where.add_argument("--directory", type=Path, help="the item as a directory, the one that holds Files")
    where.add_argument("--account-url", help="a server of the Data Lake Storage REST API")
    where.add_argument("--filesystem", help="workspace id or container")
    where.add_argument("--item", help="item id, or a path below the filesystem")
    where.add_argument("--account-name")
    where.add_argument("--account-key")
    where.add_argument("--sas-token")
    where.add_argument("--ca-certificate", help="certificate (PEM) to trust, for a server with one of its own")
    where.add_argument("--folder-identity", choices=["etag", "mark"], default="etag")
    how = parser.add_argument_group("how Fabric behaves where its documents leave it open")
    how.add_argument("--metadata-optional", action="store_true", help="ingest tables without _metadata.json")
    how.add_argument("--ignore-underscore-schemas", action="store_true", help="ignore schemas such as __hygge.schema")
    how.add_argument("--accept-leading-marker", action="store_true", help="accept the row marker as first column")
    how.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="a switch of ReplicatorOptions; repeatable"
    )
    if checks:
        parser.add_argument("--strict", action="store_true", help="exit with 1 on warnings, too")
        return parser
    parser.add_argument("--tables", type=Path, help="where the Delta tables go (default: Tables of --directory)")
    parser.add_argument("--interval", type=float, default=20.0, help="seconds between passes (default: 20)")
    parser.add_argument("--once", action="store_true", help="make one pass and end")
    parser.add_argument("--status-port", type=int, help="serve Fabric's mirroring status on this port; 0 for any")
    parser.add_argument("--workspace-id", help="of the status API (default: the filesystem, or the parent directory)")
    parser.add_argument("--item-id", help="of the status API (default: the item, or the directory)")
    return parser


def _zone(settings: argparse.Namespace) -> LandingZone:
    if settings.directory is not None:
        return DirectoryLandingZone(settings.directory)
    credential: Credential = None
    if settings.sas_token:
        credential = AzureSasCredential(settings.sas_token)
    elif settings.account_key:
        credential = {"account_name": settings.account_name, "account_key": settings.account_key}
    elif settings.account_url.startswith("https://"):
        # Only here: it looks for credentials of every kind, which takes a while.
        from azure.identity import DefaultAzureCredential

        credential = DefaultAzureCredential()
    return DataLakeLandingZone(
        settings.account_url,
        settings.filesystem,
        settings.item,
        credential,
        folder_identity=settings.folder_identity,
        connection_verify=settings.ca_certificate or True,
    )


def _check(zone: LandingZone, options: ReplicatorOptions, *, strict: bool) -> int:
    try:
        findings = check_landing_zone(zone, options)
    except OSError as error:
        print(f"cannot read the item: {error}", file=sys.stderr)
        return 2
    for finding in findings:
        print(finding)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    print(f"{errors} errors, {len(findings) - errors} warnings")
    return int(errors > 0 or (strict and bool(findings)))


def _serve(
    parser: argparse.ArgumentParser, settings: argparse.Namespace, zone: LandingZone, options: ReplicatorOptions
) -> int:
    tables = settings.tables or (settings.directory and settings.directory / "Tables")
    if tables is None:
        parser.error("--account-url needs --tables")
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    replicator = Replicator(zone, DeltaTables(tables), options)
    if settings.once:
        report = replicator.tick()
        _print_report(report)
        return int(report.unavailable is not None)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    status = None
    if settings.status_port is not None:
        directory = (settings.directory or Path()).resolve()
        workspace = settings.workspace_id or settings.filesystem or directory.parent.name
        item = settings.item_id or settings.item or directory.name
        status = StatusServer({(workspace, item): replicator}, settings.status_port).start()
        print(f"mirroring status: {status.url}/v1/workspaces/{workspace}/mirroredDatabases/{item}", flush=True)
        print(f"key for starting and stopping: {status.key}", flush=True)
    print(f"mirrored tables: {tables}", flush=True)
    while not ended.is_set():
        _print_report(replicator.tick())
        ended.wait(settings.interval)
    if status is not None:
        status.stop()
    return 0


def _print_report(report: TickReport) -> None:
    for verb, names in (("created", report.created), ("rebuilt", report.rebuilt), ("dropped", report.dropped)):
        for name in names:
            print(f"{verb} {name}", flush=True)
    for file in report.applied:
        print(f"applied {file.table} {file.path.rpartition('/')[2]} ({file.rows} rows)", flush=True)
    if report.unavailable is not None:
        print(f"unavailable: {report.unavailable}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
