"""What infra/bicep asks for is what Azure's published types allow, whatever the parameters."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from scripts.azure_types import main, table_of
from tests.support.planted import plant
from tests.unit.infra_bicep import Template
from tests.unit.infra_scenarios import INFRA, REQUIRED, SCENARIOS
from tests.unit.infra_types import faults, types


def faults_of(infra: Path, scenario: dict[str, Any]) -> list[str]:
    template = Template(infra / "bicep" / "main.bicep", REQUIRED | scenario)
    return faults(template.create(), {name: value() for name, value in template.outputs.items()})


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_azure_knows_everything_that_is_asked_for(scenario: str) -> None:
    assert faults_of(INFRA, SCENARIOS[scenario]) == []


# What is planted: the module, what it says, what it says instead, and what the fault must name.
PLANTED = {
    "a property that there is not": (
        "app",
        "httpsOnly: true",
        "httpOnly: true",
        r"properties: .*'httpOnly' was unexpected",
    ),
    "a property in another case": ("storage", "accessTier:", "accesstier:", "'accesstier' was unexpected"),
    "a property at the wrong level": (
        "app",
        "      http20Enabled: true\n",
        "    }\n    http20Enabled: true\n    siteConfig: {\n",
        "'http20Enabled' was unexpected",
    ),
    "a property of a nested resource": ("storage", "publicAccess:", "publicAccessLevel:", "publicAccessLevel"),
    "a property of what a list holds": ("alerts", "emailAddress: email", "address: email", "emailReceivers"),
    "a value that there is not": (
        "storage",
        "'TLS1_2'",
        "'tls1_2'",
        "minimumTlsVersion: 'tls1_2' is not one of",
    ),
    "a value of a list that may grow": ("app", "type: 'blobContainer'", "type: 'blobcontainer'", "blobcontainer"),
    "another type of value": ("app", "allow: false", "allow: 'false'", "'false' is not of type 'boolean'"),
    "a name of another API": (
        "network",
        "publicIPAllocationMethod: 'Static'",
        "allocationMethod: 'Static'",
        "allocation",
    ),
    "what is required": ("scheduler", "    ipAllowlist: ['0.0.0.0/0']\n", "", "'ipAllowlist' is a required property"),
    "what only Azure sets": (
        "identity",
        "  tags: tags\n",
        "  tags: tags\n  properties: { tenantId: tenant().tenantId }\n",
        "only Azure sets it",
    ),
    "a version that there is not": ("app", "sites@2024-04-01' =", "sites@2024-04-31' =", "no such type"),
    "a type that there is not": ("vault", "KeyVault/vaults@", "KeyVault/vault@", "no such type"),
    "a name that is too long": ("vault", "  name: name\n", "  name: '${name}-of-the-vault'\n", "vaults .*name"),
    "an output that Azure does not answer": (
        "app",
        "site.properties.defaultHostName",
        "site.properties.hostName",
        "there is no properties.hostName",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    module, written, instead, named = PLANTED[fault]
    infra = tmp_path / "infra"
    shutil.copytree(INFRA, infra)
    path = infra / "bicep" / "modules" / f"{module}.bicep"
    plant(path, written, instead)

    found = faults_of(infra, SCENARIOS["everything"]) + faults_of(infra, {})

    assert any(re.search(named, line) for line in found), found


def test_every_type_that_is_named_is_one_of_the_table() -> None:
    # Those that exist already, and are only referred to, are in no scenario's resources.
    text = "\n".join(path.read_text() for path in (INFRA / "bicep").rglob("*.bicep"))
    named = set(re.findall(r"^ *resource \w+ '([^']+@[^']+)'", text, re.MULTILINE))

    assert named <= types()


TYPES: list[dict[str, Any]] = [
    {"$type": "StringType", "maxLength": 3},
    {"$type": "IntegerType", "minValue": 1},
    {"$type": "BooleanType"},
    {"$type": "AnyType"},
    {"$type": "StringLiteralType", "value": "On"},
    {"$type": "UnionType", "elements": [{"$ref": "#/4"}, {"$ref": "#/14"}]},
    {"$type": "ArrayType", "itemType": {"$ref": "#/7"}},
    {"$type": "ObjectType", "name": "Part", "properties": {"parts": {"type": {"$ref": "#/6"}, "flags": 0}}},
    {"$type": "ObjectType", "name": "Part", "properties": {}, "additionalProperties": {"$ref": "#/1"}},
    {
        "$type": "DiscriminatedObjectType",
        "name": "Kind",
        "discriminator": "kind",
        "baseProperties": {"shared": {"type": {"$ref": "#/2"}, "flags": 1}},
        "elements": {"one": {"$ref": "#/10"}},
    },
    {"$type": "ObjectType", "name": "One", "properties": {"kind": {"type": {"$ref": "#/11"}, "flags": 1}}},
    {"$type": "StringLiteralType", "value": "one"},
    {
        "$type": "ObjectType",
        "name": "X/things",
        "properties": {
            "name": {"type": {"$ref": "#/0"}, "flags": 9},
            "state": {"type": {"$ref": "#/7"}, "flags": 2},
            "switch": {"type": {"$ref": "#/5"}, "flags": 0},
            "any": {"type": {"$ref": "#/3"}, "flags": 4},
            "map": {"type": {"$ref": "#/8"}, "flags": 0},
            "parts": {"type": {"$ref": "#/6"}, "flags": 0},
            "kind": {"type": {"$ref": "#/9"}, "flags": 0},
        },
    },
    {"$type": "ResourceType", "name": "X/things@1", "body": {"$ref": "#/12"}},
    {"$type": "StringType"},
]


def test_the_table_is_made_of_the_published_types(tmp_path: Path) -> None:
    folder = tmp_path / "x" / "microsoft.x" / "1"
    folder.mkdir(parents=True)
    (folder / "types.json").write_text(json.dumps(TYPES))

    table = table_of(tmp_path, {"X/things@1"}, "2026-08-20")
    shapes = table["shapes"]
    thing = shapes[table["types"]["X/things@1"]["$ref"].removeprefix("#/shapes/")]

    assert thing["required"] == ["name"]
    assert thing["additionalProperties"] is False
    assert thing["properties"] == {
        "name": {"type": "string", "maxLength": 3},
        "state": {"readOnly": True, "properties": {"parts": True}},
        "switch": {"enum": ["On"]},
        "any": {},
        "map": {"$ref": "#/shapes/x.Part"},
        "parts": {"type": "array", "items": {"$ref": "#/shapes/x.Part_"}},
        "kind": {"$ref": "#/shapes/x.Kind"},
    }
    assert shapes["x.Part"]["additionalProperties"] == {"type": "integer", "minimum": 1}
    (variant,) = shapes["x.Kind"]["allOf"]
    assert variant["then"]["required"] == ["kind", "shared"]


def test_a_type_that_is_in_no_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "--date", "2026-08-20", "Microsoft.Web/sites@1999-01-01"]) == 1
    assert "Microsoft.Web/sites@1999-01-01" in capsys.readouterr().err
