"""What infra/bicep makes of parameters and of the variables that they are read from."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.planted import plant
from tests.unit.infra_bicep import Template, read_parameters, read_values
from tests.unit.infra_resources import tree_of
from tests.unit.infra_scenarios import CLIENT_ID, INFRA, REFUSED, REQUIRED, SCENARIOS, SQL_SERVER_ID, VALUES


def test_a_variable_that_is_not_set_means_the_templates_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = INFRA / "bicep" / "main.bicepparam"
    for name in re.findall(r"readEnvironmentVariable\('(\w+)'", file.read_text()):
        monkeypatch.delenv(name, raising=False)
    parameters = read_parameters(INFRA / "bicep" / "main.bicep")

    given = read_values(file, tmp_path)

    assert {name: value for name, value in given.items() if not parameters[name].required} == {
        name: parameters[name].default for name in given if not parameters[name].required
    }


def test_a_variable_holds_a_list_with_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTRA_ALLOWED_CLIENTS", f"{CLIENT_ID}, {SQL_SERVER_ID},")

    given = read_values(INFRA / "bicep" / "main.bicepparam", tmp_path)

    assert given["entraAllowedClients"] == [CLIENT_ID, SQL_SERVER_ID]


@pytest.mark.parametrize("combination", REFUSED)
def test_what_would_not_work_is_refused_before_anything_is_created(combination: str) -> None:
    values, named = REFUSED[combination]

    with pytest.raises(ValueError, match=named):
        Template(INFRA / "bicep" / "main.bicep", REQUIRED | values).create()


@pytest.mark.parametrize("name", VALUES)
def test_values_that_azure_would_turn_away_are_refused(name: str) -> None:
    main, values = INFRA / "bicep" / "main.bicep", VALUES[name]
    parameter = read_parameters(main)[name]

    def checked(value: Any) -> Any:
        # The name of the resource group, which is not known before everything has been looked at.
        return Template(main, REQUIRED | values.needs | {name: value}).names["checkedName"]()

    for value in values.taken:
        assert checked(value)
    for value in values.refused:
        if parameter.type == "string" and not (
            parameter.decorators.get("minLength", 0) <= len(value) <= parameter.decorators.get("maxLength", len(value))
        ):
            # Refused before anything of the template is looked at.
            continue
        with pytest.raises(ValueError, match=name):
            raise AssertionError(f"{value!r} is taken: {checked(value)}")


def nameless(infra: Path, values: dict[str, Any]) -> list[str]:
    """Resources that have an empty part in their name, also where they are not deployed."""
    declared = Template(infra / "bicep" / "main.bicep", REQUIRED | values).declared()
    assert len(declared) > 20
    return [f"{each.type} {each.name}" for each in declared if not all(each.name.split("/"))]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_what_is_not_deployed_has_a_name_too(scenario: str) -> None:
    assert nameless(INFRA, SCENARIOS[scenario]) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vaultName", ["Microsoft.KeyVault/vaults "]),
        (
            "schedulerName",
            ["Microsoft.DurableTask/schedulers ", "Microsoft.DurableTask/schedulers/taskHubs /HyggeEngine"],
        ),
    ],
)
def test_an_empty_name_of_what_is_not_deployed_is_found(name: str, found: list[str], tmp_path: Path) -> None:
    infra = Path(shutil.copytree(INFRA, tmp_path / "infra"))
    plant(infra / "bicep/modules/access.bicep", f"empty({name}) ? 'unused' : {name}", name)

    assert nameless(infra, {}) == found


def test_another_spelling_of_the_same_gives_the_same_names() -> None:
    spelled, as_usual = (
        {each.key for each in Template(INFRA / "bicep" / "main.bicep", REQUIRED | SCENARIOS[scenario]).create()}
        for scenario in ("spelled otherwise", "as it comes")
    )

    assert spelled == as_usual


def test_the_zone_of_a_managed_instance_has_its_prefix() -> None:
    made = tree_of(Template(INFRA / "bicep" / "main.bicep", REQUIRED | SCENARIOS["managed instance"]).create())
    zones = {key.split()[1] for key in made if key.startswith("Microsoft.Network/privateDnsZones ")}

    assert "privatelink.a1b2c3d4e5f6.database.windows.net" in zones
    assert "privatelink.database.windows.net" not in zones


@pytest.mark.parametrize(
    ("given", "warm"),
    [
        ({}, 0),
        ({"durableTaskScheduler": True}, 1),
        ({"durableTaskScheduler": True, "zoneRedundant": True}, 2),
        ({"durableTaskScheduler": True, "alwaysReadyInstances": 0}, 0),
        ({"alwaysReadyInstances": 3}, 3),
    ],
)
def test_the_scheduler_gets_an_instance_that_is_always_ready(given: dict[str, Any], warm: int) -> None:
    made = tree_of(Template(INFRA / "bicep" / "main.bicep", REQUIRED | given).create())
    (site,) = (body for key, body in made.items() if key.startswith("Microsoft.Web/sites "))
    ready = site["properties"]["functionAppConfig"]["scaleAndConcurrency"]["alwaysReady"]

    assert ready == ([{"name": "durable", "instanceCount": warm}] if warm else [])


@pytest.mark.parametrize(
    ("given", "type_", "name", "value"),
    [
        ({"keyVault": True}, "Microsoft.KeyVault/vaults", "createMode", "default"),
        ({"keyVault": True, "recoverKeyVault": True}, "Microsoft.KeyVault/vaults", "createMode", "recover"),
        ({}, "Microsoft.Web/serverfarms", "zoneRedundant", False),
        ({"zoneRedundant": True}, "Microsoft.Web/serverfarms", "zoneRedundant", True),
        # azd looks for the name as it was given.
        ({"environmentName": "Shop"}, "Microsoft.Web/serverfarms", "azd-env-name", "Shop"),
    ],
)
def test_a_parameter_decides(given: dict[str, Any], type_: str, name: str, value: object) -> None:
    made = tree_of(Template(INFRA / "bicep" / "main.bicep", REQUIRED | given).create())

    (body,) = (body for key, body in made.items() if key.startswith(f"{type_} "))
    assert (body["properties"] | body["tags"])[name] == value
