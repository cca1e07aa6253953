"""The schemas of Terraform providers, from packages that carry them: every resource with every argument.

The packages are the prebuilt providers of the Cloud Development Kit for Terraform. Each holds a description of its
classes (``.jsii``, JSON), made of the schema that the provider itself gives. What is lost there: which lists are sets,
how many blocks there may be beyond one, and the values that an argument takes.
"""

from __future__ import annotations

import json
import re
import tarfile
from dataclasses import dataclass, field
from importlib.metadata import distribution
from typing import Any

_LINK = re.compile(r"Create a new \{@link \S+ (\w+)\}")
_ANCHOR = re.compile(r"\{@link \S+#(\w+) ")

_PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}


@dataclass(frozen=True)
class Attribute:
    """An argument or what the provider returns. ``type`` is of Terraform's type language."""

    name: str
    type: Any
    required: bool = False
    optional: bool = False
    computed: bool = False
    nested: Block | None = None


@dataclass(frozen=True)
class Block:
    """What stands between braces."""

    attributes: list[Attribute] = field(default_factory=list)
    blocks: list[NestedBlock] = field(default_factory=list)


@dataclass(frozen=True)
class NestedBlock:
    """A block inside another one. ``required``: there must be one; ``many``: there may be more."""

    name: str
    block: Block
    required: bool
    many: bool


@dataclass(frozen=True)
class Provider:
    """One provider: its own configuration, resources and data sources by type."""

    configuration: Block
    resources: dict[str, Block]
    data_sources: dict[str, Block]


class Package:
    """A package that carries a provider. ``version`` is the provider's own.

    ``nested_attributes``: the provider stands on Terraform's newer framework, where one object is no block.
    """

    def __init__(self, name: str, *, nested_attributes: bool = False) -> None:
        files = distribution(name).files or []
        (archive,) = (file for file in files if file.name.endswith(".jsii.tgz"))
        with tarfile.open(str(archive.locate())) as contents:
            member = contents.extractfile("package/.jsii")
            assert member is not None
            description = json.load(member)
        self._types: dict[str, Any] = description["types"]
        (self.version,) = set(
            re.findall(r"registry\.terraform\.io/providers/\w+/\w+/([\d.]+)", description["readme"]["markdown"])
        )
        self._nested_attributes = nested_attributes

    def read(self, wanted: set[str]) -> Provider:
        """The provider with those of the wanted resources and data sources that it has."""
        found: dict[str, dict[str, Block]] = {"Resource": {}, "DataSource": {}, "Provider": {}}
        for name, type_ in self._types.items():
            kind = type_.get("base", "").rpartition(".Terraform")[2]
            link = _LINK.match(type_.get("initializer", {}).get("docs", {}).get("summary", ""))
            if kind in found and link is not None and (kind == "Provider" or link[1] in wanted):
                found[kind][link[1]] = self._block(self._types[f"{name}Config"], type_)
        (configuration,) = found["Provider"].values()
        return Provider(configuration, found["Resource"], found["DataSource"])

    def _block(self, given: Any, answered: Any) -> Block:
        """The block that is written as the interface ``given`` and read as the class ``answered``."""
        block = Block()
        for each in given.get("properties", []):
            self._add(block, each)
        names = {each.name for each in block.attributes} | {each.name for each in block.blocks}
        for each in answered.get("properties", []):
            name = _snake(each["name"])
            is_input = name.endswith("_input") and name.removesuffix("_input") in names
            if each.get("static") or name in names or is_input or name in ("fqn", "internal_value"):
                continue
            if (type_ := self._type(each["type"])) is not None:
                block.attributes.append(Attribute(name, type_, computed=True))
        return block

    def _add(self, block: Block, given: Any) -> None:
        name, required = _name(given), not given.get("optional")
        struct, many = self._struct(given["type"])
        if struct is None:
            type_ = self._type(given["type"])
            # What may be left out the provider may fill in.
            block.attributes.append(Attribute(name, type_, required, not required, computed=not required))
            return
        inner = self._block(struct, self._types.get(f"{struct['fqn']}OutputReference", {}))
        if self._nested_attributes and not many and name != "timeouts":
            block.attributes.append(Attribute(name, None, required, not required, nested=inner))
        else:
            block.blocks.append(NestedBlock(name, inner, required, many))

    def _struct(self, type_: Any) -> tuple[Any, bool]:
        """The interface that a type is made of, if it is one, and whether it is a list of them."""
        for option in type_.get("union", {}).get("types", [type_]):
            many = option.get("collection", {}).get("kind") == "array"
            name = (option["collection"]["elementtype"] if many else option).get("fqn", "")
            if self._types.get(name, {}).get("kind") == "interface":
                return self._types[name], many
        return None, False

    def _type(self, type_: Any) -> Any:
        """A type in Terraform's type language; None for one that has none there."""
        if "primitive" in type_:
            return _PRIMITIVES[type_["primitive"]]
        if "collection" in type_:
            inner = self._type(type_["collection"]["elementtype"])
            kind = {"array": "list", "map": "map"}[type_["collection"]["kind"]]
            return "dynamic" if inner == "dynamic" else [kind, inner]
        if "union" in type_:
            options = [self._type(each) for each in type_["union"]["types"] if "IResolvable" not in each.get("fqn", "")]
            return options[0] if len(options) == 1 else None
        name = type_["fqn"]
        if name.rpartition(".")[2] in ("StringMap", "NumberMap", "BooleanMap"):
            return ["map", _PRIMITIVES[name.rpartition(".")[2].removesuffix("Map").lower()]]
        if name.endswith(".AnyMap"):
            return "dynamic"
        if name.endswith("List") and f"{name.removesuffix('List')}OutputReference" in self._types:
            reference = self._types[f"{name.removesuffix('List')}OutputReference"]
            inner = self._block({}, reference)
            return ["list", ["object", {each.name: each.type for each in inner.attributes}]]
        return None


def _name(given: Any) -> str:
    """The name that the provider has for a property: the documentation that is linked says it."""
    docs = given.get("docs", {})
    anchor = _ANCHOR.search(docs.get("summary", "") + docs.get("remarks", ""))
    return anchor[1] if anchor else _snake(given["name"])


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()
