"""Whatever text a load carries, its end is written down: in the journal, its mirror, responses, traces, lineage, and on
a terminal."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.errors import HomeNotFound
from hygge_engine.flow.slices import SliceResult
from hygge_engine.orchestration.local import LocalLoad
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.plain_text import RECORDED_LIMIT_CHARACTERS, recordable
from hygge_engine.telemetry.lineage.lineage import Lineage
from hygge_engine.telemetry.lineage.settings import LineageSettings
from hygge_engine.telemetry.telemetry import Telemetry
from hygge_engine.web.api import Api
from hygge_engine.web.responses import Response
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.support.logged_events import events
from tests.support.recorder import Recorder
from tests.unit.load_world import FLOW_YML, LoadWorld
from tests.unit.telemetry_world import Machine

# Any character at all, halves of pairs among them; and texts of a kind that has done harm.
ANY = st.text(st.characters(), max_size=40)
HARMFUL = st.sampled_from(
    [
        "\ud800",
        "a\udfffb",
        "\udfff\ud800",
        "\x00",
        "\x1b[2K\x1b[1A",
        "\r\n\x85\u2028",
        "\ufeff\u202e\ufffe\uffff",
        "%s {0} ${X} [red]",
        "é" * 200_000,
        "\"\\'",
        "",
    ]
)
TEXT = ANY | HARMFUL

FLOW = FLOW_YML.replace("  key_columns: [id]", "  key_columns: [id]\n  mirror_journal: true")


class Remembered:
    """A world in which many loads have ended, each of them remembered everywhere."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHOP_PASSWORD", "correct horse")
        self.world = LoadWorld(directory, monkeypatch, flow=FLOW)
        self.world.fill(orders=1)
        self.machine = Machine()
        self.lineage = directory / "lineage.ndjson"
        self.telemetry = Telemetry(self.machine.telemetry._signals, Lineage(LineageSettings(path=str(self.lineage))))

    def run(self, request: LoadRequest) -> dict[str, Any]:
        load = LocalLoad(self.world.project, request, Recorder(), telemetry=lambda: self.telemetry)
        return load.run()

    def row(self, load_id: str) -> dict[str, Any]:
        (row,) = [row for row in self.world.journal() if row["coordinator_run_id"] == load_id]
        return row

    def mirrored(self, table: str = "journal") -> dict[str, dict[str, Any]]:
        """The loads that a mirrored table knows, each with one of its rows."""
        files = self.world.lake_directory.rglob(f"LandingZone/*/{table}/*.parquet")
        return {row["coordinator_run_id"]: row for path in files for row in pl.read_parquet(path).to_dicts()}

    def documents(self, request: LoadRequest, summary: Mapping[str, Any]) -> list[Any]:
        """All that is said of a load in JSON: rows, mirrored rows, responses, attributes of spans, lineage."""
        load_id = str(request.coordinator_run_id)
        self.telemetry.flush()
        said: list[Any] = [self.row(load_id), self.mirrored()[load_id], self.mirrored("loads")[load_id]]
        said += [dict(span.attributes or {}) for span in self.machine.spans()]
        said += [json.loads(line) for line in self.lineage.read_bytes().decode().splitlines()]
        api, client = promised(Api(lambda: self.world.project)), Client()
        client.put(load_id, "Completed", input_=json.dumps(request.to_json()), output=json.dumps(summary))
        said += [asyncio.run(api.load_status(load_id, client)), api.run(load_id), api.runs("5", None)]
        return [json.loads(each.body) if isinstance(each, Response) else each for each in said]


@pytest.fixture(scope="module")
def remembered() -> Any:
    with pytest.MonkeyPatch.context() as monkeypatch, tempfile.TemporaryDirectory() as directory:
        yield Remembered(Path(directory), monkeypatch)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXT, kind=st.sampled_from(["permanent", "not ours", "skipped"]))
def test_a_load_is_remembered_whatever_it_carries(remembered: Remembered, text: str, kind: str) -> None:
    # What the log makes of such text is another test's; pytest would pass it on between its processes as it is.
    logging.disable()
    world, load_id = remembered.world, str(uuid4())

    def fail(entity: str, batch: int) -> None:
        raise HomeNotFound(text, hint=text) if kind == "permanent" else ValueError(text)

    world.before_read = fail
    skip = f"busy: {text}" if kind == "skipped" else ""
    request = LoadRequest(
        ("orders_to_fabric",),
        ("orders",),
        requested_by=text,
        principal=text,
        coordinator_run_id=load_id,
        skip_reason=skip,
    )
    summary = remembered.run(request)
    json.dumps(summary, ensure_ascii=False).encode()
    assert summary["journal"]["status"] == "settled", summary["journal"]
    row = remembered.row(load_id)
    assert (row["requested_by"], row["principal"]) == (recordable(text), recordable(text))
    assert row["status"] == ("skip" if kind == "skipped" else "fail")
    assert load_id in remembered.mirrored()
    for span in remembered.machine.spans():
        json.dumps([dict(span.attributes or {}), span.status.description], ensure_ascii=False).encode()
    remembered.telemetry.flush()
    for line in remembered.lineage.read_bytes().decode().splitlines():
        json.loads(line)
    api, client = promised(Api(lambda: world.project)), Client()
    client.put(load_id, "Completed", input_=json.dumps(request.to_json()), output=json.dumps(summary))
    for answer in (asyncio.run(api.load_status(load_id, client)), api.run(load_id), api.runs("5", None)):
        assert answer.status == 200
        assert json.loads(answer.body.encode())
    for arguments in (["runs", load_id], ["runs", "--json"]):
        shown = CliRunner().invoke(app, [arguments[0], "--project", str(world.directory), *arguments[1:]])
        assert shown.exit_code == 0, shown.output
        shown.output.encode()


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """All objects of a JSON document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(inner)


def test_whoever_is_told_what_a_caller_claims_is_told_who_has_signed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    remembered = Remembered(tmp_path, monkeypatch)
    who_asks = "the boss, with correct horse"
    request = LoadRequest(
        entities=("orders",), coordinator_run_id="c1", requested_by=who_asks, principal="mallory@example.com"
    )
    told = remembered.documents(request, remembered.run(request))
    told += events(caplog)["hygge.load"]

    who = [
        (each[key], each.get(key.replace("requested_by", "principal")))
        for each in objects(told)
        for key in each
        if key.endswith("requested_by")
    ]
    # Row, two mirrored tables, span, status (request and summary), run (load and entity run), list of runs, log.
    assert who == [("the boss, with ***", "mallory@example.com")] * 10
    assert "correct horse" not in caplog.text + json.dumps(told)


@given(TEXT)
def test_what_is_carried_is_valid_bounded_and_otherwise_as_it_was(text: str) -> None:
    shown = recordable(text)
    assert len(shown.encode()) <= 6 * RECORDED_LIMIT_CHARACTERS
    assert recordable(shown) == shown or len(text) > RECORDED_LIMIT_CHARACTERS
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert shown == text or len(text) > RECORDED_LIMIT_CHARACTERS


@given(TEXT)
def test_every_text_of_an_answer_is_carried(text: str) -> None:
    fields = ["message", "error", "hint", "primary_key", "watermark_column", "watermark", "expectations", "reached"]
    texts: dict[str, Any] = dict.fromkeys(fields, text)
    answer = SliceResult("done", **texts)
    assert {getattr(answer, name) for name in fields} == {recordable(text)}
