"""A record of all that infra/bicep takes and asks of Azure: what a reviewer of a change reads, and no fault gets by.

`python -m tests.unit.infra_asked` writes it again after a change that is meant.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.unit.infra_bicep import Template, read_parameters
from tests.unit.infra_resources import NAMELESS, SUBSCRIPTION_ID, plain, tree_of
from tests.unit.infra_scenarios import INFRA, REQUIRED, SCENARIOS

RECORD = Path(__file__).with_name("infra_asked.txt")

# Between them these make every resource, and take every side of every choice.
RECORDED = ["as it comes", "everything", "a subnet of one's own", "scheduler"]

type Line = tuple[str, str]


def record(infra: Path) -> str:
    """The first scenario in full, and of each other what it has more (+) and less (-), a line for each value."""
    first, *others = ({*_lines(infra, SCENARIOS[name])} for name in RECORDED)
    found = [f"# {RECORDED[0]}", *_blocks({(holder, f"  {line}") for holder, line in first})]
    for name, other in zip(RECORDED[1:], others, strict=True):
        less = {(holder, f"- {line}") for holder, line in first - other}
        more = {(holder, f"+ {line}") for holder, line in other - first}
        found += [f"# {name}", *_blocks(less | more)]
    return "\n".join(found) + "\n"


def _blocks(lines: set[Line]) -> Iterator[str]:
    by_place = sorted(lines, key=lambda line: (line[0], line[1][2:], line[1]))
    for holder, block in groupby(by_place, lambda line: line[0]):
        yield from (holder, *(line for _, line in block))


def _lines(infra: Path, scenario: dict[str, Any]) -> Iterator[Line]:
    """Each value that a scenario's resources and outputs have, after its resource and with its place."""
    template = Template(infra / "bicep" / "main.bicep", REQUIRED | scenario)
    made = template.create()
    outputs = {name: plain(value()) for name, value in template.outputs.items()}
    # What is looked at elsewhere, and too long to be read here.
    files = {path.read_text(): path.name for path in (infra / "monitoring").iterdir()}
    versions = {" ".join(each.key): {"version": each.version} for each in made}
    names = {" ".join(each.key): {"name": each.name} for each in made if each.type in NAMELESS}
    for trees in (tree_of(made), versions, names, {"Outputs": outputs}, {"Parameters": _parameters(infra)}):
        for holder, tree in trees.items():
            for place, value in _leaves(tree, ""):
                said = files.get(value) if isinstance(value, str) else None
                short = holder.strip().replace(f"/subscriptions/{SUBSCRIPTION_ID}/providers/", "")
                yield short, f"{place} = {said or json.dumps(value)}"


def _parameters(infra: Path) -> dict[str, dict[str, Any]]:
    """What each parameter may be, and is where nothing is given."""
    return {
        name: {"type": each.type, "default": "required" if each.required else each.default}
        | {rule: value for rule, value in each.decorators.items() if rule != "description"}
        for name, each in read_parameters(infra / "bicep" / "main.bicep").items()
    }


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{index}]")
    else:
        yield place, value


if __name__ == "__main__":
    RECORD.write_text(record(INFRA), encoding="utf-8")
