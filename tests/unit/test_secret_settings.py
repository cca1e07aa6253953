"""A canary in every setting that holds a secret, of every registered type: it is sung nowhere, whether the project is
broken around it or loads, fails, is planned and is asked about."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hygge_engine.cli import plan as cli_plan
from hygge_engine.cli.app import app
from hygge_engine.errors import ConfigurationError, HomeNotFound
from hygge_engine.orchestration.activities import Activities
from hygge_engine.project import load_project
from hygge_engine.project.models.settings import CONNECTIONS, STORES, Settings
from hygge_engine.web.api import Api
from tests.support.api_contract import promised
from tests.support.durable_client import Client
from tests.support.secret_sections import SECRETS, SECTIONS, secrets_of, with_section
from tests.unit.load_world import FLOW_YML, LoadWorld
from tests.unit.project_files import HYGGE, write_project

# As an account key it must be base64, too.
CANARY = "cAnArYcAnArY"

# What surrounds the secret in a file that is wrong. `{key}` is the secret's key.
BROKEN = {
    "beside an unknown key": "{{ {type}, {key}: {canary}, nonsense_: 1 }}",
    "behind an unknown key": "{{ nonsense_: 1, {type}, {key}: '{canary}' }}",
    "under a misspelt key": "{{ {type}, {key}x: {canary} }}",
    "as a list": "{{ {type}, {key}: [{canary}] }}",
    "as a mapping": "{{ {type}, {key}: {{a: {canary}}} }}",
    "twice": "{{ {type}, {key}: a, {key}: {canary} }}",
    "as a tag": "{{ {type}, {key}: !{canary} x }}",
    "as an alias": "{{ {type}, {key}: *{canary} }}",
    "in what is no YAML": "{{ {type}, {key}: {canary}, a: [ }}",
    "in quotes that nothing closes": "{{ {type}, {key}: '{canary} }}",
    "of a type that is not known": "{{ type: nonsense, {key}: {canary} }}",
    "without a type": "{{ {key}: {canary} }}",
    "in a default": '{{ {type}, {key}x: "${{NOWHERE:-{canary}}}" }}',
    "in a variable": '{{ {type}, {key}x: "${{CANARY}}" }}',
}

ON_THE_COMMAND_LINE = ["{key}={canary}", "{key}x={canary}", "{key}=[{canary}", "{key}='{canary}", "{key} {canary}"]


def models_below(model: type[Settings]) -> set[type[Settings]]:
    """A model's subclasses, and theirs."""
    return {model}.union(*(models_below(inner) for inner in model.__subclasses__()))


NAMES = [".".join(secret) for secret in SECRETS]


def written(pattern: str, kind: str, key: str) -> str:
    """A section of one line with the canary as ``pattern`` says, ``key`` being a path within the section."""
    *outer, last = key.split(".")
    text = pattern.format(type=f"type: {kind}", key=last, canary=CANARY)
    for name in reversed(outer):
        text = f"{{ type: {kind}, {name}: {text} }}"
    return text


def shown_by(directory: Path, *overrides: str) -> str:
    """Everything that the project's errors say; what is no error is shown as it is."""
    try:
        project = load_project(directory, {"SHOP_PASSWORD": CANARY, "CANARY": CANARY}, overrides)
    except ConfigurationError as error:
        texts = [str(error), repr(error)]
        for problem in error.problems:
            texts += [str(problem), repr(problem), problem.render(), json.dumps(problem.to_json())]
        return "\n".join(texts)
    return repr(project)


def test_there_are_secrets_to_look_for() -> None:
    expected = {("connections", "mssql", "password"), ("store", "open_mirroring", "account_key")}
    assert expected | {("polish", "polish", "hash_salt")} <= set(SECRETS)


def test_every_secret_that_a_model_has_is_among_them() -> None:
    known = {key.rpartition(".")[2] for _, _, key in SECRETS}
    for model in models_below(Settings):
        assert {key.rpartition(".")[2] for key in secrets_of(model)} <= known, model
    assert ("store", "mssql", "journal_folder.account_key") in SECRETS


def test_every_key_that_sounds_like_a_secret_is_one() -> None:
    for registry in SECTIONS.values():
        for model in registry.values():
            sounding = {
                key
                for key in model.model_fields
                if any(word in key for word in ("password", "secret", "token", "salt"))
            }
            assert sounding <= set(secrets_of(model)), model


@pytest.mark.parametrize(("section", "kind", "key"), SECRETS, ids=NAMES)
def test_no_error_around_it_shows_it(tmp_path: Path, section: str, kind: str, key: str) -> None:
    for number, (where, pattern) in enumerate(BROKEN.items()):
        directory = write_project(tmp_path / str(number), **with_section(section, written(pattern, kind, key)))
        assert CANARY not in shown_by(directory), where


@pytest.mark.parametrize(("section", "kind", "key"), SECRETS, ids=NAMES)
def test_no_error_of_the_command_line_shows_it(tmp_path: Path, section: str, kind: str, key: str) -> None:
    write_project(tmp_path)
    places = {"connections": "connections.shop_db", "journal.location": section}
    path = places.get(section, f"flow.orders_to_fabric.{section}")
    overrides = [f"{path}.{part.format(key=key, kind=kind, canary=CANARY)}" for part in ON_THE_COMMAND_LINE]
    overrides.append(f"{path}={written('{{ {type}, {key}: {canary}, nonsense_: 1 }}', kind, key)}")
    overrides.append(f"{path}={written('{{ {type}, {key}: {canary}, a: b: c }}', kind, key)}")
    for override in overrides:
        assert CANARY not in shown_by(tmp_path, override, "nonsense_=1"), override


STORES_IN_A_LAKE = [kind for kind, model in STORES.items() if "account_url" in model.model_fields]


# Any item of Fabric, and a path as good as another.
ITEM = "33333333-3333-3333-3333-333333333333"


class SecretWorld(LoadWorld):
    """A load world whose project holds a canary in every secret of its connection and store."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
        connection = "".join(f"    {key}: {CANARY}\n" for key in secrets_of(CONNECTIONS["mssql"]) if key != "password")
        hygge = HYGGE.replace("${SHOP_PASSWORD}", CANARY) + connection
        shown_as = {"sas_token": f"'sv=1&sig={CANARY}'"}
        store = "".join(f"  {key}: {shown_as.get(key, CANARY)}\n" for key in secrets_of(STORES[kind]))
        flow = FLOW_YML.replace("  key_columns", f"  credential: sas\n{store}  key_columns")
        flow += f"polish: {{ mask: {{ value: hash, id: hash }}, hash_salt: {CANARY} }}\n"
        if kind != "open_mirroring":
            required = [key for key, info in STORES[kind].model_fields.items() if info.is_required()]
            flow = flow.replace("  mirror_name: 22222222-2222-2222-2222-222222222222\n", "")
            flow = flow.replace("type: open_mirroring", f"type: {kind}")
            flow = flow.replace("  key_columns", "".join(
                f"  {key}: {ITEM}\n" for key in required if key not in ("account_url", "filesystem")
            ) + "  key_columns")  # fmt: skip
        if kind == "adls":
            flow = flow.replace("onelake.dfs.fabric.microsoft.com", "shop.dfs.core.windows.net")
        super().__init__(root, monkeypatch, hygge=hygge, flow=flow)
        self.fill(orders=5, customers=3, stock=0)
        monkeypatch.setattr(cli_plan, "open_home", self._open_home)
        # What an orchestration's history holds: the activities' inputs and outputs.
        self.history: list[Any] = []
        for name in ("plan_load", "run_flow", "settle_load"):
            monkeypatch.setattr(Activities, name, self._recorded(getattr(Activities, name)))

    def _recorded(self, activity: Callable[[Activities, Any], Any]) -> Callable[[Activities, Any], Any]:
        def record(activities: Activities, input_: Any) -> Any:
            answer = activity(activities, input_)
            self.history += [input_, answer]
            return answer

        return record

    def hygge(self, command: str, *arguments: str) -> str:
        result = CliRunner().invoke(app, [command, "--project", str(self.directory), *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.output + result.stderr


@pytest.mark.parametrize("kind", STORES_IN_A_LAKE)
def test_no_command_answer_log_file_or_history_shows_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    caplog.set_level(logging.DEBUG)
    world = SecretWorld(tmp_path, monkeypatch, kind)
    shown = [world.hygge("validate"), world.hygge("validate", "--json"), world.hygge("go", "--json", "--verbose")]
    assert '"status": "success"' in shown[-1]

    def fail(entity: str, batch: int) -> None:
        raise HomeNotFound("There is no such table.")

    world.before_read = fail
    world.fill(orders=9)
    shown += [world.hygge(command) for command in ("go", "plan", "runs")]
    shown += [world.hygge(command, "--json", "--verbose") for command in ("go", "plan", "runs")]
    shown += [world.hygge("plan", "--offline", "--json"), world.hygge("runs", "--entity", "orders", "--json")]
    assert "There is no such table" in "".join(shown)

    api, client = promised(Api(lambda: world.project)), Client()
    answers = [api.flows(), api.health(), api.runs(None, None)]
    for body in (b"{}", b'{"entities": ["nothing"]}', b'{"run_type": 1}'):
        answers.append(asyncio.run(api.start_load(body, client, requested_by="a test")))
    shown += [json.dumps(answer.payload, default=str) for answer in answers]
    shown += [repr(client.instances), json.dumps(world.history), json.dumps(world.journal(), default=str), caplog.text]
    assert len(world.history) > 10

    assert [text for text in shown if CANARY in text] == []
    files = [path for path in world.lake_directory.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if CANARY.encode() in path.read_bytes()] == []
