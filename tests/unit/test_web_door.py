"""What a caller may send: whatever it is, the response says what was wrong with it, and nothing is begun."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hygge_engine.project import Project
from hygge_engine.web.api import Api
from hygge_engine.web.door import BODY_LIMIT_BYTES, base_url
from hygge_engine.web.responses import PROBLEMS_LIMIT, Response
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.unit.load_world import LoadWorld

KIB = 1024


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadWorld:
    return LoadWorld(tmp_path, monkeypatch)


@pytest.fixture
def api(world: LoadWorld) -> Api:
    return promised(Api(lambda: world.project))


def start(api: Api, body: bytes, client: Client | None = None, content_type: str = "application/json") -> Response:
    return asyncio.run(api.start_load(body, client or Client(), requested_by="http", content_type=content_type))


BODIES: dict[str, tuple[bytes, HTTPStatus, str]] = {
    "blank": (b" \n\t ", HTTPStatus.BAD_REQUEST, "The body is blank"),
    "blank for ever": (b" " * 200 * KIB, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "at most 65,536"),
    "half a surrogate pair": (b'{"requested_by": "\\ud800"}', HTTPStatus.BAD_REQUEST, "not valid Unicode"),
    "half a pair in a name": (b'{"flows": ["\\udfff"]}', HTTPStatus.BAD_REQUEST, "not valid Unicode"),
    "half a pair in a key": (b'{"\\ud83d": 1}', HTTPStatus.BAD_REQUEST, "not valid Unicode"),
    "another encoding": ('{"flows": ["\xe9"]}'.encode("latin-1"), HTTPStatus.BAD_REQUEST, "not UTF-8"),
    "UTF-16": ('{"flows": []}'.encode("utf-16"), HTTPStatus.BAD_REQUEST, "not UTF-8"),
    "nested": (b"[" * 30_000 + b"]" * 30_000, HTTPStatus.BAD_REQUEST, "nested too deeply"),
    "nested objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, HTTPStatus.BAD_REQUEST, "nested too deeply"),
    "nested objects, less deep": (b'{"a":' * 900 + b"1" + b"}" * 900, HTTPStatus.BAD_REQUEST, "Unknown key 'a'"),
    "nested in a window": (
        b'{"window": {"from": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}",
        HTTPStatus.BAD_REQUEST,
        "found an object",
    ),
    "nested in a list": (
        b'{"flows": ' + b'[{"a":' * 450 + b"1" + b"}]" * 450 + b"}",
        HTTPStatus.BAD_REQUEST,
        "must hold names",
    ),
    "half a pair, nested": (b'{"a":' * 900 + b'"\\ud800"' + b"}" * 900, HTTPStatus.BAD_REQUEST, "not valid Unicode"),
    "null": (b"null", HTTPStatus.BAD_REQUEST, "found null"),
    "a huge number": (b'{"window": {"from": ' + b"9" * 5_000 + b"}}", HTTPStatus.BAD_REQUEST, "digits"),
    "no value of JSON": (b'{"window": {"from": NaN}}', HTTPStatus.BAD_REQUEST, "NaN is not a JSON value"),
    "a key twice": (b'{"flows": [], "flows": ["x"]}', HTTPStatus.BAD_REQUEST, "a key twice"),
    "two values": (b"{} {}", HTTPStatus.BAD_REQUEST, "not JSON"),
}


@pytest.mark.parametrize(("body", "status", "words"), BODIES.values(), ids=BODIES)
def test_a_body_that_cannot_be_used_is_refused_with_the_reason(
    api: Api, body: bytes, status: HTTPStatus, words: str
) -> None:
    client = Client()
    answer = start(api, body, client)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert words in answer.payload["detail"]
    assert answer.payload["code"] == "load.invalid_request"
    assert client.instances == {}


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("", HTTPStatus.ACCEPTED),
        ("application/json", HTTPStatus.ACCEPTED),
        ("Application/JSON; charset=utf-8", HTTPStatus.ACCEPTED),
        ("application/merge-patch+json", HTTPStatus.ACCEPTED),
        ("application/x-www-form-urlencoded", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
        *(
            (f"application/json; charset={charset}", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            for charset in ("utf-16", '"utf-32"', "latin-1", "")
        ),
        ('application/json; x=1; Charset="UTF-8"', HTTPStatus.ACCEPTED),
        ("text/plain", HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    ],
)
def test_a_body_says_that_it_is_json_or_nothing(api: Api, content_type: str, status: HTTPStatus) -> None:
    assert start(api, b"{}", content_type=content_type).status == status
    assert start(api, b"", content_type=content_type).status == HTTPStatus.ACCEPTED


def test_of_many_problems_the_first_are_listed_and_all_are_counted(api: Api) -> None:
    count = 5_000
    answer = start(api, json.dumps({"entities": [1] * count}).encode())
    assert (len(answer.payload["problems"]), answer.payload["problem_count"]) == (PROBLEMS_LIMIT, count)
    assert f"{count - PROBLEMS_LIMIT:,} more" in answer.payload["detail"]
    assert len(answer.body) < 32 * KIB
    for key in ("flows", "entities"):
        answer = start(api, json.dumps({key: [f"unknown{number}" for number in range(4_000)]}).encode())
        assert answer.status == HTTPStatus.NOT_FOUND
        assert "3,900 more are unknown" in answer.payload["detail"]
        assert len(answer.body) < 32 * KIB


@pytest.mark.parametrize(
    "body",
    [
        {"x" * 60_000: 1},
        {"run_type": "x" * 60_000},
        {"flows": ["x" * 60_000]},
        {"entities": ["x" * 60_000]},
        {"entities": ["x" * 30_000 + ".a"]},
        {"requested_by": "x" * 60_000},
        {"window": {"from": "x" * 60_000}},
    ],
)
def test_no_answer_repeats_a_name_of_any_length(api: Api, body: dict[str, Any]) -> None:
    answer = start(api, json.dumps(body).encode())
    assert answer.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)
    assert len(answer.body) < 3 * KIB


def test_names_are_suggested_in_one_order(api: Api) -> None:
    said = {start(api, json.dumps({"entities": [name]}).encode()).payload["detail"] for name in ("zz", "zz")}
    assert len(said) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
bodies = (
    st.binary(max_size=200)
    | json_values.map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {}, optional=dict.fromkeys(("flows", "entities", "run_type", "requested_by", "window"), json_values)
    ).map(lambda value: json.dumps(value).encode())
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies)
def test_no_body_is_answered_with_an_error_of_the_program(api: Api, body: bytes) -> None:
    client = Client()
    answer = start(api, body, client)
    assert answer.status in (202, 400, 404), answer.payload
    assert bool(client.instances) == (answer.status == HTTPStatus.ACCEPTED)
    answer.body.encode()
    for instance in client.instances.values():
        instance.input_.encode()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(codec=None), max_size=40))
@example("9" * 4_301)
@example("\u0663")
@example("\ud800")
@example("../../x")
@example("a\nb")
def test_no_parameter_is_answered_with_an_error_of_the_program(api: Api, text: str) -> None:
    client = Client()
    client.put("running")
    answers: list[Any] = [api.runs(text, None), api.runs(None, text), api.runs(None, None, text), api.run(text)]
    answers += [asyncio.run(api.load_status(text, client)), asyncio.run(api.cancel_load(text, client))]
    answers += [api.runs(None, None, after=text)]
    for page in ({"limit": text}, {"after": text}):
        answers += [api.flows(**page), api.run("running", **page)]
        answers += [asyncio.run(api.load_status("running", client, **page))]
    answers += [api.run("running", status=text), asyncio.run(api.load_status("running", client, status=text))]
    for answer in answers:
        assert answer.status in (200, 400, 404), answer.payload
        answer.body.encode()


def test_answers_are_kept_by_nobody_and_taken_for_nothing_else(api: Api) -> None:
    for answer in (start(api, b"{}"), start(api, b"nonsense"), api.health(), api.run("nope")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WEBSITE_HOSTNAME": "shop.azurewebsites.net"}, "https://shop.azurewebsites.net"),
        ({"WEBSITE_HOSTNAME": "127.0.0.1:7071"}, "http://127.0.0.1:7071"),
        ({"WEBSITE_HOSTNAME": "x", "HYGGE_PUBLIC_URL": "https://loads.example.com/"}, "https://loads.example.com"),
        ({}, ""),
    ],
)
def test_links_lead_to_where_the_app_is_and_not_where_a_request_says(
    api: Api, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    for name in ("WEBSITE_HOSTNAME", "HYGGE_PUBLIC_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert base_url() == expected
    answer = start(api, b"{}")
    assert answer.headers["Location"] == f"{expected}/api/loads/{answer.payload['load_id']}"


def test_the_longest_body_is_read(api: Api) -> None:
    body = b"{}" + b" " * (BODY_LIMIT_BYTES - 2)
    assert start(api, body).status == HTTPStatus.ACCEPTED
    assert start(api, body + b" ").status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_a_project_that_nobody_foresaw_to_fail_is_no_empty_answer(world: LoadWorld) -> None:
    def fail() -> Project:
        raise ZeroDivisionError("secret-4711")

    api = promised(Api(fail))
    for answer in (start(api, b"{}"), api.flows(), api.runs(None, None), api.health()):
        assert answer.status == HTTPStatus.INTERNAL_SERVER_ERROR
        assert answer.payload["code"] == "load.unexpected"
        assert "4711" not in answer.body
