"""The OpenAPI document: what it promises is what the app serves. `tests.support.api_contract` compares responses."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any, get_type_hints

from jsonschema import Draft202012Validator

from hygge_engine.journal.rows import SCHEMA
from hygge_engine.journal.summaries import LOADS_SCHEMA
from hygge_engine.web.api import Api
from hygge_engine.web.contract import EntityRun, LoadRun, document
from tests.support.api_contract import SERVED

REPOSITORY = Path(__file__).parents[2]


def _operations(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method, path): each for path, methods in found["paths"].items() for method, each in methods.items()}


def test_every_route_of_the_app_is_described_and_no_other() -> None:
    program = ast.parse((REPOSITORY / "function_app.py").read_text(encoding="utf-8"))
    served = {
        (ast.literal_eval(given["methods"])[0].lower(), f"/api/{ast.literal_eval(given['route'])}"): given
        for call in ast.walk(program)
        if isinstance(call, ast.Call)
        for given in [{word.arg: word.value for word in call.keywords}]
        if {"route", "methods"} <= given.keys()
    }
    operations = _operations(document())
    assert operations.keys() == served.keys() == set(SERVED.values())
    for name, given in served.items():
        assert ("auth_level" in given) == (operations[name].get("security") == []), name


def test_every_schema_is_one_and_every_reference_leads_somewhere() -> None:
    text = json.dumps(document())
    found = json.loads(text)
    for schema in found["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    referred = {part.partition('"')[0] for part in text.split('"#/components/schemas/')[1:]}
    assert referred <= found["components"]["schemas"].keys()
    assert all(each["responses"] for each in _operations(found).values())


def test_parameters_of_a_path_are_described() -> None:
    for (_, path), operation in _operations(document()).items():
        named = {part[1:-1] for part in path.split("/") if part.startswith("{")}
        assert named == {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}


def test_the_journals_columns_are_all_described() -> None:
    assert set(SCHEMA.names) == get_type_hints(EntityRun).keys()
    assert set(LOADS_SCHEMA.names) == get_type_hints(LoadRun).keys()


def test_a_body_that_the_app_would_refuse_is_refused_by_the_document() -> None:
    found = document()
    body = found["paths"]["/api/loads"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    taken = Draft202012Validator({**found, **body})
    good: list[Any] = [{}, {"flows": ["a"], "run_type": None}, {"window": {"from": 1}}, {"reload": "difference"}]
    bad: list[Any] = [[], {"flow": []}, {"run_type": "all"}, {"window": {}}, {"window": {"since": 1}}, {"flows": "a"}]
    assert all(taken.is_valid(each) for each in good)
    assert not any(taken.is_valid(each) for each in bad)


def test_the_document_is_served() -> None:
    assert Api(lambda: None).openapi().payload == document()  # type: ignore[arg-type,return-value]
