"""Carries out the part of Kusto that infra/monitoring uses, on rows of a log. Anything else is an error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any

Row = dict[str, Any]

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)

_TOKEN = re.compile(r"\s*(?:(?P<text>'[^']*')|(?P<span>\d+[hmd]\b)|(?P<number>\d+)|(?P<name>\w+)|(?P<sign>[(),.]))")
_COMPARED = re.compile(r"(?P<left>.+?)\s(?P<sign>==|!=|in|!in|startswith|!startswith)\s(?P<right>\(.*\)|'[^']*')")


def run(query: str, rows: list[Row]) -> list[Row]:
    """What a query finds in the rows of its one table. Raises ValueError or KeyError where it asks for what is not."""
    table, *stages = [part.strip() for part in re.sub(r"(?m)^\s*//.*$", "", query).strip().split("\n| ")]
    if table != "AppTraces":
        raise ValueError(table)
    for stage in stages:
        word, _, rest = stage.partition(" ")
        rows = _STAGES[word](rest, rows)
    return rows


def _where(condition: str, rows: list[Row]) -> list[Row]:
    found = _COMPARED.fullmatch(condition)
    if found is None:
        raise ValueError(condition)
    right = [
        text.casefold() if "startswith" in found["sign"] else text for text in re.findall(r"'([^']*)'", found["right"])
    ]

    def holds(row: Row) -> bool:
        left = value_of(found["left"], row)
        if not isinstance(left, str):
            raise ValueError(f"{found['left']} is no text")
        plain = (
            any(left.casefold().startswith(each) for each in right) if "startswith" in found["sign"] else left in right
        )
        return plain != found["sign"].startswith("!")

    return [row for row in rows if holds(row)]


def _extend(text: str, rows: list[Row]) -> list[Row]:
    return [row | {name: value_of(expression, row) for name, expression in _named(text)} for row in rows]


def _project(text: str, rows: list[Row]) -> list[Row]:
    return [{name: value_of(expression, row) for name, expression in _named(text)} for row in rows]


def _order(text: str, rows: list[Row]) -> list[Row]:
    column, direction = text.removeprefix("by ").split()
    return sorted(rows, key=lambda row: row[column], reverse=direction == "desc")


def _summarize(text: str, rows: list[Row]) -> list[Row]:
    what, _, by = text.partition(" by ")
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(value_of(expression, row) for _, expression in _named(by)), []).append(row)
    names = [name for name, _ in _named(by)]
    found = []
    for key, members in groups.items():
        made: Row = dict(zip(names, key, strict=True))
        for name, expression in _named(what):
            function, arguments = expression.partition("(")[0], _split(expression.partition("(")[2][:-1])
            if function == "arg_max":
                newest = max(members, key=lambda row: value_of(arguments[0], row))
                made |= {each: value_of(each, newest) for each in arguments if each.isalnum()}
            elif function == "count":
                made[name] = len(members)
            else:
                values = [value for row in members if (value := value_of(arguments[0], row)) is not None]
                made[name] = _AGGREGATES[function](values, *map(int, arguments[1:]))
        found.append(made)
    return found


def _percentile(values: list[float], percent: int) -> float:
    return values[0] if len(values) == 1 else quantiles(values, n=100, method="inclusive")[percent - 1]


_STAGES: dict[str, Callable[[str, list[Row]], list[Row]]] = {
    "where": _where,
    "extend": _extend,
    "project": _project,
    "order": _order,
    "summarize": _summarize,
}
_AGGREGATES: dict[str, Callable[..., Any]] = {"sum": sum, "max": max, "percentile": _percentile}


def _split(text: str) -> list[str]:
    """Parts between commas that are in no brackets and no quotes."""
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == "'"
        depth += 0 if quoted else (letter == "(") - (letter == ")")
        if letter == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _named(text: str) -> list[tuple[str, str]]:
    """Columns and what they are made of; a column that is named for itself, or for the column in its brackets."""
    found = []
    for part in _split(text):
        named = re.fullmatch(r"(\w+) = (.+)", part, re.DOTALL)
        column = re.search(r"\w+(?=[,)]|$)", part)
        found.append((named[1], named[2]) if named else (column[0] if column else part, part))
    return found


def value_of(expression: str, row: Row) -> Any:
    """The value of an expression for a row."""
    tokens = [(found.lastgroup, found[found.lastgroup or 0]) for found in _TOKEN.finditer(expression)]
    if "".join(text for _, text in tokens) != re.sub(r"\s+(?=(?:[^']*'[^']*')*[^']*$)", "", expression):
        raise ValueError(expression)
    value, rest = _value(tokens, row)
    if rest:
        raise ValueError(expression)
    return value


def _value(tokens: list[tuple[str | None, str]], row: Row) -> tuple[Any, list[tuple[str | None, str]]]:
    (kind, text), *rest = tokens
    if kind == "text":
        return text[1:-1], rest
    if kind in ("number", "span"):
        spans = {"h": timedelta(hours=1), "m": timedelta(minutes=1), "d": timedelta(days=1)}
        return int(text) if kind == "number" else int(text[:-1]) * spans[text[-1]], rest
    if rest and rest[0][1] == "(":
        arguments, rest = [], rest[1:]
        while rest[0][1] != ")":
            value, rest = _value(rest, row)
            arguments.append(value)
            rest = rest[1:] if rest[0][1] == "," else rest
        return _FUNCTIONS[text](*arguments), rest[1:]
    value = row[text]
    while rest and rest[0][1] == ".":
        # Of what an event does not have, Kusto makes nothing, and says nothing.
        value, rest = value[rest[1][1]], rest[2:]
    return value, rest


def _bin(value: datetime, span: timedelta) -> datetime:
    start = datetime(2000, 1, 1, tzinfo=UTC)
    return start + (value - start) // span * span


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "bin": _bin,
    "datetime_diff": lambda unit, one, other: int((one - other) / {"minute": timedelta(minutes=1)}[unit]),
    "now": lambda: NOW,
    "parse_json": json.loads,
    "strlen": len,
    "substring": lambda text, at: text[at:],
    "todatetime": lambda value: datetime.fromisoformat(value),
    "todouble": lambda value: None if value is None else float(value),
    "toint": lambda value: None if value is None else int(value),
    "tolong": lambda value: None if value is None else int(value),
    "tostring": lambda value: "" if value is None else str(value),
}
