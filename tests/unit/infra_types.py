"""What Azure Resource Manager takes, from azure_types.json, made by scripts/azure_types.py of the published types."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from tests.unit.infra_resources import Resource, longest, plain

_TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("azure_types.json").read_text())

# Values that only Azure knows, as `Reference` writes them.
_REFERENCE = re.compile(r"<(\S+) (\S*): ([^>]+)>")


def types() -> set[str]:
    """The types that the table has, as ``type@version``."""
    return set(_TABLE["types"])


def faults(resources: list[Resource], outputs: dict[str, Any]) -> list[str]:
    """What Azure, or the Bicep compiler before it, would say to resources and outputs: a line for each fault."""
    versions = {resource.type: resource.version for resource in resources}
    found = [fault for resource in resources for fault in _faults_of(resource)]
    text = json.dumps([plain(outputs), *(plain(resource.body) for resource in resources)], ensure_ascii=False)
    for type_, name, path in sorted(set(_REFERENCE.findall(text))):
        schema = _TABLE["types"].get(f"{type_}@{versions.get(type_, '')}")
        if schema is None or not _has(schema, path.removesuffix(".lower case").split(".")):
            found.append(f"{type_} {name}: there is no {path} to refer to")
    return found


def _faults_of(resource: Resource) -> Iterator[str]:
    schema = _TABLE["types"].get(f"{resource.type}@{resource.version}")
    if schema is None:
        yield f"{resource.type}@{resource.version} {resource.name}: no such type, or not in azure_types.json"
        return
    body = {name: _without_nulls(plain(value)) for name, value in resource.body.items() if value is not None}
    body["name"] = longest(resource.name.rpartition("/")[2])
    for error in _Validator({"shapes": _TABLE["shapes"], **schema}).iter_errors(body):
        yield f"{resource.type} {resource.name}: {error.json_path}: {error.message}"


def _without_nulls(value: Any) -> Any:
    """A value as it is sent: Azure takes null for not given."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _read_only(validator: Any, read_only: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if read_only:
        yield ValidationError(f"{instance!r} is given, but only Azure sets it")


_Validator = extend(Draft202012Validator, {"readOnly": _read_only})


def _has(schema: Any, path: list[str]) -> bool:
    """Whether a schema knows a path of names."""
    if not path or schema is True:
        return not path
    if "$ref" in schema:
        return _has(_TABLE["shapes"][schema["$ref"].removeprefix("#/shapes/")], path)
    variants = [schema, *(each["then"] for each in schema.get("allOf", []))]
    return any(
        path[0] in each.get("properties", {}) and _has(each["properties"][path[0]], path[1:]) for each in variants
    )
