"""What docs/threat-model.md claims about names, values and requests, where no other test shows it."""

from __future__ import annotations

import ast
import asyncio
import json
import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.errors import ConfigurationError, HomeNotFound, InvalidRequest, LakeUnavailable
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql.identifiers import parse_table_name, qualify, quote
from hygge_engine.homes.mssql.query import Selection, read_statement
from hygge_engine.homes.mssql.ranges import KeyRange
from hygge_engine.homes.mssql.types import SourceColumn
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest, parse_request
from hygge_engine.web.api import Api
from hygge_engine.web.responses import Response, problem_of
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.support.recorder import Recorder
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import ENVIRONMENT, FLOW, HYGGE, find_problems

DOCUMENT = Path(__file__).parents[2] / "docs" / "threat-model.md"

# Texts that end what they stand in, wherever they are pasted instead of bound, quoted or refused.
HOSTILE_SQL = [
    "x]; DROP TABLE y; --",
    "x' OR 1=1 --",
    'x"; SHUTDOWN; --',
    "x/*",
    "x]]; EXEC xp_cmdshell 'id'; --",
]
HOSTILE_PATHS = ["../x", "..", ".", "a/b", "a\\b", "/etc", "a/../../b", "x?comp=acl", "x#y", "x\ny", "x\0y"]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5, customers=3, stock=0)
    return world


def unquoted(sql: str) -> str:
    """A statement without its delimited identifiers, as T-SQL takes them apart."""
    return re.sub(r"\[(?:[^\]]|\]\])*\]", "", sql)


@pytest.mark.parametrize("name", HOSTILE_SQL)
def test_a_hostile_column_stays_a_name(name: str) -> None:
    column = SourceColumn(name, "int", 4, 10, 0, nullable=False)

    selection = Selection(qualify(name, name), [column], [column])
    statement = read_statement(selection, ReadWindow(name, "1", "2"), column, KeyRange(["7"]))

    assert unquoted(statement.sql) == "SELECT  AS  FROM . AS  WHERE  > ? AND  <= ? AND  > ? ORDER BY ."
    assert statement.parameters == [1, 2, 7]


@pytest.mark.parametrize("name", HOSTILE_SQL)
def test_a_hostile_table_is_a_name_or_refused(name: str) -> None:
    try:
        schema, table = parse_table_name(name)
    except ValueError:
        return
    assert unquoted(qualify(schema, table)) == "."


@pytest.mark.parametrize("value", HOSTILE_SQL)
def test_a_hostile_watermark_is_a_value(value: str) -> None:
    column = SourceColumn("code", "nvarchar", 40)

    selection = Selection("[dbo].[t]", [column], [column])
    statement = read_statement(selection, ReadWindow("code", value, value), column, KeyRange([value]))

    assert value not in statement.sql
    assert list(statement.parameters) == [value, value, value]


def test_the_name_of_a_column_cannot_escape_its_quotes() -> None:
    assert quote("a]b") == "[a]]b]"


@pytest.mark.parametrize("name", [*HOSTILE_SQL, *HOSTILE_PATHS])
def test_no_entity_and_no_flow_has_a_hostile_name(tmp_path: Path, name: str) -> None:
    entity = FLOW.replace("[orders, customers]", json.dumps([name]))
    flow = FLOW.replace("name: orders_to_fabric", f"name: {json.dumps(name)}")

    assert find_problems(tmp_path / "entity", flow=entity)
    assert find_problems(tmp_path / "flow", flow=flow)


@pytest.mark.parametrize("key", ["schema_name", "table_name", "mirror_name", "mirror_schema", "filesystem"])
@pytest.mark.parametrize("name", HOSTILE_PATHS)
def test_no_destination_leads_out_of_the_mirrored_database(tmp_path: Path, key: str, name: str) -> None:
    lines = [line for line in FLOW.splitlines() if not line.startswith(f"  {key}:")]
    lines.insert(lines.index("store:") + 1, f"  {key}: {json.dumps(name)}")

    problems = find_problems(tmp_path, flow="\n".join(lines))

    reason = "written nowhere" if "\0" in name else "one part of a path"
    assert any(reason in problem.render() for problem in problems)


def test_configuration_runs_no_code(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    tagged = HYGGE.replace("name: shop", f'name: !!python/object/apply:os.system ["touch {marker}"]')

    assert find_problems(tmp_path / "project", hygge=tagged)
    assert not marker.exists()


def start(api: Api, body: Any) -> HTTPStatus:
    return HTTPStatus(asyncio.run(api.start_load(json.dumps(body).encode(), Client(), requested_by="http")).status)


# Whatever names a server, a path, a credential or a statement in the project's files.
ENDPOINTS = [
    "account_url",
    "connection",
    "connections",
    "credential",
    "fabric_api_url",
    "filesystem",
    "home",
    "journal",
    "mirror_name",
    "openlineage_url",
    "password",
    "query",
    "server",
    "store",
    "table",
    "url",
]


@pytest.mark.parametrize("key", ENDPOINTS)
def test_a_request_cannot_name_an_endpoint(key: str) -> None:
    with pytest.raises(InvalidRequest, match=f"Unknown key '{key}'"):
        parse_request({key: "https://evil.example.com"}, requested_by="http")


@pytest.mark.parametrize("key", ["telemetry", "openlineage", "lineage", "otel", "OPENLINEAGE_URL"])
def test_project_files_name_no_receiver_of_telemetry(tmp_path: Path, key: str) -> None:
    receiver = f"{key}: {{ url: https://evil.example.com }}\n"

    assert find_problems(tmp_path / "project", hygge=HYGGE + receiver)
    assert find_problems(tmp_path / "flow", flow=FLOW + receiver)


@pytest.mark.parametrize("name", [*HOSTILE_SQL, *HOSTILE_PATHS, "https://evil.example.com/", "file:///etc/passwd"])
@pytest.mark.parametrize("key", ["flows", "entities"])
def test_a_request_reaches_only_what_the_project_names(world: LoadWorld, key: str, name: str) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("something was opened")

    world.before_read = connect
    api = promised(Api(lambda: world.project))

    assert start(api, {key: [name]}) == HTTPStatus.NOT_FOUND
    assert world.landed_files() == []


HOSTILE_IDS = [
    *(
        "../../orders",
        "..",
        ".",
        "",
        "%2e%2e%2f",
        "a/b",
        "x\0y",
        "x' OR 1=1",
        "?",
        "a?showInput=false",
        "#",
        "a#b",
        "a%3Fb",
    ),
    *("a/terminate?reason=x", "a/raiseEvent/b", "a\\b", "*", "a b", "a\n", "\u00e9", "\ud800", "@load@a", "x" * 201),
]


@pytest.mark.parametrize("load_id", HOSTILE_IDS)
def test_the_id_of_a_load_is_never_a_path(world: LoadWorld, load_id: str) -> None:
    """Not in the lake, and not in the URL that the durable SDK makes of it."""
    api = promised(Api(lambda: world.project))

    class Untouched(Client):
        async def get_status(self, *_: object, **__: object) -> Any:
            raise AssertionError("the durable client was asked")

    client = Untouched()

    answers = [
        asyncio.run(api.load_status(load_id, client)),
        asyncio.run(api.cancel_load(load_id, client)),
        api.run(load_id),
    ]

    assert {answer.status for answer in answers} == {HTTPStatus.NOT_FOUND}
    assert list(world.lake_directory.rglob("cancel.json")) == []


def test_no_answer_shows_where_data_lives_or_how_to_get_in(world: LoadWorld) -> None:
    """Not even where a source's own message holds all of it, in whatever response."""
    secrets = [
        *(*ENVIRONMENT.values(), "sql.example.com", "onelake.dfs.fabric.microsoft.com"),
        *("11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222", "'reader'"),
    ]
    message = f"refused: {' '.join(secrets)}"

    def refuse(entity: str, batch: int) -> None:
        raise HomeNotFound(message)

    world.before_read = refuse
    run_load(world.project, LoadRequest(coordinator_run_id="settled"), Recorder())
    progress = {"state": "failed", "rows": 0, "bytes": 0, "message": message, "error": "home.not_found"}
    world.place().progress.write("running", "orders_to_fabric", "orders", progress)
    api, client = promised(Api(lambda: world.project)), Client()
    client.put("running")
    client.put("ended", "Completed", output=json.dumps({"message": message, "entities": [{"message": message}]}))

    def ask(*calls: Any) -> list[Response]:
        return [asyncio.run(call) for call in calls]

    answers = [api.flows(), api.health(), api.run("settled"), api.run("nobody")]
    answers += [api.runs(None, None, by) for by in ("load", "flow", "entity")] + [api.runs("x", None)]
    answers += ask(*(api.load_status(load, client) for load in ("running", "ended", "settled", "nobody")))
    answers += ask(*(api.cancel_load(load, client) for load in ("running", "ended", "nobody")))
    bodies = (b"{}", b'{"flows": ["nothing"]}', b"no json", json.dumps({"requested_by": message}).encode())
    answers += ask(*(api.start_load(body, client, requested_by="http") for body in bodies))
    answers += [problem_of(error(message)) for error in (LakeUnavailable, HomeNotFound, ConfigurationError)]
    shown = "\n".join(answer.body for answer in answers)
    assert shown.count("refused") >= 5
    assert not [secret for secret in secrets if secret in shown]


# What can open a connection, and the packages whose business that is.
SPEAKS = re.compile(
    r"(socket|ssl|http\.client|urllib\.request|requests|httpx|aiohttp|smtplib|ftplib|telnetlib|xmlrpc|deltalake|pyodbc|"
    r"mssql_python|azure\.(storage|identity|monitor|core\.PipelineClient)|opentelemetry\.exporter)\b"
)
SPEAKERS = {
    "hygge_engine/homes/mssql": "the source",
    "hygge_engine/lake": "the lake",
    "hygge_engine/stores": "the lake, and Fabric",
    "hygge_engine/telemetry": "what an app setting names",
}


def test_nothing_but_homes_lakes_stores_and_telemetry_speaks_to_others() -> None:
    root = DOCUMENT.parents[1]
    files = [*(root / "hygge_engine").rglob("*.py"), root / "function_app.py"]
    speaking = set()
    for path in files:
        name = path.relative_to(root).as_posix()
        if name.startswith(("hygge_engine/cli/", "hygge_engine/probe/", "hygge_engine/reconcile/")):
            continue  # not deployed
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                modules = [f"{node.module}.{alias.name}" for alias in node.names]
            speaking |= {name for module in modules if SPEAKS.match(module)}
    places = {next((place for place in SPEAKERS if name.startswith(f"{place}/")), name) for name in speaking}
    assert places == {*SPEAKERS}


def test_every_claim_of_the_page_names_a_test_that_exists() -> None:
    text = DOCUMENT.read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", text)

    assert len(named) >= 15
    for file, test in named:
        assert f"def {test}(" in (DOCUMENT.parents[1] / file).read_text(), f"{file}::{test}"
    rows = [line for line in text.splitlines() if line.startswith("|") and not re.fullmatch(r"[\s|-]+", line)]
    claims = [row for row in rows if "shown by" not in row]
    assert claims
    assert [row for row in claims if "::test_" not in row and "not tested:" not in row] == []
