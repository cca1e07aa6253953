"""The API's responses, with a durable client in memory and the journal in a local directory."""

from __future__ import annotations

import asyncio
import json
import threading
import tomllib
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

import hygge_engine
from hygge_engine.errors import HomeUnavailable, LakeUnavailable
from hygge_engine.flow import bounds as flow_bounds
from hygge_engine.orchestration.local import run_load
from hygge_engine.orchestration.request import LoadRequest
from hygge_engine.orchestration.source import ProjectSource
from hygge_engine.web.api import Api
from hygge_engine.web.door import authenticated
from hygge_engine.web.responses import Response, problem_of
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.support.recorder import Recorder
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import write_project

URL = "https://app.example.com/api/loads"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    world = LoadWorld(tmp_path, monkeypatch)
    world.fill(orders=5)
    return world


@pytest.fixture
def api(world: LoadWorld, monkeypatch: pytest.MonkeyPatch) -> Api:
    monkeypatch.setenv("WEBSITE_HOSTNAME", "app.example.com")
    return promised(Api(lambda: world.project))


def start(api: Api, body: Any, client: Client | None = None) -> Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asyncio.run(api.start_load(data, client or Client(), requested_by="http"))


def test_a_load_is_accepted_with_the_places_to_look_at_it(api: Api) -> None:
    client = Client()
    answer = start(api, {"flows": ["orders_to_fabric"], "entities": ["orders"], "run_type": "full_drop"}, client)
    assert answer.status == HTTPStatus.ACCEPTED
    [(load_id, instance)] = client.instances.items()
    assert answer.payload == {
        "load_id": load_id,
        "state": "pending",
        "status_url": f"{URL}/{load_id}",
        "cancel_url": f"{URL}/{load_id}/cancel",
    }
    assert answer.headers["Location"] == f"{URL}/{load_id}"
    request = LoadRequest.from_json(json.loads(instance.input_))
    assert request == LoadRequest(("orders_to_fabric",), ("orders",), "full_drop", "http")


def test_an_empty_body_loads_everything(api: Api) -> None:
    assert start(api, b"").status == HTTPStatus.ACCEPTED


def test_every_problem_of_a_body_is_listed(api: Api) -> None:
    answer = start(api, {"flow": "x", "run_type": "all"})
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert len(answer.payload["problems"]) == 2
    assert answer.content_type == "application/problem+json"
    assert start(api, b"{nonsense").payload["problems"][0].startswith("The body is not JSON")


def test_unknown_flows_are_named_with_the_nearest_known_one(api: Api) -> None:
    client = Client()
    answer = start(api, {"flows": ["order_to_fabric", "xyzzy"]}, client)
    assert answer.status == HTTPStatus.NOT_FOUND
    assert "order_to_fabric" in answer.payload["detail"]
    assert answer.payload["unknown_flows"] == [
        {"flow": "order_to_fabric", "nearest": "orders_to_fabric"},
        {"flow": "xyzzy", "nearest": None},
    ]
    assert client.instances == {}


def test_unknown_entities_are_not_found_either(api: Api) -> None:
    answer = start(api, {"entities": ["order"]})
    assert answer.status == HTTPStatus.NOT_FOUND
    assert "`orders`" in answer.payload["detail"]


@pytest.mark.parametrize("window", [{"from": "2024-01-01"}, {"to": "1.5"}, {"from": 3, "to": 2}])
def test_a_window_that_no_watermark_could_have_is_a_bad_request(api: Api, window: dict[str, Any]) -> None:
    answer = start(api, {"entities": ["orders"], "window": window})
    assert answer.status == HTTPStatus.BAD_REQUEST
    assert answer.payload["code"] == "home.bound_unusable"
    assert "orders_to_fabric.orders" in answer.payload["detail"]


def test_a_source_that_does_not_answer_is_the_loads_business(
    api: Api, world: LoadWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*_: object) -> None:
        raise HomeUnavailable("nobody answers")

    monkeypatch.setattr(flow_bounds, "open_home", lost)
    assert start(api, {"entities": ["orders"], "window": {"from": 1}}).status == HTTPStatus.ACCEPTED


def test_windows_of_a_source_that_hangs_keep_nobody_waiting(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads for all: the responses come while the source is still silent."""
    monkeypatch.setattr("hygge_engine.web.api.WINDOW_SECONDS", 0.01)
    go_on = threading.Event()

    def hang(*_: object) -> None:
        assert go_on.wait(60)
        raise HomeUnavailable("at last")

    monkeypatch.setattr(flow_bounds, "open_home", hang)
    client = Client()
    bodies = [{"entities": ["orders"], "window": {"from": number}} for number in range(20)]

    async def all_at_once() -> list[Response]:
        posts = [api.start_load(json.dumps(body).encode(), client, requested_by="http") for body in bodies]
        return await asyncio.gather(*posts, api.load_status("nobody", client))

    try:
        answers = asyncio.run(all_at_once())
        assert not go_on.is_set()
    finally:
        go_on.set()
    assert [answer.status for answer in answers] == [HTTPStatus.ACCEPTED] * 20 + [HTTPStatus.NOT_FOUND]


def test_a_running_load_shows_each_entity_and_its_rows_so_far(api: Api, world: LoadWorld) -> None:
    client = Client()
    client.put("c1", input_='{"requested_by": "http"}', custom_status={"phase": "loading", "entities": 3, "running": 2})
    progress = world.place().progress
    progress.write("c1", "orders_to_fabric", "orders", {"state": "running", "rows": 3, "bytes": 90})
    failed = {"state": "failed", "rows": 2, "message": "connection lost", "error": "home.unavailable"}
    progress.write("c1", "orders_to_fabric", "customers", {**failed, "transient": True})
    answer = asyncio.run(api.load_status("c1", client))
    assert answer.status == HTTPStatus.OK
    assert (answer.payload["state"], answer.payload["status"]) == ("loading", None)
    assert answer.payload["request"]["requested_by"] == "http"
    entities = {entity["entity"]: entity for entity in answer.payload["entities"]}
    assert (entities["orders"]["status"], entities["orders"]["rows"]) == ("running", 3)
    assert (entities["customers"]["status"], entities["customers"]["message"]) == ("waiting", "connection lost")
    assert (entities["stock"]["status"], entities["stock"]["rows"]) == ("pending", 0)
    json.loads(answer.body)


WORDS = ("pending", "running", "waiting", "success", "fail", "skip", "cancel")


@pytest.mark.parametrize(
    ("known", "states"),
    [
        (None, []),
        ({"phase": "planning"}, []),
        ({"phase": "loading", "running": 3}, []),
        ({"phase": "loading", "running": 2, "lanes": 2, "pending": 1}, ["running", "done"]),
        # One lane keeps a table that waits, and takes another one meanwhile.
        ({"phase": "loading", "running": 1, "lanes": 1, "pending": 2}, ["continue", "running"]),
        ({"phase": "loading", "running": 1, "lanes": 1, "pending": 2}, ["continue", "continue", "failed"]),
        ({"phase": "loading", "success": 3, "cancelled": True}, ["done", "cancelled"]),
        # The lanes' tables are recorded, and their files are gone.
        ({"phase": "settling", "success": 2}, "recorded"),
    ],
)
def test_the_totals_of_a_load_under_way_are_those_of_its_list(
    api: Api, world: LoadWorld, known: dict[str, Any] | None, states: Any
) -> None:
    client, progress = Client(), world.place().progress
    client.put("c1", input_="{}", custom_status={**known, "entities": 3} if known else None)
    if states == "recorded":
        run_load(world.project, LoadRequest(coordinator_run_id="c1", entities=("orders", "stock")), Recorder())
    else:
        for entity, state in zip(("orders", "customers", "stock"), states, strict=False):
            progress.write("c1", "orders_to_fabric", entity, {"state": state, "rows": 2})
    totals = asyncio.run(api.load_status("c1", client)).payload["totals"]
    listed = asyncio.run(api.load_status("c1", client)).payload["entities"]
    assert {word: totals[word] for word in WORDS} == {
        word: len(asyncio.run(api.load_status("c1", client, status=word)).payload["entities"]) for word in WORDS
    }
    assert sum(totals[word] for word in WORDS) == totals["entities"] == len(listed) == 3
    assert totals["rows"] == sum(line["rows"] for line in listed if line["status"] in WORDS[3:])
    assert totals["cancelled"] == bool(known and known.get("cancelled"))
    assert states != "recorded" or totals["success"] == 2


def test_an_ended_load_shows_its_summary(api: Api, world: LoadWorld) -> None:
    client = Client()
    summary = run_load(world.project, LoadRequest(coordinator_run_id="c1"), Recorder())
    client.put("c1", "Completed", output=summary, custom_status={"phase": "settled"})
    payload = asyncio.run(api.load_status("c1", client)).payload
    assert (payload["state"], payload["status"]) == ("settled", "success")
    assert payload["summary"]["rows"] == 5
    assert {entity["entity"]: entity["rows"] for entity in payload["entities"]} == {
        "orders": 5,
        "customers": 0,
        "stock": 0,
    }


def test_an_orchestration_that_ended_without_settling_is_shown_as_lost(api: Api) -> None:
    client = Client()
    client.put("c1", "Terminated")
    payload = asyncio.run(api.load_status("c1", client)).payload
    assert (payload["state"], payload["status"]) == ("lost", "fail")
    assert "Terminated" in payload["message"]


def test_a_load_whose_orchestration_was_purged_is_found_in_the_journal(api: Api, world: LoadWorld) -> None:
    run_load(world.project, LoadRequest(coordinator_run_id="c1"), Recorder())
    payload = asyncio.run(api.load_status("c1", Client())).payload
    assert (payload["load_id"], payload["state"], payload["status"]) == ("c1", "settled", "success")
    assert len(payload["entity_runs"]) == 3


def test_a_load_that_nobody_knows_is_not_found(api: Api) -> None:
    assert asyncio.run(api.load_status("nope", Client())).status == HTTPStatus.NOT_FOUND
    assert asyncio.run(api.cancel_load("nope", Client())).status == HTTPStatus.NOT_FOUND
    assert api.run("nope").status == HTTPStatus.NOT_FOUND


def test_cancelling_raises_the_event_and_leaves_the_marker(api: Api, world: LoadWorld) -> None:
    client = Client()
    client.put("c1")
    answer = asyncio.run(api.cancel_load("c1", client))
    assert (answer.status, answer.payload["state"]) == (HTTPStatus.ACCEPTED, "cancelling")
    assert answer.payload["status_url"] == f"{URL}/c1"
    assert client.events == [("c1", "cancel")]
    assert world.place().progress.is_cancelled("c1")


def test_a_load_that_has_ended_cannot_be_cancelled(api: Api) -> None:
    client = Client()
    client.put("c1", "Completed")
    assert asyncio.run(api.cancel_load("c1", client)).status == HTTPStatus.CONFLICT
    assert client.events == []


@pytest.mark.parametrize(
    ("before", "after", "status"),
    [
        ({"phase": "settling", "cancelled": False}, None, HTTPStatus.CONFLICT),
        ({"phase": "settled", "cancelled": False}, None, HTTPStatus.CONFLICT),
        ({"phase": "settling", "cancelled": True}, None, HTTPStatus.ACCEPTED),
        ({"phase": "loading"}, {"phase": "settling", "cancelled": False}, HTTPStatus.CONFLICT),
        ({"phase": "loading"}, {"phase": "settling", "cancelled": True}, HTTPStatus.ACCEPTED),
        ({"phase": "loading"}, {"phase": "loading", "cancelled": False}, HTTPStatus.ACCEPTED),
        ({"phase": "planning"}, {"phase": "planning"}, HTTPStatus.ACCEPTED),
        ({"phase": "loading"}, "ended", HTTPStatus.CONFLICT),
        ({"phase": "loading"}, "ended, which raises", HTTPStatus.CONFLICT),
    ],
)
def test_a_cancellation_that_comes_while_a_load_settles_promises_nothing_and_leaves_nothing(
    api: Api, world: LoadWorld, before: dict[str, Any], after: Any, status: HTTPStatus
) -> None:
    client = Client()
    client.put("c1", custom_status=before)

    def go_on() -> None:
        if isinstance(after, dict):
            client.put("c1", custom_status=after)
        else:
            client.put("c1", "Completed", custom_status=before, output={"status": "success", "results": []})
            if after == "ended, which raises":
                raise RuntimeError("Instance with ID c1 is gone: either completed or failed")

    client.on_event = go_on
    answer = asyncio.run(api.cancel_load("c1", client))
    assert answer.status == status
    if status == HTTPStatus.CONFLICT:
        assert answer.payload["code"] == "load.ended"
    runs_on = isinstance(after, dict) and after["phase"] in ("planning", "loading")
    assert world.place().progress.is_cancelled("c1") == runs_on
    assert not list(world.lake_directory.rglob("progress/*")) or runs_on


def test_an_event_that_cannot_be_raised_is_no_cancellation(api: Api, world: LoadWorld) -> None:
    client = Client()
    client.put("c1", custom_status={"phase": "loading"})
    client.on_event = lambda: (_ for _ in ()).throw(RuntimeError("503"))
    answer = asyncio.run(api.cancel_load("c1", client))
    assert (answer.status, answer.payload["code"]) == (HTTPStatus.INTERNAL_SERVER_ERROR, "load.unexpected")
    assert not world.place().progress.is_cancelled("c1")


def test_flows_are_listed_without_anything_that_leads_to_the_data(api: Api) -> None:
    answer = api.flows()
    assert answer.payload["project"] == "shop"
    [flow] = answer.payload["flows"]
    assert (flow["name"], flow["run_type"], flow["schedule"]) == ("orders_to_fabric", "incremental", "0 */15 * * * *")
    assert flow["entities"][1] == {
        "name": "orders",
        "run_type": "incremental",
        "home": "mssql",
        "store": "open_mirroring",
        "connection": "shop_db",
        "watermark": "modified",
    }
    assert "correct horse" not in answer.body
    assert "example.com" not in answer.body


def test_runs_come_from_the_journal(api: Api, world: LoadWorld) -> None:
    run_load(world.project, LoadRequest(coordinator_run_id="c1"), Recorder())
    run_load(world.project, LoadRequest(coordinator_run_id="c2", entities=("orders",)), Recorder())
    runs = api.runs(None, None).payload["runs"]
    assert [(run["coordinator_run_id"], run["entities"], run["rows"]) for run in runs] == [("c2", 1, 0), ("c1", 3, 5)]
    assert [run["coordinator_run_id"] for run in api.runs("1", None).payload["runs"]] == ["c2"]
    assert api.runs(None, "other").payload["runs"] == []
    assert api.runs("0", None).status == api.runs("x", None).status == HTTPStatus.BAD_REQUEST
    run = api.run("c1").payload
    assert (run["status"], run["rows"], len(run["entity_runs"])) == ("success", 5, 3)


def walked(ask: Callable[..., Response], lines: Callable[[Any], list[Any]]) -> list[Any]:
    """All lines of a list, two to a page, as a caller follows it from page to page."""
    found: list[Any] = []
    given = {"limit": "2"}
    while True:
        answer = ask(**given)
        assert answer.status == HTTPStatus.OK, answer.payload
        page = lines(answer.payload)
        assert 0 < len(page) <= 2
        found += page
        if answer.payload["next_url"] is None:
            return found
        given = dict(parse_qsl(urlsplit(answer.payload["next_url"]).query))


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("28/40", {"ranges": 40, "ranges_read": 14}),
        ("1/40", {"ranges": 40, "ranges_read": 40}),
        ("", {}),
        ("28/", {}),
        ("9" * 5_000 + "/1", {}),
    ],
)
def test_a_table_in_ranges_says_how_many_have_been_read(
    api: Api, world: LoadWorld, said: str, shown: dict[str, int]
) -> None:
    run_load(world.project, LoadRequest(coordinator_run_id="c0"), Recorder())
    client, progress = Client(), world.place().progress
    client.put("now", custom_status={"phase": "loading"})
    table = ("now", "orders_to_fabric", "orders")
    progress.write(*table, {"state": "continue", "attempt": 2, "rows": 5, "ranges": said})
    for part, state in ((12, "done"), (13, "done"), (14, "running"), (15, "continue")):
        progress.write(*table, {"state": state, "attempt": 3, "rows": 7}, part=part)
    payload = asyncio.run(api.load_status("now", client)).payload
    (line,) = [line for line in payload["entities"] if line["entity"] == "orders"]
    assert (line["status"], line["rows"]) == ("running", 33)
    assert {name: value for name, value in line.items() if name.startswith("ranges")} == shown


def test_every_list_comes_in_pages_that_leave_nothing_out(api: Api, world: LoadWorld) -> None:
    for load in range(5):
        run_load(world.project, LoadRequest(coordinator_run_id=f"c{load}"), Recorder())
    client, progress = Client(), world.place().progress
    client.put("now", custom_status={"phase": "loading"})
    client.put("c4", "Completed", output=run_load(world.project, LoadRequest(coordinator_run_id="c5"), Recorder()))
    progress.write("now", "orders_to_fabric", "customers", {"state": "running", "rows": 1})
    progress.write("now", "gone", "removed", {"state": "failed", "message": "lost"})

    def status(load_id: str) -> Callable[..., Response]:
        return lambda **given: asyncio.run(api.load_status(load_id, client, **given))

    def entities(payload: Any) -> list[str]:
        return [line["entity"] for line in payload.get("entity_runs") or payload["entities"]]

    def flows(payload: Any) -> list[str]:
        return [entity["name"] for flow in payload["flows"] for entity in flow["entities"]]

    def runs(payload: Any) -> list[str]:
        return [run.get("entity", run.get("flow", run.get("coordinator_run_id"))) for run in payload["runs"]]

    planned = ["customers", "orders", "stock"]
    # The first by its file alone: a deployment has taken it out since it began.
    assert walked(status("now"), entities) == ["removed", *planned]
    assert walked(partial(status("now"), status="pending"), entities) == ["orders", "stock"]
    assert walked(api.flows, flows) == planned
    assert walked(partial(api.runs, flow=None), runs) == ["c5", "c4", "c3", "c2", "c1", "c0"]
    assert walked(partial(api.runs, flow=None, by="flow"), runs) == ["orders_to_fabric"]
    assert walked(partial(api.runs, flow=None, by="entity"), runs) == planned
    for list_of in (status("c4"), status("c3"), partial(api.run, "c3"), partial(api.run, "c3", status="success")):
        assert sorted(walked(list_of, entities)) == sorted(planned)
    assert api.run("c3", status="fail").payload["entity_runs"] == []
    [waiting] = asyncio.run(api.load_status("now", client, status="fail")).payload["entities"]
    assert (waiting["entity"], waiting["message"]) == ("removed", "lost")


@pytest.mark.parametrize("ends_after", range(4))
def test_a_list_whose_load_ends_while_it_is_read_leaves_nothing_out(
    api: Api, world: LoadWorld, ends_after: int
) -> None:
    """Under way, settling, settled and purged: each state takes its lines from another source, in another order."""
    client = Client()
    client.put("c1", custom_status={"phase": "loading"})
    summary = run_load(world.project, LoadRequest(coordinator_run_id="c1"), Recorder())
    summary["results"].sort(key=lambda line: line["entity"], reverse=True)
    stages: list[Callable[[], Any]] = [
        lambda: client.put("c1", custom_status={"phase": "settling"}),
        lambda: client.put("c1", "Completed", output=summary),
        lambda: client.instances.pop("c1"),
    ]

    def ask(**given: str) -> Response:
        answer = asyncio.run(api.load_status("c1", client, **{**given, "limit": "1"}))
        asked.append(given)
        if len(asked) > ends_after and stages:
            stages.pop(0)()
        return answer

    asked: list[dict[str, str]] = []
    found = walked(ask, lambda payload: [line["entity"] for line in payload.get("entity_runs") or payload["entities"]])
    assert found == ["customers", "orders", "stock"]


def test_a_filtered_list_is_read_on_where_its_last_line_is_another_status_by_then(api: Api, world: LoadWorld) -> None:
    client, progress = Client(), world.place().progress
    client.put("c1", custom_status={"phase": "loading"})
    found = []

    def ask(**given: str) -> Response:
        answer = asyncio.run(api.load_status("c1", client, **{**given, "limit": "1", "status": "pending"}))
        found.append(answer.payload["entities"][-1]["entity"])
        progress.write("c1", "orders_to_fabric", found[-1], {"state": "running"})
        return answer

    assert [line["entity"] for line in walked(ask, lambda payload: payload["entities"])] == found
    assert found == ["customers", "orders", "stock"]


@pytest.mark.parametrize("given", [{"limit": "0"}, {"limit": "1001"}, {"after": "nothing"}, {"after": "a\nb"}])
def test_a_page_that_there_cannot_be_is_a_bad_request(api: Api, given: dict[str, str]) -> None:
    client = Client()
    client.put("now")
    answers = [api.flows(**given), asyncio.run(api.load_status("now", client, **given))]
    assert {answer.status for answer in answers} == {HTTPStatus.BAD_REQUEST}


def test_health_counts_flows_and_names_nothing(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = api.health()
    assert answer.status == HTTPStatus.OK
    assert answer.payload == {"status": "healthy", "version": hygge_engine.__version__, "flows": 1}
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    broken = promised(Api(ProjectSource(write_project(tmp_path / "broken"))))
    answer = broken.health()
    assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer.payload == {"status": "unhealthy", "version": hygge_engine.__version__, "problems": 1}


def test_of_a_broken_project_callers_learn_the_code_and_the_count_and_the_log_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    broken = promised(Api(ProjectSource(write_project(tmp_path))))
    for answer in (broken.flows(), broken.runs(None, None), start(broken, {})):
        assert answer.status == HTTPStatus.SERVICE_UNAVAILABLE
        assert (answer.payload["code"], answer.payload["problem_count"]) == ("configuration", 1)
        assert "SHOP_PASSWORD" not in answer.body
        assert str(tmp_path) not in answer.body
    assert "the variable `SHOP_PASSWORD` is not set" in caplog.text


def test_a_lake_that_does_not_answer_is_a_bad_gateway() -> None:
    error = LakeUnavailable("cannot read item/x in https://lake/ws: 429", status=429, retry_after_seconds=12.0)
    answer = problem_of(error)
    assert (answer.status, answer.headers["Retry-After"]) == (HTTPStatus.BAD_GATEWAY, "12")
    assert answer.payload["code"] == "lake.unavailable"
    assert "lake/ws" not in answer.body


def test_a_project_is_read_again_when_its_files_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_PASSWORD", "correct horse")
    source = ProjectSource(write_project(tmp_path))
    first = source()
    assert source() is first
    flow = tmp_path / "flows/orders_to_fabric/flow.yml"
    flow.write_text(flow.read_text().replace("[orders, customers]", "[orders]"))
    assert len(source().entities) == 1


def test_the_version_is_the_packages() -> None:
    pyproject = tomllib.loads((Path(hygge_engine.__file__).parents[1] / "pyproject.toml").read_text())
    assert pyproject["project"]["version"] == hygge_engine.__version__


@pytest.mark.parametrize("claimed", [{}, {"requested_by": "the boss"}])
def test_who_was_authenticated_stands_beside_who_is_claimed(
    api: Api, world: LoadWorld, claimed: dict[str, str]
) -> None:
    client = Client()
    body = json.dumps({"entities": ["orders"], **claimed}).encode()
    asyncio.run(api.start_load(body, client, requested_by="http", principal="mallory@example.com"))
    [(load_id, instance)] = client.instances.items()
    request = LoadRequest.from_json(json.loads(instance.input_))
    run_load(world.project, request, Recorder())
    [row] = world.journal()
    who = (row["requested_by"], row["principal"])
    assert who == (claimed.get("requested_by", "http"), "mallory@example.com")
    shown = asyncio.run(api.load_status(load_id, client)).payload["request"]
    assert (shown["requested_by"], shown["principal"]) == who


def test_no_body_names_a_principal(api: Api) -> None:
    assert start(api, {"principal": "root"}).status == HTTPStatus.BAD_REQUEST


@pytest.mark.parametrize("setting", [None, "False", "True"])
@pytest.mark.parametrize(
    ("headers", "who"),
    [
        ({"x-ms-client-principal-name": "ann@example.com", "x-ms-client-principal-id": "1"}, "ann@example.com"),
        ({"x-ms-client-principal-id": "9d0f"}, "9d0f"),
        ({"x-ms-client-principal-name": "", "x-ms-client-principal-id": "9d0f"}, "9d0f"),
        ({"authorization": "Bearer x"}, ""),
    ],
)
def test_the_header_of_a_principal_counts_where_the_platform_authenticates(
    monkeypatch: pytest.MonkeyPatch, setting: str | None, headers: dict[str, str], who: str
) -> None:
    monkeypatch.delenv("WEBSITE_AUTH_ENABLED", raising=False)
    if setting is not None:
        monkeypatch.setenv("WEBSITE_AUTH_ENABLED", setting)
    assert authenticated(headers) == (who if setting == "True" else "")
