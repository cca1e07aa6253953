"""`hygge probe` on emulators that respond as is assumed, and on those whose switches play other responses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from devcloud.onelake import Behaviour, OneLake
from devcloud.onelake.operations import Operation
from devcloud.replicator import Replicator, ReplicatorOptions, StatusServer
from hygge_engine.cli.app import app
from hygge_engine.probe import mirroring
from hygge_engine.probe.assumptions import ASSUMPTIONS, MIRRORING, STORAGE
from hygge_engine.probe.storage import try_storage
from hygge_engine.probe.wire import Allowance, Wire
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from tests.integration.fabric_item import MIRROR, WORKSPACE

DOCUMENT = Path(__file__).parents[2] / "docs/probe.md"
FLOW = """\
home: {{ type: local, path: "data/{{entity}}.csv", format: csv }}
store: {{ type: open_mirroring, account_url: "{url}", filesystem: "{workspace}", mirror_name: elsewhere,
          credential: account_key, account_name: "{account}", account_key: "{key}" }}
entities: [orders]
"""


@pytest.fixture
def project(tmp_path: Path, lake: OneLake) -> Path:
    directory = tmp_path / "project"
    (directory / "flows/shop").mkdir(parents=True)
    (directory / "hygge.yml").write_text("name: shop\n")
    values = {"url": lake.url, "workspace": WORKSPACE, "account": lake.account_name, "key": lake.account_key}
    (directory / "flows/shop/flow.yml").write_text(FLOW.format(**values))
    return directory


def arguments(project: Path, *more: str) -> list[str]:
    where = ["--project", str(project), "--flow", "shop", "--workspace", WORKSPACE, "--mirror", MIRROR]
    return ["probe", *where, "--json", "--report", str(project / "found"), *more]


def probe(project: Path, expected: int, *more: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, arguments(project, *more))
    assert result.exit_code == expected, (result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def files_of(lake: OneLake) -> list[str]:
    """What is in the item's Files, but for what Fabric itself makes."""
    root = lake.path(WORKSPACE, MIRROR, "Files")
    paths = (str(path.relative_to(root)) for path in root.rglob("*"))
    return sorted(path for path in paths if not path.startswith("Monitoring") and path != "LandingZone")


def replicating(lake: OneLake, options: ReplicatorOptions, stack: ExitStack) -> Replicator:
    replicator = Replicator.on_disk(lake.path(WORKSPACE, MIRROR), options=options)
    replicator.run_in_background(0.05)
    stack.callback(replicator.stop)
    return replicator


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirroring, "FIRST_POLL_SECONDS", 0.05)
    monkeypatch.setattr(mirroring, "LONGEST_POLL_SECONDS", 0.2)


def test_everything_holds_and_nothing_is_left(project: Path, lake: OneLake, quick: None) -> None:
    with ExitStack() as stack:
        replicator = replicating(lake, ReplicatorOptions(), stack)
        status = stack.enter_context(StatusServer({(WORKSPACE, MIRROR): replicator}))
        found = probe(project, 0, "--var", f"flow.shop.store.fabric_api_url={status.url}")
    assert [row["id"] for row in found["assumptions"]] == list(ASSUMPTIONS)
    assert found["counts"] == {"yes": len(ASSUMPTIONS), "no": 0, "unknown": 0}
    assert files_of(lake) == []
    assert json.loads((project / "found.json").read_text(encoding="utf-8")) == found
    page = (project / "found.md").read_text(encoding="utf-8")
    assert page.count("| yes |") == len(ASSUMPTIONS)
    assert lake.account_key not in page


def test_each_other_answer_of_the_replicator_is_seen(
    project: Path, lake: OneLake, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "SHOW_SECONDS", 2.0)
    monkeypatch.setattr(mirroring, "DROP_SECONDS", 1.0)
    other = ReplicatorOptions(
        underscore_schemas="ignore",
        sticky_failures="folder",
        gaps="skip",
        dropped_tables="listed",
        status_names="lower",
        processed_folder="_Archive",
    )
    with ExitStack() as stack:
        replicating(lake, other, stack)
        found = probe(project, 1)
    refuted = {row["id"] for row in found["assumptions"] if row["holds"] == "no"}
    assert refuted == {
        *("underscore_schema", "failure_mended", "failure_reloaded", "order", "dropped", "names_as_spelt"),
        "fabrics_files",
    }
    assert {row["id"] for row in found["assumptions"] if row["holds"] == "unknown"} == {"rebuilt"}
    assert all(row["set"] for row in found["assumptions"] if row["holds"] != "yes")
    assert files_of(lake) == []


def test_a_rename_that_ignores_conditions_spoils_nothing_else(project: Path, lake: OneLake, quick: None) -> None:
    lake.behaviour.ignored_conditions = frozenset({"rename"})
    with ExitStack() as stack:
        replicating(lake, ReplicatorOptions(), stack)
        found = probe(project, 1)
    others = {row["id"] for row in found["assumptions"] if row["holds"] != "yes"}
    assert others == {"rename_if_absent", "rename_if_match", "landing_rename"}


def test_without_a_status_nothing_is_said_of_fabric(
    project: Path, lake: OneLake, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "STATUS_SECONDS", 0.5)
    rows = {row["id"]: row for row in probe(project, 1)["assumptions"]}
    assert {rows[each.id]["holds"] for each in STORAGE} == {"yes"}
    assert {each.id for each in MIRRORING if rows[each.id]["holds"] != "unknown"} == {"status_told", "landing_rename"}
    assert files_of(lake) == []


@pytest.mark.parametrize(
    ("behaviour", "refuted"),
    [
        (Behaviour(puts_blobs=False), {"put_whole", "put_if_absent"}),
        (Behaviour(ignored_conditions=frozenset({"put_blob"})), {"put_if_absent", "put_if_match"}),
        (Behaviour(ignored_conditions=frozenset({"rename"})), {"rename_if_absent", "rename_if_match"}),
        (Behaviour(ignored_conditions=frozenset({"delete"})), {"folder_delete_if_match"}),
        (Behaviour(ignored_conditions=frozenset({"create", "create_directory"})), {"create_if_absent"}),
        (Behaviour(ignored_conditions=frozenset({"read"})), {"ranges"}),
        (Behaviour(conditional_rename_status=412, rename_looks_at_destination_first=True), set()),
        (Behaviour(rename_keeps_etag=False, directory_create_changes_etag=True, page_size=1), set()),
        (Behaviour(rename_makes_parents=True), {"rename_no_parent"}),
        (Behaviour(folder_etag="contents"), {"folder_etag_steady"}),
        (Behaviour(folder_etag="name"), {"folder_etag_new"}),
        (Behaviour(folders_answer_head=False), {"folder_head"}),
    ],
    ids=lambda value: "" if isinstance(value, set) else re.sub(r"\W+", "-", repr(value))[:20],
)
def test_each_other_answer_of_storage_is_seen(tmp_path: Path, behaviour: Behaviour, refuted: set[str]) -> None:
    with OneLake(tmp_path, mode="adls", behaviour=behaviour) as lake:
        lake.create_filesystem("data")
        settings = OpenMirroringSettings(
            type="open_mirroring",
            account_url=lake.url,
            filesystem="data",
            mirror_name="m",
            credential="account_key",
            account_name=lake.account_name,
            account_key=lake.account_key,  # type: ignore[arg-type]
        )
        found = list(try_storage(Wire(settings, Allowance(60, 500)), "trials"))
    assert {finding.id for finding in found if finding.holds == "no"} == refuted
    assert [finding.id for finding in found] == [each.id for each in STORAGE]


@pytest.mark.parametrize(
    "path",
    [
        "Files/LandingZone/dbo.schema/orders/_metadata.json",
        "Files/LandingZone/hygge_probe.schema/orders/_metadata.json",
        "Files/LandingZone/_partnerEvents.json",
        "Files/.hygge_journal/journal.parquet",
        "Tables/dbo/orders/_delta_log/0.json",
    ],
)
def test_a_database_that_holds_anything_is_refused_and_left_alone(project: Path, lake: OneLake, path: str) -> None:
    file = lake.path(WORKSPACE, MIRROR, *path.split("/"))
    file.parent.mkdir(parents=True)
    file.write_bytes(b"{}")
    before = files_of(lake)
    found = probe(project, 2)
    assert found["error"] == "store.not_ours"
    assert "not empty" in found["message"]
    assert files_of(lake) == before
    assert not any(operation.mutating for operation in lake.operations.select())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_a_probe_leaves_that_is_stopped_goes(
    project: Path, lake: OneLake, quick: None, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """By itself after Ctrl-C; by the next one after a kill."""
    landed: list[Operation] = []
    lake.on_operation(lambda done, phase: landed.append(done) if "/LandingZone/" in done.path else None)
    call = "from hygge_engine.cli import main; main()"
    child = subprocess.Popen([sys.executable, "-c", call, *arguments(project)], stdout=subprocess.DEVNULL)
    while len(landed) < 8:
        assert child.poll() is None
        time.sleep(0.02)
    os.kill(child.pid, number)
    assert child.wait(60) in (130, -signal.SIGKILL)
    if number is signal.SIGKILL:
        assert any(path.startswith("LandingZone/hygge_probe.schema/Rows_") for path in files_of(lake))
        monkeypatch.setattr(mirroring, "STATUS_SECONDS", 0.2)
        probe(project, 1)
    assert files_of(lake) == []


def test_a_probe_that_is_at_work_is_not_disturbed(project: Path, lake: OneLake) -> None:
    claim = lake.path(WORKSPACE, MIRROR, "Files/.hygge_probe/claim.json")
    claim.parent.mkdir()
    claim.write_text(json.dumps({"run": "other", "process": "elsewhere/1:1"}))
    assert probe(project, 2)["error"] == "store.busy"
    assert files_of(lake) == [".hygge_probe", ".hygge_probe/claim.json"]


def test_the_page_has_the_same_assumptions() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (.+) \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == [(each.id, each.text, each.remedy) for each in ASSUMPTIONS.values()]
