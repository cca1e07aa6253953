from __future__ import annotations

from typing import Any, get_args

import pytest

from hygge_engine.errors import InvalidRequest
from hygge_engine.orchestration.request import RELOADS, RUN_TYPES, LoadRequest, parse_request
from hygge_engine.project.models.settings import Reload, RunType


def test_an_empty_body_asks_for_everything() -> None:
    assert parse_request(None, requested_by="http") == LoadRequest(requested_by="http")
    assert parse_request({}, requested_by="http") == LoadRequest(requested_by="http")


def test_a_request_survives_its_way_through_the_orchestration() -> None:
    body = {"flows": ["a", "b", "a"], "entities": ["a.x"], "run_type": "full_drop", "requested_by": "somebody"}
    body["reload"] = "difference"
    request = parse_request(body, requested_by="http")
    assert request.flows == ("a", "b")
    assert LoadRequest.from_json(request.to_json()) == request


def test_every_problem_of_a_body_is_reported_at_once() -> None:
    body = {"flow": "a", "flows": "a", "entities": ["x", 3, ""], "run_type": "full", "requested_by": 7}
    body["reload"] = "merge"
    with pytest.raises(InvalidRequest) as caught:
        parse_request(body, requested_by="http")
    problems = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 7
    assert "Unknown key 'flow'; expected one of: entities, flows" in problems
    assert "'flows' must be a list of names; found a string" in problems
    assert "'entities' must hold names; found a number" in problems
    assert "'run_type' must be one of full_drop, incremental; found 'full'" in problems
    assert "'reload' must be one of drop, difference; found 'merge'" in problems
    assert "'requested_by' must be a string; found a number" in problems


@pytest.mark.parametrize(("body", "found"), [([], "a list"), ("x", "a string"), (3, "a number"), (True, "a boolean")])
def test_a_body_must_be_an_object(body: Any, found: str) -> None:
    with pytest.raises(InvalidRequest, match=f"found {found}"):
        parse_request(body, requested_by="http")


def test_run_types_and_reloads_are_those_of_the_project() -> None:
    assert (get_args(RunType), get_args(Reload)) == (RUN_TYPES, RELOADS)


def test_a_window_is_a_request_for_its_rows() -> None:
    request = parse_request({"window": {"from": "2024-01-01", "to": 5}}, requested_by="http")
    assert (request.window_from, request.window_to, request.is_backfill) == ("2024-01-01", "5", True)
    assert LoadRequest.from_json(request.to_json()) == request
    assert not parse_request({}, requested_by="http").is_backfill


@pytest.mark.parametrize(
    "window", ["2024", {}, {"since": "2024"}, {"from": None}, {"to": True}, {"from": ""}, {"to": " "}]
)
def test_a_window_that_says_nothing_is_refused(window: object) -> None:
    with pytest.raises(InvalidRequest, match="window"):
        parse_request({"window": window}, requested_by="http")
