"""One secret under a harmless name, in every key that there is, and in projects that are broken in every known way: no
error, no response, no command and no log line shows it."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hygge_engine.cli.app import app
from hygge_engine.errors import ConfigurationError
from hygge_engine.masking import forget_everything
from hygge_engine.project import Project, load_project
from hygge_engine.project.models.documents import EntityDocument, FlowDocument, ProjectDocument
from hygge_engine.telemetry import add_ids_to_logs
from hygge_engine.web.api import Api
from tests.support.api_contract import promised
from tests.support.broken_projects import PROJECTS
from tests.support.durable_client import Client
from tests.support.secret_sections import SECRETS, SECTIONS, with_section
from tests.unit.project_files import HYGGE, write_project

CANARY = "cAnArY.oF[tHe]mInE"
ENVIRONMENT = {"SHOP_PASSWORD": "correct horse", "MY_THING": CANARY}

# How a value holds it: alone, in the midst of others, where a mapping is, and without a variable.
FORMS = ['"${MY_THING}"', '"x${MY_THING}[y"', '{ a: ["${MY_THING}"] }', f'"{CANARY}"']

# What rules over values might quote of it.
PARTS = [CANARY.casefold(), *CANARY.casefold().split("[")]
PARTS += [CANARY.encode(charset).hex() for charset in ("utf-8", "utf-16-le")]
PARTS += [base64.b64encode(CANARY.encode(charset)).decode()[:-4].casefold() for charset in ("utf-8", "utf-16-le")]

# The sample, whose password it is.
OWNED = HYGGE.replace("${SHOP_PASSWORD}", "${MY_THING}")


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    add_ids_to_logs()


def told_by(directory: Path) -> str:
    """All that is said of a broken project: by its error, and over HTTP. Nothing is said of a whole one."""
    try:
        load_project(directory)
    except ConfigurationError as error:
        found = error
    else:
        return ""

    def fail() -> Project:
        raise found

    told = [str(found), repr(found), found.brief]
    told += [text for problem in found.problems for text in (problem.render(), repr(problem), str(problem))]
    api = promised(Api(fail))
    started = asyncio.run(api.start_load(b"{}", Client(), requested_by="a test"))
    answers = [started, api.flows(), api.runs(None, None), api.run("x"), api.health()]
    assert {answer.status for answer in answers} == {503}
    assert not [answer for answer in answers if str(directory) in answer.body]
    return "\n".join(told + [answer.body for answer in answers])


def keys() -> Iterator[tuple[str, str, str]]:
    """Section, type and key; a key that several types of a section share stands for all of them."""
    seen = set()
    for section, registry in SECTIONS.items():
        for kind, model in registry.items():
            for key in model.model_fields:
                if (section, key) not in seen:
                    seen.add((section, key))
                    yield section, kind, key
    for document in (ProjectDocument, FlowDocument, EntityDocument):
        for key in document.model_fields:
            yield document.__name__, "", key


KEYS = list(keys())
MADE_FOR_SECRETS = {key for _, _, key in SECRETS}


def with_key(section: str, kind: str, key: str, value: str, *, hygge: str) -> dict[str, str]:
    """The sample with a value in one of its keys."""
    if section == "ProjectDocument":
        return {"hygge": f"{hygge}{key}: {value}\n"}
    if section == "FlowDocument":
        return {"hygge": hygge, "flows__other__flow": f"{key}: {value}\n"}
    if section == "EntityDocument":
        return {"hygge": hygge, "flows__orders_to_fabric__entities__items": f"{key}: {value}\n"}
    if section == "connections":
        return {"hygge": f"{hygge}    {key}: {value}\n"}
    files = with_section(section, f"{{ type: {kind}, {key}: {value} }}")
    return {"hygge": hygge, **files, **({"hygge": files["hygge"].replace(HYGGE, hygge)} if "hygge" in files else {})}


@pytest.mark.parametrize("form", FORMS)
def test_no_key_shows_the_password(tmp_path: Path, form: str) -> None:
    for number, (section, kind, key) in enumerate(KEYS):
        forget_everything()
        told = told_by(write_project(tmp_path / str(number), **with_key(section, kind, key, form, hygge=OWNED)))
        assert told or key in MADE_FOR_SECRETS, f"{section} {kind} {key}: the secret was accepted"
        assert not [part for part in PARTS if part in told.casefold()], f"{section} {kind} {key}"
    assert len(KEYS) > 100


@pytest.mark.parametrize("form", FORMS[:2])
def test_no_error_shows_what_a_variable_holds(tmp_path: Path, form: str) -> None:
    """Nothing shows that it is a secret: no key for secrets has it, and its name is harmless."""
    for number, (section, kind, key) in enumerate(KEYS):
        forget_everything()
        told = told_by(write_project(tmp_path / str(number), **with_key(section, kind, key, form, hygge=HYGGE)))
        assert not [part for part in PARTS if part in told.casefold()], f"{section} {kind} {key}"


@pytest.mark.parametrize("name", PROJECTS)
def test_no_broken_project_shows_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Broken as people break them, with the secret as password, as the name of an entity and among the columns."""
    monkeypatch.setenv("SHOP_PASSWORD", CANARY)
    files, _, _ = PROJECTS[name]
    entity = (
        "name: '${MY_THING}'\npolish: { constants: { password: '${SHOP_PASSWORD}' }, mask: { a: '${MY_THING}' } }\n"
    )
    write_project(tmp_path, flows__orders_to_fabric__entities__extra=entity)
    for file, content in files.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        if (tmp_path / file).is_dir():
            shutil.rmtree(tmp_path / file)
        (tmp_path / file).unlink(missing_ok=True) if content is None else (tmp_path / file).write_bytes(content)
    told = told_by(tmp_path)
    result = CliRunner().invoke(app, ["validate", "--verbose", "--project", str(tmp_path)])
    told += result.output + result.stderr + caplog.text
    assert told
    assert CANARY not in told
