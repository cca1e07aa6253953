"""Evaluates the part of Terraform's language that infra/terraform uses, from python-hcl2's syntax tree.

Conditions, counts, loops and interpolations are carried out with given variables; what only Azure knows stays a
`Reference`. Anything else is an error, so that nothing is skipped unseen. `infra_azurerm` turns the blocks into what
the provider asks Azure Resource Manager for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import hcl2
from lark import Token, Tree

from tests.unit.infra_resources import SUBSCRIPTION_ID, TENANT_ID, TOKEN, TOKEN_OF

Syntax = Tree[Token]

_SUBSCRIPTION = {
    "id": f"/subscriptions/{SUBSCRIPTION_ID}",
    "subscription_id": SUBSCRIPTION_ID,
    "tenant_id": TENANT_ID,
}

_META_ARGUMENTS = frozenset({"count", "for_each", "depends_on", "lifecycle", "provider"})


@dataclass(frozen=True)
class Block:
    """A block as written: its type, its labels and its body."""

    type: str
    labels: tuple[str, ...]
    body: Syntax

    def attribute(self, name: str) -> Syntax | None:
        """The expression of an argument; None where it is not given."""
        for found, expression in self.attributes():
            if found == name:
                return expression
        return None

    def attributes(self) -> Iterator[tuple[str, Syntax]]:
        """The arguments: name and expression."""
        for child in _trees(self.body):
            if child.data == "attribute":
                yield _text(child.children[0]), _trees(child)[-1]

    def blocks(self) -> list[Block]:
        """The blocks inside."""
        return [_block(child) for child in _trees(self.body) if child.data == "block"]


def read_blocks(directory: Path) -> list[Block]:
    """All blocks of a module's files. Raises where a file is not valid."""
    blocks: list[Block] = []
    for path in sorted(directory.glob("*.tf")):
        root = _parse(path.read_text())
        blocks += [_block(child) for child in _trees(_trees(root)[0]) if child.data == "block"]
    return blocks


@cache
def _parse(text: str) -> Syntax:
    return hcl2.parses_to_tree(text)


class Instance:
    """One instance of a resource: its arguments are evaluated when they are asked for."""

    def __init__(self, block: Block, module: Module, scope: Mapping[str, Any], index: Any = None) -> None:
        self.type, self.label = block.labels
        self.index = index
        self.module = module
        self._block = block
        self._scope = scope

    def argument(self, name: str) -> Any:
        """One argument, without looking at the others."""
        expression = self._block.attribute(name)
        if expression is None:
            raise ValueError(f"{self.type}.{self.label} has no {name}")
        return self.module.evaluate(expression, self._scope)

    def has(self, name: str) -> bool:
        """Whether an argument is written."""
        return self._block.attribute(name) is not None

    def arguments(self) -> dict[str, Any]:
        """All arguments; each kind of inner block is a list of such mappings."""
        return self._arguments(self._block, self._scope)

    def _arguments(self, block: Block, scope: Mapping[str, Any]) -> dict[str, Any]:
        found = {
            name: self.module.evaluate(expression, scope)
            for name, expression in block.attributes()
            if name not in _META_ARGUMENTS
        }
        for inner in block.blocks():
            if inner.type == "dynamic":
                found.setdefault(inner.labels[0], []).extend(self._dynamic(inner, scope))
            else:
                found.setdefault(inner.type, []).append(self._arguments(inner, scope))
        return found

    def _dynamic(self, block: Block, scope: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The blocks that a ``dynamic`` block stands for."""
        items, (content,) = block.attribute("for_each"), block.blocks()
        return [
            self._arguments(content, {**scope, block.labels[0]: {"key": key, "value": value}})
            for key, value in enumerate(self.module.evaluate(items, scope))
        ]


class Module:
    """A directory of .tf files with values for its variables. ``attribute_of`` says what a resource's attribute is."""

    def __init__(
        self, directory: Path, values: Mapping[str, Any], attribute_of: Callable[[Instance, str], Any]
    ) -> None:
        self._directory = directory
        self._values = values
        self._attribute_of = attribute_of
        self._locals: dict[str, Syntax] = {}
        self._known: dict[str, Any] = {}
        self._resources: dict[tuple[str, str], Block] = {}
        self.variables: dict[str, Block] = {}
        self.outputs: dict[str, Block] = {}
        for block in read_blocks(directory):
            match block.type:
                case "locals":
                    self._locals |= dict(block.attributes())
                case "resource":
                    self._resources[block.labels[0], block.labels[1]] = block
                case "variable":
                    self.variables[block.labels[0]] = block
                case "output":
                    self.outputs[block.labels[0]] = block
                case "terraform" | "provider" | "data":
                    pass
                case other:
                    raise ValueError(f"a block {other} is not understood")
        surplus = set(values) - set(self.variables)
        if surplus:
            raise ValueError(f"there are no variables {surplus}")

    def instances(self) -> list[Instance]:
        """Every resource that is made."""
        return [instance for block in self._resources.values() for instance in self._instances(block)]

    def output(self, name: str) -> Any:
        """The value of an output."""
        expression = self.outputs[name].attribute("value")
        if expression is None:
            raise ValueError(f"the output {name} has no value")
        return self.evaluate(expression, {})

    def _instances(self, block: Block) -> list[Instance]:
        count, for_each = block.attribute("count"), block.attribute("for_each")
        if count is not None:
            return [
                Instance(block, self, {"count": {"index": number}}, number)
                for number in range(self.evaluate(count, {}))
            ]
        if for_each is not None:
            items = self.evaluate(for_each, {})
            pairs = items.items() if isinstance(items, dict) else [(item, item) for item in items]
            return [Instance(block, self, {"each": {"key": key, "value": value}}, key) for key, value in pairs]
        return [Instance(block, self, {})]

    def evaluate(self, node: Any, scope: Mapping[str, Any]) -> Any:
        """The value of an expression. ``scope`` holds ``each``, ``count`` and the variables of ``for``."""
        if isinstance(node, Token):
            return self._name(str(node), scope)
        children = _parts(node)
        match str(node.data):
            case "expr_term":
                inner = [child for child in children if not (isinstance(child, Token) and child in ("(", ")"))]
                return self.evaluate(inner[0], scope)
            case "identifier":
                return self._name(_text(node), scope)
            case "literal_value":
                return {"true": True, "false": False, "null": None}[_text(node)]
            case "int_lit":
                return int(_text(node))
            case "string":
                return "".join(_shown(part) for part in self._string_parts(node, scope))
            case "tuple":
                return [self.evaluate(child, scope) for child in _trees(node)]
            case "object":
                return {
                    self._key(_trees(element)[0], scope): self.evaluate(_trees(element)[1], scope)
                    for element in _trees(node)
                }
            case "function_call":
                name, *rest = _trees(node)
                arguments = [self.evaluate(each, scope) for each in (_trees(rest[0]) if rest else [])]
                return self._call(_text(name), arguments)
            case "get_attr_expr_term" | "index_expr_term":
                return self._access(node, scope)
            case "conditional":
                condition, yes, no = (child for child in children if isinstance(child, Tree))
                return self.evaluate(yes if self.evaluate(condition, scope) else no, scope)
            case "binary_op":
                left, term = (child for child in children if isinstance(child, Tree))
                operator, right = _trees(term)
                return self._binary(_text(operator), left, right, scope)
            case "unary_op":
                operand = self.evaluate(_trees(node)[-1], scope)
                return -operand if str(children[0]) == "-" else not operand
            case "for_tuple_expr":
                return [self.evaluate(body[0], inner) for inner, body in self._rounds(node, scope)]
            case "for_object_expr":
                return {
                    self.evaluate(body[0], inner): self.evaluate(body[1], inner)
                    for inner, body in self._rounds(node, scope)
                }
        raise ValueError(f"{node.data} is not understood: {_text(node)}")

    def _rounds(self, node: Syntax, scope: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], list[Syntax]]]:
        intro, *body = _trees(node)
        *names, collection = _trees(intro)
        items = self.evaluate(collection, scope)
        pairs = sorted(items.items()) if isinstance(items, dict) else list(enumerate(items))
        for key, value in pairs:
            bound = [_text(name) for name in names]
            values = {bound[0]: key, bound[1]: value} if len(bound) == 2 else {bound[0]: value}
            inner = {**scope, **values}
            conditions = [_trees(part)[0] for part in body if part.data == "for_cond"]
            if all(self.evaluate(condition, inner) for condition in conditions):
                yield inner, body

    def _binary(self, operator: str, left: Syntax, right: Syntax, scope: Mapping[str, Any]) -> Any:
        one = self.evaluate(left, scope)
        if operator == "&&":
            return one and self.evaluate(right, scope)
        if operator == "||":
            return one or self.evaluate(right, scope)
        other = self.evaluate(right, scope)
        match operator:
            case "==":
                return one == other
            case "!=":
                return one != other
            case "+":
                return one + other
            case ">":
                return one > other
            case ">=":
                return one >= other
            case "<=":
                return one <= other
        raise ValueError(f"{operator} is not understood")

    def _key(self, node: Syntax, scope: Mapping[str, Any]) -> str:
        inner = node
        while inner.data in ("object_elem_key", "expr_term"):
            inner = _trees(inner)[0]
        return _text(inner) if inner.data == "identifier" else str(self.evaluate(inner, scope))

    def _string_parts(self, node: Syntax, scope: Mapping[str, Any]) -> Iterator[Any]:
        for part in _trees(node):
            for child in part.children:
                if isinstance(child, Tree) and child.data == "interpolation":
                    yield self.evaluate(_trees(child)[0], scope)
                else:
                    yield _text(child)

    def _name(self, name: str, scope: Mapping[str, Any]) -> Any:
        if name in scope:
            return scope[name]
        if name in ("var", "local", "path", "data"):
            return _Namespace(name)
        if any(type_ == name for type_, _ in self._resources):
            return _Namespace(name)
        raise ValueError(f"{name} is not declared")

    def _access(self, node: Syntax, scope: Mapping[str, Any]) -> Any:
        holder_node, accessor = _trees(node)
        holder = self.evaluate(holder_node, scope)
        if accessor.data == "get_attr":
            return self._attribute(holder, _text(_trees(accessor)[0]))
        index = self.evaluate(_trees(accessor)[0], scope)
        if isinstance(holder, list) and holder and isinstance(holder[0], Instance):
            return next(instance for instance in holder if instance.index == index)
        return holder[index]

    def _attribute(self, holder: Any, name: str) -> Any:
        if isinstance(holder, _Namespace):
            return self._in_namespace(str(holder), name)
        if isinstance(holder, Instance):
            return self._attribute_of(holder, name)
        if isinstance(holder, dict):
            return holder[name]
        return holder.at(name)

    def _in_namespace(self, space: str, name: str) -> Any:
        match space:
            case "var":
                return self._variable(name)
            case "local":
                if name not in self._known:
                    self._known[name] = self.evaluate(self._locals[name], {})
                return self._known[name]
            case "path":
                return {"module": str(self._directory)}[name]
            case "data":
                return {"azurerm_subscription": {"current": _SUBSCRIPTION}}[name]
        block = self._resources[space, name]
        instances = self._instances(block)
        many = block.attribute("count") is not None or block.attribute("for_each") is not None
        return instances if many else instances[0]

    def _variable(self, name: str) -> Any:
        if name in self._values:
            return self._values[name]
        default = self.variables[name].attribute("default")
        if default is None:
            raise ValueError(f"the variable {name} has no value")
        return self.evaluate(default, {})

    def _call(self, name: str, arguments: list[Any]) -> Any:
        if name == "file":
            return Path(arguments[0]).read_text()
        if name not in _FUNCTIONS:
            raise ValueError(f"the function {name} is not understood")
        return _FUNCTIONS[name](*arguments)


class _Namespace(str):
    """``var``, ``local``, or the type of resources."""

    __slots__ = ()


def _trees(node: Syntax) -> list[Syntax]:
    return [child for child in _parts(node) if isinstance(child, Tree)]


def _parts(node: Syntax) -> list[Any]:
    return [
        child
        for child in node.children
        if child is not None and not (isinstance(child, Tree) and child.data == "new_line_or_comment")
    ]


def _text(node: Any) -> str:
    if isinstance(node, Token):
        return str(node)
    return "".join(_text(child) for child in node.children if child is not None)


def _block(node: Syntax) -> Block:
    head, *labels = [child for child in _trees(node) if child.data in ("identifier", "string")]
    body = next(child for child in _trees(node) if child.data == "body")
    return Block(_text(head), tuple(_text(label).strip('"') for label in labels), body)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _sha256(text: str) -> str:
    if text != "/".join(TOKEN_OF):
        raise ValueError(f"the suffix is made from {text}")
    return TOKEN + "0" * (64 - len(TOKEN))


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "concat": lambda *lists: [item for each in lists for item in each],
    "contains": lambda items, item: item in items,
    "join": lambda separator, items: separator.join(items),
    "length": len,
    "lower": lambda value: value.lower() if isinstance(value, str) else value.at("lower case"),
    "merge": lambda *maps: {key: value for each in maps for key, value in each.items()},
    "sha256": _sha256,
    "replace": lambda text, part, other: text.replace(part, other),
    "slice": lambda items, start, end: items[start:end],
    "split": lambda separator, text: text.split(separator),
    "startswith": lambda text, part: text.startswith(part),
    "strcontains": lambda text, part: part in text,
    "substr": lambda text, start, length: text[start : start + length],
    "toset": lambda items: sorted(set(items)),
    "trimspace": str.strip,
    "tostring": str,
    "uuidv5": lambda space, name: f"uuid of {space} {name}",
}
