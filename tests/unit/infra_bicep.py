"""Evaluates the part of Bicep that infra/bicep uses, from the syntax tree of Bicep's tree-sitter grammar.

Conditions, loops and interpolations are carried out with given parameters; what only Azure knows stays a `Reference`.
Anything else is an error, so that nothing is skipped unseen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

from tests.unit.infra_functions import FUNCTIONS, OPERATORS, as_text, element
from tests.unit.infra_resources import Reference, Resource

_LANGUAGE = Language(tree_sitter_bicep.language())


def parse(path: Path) -> Node:
    """The syntax tree of a file. Raises ValueError where the grammar does not allow what is written."""
    root = _parsed(path.read_bytes())
    if root.has_error:
        raise ValueError(f"{path.name} is not valid Bicep near line {_error_line(root)}")
    return root


@cache
def _parsed(text: bytes) -> Node:
    return Parser(_LANGUAGE).parse(text).root_node


def _error_line(node: Node) -> int:
    broken = next((child for child in node.children if child.has_error or child.is_missing), None)
    return node.start_point.row + 1 if broken is None else _error_line(broken)


@dataclass(frozen=True)
class Parameter:
    """A parameter with its decorators: ``allowed``, ``minValue``, ``maxValue``, ``minLength``, ``description`` …"""

    name: str
    type: str
    default: Any
    required: bool
    decorators: Mapping[str, Any]


@dataclass
class Template:
    """One .bicep file with values for its parameters."""

    path: Path
    values: Mapping[str, Any]
    resource_group: str = ""
    resources: list[Resource] = field(default_factory=list)
    names: dict[str, Callable[[], Any]] = field(default_factory=dict)
    outputs: dict[str, Callable[[], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._made: list[Callable[[], list[Resource]]] = []
        self._named: list[Callable[[], list[Reference]]] = []
        decorators: list[Node] = []
        for node in parse(self.path).named_children:
            match node.type:
                case "decorators":
                    decorators = node.named_children
                    continue
                case "parameter_declaration":
                    parameter = read_parameter(node, decorators, self)
                    self.names[parameter.name] = partial(self._value_of, parameter)
                case "variable_declaration":
                    name, value = _text(node.named_children[0]), node.named_children[1]
                    self.names[name] = _once(partial(self.evaluate, value, {}))
                case "output_declaration":
                    value = node.named_children[-1]
                    self.outputs[_text(node.named_children[0])] = _once(partial(self.evaluate, value, {}))
                case "resource_declaration":
                    self._declare_resource(node, None, {}, "")
                case "module_declaration":
                    self._declare_module(node)
                case "target_scope_assignment" | "metadata_declaration" | "comment" | "diagnostic_comment":
                    pass
                case other:
                    raise ValueError(f"{self.path.name}: {other} is not understood")
            decorators = []

    def _value_of(self, parameter: Parameter) -> Any:
        if parameter.required and parameter.name not in self.values:
            raise ValueError(f"{self.path.name}: the parameter {parameter.name} has no value")
        return self.values.get(parameter.name, parameter.default)

    def create(self) -> list[Resource]:
        """Every resource that is made, those of modules included."""
        return [resource for make in self._made for resource in make()]

    def declared(self) -> list[Reference]:
        """Every resource that a deployment looks at: made, passed over by its condition, or there already."""
        return [reference for name in self._named for reference in name()]

    def _declare_module(self, node: Node) -> None:
        name, path, body = _text(node.named_children[0]), node.named_children[1], node.named_children[-1]
        loop, condition, body = _unwrap(body)

        def load(scope: Mapping[str, Any]) -> Template:
            if condition is not None and not self.evaluate(condition, scope):
                raise ValueError(f"{self.path.name}: the module {name} is used where it is not deployed")
            given = self._evaluate_body(body, scope)
            group = given.get("scope")
            parameters = given.get("params", {})
            template = Template(
                self.path.parent / self.evaluate(path, scope),
                parameters,
                group.name if isinstance(group, Reference) else self.resource_group,
            )
            surplus = (set(given) - {"name", "scope", "params"}) | (set(parameters) - set(template.names))
            if surplus:
                raise ValueError(f"{self.path.name}: {name} does not take {surplus}")
            return template

        def scopes() -> list[dict[str, Any]]:
            return [{}] if loop is None else self._rounds(loop, {})

        templates = _once(lambda: [_once(partial(load, scope)) for scope in scopes()])
        self.names[name] = (lambda: templates()[0]()) if loop is None else (lambda: [each() for each in templates()])

        def deployed() -> list[Template]:
            return [
                template()
                for scope, template in zip(scopes(), templates(), strict=True)
                if condition is None or self.evaluate(condition, scope)
            ]

        self._made.append(lambda: [resource for template in deployed() for resource in template.create()])
        self._named.append(lambda: [reference for template in deployed() for reference in template.declared()])

    def _declare_resource(
        self, node: Node, parent: Callable[[], Reference] | None, outer: dict[str, Any], version: str
    ) -> None:
        children = node.named_children
        symbol, typed, body = _text(children[0]), self.evaluate(children[1], outer), children[-1]
        existing = any(child.type == "existing" or _text(child) == "existing" for child in node.children)
        type_, _, own_version = typed.partition("@")
        version = own_version or version
        loop, condition, body = _unwrap(body)

        def instance(scope: dict[str, Any]) -> Reference:
            name = self.evaluate(_property(body, "name"), scope)
            above = _property(body, "parent", required=False)
            holder = self.evaluate(above, scope) if above is not None else parent() if parent else None
            full = f"{holder.type}/{type_}" if parent and holder else type_
            return Reference(full, f"{holder.name}/{name}" if holder else str(name))

        def instances() -> Any:
            if loop is None:
                return instance(outer)
            return [instance(scope) for scope in self._rounds(loop, outer)]

        symbol_value = _once(instances)
        self.names[symbol] = symbol_value
        self._named.append(lambda: symbol_value() if loop else [symbol_value()])

        def make() -> list[Resource]:
            scopes = [outer] if loop is None else self._rounds(loop, outer)
            return [
                self._make(instance(scope), version, body, scope)
                for scope in scopes
                if condition is None or self.evaluate(condition, scope)
            ]

        if not existing:
            self._made.append(make)
        for child in body.named_children:
            if child.named_children and child.named_children[-1].type == "resource_declaration":
                self._declare_resource(child.named_children[-1], symbol_value, outer, version)

    def _make(self, reference: Reference, version: str, body: Node, scope: dict[str, Any]) -> Resource:
        given = self._evaluate_body(body, scope)
        extended = given.pop("scope", None)
        for key in ("name", "parent"):
            given.pop(key, None)
        on = str(extended.at("id")) if isinstance(extended, Reference) else ""
        return Resource(reference.type, reference.name, given, on, version)

    def _evaluate_body(self, body: Node, scope: Mapping[str, Any]) -> dict[str, Any]:
        """All properties but ``dependsOn``, which may name what is not deployed."""
        given = {}
        for child in body.named_children:
            if child.type != "object_property" or child.named_children[-1].type == "resource_declaration":
                continue
            key, value = self._key(child.named_children[0], scope), child.named_children[-1]
            if key != "dependsOn":
                given[key] = self.evaluate(value, scope)
            elif unknown := {_text(each) for each in value.named_children} - set(self.names):
                raise ValueError(f"{self.path.name}: dependsOn names {unknown}")
        return given

    def _rounds(self, loop: Node, outer: dict[str, Any]) -> list[dict[str, Any]]:
        first, *_, items, _body = loop.named_children
        values = self.evaluate(items, outer)
        if first.type == "for_loop_parameters":
            item, index = (_text(child) for child in first.named_children)
            return [{**outer, item: value, index: number} for number, value in enumerate(values)]
        return [{**outer, _text(first): value} for value in values]

    def evaluate(self, node: Node, scope: Mapping[str, Any]) -> Any:
        """The value of an expression. ``scope`` holds the variables of loops."""
        return self._evaluate(node, scope, lambda value: value)

    def _evaluate(self, node: Node, scope: Mapping[str, Any], part: Callable[[Any], Any]) -> Any:
        """The value of an expression whose last operand is followed by ``part``, a member or an element.

        The grammar reads ``!a.b`` as ``(!a).b``, and ``a && b[0]`` as ``(a && b)[0]``; Bicep does not.
        """
        children = [child for child in node.named_children if child.type not in ("comment", "diagnostic_comment")]
        match node.type:
            case "member_expression":
                name = _text(children[1])
                return self._evaluate(children[0], scope, lambda value: part(self._member(value, name)))
            case "subscript_expression":
                index = self.evaluate(children[1], scope)
                return self._evaluate(children[0], scope, lambda value: part(element(value, index)))
            case "ternary_expression":
                condition, *branches = [child for child in children if child.type != "?"]
                if self.evaluate(condition, scope):
                    return self.evaluate(branches[0], scope)
                return self._evaluate(branches[1], scope, part)
            case "unary_expression":
                value = self._evaluate(children[0], scope, part)
                return -value if _text(node).startswith("-") else not value
            case "binary_expression":
                return self._binary(node, scope, part)
            case "lambda_expression":
                variable, body = children
                return lambda value: self._evaluate(body, {**scope, _text(variable): value}, part)
        return part(self._evaluate_whole(node, scope))

    def _evaluate_whole(self, node: Node, scope: Mapping[str, Any]) -> Any:
        children = [child for child in node.named_children if child.type not in ("comment", "diagnostic_comment")]
        match node.type:
            case "string":
                return self._evaluate_string(node, scope)
            case "number":
                return int(_text(node))
            case "boolean":
                return _text(node) == "true"
            case "null":
                return None
            case "array":
                return [self.evaluate(child, scope) for child in children]
            case "object":
                return {
                    self._key(child.named_children[0], scope): self.evaluate(child.named_children[-1], scope)
                    for child in children
                    if child.type == "object_property" and child.named_children[-1].type != "resource_declaration"
                }
            case "parenthesized_expression":
                return self.evaluate(children[0], scope)
            case "identifier":
                return self._look_up(_text(node), scope)
            case "nullable_return_expression":
                return self.evaluate(children[0], scope)
            case "call_expression":
                return self._call(node, scope)
            case "for_statement":
                return [self.evaluate(children[-1], inner) for inner in self._rounds(node, dict(scope))]
        raise ValueError(f"{self.path.name}, line {node.start_point.row + 1}: {node.type} is not understood")

    def _key(self, node: Node, scope: Mapping[str, Any]) -> str:
        return str(self.evaluate(node, scope)) if node.type == "string" else _text(node)

    def _look_up(self, name: str, scope: Mapping[str, Any]) -> Any:
        if name in scope:
            return scope[name]
        if name not in self.names:
            raise ValueError(f"{self.path.name}: {name} is not declared")
        return self.names[name]()

    def _member(self, holder: Any, name: str) -> Any:
        if isinstance(holder, Template):
            if name != "outputs":
                raise ValueError(f"a module has no {name}")
            return {key: value() for key, value in holder.outputs.items()}
        if isinstance(holder, Reference):
            return holder.name.rpartition("/")[2] if name == "name" and not holder.path else holder.at(name)
        return element(holder, name)

    def _binary(self, node: Node, scope: Mapping[str, Any], part: Callable[[Any], Any]) -> Any:
        left, right = node.named_children
        sign = _text(node.children[1])
        inner = left
        while inner.type in ("member_expression", "subscript_expression"):
            inner = inner.named_children[0]
        if inner != left and inner.type in ("binary_expression", "ternary_expression", "lambda_expression"):
            line = node.start_point.row + 1
            raise ValueError(
                f"{self.path.name}, line {line}: the grammar binds this otherwise than Bicep; put brackets"
            )
        one = self.evaluate(left, scope)
        if sign == "??":
            return self._evaluate(right, scope, part) if one is None else one
        # Both sides, always: Azure promises to leave out only the branch of a condition that is not taken.
        return OPERATORS[sign](one, self._evaluate(right, scope, part))

    def _evaluate_string(self, node: Node, scope: Mapping[str, Any]) -> str:
        if not node.named_children:
            # The grammar takes blanks alone for no content.
            return _text(node)[1:-1]
        parts = []
        for child in node.named_children:
            match child.type:
                case "string_content":
                    parts.append(_text(child))
                case "escape_sequence":
                    parts.append(
                        {"\\'": "'", "\\\\": "\\", "\\n": "\n", "\\r": "\r", "\\t": "\t", "\\$": "$"}[_text(child)]
                    )
                case "interpolation":
                    parts.append(as_text(self.evaluate(child.named_children[0], scope)))
                case other:
                    raise ValueError(f"{self.path.name}: {other} in a string")
        return "".join(parts)

    def _call(self, node: Node, scope: Mapping[str, Any]) -> Any:
        name = _text(node.named_children[0])
        arguments = node.named_children[1].named_children if len(node.named_children) > 1 else []
        if name == "loadTextContent":
            return (self.path.parent / self.evaluate(arguments[0], scope)).read_text()
        if name == "loadJsonContent":
            return json.loads((self.path.parent / self.evaluate(arguments[0], scope)).read_text())
        if name == "resourceGroup":
            group = Reference("Microsoft.Resources/resourceGroups", self.resource_group)
            return {"id": group.at("id"), "name": self.resource_group}
        values = [self.evaluate(argument, scope) for argument in arguments]
        if name not in FUNCTIONS:
            raise ValueError(f"{self.path.name}: the function {name} is not understood")
        return FUNCTIONS[name](*values)


def read_parameter(node: Node, decorators: list[Node], template: Template) -> Parameter:
    """A parameter's declaration."""
    name, type_, *default = node.named_children
    notes: dict[str, Any] = {}
    for decorator in decorators:
        call = decorator.named_children[0]
        arguments = call.named_children[1].named_children if len(call.named_children) > 1 else []
        notes[_text(call.named_children[0])] = template.evaluate(arguments[0], {}) if arguments else True
    value = template.evaluate(default[0], {}) if default else None
    return Parameter(_text(name), _text(type_), value, not default, notes)


def read_parameters(path: Path) -> dict[str, Parameter]:
    """The parameters of a file, by name."""
    template = Template(path, {})
    found: dict[str, Parameter] = {}
    decorators: list[Node] = []
    for node in parse(path).named_children:
        if node.type == "decorators":
            decorators = node.named_children
            continue
        if node.type == "parameter_declaration":
            parameter = read_parameter(node, decorators, template)
            found[parameter.name] = parameter
        decorators = []
    return found


def read_values(path: Path, folder: Path) -> dict[str, Any]:
    """What a parameter file (.bicepparam) gives its template, in the environment of this process.

    The grammar knows no such files; each line that gives a value is read as a variable, in a file of ``folder``.
    """
    lines = [re.sub(r"^param (\w+) =", r"var \1 =", line) for line in path.read_text().splitlines()]
    copy = folder / "values.bicep"
    copy.write_text("\n".join(line for line in lines if not line.startswith("using ")) + "\n")
    return {name: value() for name, value in Template(copy, {}).names.items()}


def order_of(path: Path) -> dict[str, set[str]]:
    """What a file makes before each of its modules and resources: all that it refers to or names in ``dependsOn``.

    What has a condition hands on no order: where it is not deployed, what waits for it waits for nothing.
    """
    root = parse(path)
    kinds = ("resource_declaration", "module_declaration", "variable_declaration")
    declared = {_text(node.named_children[0]): node for node in root.named_children if node.type in kinds}
    named = {symbol: set(_named(node.named_children[-1])) & declared.keys() for symbol, node in declared.items()}
    sure = {
        symbol
        for symbol, node in declared.items()
        if node.type == "variable_declaration" or _unwrap(node.named_children[-1])[1] is None
    }
    found: dict[str, set[str]] = {}
    for symbol in declared:
        before: set[str] = set()
        left = {symbol}
        while left:
            new = set().union(*(named[each] for each in left))
            before, left = before | new, (new - before) & sure
        found[symbol] = {each for each in before if declared[each].type != "variable_declaration"}
    return {symbol: before for symbol, before in found.items() if declared[symbol].type != "variable_declaration"}


def at_once(path: Path, declared: str) -> list[str]:
    """What a file may make at the same time, of its modules of a path or its resources of a type: pairs, and loops."""
    before, symbols, found = order_of(path), [], []
    decorators: list[Node] = []
    for node in parse(path).named_children:
        if node.type == "decorators":
            decorators = node.named_children
            continue
        if (
            node.type in ("module_declaration", "resource_declaration")
            and _text(node.named_children[1]) == f"'{declared}'"
        ):
            symbols.append(_text(node.named_children[0]))
            if _unwrap(node.named_children[-1])[0] is not None and "@batchSize(1)" not in map(_text, decorators):
                found.append(symbols[-1])
        decorators = []
    pairs = combinations(symbols, 2)
    return found + [f"{one}, {two}" for one, two in pairs if one not in before[two] and two not in before[one]]


def _named(node: Node) -> Iterator[str]:
    """Every name that an expression uses: neither keys of objects nor what is asked of a value."""
    if node.type == "identifier":
        yield _text(node)
    children = node.named_children
    for child in (
        children[1:]
        if node.type == "object_property"
        else children[:1]
        if node.type == "member_expression"
        else children
    ):
        yield from _named(child)


def _unwrap(body: Node) -> tuple[Node | None, Node | None, Node]:
    """The loop and the condition around a body, and the body."""
    loop = body if body.type == "for_statement" else None
    body = body if loop is None else loop.named_children[-1]
    if body.type == "if_statement":
        condition, inner = body.named_children
        return loop, condition, inner
    return loop, None, body


def _property(body: Node, name: str, *, required: bool = True) -> Any:
    for child in body.named_children:
        if child.type == "object_property" and _text(child.named_children[0]) == name:
            return child.named_children[-1]
    if required:
        raise ValueError(f"a resource has no {name}")
    return None


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _once[T](work: Callable[[], T]) -> Callable[[], T]:
    kept: list[T] = []

    def call() -> T:
        if not kept:
            kept.append(work())
        return kept[0]

    return call
