"""How many loads the API lets in, which of them are one, and that the schedule keeps its time beside them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from hygge_engine.flow import bounds as flow_bounds
from hygge_engine.orchestration.lanes import LANE_PREFIX
from hygge_engine.orchestration.schedule import ID_PREFIX, Tick, start_due_loads
from hygge_engine.web.api import Api
from hygge_engine.web.responses import Response
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.unit.load_world import LoadWorld
from tests.unit.project_files import HYGGE

LIMIT = 5
NAMES = ("orders", "customers", "stock")


class SlowClient(Client):
    """A durable client whose responses take a while, in which others ask it too; listings show no inputs."""

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any:
        await asyncio.sleep(0)
        return await super().start_new(orchestration_function_name, instance_id, client_input)

    async def get_status_by(self, *, runtime_status: Any) -> list[Any]:
        found = await super().get_status_by(runtime_status=runtime_status)
        await asyncio.sleep(0)
        return found

    def go_on(self, load_id: str, phase: str = "loading", runtime_status: str = "Running") -> None:
        """A load has come so far."""
        input_ = self.instances[load_id].input_
        self.put(load_id, runtime_status, input_=input_, custom_status=json.dumps({"phase": phase}))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    return LoadWorld(tmp_path, monkeypatch, hygge=f"{HYGGE}options: {{ unfinished_loads: {LIMIT} }}\n")


@pytest.fixture
def api(world: LoadWorld) -> Api:
    return promised(Api(lambda: world.project))


async def post(api: Api, client: Client, **body: Any) -> Response:
    return await api.start_load(json.dumps(body).encode(), client, requested_by="http", traceparent="")


def test_of_hundreds_of_loads_at_once_so_many_are_let_in_and_the_schedule_is_on_time(
    world: LoadWorld, api: Api
) -> None:
    client = SlowClient()
    due = datetime(2026, 11, 30, 6, 15, tzinfo=UTC)

    async def all_at_once() -> tuple[list[Response], list[str]]:
        posts = [post(api, client, entities=[NAMES[number % 3]], requested_by=str(number)) for number in range(400)]
        answers = await asyncio.gather(*posts)
        tick = Tick(due, due - timedelta(minutes=15))
        return answers, await start_due_loads(lambda: world.project, tick, client, [])

    answers, scheduled = asyncio.run(all_at_once())
    assert Counter(answer.status for answer in answers) == {HTTPStatus.ACCEPTED: LIMIT, 429: 400 - LIMIT}
    (refused, *_) = [answer for answer in answers if answer.status == HTTPStatus.TOO_MANY_REQUESTS]
    assert refused.payload["code"] == "load.too_many"
    assert int(refused.headers["Retry-After"]) > 0
    assert scheduled == [f"{ID_PREFIX}20261130T061500Z"]
    assert len(client.instances) == LIMIT + 1


@pytest.mark.parametrize("prefix", [ID_PREFIX, LANE_PREFIX])
def test_scheduled_loads_and_lanes_take_no_place_of_others(api: Api, prefix: str) -> None:
    client = SlowClient()
    for number in range(3 * LIMIT):
        client.put(f"{prefix}{number}")
    assert asyncio.run(post(api, client)).status == HTTPStatus.ACCEPTED


def test_a_load_that_ends_leaves_its_place_to_another(api: Api) -> None:
    client = SlowClient()
    for number in range(LIMIT):
        assert asyncio.run(post(api, client, requested_by=str(number))).status == HTTPStatus.ACCEPTED
    assert asyncio.run(post(api, client)).status == HTTPStatus.TOO_MANY_REQUESTS
    client.go_on(next(iter(client.instances)), "settled", "Completed")
    assert asyncio.run(post(api, client)).status == HTTPStatus.ACCEPTED


def test_a_load_that_could_not_be_started_takes_no_place(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client = SlowClient()
    for _ in range(2 * LIMIT):
        with monkeypatch.context() as broken:
            broken.setattr(Client, "start_new", lambda *args: 1 / 0)
            assert asyncio.run(post(api, client)).status == HTTPStatus.INTERNAL_SERVER_ERROR
    assert asyncio.run(post(api, client)).status == HTTPStatus.ACCEPTED


async def post_with_key(api: Api, client: Client, key: str, who: str = "", **body: Any) -> Response:
    data = json.dumps(body).encode()
    return await api.start_load(data, client, requested_by="http", principal=who, idempotency_key=key)


def test_requests_with_one_key_start_one_load(api: Api, world: LoadWorld) -> None:
    client = SlowClient()

    async def all_at_once() -> list[Response]:
        return await asyncio.gather(*(post_with_key(api, client, "k1", entities=["orders"]) for _ in range(5)))

    answers = asyncio.run(all_at_once())
    (load_id,) = {answer.payload["load_id"] for answer in answers}
    assert list(client.instances) == [load_id]
    client.go_on(load_id, "settled", "Completed")
    again = asyncio.run(post_with_key(api, client, "k1", entities=["orders"]))
    assert (again.status, again.payload["load_id"]) == (HTTPStatus.ACCEPTED, load_id)
    assert list(client.instances) == [load_id]
    elsewhere = asyncio.run(post_with_key(promised(Api(lambda: world.project)), client, "k1", entities=["orders"]))
    assert elsewhere.payload["load_id"] == load_id
    assert asyncio.run(post_with_key(api, client, "k1", "ada", entities=["orders"])).payload["load_id"] != load_id
    other = asyncio.run(post_with_key(api, client, "k1"))
    assert (other.status, other.payload["code"]) == (HTTPStatus.UNPROCESSABLE_ENTITY, "load.invalid_request")


def test_two_instances_that_start_the_load_of_a_key_at_once_both_return_it(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = SlowClient()
    start = client.start_new

    async def come_second(name: str, instance_id: str, client_input: Any) -> Any:
        await start(name, instance_id, client_input)
        raise RuntimeError("409: an instance with this id exists already")

    monkeypatch.setattr(client, "start_new", come_second)
    answer = asyncio.run(post_with_key(api, client, "k1"))
    assert (answer.status, answer.payload["load_id"]) == (HTTPStatus.ACCEPTED, *client.instances)


def test_a_source_that_hangs_holds_up_no_request_with_another_key(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    client, asked, go_on = SlowClient(), threading.Event(), threading.Event()

    def hang(*given: object) -> None:
        asked.set()
        go_on.wait(30)

    monkeypatch.setattr(flow_bounds, "check_window", hang)

    async def both() -> tuple[Response, bool]:
        slow = asyncio.create_task(post_with_key(api, client, "slow", entities=["orders"], window={"from": 1}))
        try:
            assert await asyncio.to_thread(asked.wait, 30)
            quick = await post_with_key(api, client, "quick", entities=["orders"])
            return quick, slow.done()
        finally:
            go_on.set()
            await slow

    quick, was_done = asyncio.run(both())
    assert (quick.status, was_done) == (HTTPStatus.ACCEPTED, False)
    assert len(client.instances) == 2


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 201, "a\n"])
def test_what_is_no_key_is_a_bad_request(api: Api, key: str) -> None:
    client = SlowClient()
    assert asyncio.run(post_with_key(api, client, key)).status == HTTPStatus.BAD_REQUEST
    assert not client.instances


def test_an_identical_request_is_answered_with_the_load_that_waits(world: LoadWorld, api: Api) -> None:
    client = SlowClient()

    def ask(**body: Any) -> str:
        return str(asyncio.run(post(api, client, **body)).payload["load_id"])

    first = ask(entities=["orders"])
    client.go_on(first, "planning")
    assert ask(entities=["orders"]) == first
    assert ask(entities=["stock"]) != first
    assert ask(entities=["orders"], run_type="full_drop") != first
    world.place().progress.request_cancel(first)
    second = ask(entities=["orders"])
    # Ids are told apart by their beginnings, where people shorten them.
    assert second[:8] != first[:8]
    client.go_on(second)  # it may have looked for the newest rows already
    assert ask(entities=["orders"]) not in (first, second)
