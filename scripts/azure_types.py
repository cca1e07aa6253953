#!/usr/bin/env python3
"""Write tests/unit/azure_types.json: what Azure Resource Manager takes for the resource types of infra/bicep.

The source is the folder ``generated`` of https://github.com/Azure/bicep-types-az, from which the Bicep compiler and the
Terraform provider azapi have their types. Each type becomes a JSON Schema; of what is read-only one level is kept, so
that references to it can be looked up. By hand, with the types that are to be added:

    .venv/bin/python scripts/azure_types.py FOLDER --date YYYY-MM-DD [Microsoft.Web/sites@2024-04-01 ...]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parents[1] / "tests" / "unit" / "azure_types.json"

SOURCE = "https://github.com/Azure/bicep-types-az, folder generated"

# Of a property's flags in that source: https://github.com/Azure/bicep-types.
REQUIRED, READ_ONLY = 1, 2

Schema = dict[str, Any]


class Shapes:
    """The types of one file as JSON Schemas, each object under a name of its own."""

    def __init__(self, types: list[dict[str, Any]], shapes: dict[str, Schema], prefix: str) -> None:
        self._types = types
        self._shapes = shapes
        self._prefix = prefix
        self._names: dict[int, str] = {}

    def schema(self, index: int) -> Schema:
        """What the type at an index allows."""
        type_ = self._types[index]
        match type_["$type"]:
            case "StringType":
                return {"type": "string"} | {
                    name: type_[name] for name in ("minLength", "maxLength", "pattern") if name in type_
                }
            case "IntegerType":
                bounds = {"minimum": type_.get("minValue"), "maximum": type_.get("maxValue")}
                return {"type": "integer"} | {name: value for name, value in bounds.items() if value is not None}
            case "StringLiteralType":
                return {"enum": [type_["value"]]}
            case "BooleanType":
                return {"type": "boolean"}
            case "AnyType":
                return {}
            case "ArrayType":
                return {"type": "array", "items": self.schema(_target(type_["itemType"]))}
            case "UnionType":
                return self._union([self.schema(_target(each)) for each in type_["elements"]])
            case "ObjectType" | "DiscriminatedObjectType":
                return {"$ref": f"#/shapes/{self._name(index)}"}
        raise ValueError(f"{type_['$type']} is not understood")

    def _union(self, parts: list[Schema]) -> Schema:
        # A list of values with "or any string" beside it is how the source writes one that may grow. What is not in it
        # today is more likely a slip than a value of tomorrow.
        literals = [value for part in parts for value in part.get("enum", [])]
        others = [part for part in parts if "enum" not in part and not (literals and part == {"type": "string"})]
        if literals and not others:
            return {"enum": literals}
        return {"anyOf": ([{"enum": literals}] if literals else []) + others}

    def _name(self, index: int) -> str:
        if index not in self._names:
            name = f"{self._prefix}.{self._types[index]['name'].replace('/', '.')}"
            while name in self._shapes:
                name += "_"
            self._names[index] = name
            self._shapes[name] = {}
            self._shapes[name] |= self._object(self._types[index])
        return self._names[index]

    def _object(self, type_: dict[str, Any]) -> Schema:
        if type_["$type"] == "ObjectType":
            return self._properties(type_["properties"], type_.get("additionalProperties"))
        variants = {}
        for value, target in type_["elements"].items():
            own = self._types[_target(target)]
            variants[value] = self._properties(
                type_["baseProperties"] | own["properties"], own.get("additionalProperties")
            )
        name = type_["discriminator"]
        return {
            "type": "object",
            "required": [name],
            "properties": {name: {"enum": list(variants)}},
            "allOf": [
                {"if": {"properties": {name: {"const": value}}}, "then": schema} for value, schema in variants.items()
            ],
        }

    def _properties(self, properties: dict[str, Any], others: dict[str, str] | None) -> Schema:
        return {
            "type": "object",
            "required": sorted(
                name for name, each in properties.items() if each["flags"] & (REQUIRED | READ_ONLY) == 1
            ),
            "properties": {
                name: self._read_only(_target(each["type"]))
                if each["flags"] & READ_ONLY
                else self.schema(_target(each["type"]))
                for name, each in properties.items()
            },
            "additionalProperties": self.schema(_target(others)) if others else False,
        }

    def _read_only(self, index: int) -> Schema:
        """What Azure returns and never accepts: the names of one level."""
        inner = self._types[index].get("properties", {})
        return {"readOnly": True} | ({"properties": dict.fromkeys(inner, True)} if inner else {})


def _target(reference: dict[str, str]) -> int:
    return int(reference["$ref"].removeprefix("#/"))


def table_of(folder: Path, wanted: set[str], date: str) -> dict[str, Any]:
    """The facts of the wanted types. Raises ValueError for one that is in none of the folder's files."""
    shapes: dict[str, Schema] = {}
    types: dict[str, Schema] = {}
    for path in sorted(folder.rglob("types.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        reader = Shapes(document, shapes, path.parent.parent.name.removeprefix("microsoft."))
        for each in document:
            if each["$type"] == "ResourceType" and each["name"] in wanted:
                types[each["name"]] = reader.schema(_target(each["body"]))
    if missing := wanted - types.keys():
        raise ValueError(f"no file under {folder} has {', '.join(sorted(missing))}")
    return {"source": SOURCE, "date": date, "types": types, "shapes": shapes}


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the table: the types that it has, and those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the folder `generated` of a copy of that repository")
    parser.add_argument("types", nargs="*", metavar="TYPE@VERSION")
    parser.add_argument("--date", required=True, help="the day of that copy")
    options = parser.parse_intermixed_args(arguments)
    known = json.loads(TABLE.read_text(encoding="utf-8"))["types"] if TABLE.exists() else {}
    try:
        table = table_of(options.folder, {*known, *options.types}, options.date)
    except ValueError as error:
        print(f"azure_types: {error}", file=sys.stderr)
        return 1
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
