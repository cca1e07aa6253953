"""What stands in infra/terraform as it is written, by place: without Terraform, which knows no more of a constant."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.unit.infra_resources import LONGEST_SUFFIX, TOKEN

_BLOCK = re.compile(r'(?:resource )?([\w-]+)((?: "[^"]*")*) \{')
_ARGUMENT = re.compile(r'"?([\w-]+)"? += (.*)')


def written(folder: Path) -> dict[str, list[str]]:
    """By place, as ``azurerm_key_vault.main.network_acls.bypass``, the expressions there: one for each block of a name.

    What has more than one line is its first line. The lines are those of `terraform fmt`.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.tf")):
        open_: list[str] = []
        for line in map(str.strip, path.read_text().splitlines()):
            if line.startswith("#"):
                continue
            if re.match(r"[\])}]", line):
                open_.pop()
            block, argument = _BLOCK.fullmatch(line), _ARGUMENT.fullmatch(line)
            if block:
                labels = re.findall(r'"([^"]*)"', block[2])
                open_.append(".".join(labels if line.startswith("resource ") else [block[1], *labels]))
            elif argument:
                place = ".".join([*open_, argument[1]])
                found.setdefault(place, []).append(argument[2])
                if re.search(r"[\[({]$", line):
                    open_.append(argument[1])
            elif re.search(r"[\[({]$", line):
                open_.append("")
        if open_:
            raise ValueError(f"{path.name}: {'.'.join(open_)} does not end")
    return found


def constant(expression: str) -> Any:
    """What an expression says, with the longest names that there may be; the expression itself where it is none."""
    names = {"local.suffix": LONGEST_SUFFIX, "local.token": TOKEN, "each.key": "each-key"}
    text = re.sub(r"\$\{([\w.]+)\}", lambda match: names.get(match[1], match[0]), expression)
    try:
        return json.loads(text)
    except ValueError:
        return expression
