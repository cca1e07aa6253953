"""Functions and operators of Bicep as Azure Resource Manager carries them out, those that infra/bicep uses.

What Microsoft's reference leaves open is an error here, so that no template depends on it.
"""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.unit.infra_resources import SUBSCRIPTION_ID, TENANT_ID, TOKEN, TOKEN_OF, Reference

_LOGIN = "https://login.microsoftonline.com/"
_SUFFIXES = {"storage": "core.windows.net", "sqlServerHostname": ".database.windows.net"}

_LARGEST = 2**63 - 1


def as_text(value: Any) -> str:
    """A value in an interpolated string. Azure writes `True` for a bool and JSON for what is compound."""
    if isinstance(value, str | int | Reference) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{value!r} as text is not what it looks like")


def element(holder: Any, index: Any) -> Any:
    """An element of a list, or a property of an object, whatever its case."""
    if isinstance(holder, Mapping):
        return holder[index] if index in holder else _properties(holder)[index.lower()]
    if not 0 <= index < len(holder):
        raise ValueError(f"there is no element {index} of {len(holder)}")
    return holder[index]


def _properties(holder: Mapping[str, Any]) -> dict[str, Any]:
    found = {key.lower(): value for key, value in holder.items()}
    if len(found) < len(holder):
        raise ValueError(f"names that only differ in case: {sorted(holder)}")
    return found


def _equals(left: Any, right: Any) -> bool:
    # In Python 1 is True, and in JSON it is not.
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def _whole(left: int, right: int) -> int:
    """Division towards zero; Python's goes down."""
    return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def call(left: Any, right: Any) -> bool:
        if not (isinstance(left, int) and isinstance(right, int)):
            # Texts in the order of a culture.
            raise ValueError(f"{left!r} and {right!r} are compared")
        return compare(left, right)

    return call


def _numbers(work: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def call(left: int, right: int) -> int:
        found = work(left, right)
        if abs(found) > _LARGEST:
            raise ValueError(f"{found} is more than 64 bits")
        return found

    return call


def _logical(work: Callable[[bool, bool], bool]) -> Callable[[Any, Any], bool]:
    def call(left: Any, right: Any) -> bool:
        if not (isinstance(left, bool) and isinstance(right, bool)):
            raise TypeError(f"{left!r} and {right!r} are not true or false")
        return work(left, right)

    return call


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "&&": _logical(operator.and_),
    "||": _logical(operator.or_),
    "+": _numbers(operator.add),
    "-": _numbers(operator.sub),
    "*": _numbers(operator.mul),
    "/": _numbers(_whole),
    "%": _numbers(lambda left, right: left - right * _whole(left, right)),
    "==": _equals,
    "!=": lambda left, right: not _equals(left, right),
    "=~": lambda left, right: left.lower() == right.lower(),
    "!~": lambda left, right: left.lower() != right.lower(),
    "<": _compared(operator.lt),
    "<=": _compared(operator.le),
    ">": _compared(operator.gt),
    ">=": _compared(operator.ge),
}


def _array(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _bool(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError(f"{value!r} is no bool")
    return value.lower() == "true"


def _concat(*values: Any) -> Any:
    if all(isinstance(value, str) for value in values):
        return "".join(values)
    return [item for each in values for item in _list(each)]


def _contains(holder: Any, item: Any) -> bool:
    if isinstance(holder, str):
        return item in holder
    if isinstance(holder, Mapping):
        return item.lower() in _properties(holder)
    return any(_equals(each, item) for each in holder)


def _empty(value: Any) -> bool:
    if value is None or isinstance(value, str | list | Mapping):
        return not value
    raise ValueError(f"{value!r} cannot be empty")


def _fail(message: str) -> Any:
    raise ValueError(message)


def _index_of(holder: Any, item: Any) -> int:
    if isinstance(holder, str):
        return holder.lower().find(item.lower())
    return next((at for at, each in enumerate(holder) if _equals(each, item)), -1)


def _int(value: Any) -> int:
    if not re.fullmatch(r"-?[0-9]+", str(value)) or abs(int(value)) > _LARGEST:
        raise ValueError(f"{value!r} is no int")
    return int(value)


def _items(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value[key]} for key in sorted(value, key=str.lower)]


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no array")
    return value


def _last(items: Any) -> Any:
    return element(items, len(items) - 1)


def _substring(text: str, at: int, count: int) -> str:
    if at < 0 or count < 0 or at + count > len(text):
        raise ValueError(f"{text!r} has no {count} letters at {at}")
    return text[at : at + count]


def _union(first: Any, *others: Any) -> Any:
    """Of arrays, each value once; of objects, with those in them."""
    if isinstance(first, list):
        items = [item for value in (first, *others) for item in _list(value)]
        return [item for at, item in enumerate(items) if not _contains(items[:at], item)]
    found = dict(first)
    for other in others:
        for key, value in other.items():
            nested = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = _union(found[key], value) if nested else value
    _properties(found)
    return found


def _unique_string(*values: str) -> str:
    if values != TOKEN_OF:
        raise ValueError(f"the suffix is made from {values}")
    return TOKEN


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "array": _array,
    "bool": _bool,
    "concat": _concat,
    "contains": _contains,
    "empty": _empty,
    "environment": lambda: {"suffixes": _SUFFIXES, "authentication": {"loginEndpoint": _LOGIN}},
    "fail": _fail,
    "flatten": lambda lists: [item for each in lists for item in _list(each)],
    "filter": lambda items, keep: [item for item in _list(items) if keep(item)],
    "guid": lambda *values: "guid of " + " ".join(str(value) for value in values),
    "indexOf": _index_of,
    "int": _int,
    "items": _items,
    "join": lambda parts, separator: separator.join(as_text(part) for part in parts),
    "last": _last,
    "length": len,
    "map": lambda items, change: [change(item) for item in _list(items)],
    "max": lambda numbers, *others: max(numbers, *others) if others else max(numbers),
    "min": lambda numbers, *others: min(numbers, *others) if others else min(numbers),
    "mapValues": lambda value, function: {key: function(item) for key, item in value.items()},
    "range": lambda first, count: list(range(first, first + count)),
    "readEnvironmentVariable": os.environ.get,
    "replace": lambda text, part, other: text.replace(part, other),
    "skip": lambda items, count: items[max(count, 0) :],
    "split": lambda text, separator: text.split(separator),
    "startsWith": lambda text, part: text.lower().startswith(part.lower()),
    "string": as_text,
    "subscription": lambda: {"subscriptionId": SUBSCRIPTION_ID, "id": f"/subscriptions/{SUBSCRIPTION_ID}"},
    "subscriptionResourceId": lambda type_, name: f"/subscriptions/{SUBSCRIPTION_ID}/providers/{type_}/{name}",
    "substring": _substring,
    "take": lambda items, count: items[: max(count, 0)],
    "tenant": lambda: {"tenantId": TENANT_ID},
    "toLower": lambda value: value.at("lower case") if isinstance(value, Reference) else value.lower(),
    "toUpper": str.upper,
    "trim": str.strip,
    "union": _union,
    "uniqueString": _unique_string,
}
