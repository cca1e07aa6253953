"""What a template creates, in the words of Azure Resource Manager, whichever language it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SUBSCRIPTION_ID = "00000000-0000-0000-0000-000000000001"
TENANT_ID = "00000000-0000-0000-0000-000000000002"

# Stands for the suffix that each language computes from the same three values with a hash of its own.
TOKEN = "uniquesuffix0"
TOKEN_OF = (SUBSCRIPTION_ID, "shop", "westeurope")

# The longest that names end in: `environmentName` has 32 letters at most.
LONGEST_SUFFIX = f"{'x' * 32}-{TOKEN}"

# Resources whose name is a GUID that each language makes in its own way; nothing refers to them.
NAMELESS = frozenset({"Microsoft.Authorization/roleAssignments", "Microsoft.Insights/workbooks"})


@dataclass(frozen=True)
class Reference:
    """A value that only Azure knows: ``path`` (``id``, ``properties.clientId``) of a resource."""

    type: str
    name: str
    path: str = ""

    def at(self, path: str) -> Reference:
        """The value at a path below this one."""
        return Reference(self.type, self.name, f"{self.path}.{path}" if self.path else path)

    def __str__(self) -> str:
        return f"<{self.type} {self.name}: {self.path}>"


@dataclass(frozen=True)
class Resource:
    """A resource as ARM is asked for it. ``name`` of a child holds its parents'; ``scope`` is that of extensions.

    ``version`` is that of the API, where the template names it.
    """

    type: str
    name: str
    body: Mapping[str, Any]
    scope: str = ""
    version: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies it; role assignments by who gets what where."""
        if self.type == "Microsoft.Authorization/roleAssignments":
            properties = self.body["properties"]
            return self.type, f"{properties['principalId']} {properties['roleDefinitionId']}", self.scope
        return self.type, "" if self.type in NAMELESS else self.name, self.scope


def longest(name: str) -> str:
    """What a name would be with the longest `environmentName` that there may be."""
    return name.replace(f"{TOKEN_OF[1]}-{TOKEN}", LONGEST_SUFFIX)


def plain(value: Any) -> Any:
    """A value with every reference as text, so that values of both languages can be compared."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Reference) else value


def differences(left: Mapping[Any, Any], right: Mapping[Any, Any]) -> list[str]:
    """Every path at which two trees differ, with both values."""
    return list(_differences("", left, right))


def _differences(path: str, left: Any, right: Any) -> Any:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys(), key=str):
            yield from _differences(f"{path}/{key}", left.get(key, _ABSENT), right.get(key, _ABSENT))
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from _differences(f"{path}/{index}", one, other)
    elif left != right or isinstance(left, bool) != isinstance(right, bool):
        yield f"{path}: {left!r} != {right!r}"


class _Absent:
    def __repr__(self) -> str:
        return "nothing"


_ABSENT = _Absent()


def tree_of(resources: list[Resource]) -> dict[str, Any]:
    """Resources by key. Two with the same key are a mistake of the template."""
    tree: dict[str, Any] = {}
    for resource in resources:
        key = " ".join(resource.key)
        if key in tree:
            raise ValueError(f"{key} is created twice")
        body = {name: value for name, value in resource.body.items() if value is not None}
        # App settings and private zones are sets: their order means nothing.
        tree[key] = plain(body)
        settings = tree[key].get("properties", {}).get("siteConfig", {}).get("appSettings")
        if settings is not None:
            names = [each["name"].lower() for each in settings]
            if twice := {name for name in names if names.count(name) > 1}:
                raise ValueError(f"{key} has settings twice: {', '.join(sorted(twice))}")
            tree[key]["properties"]["siteConfig"]["appSettings"] = {each["name"]: each["value"] for each in settings}
    return tree
