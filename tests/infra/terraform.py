"""Terraform on a module, with providers that have their real schemas and nothing behind them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.infra.provider import Answers, serve
from tests.infra.schemas import Package, Provider

ROOT = Path(__file__).parents[2]

# Each provider's address, the package that carries its schemas, and whether it stands on Terraform's newer framework.
PACKAGES = {
    "registry.terraform.io/hashicorp/azurerm": ("cdktn-provider-azurerm", False),
    "registry.terraform.io/azure/azapi": ("cdktn-provider-azapi", True),
}


@cache
def packages() -> dict[str, Package]:
    """The packages by the address of their provider. Reading them takes seconds."""
    return {
        address: Package(name, nested_attributes=nested_attributes)
        for address, (name, nested_attributes) in PACKAGES.items()
    }


@cache
def providers() -> dict[str, Provider]:
    """The providers with what infra/terraform uses of them: all there is would take Terraform seconds a command."""
    text = "\n".join(path.read_text() for path in (ROOT / "infra" / "terraform").glob("*.tf"))
    wanted = set(re.findall(r'^(?:resource|data) "(\w+)"', text, re.MULTILINE))
    return {address: package.read(wanted) for address, package in packages().items()}


class Refused(Exception):
    """Terraform has refused a module or the values for its variables."""

    def __init__(self, diagnostics: list[dict[str, Any]]) -> None:
        self.diagnostics = [each for each in diagnostics if each["severity"] == "error"]
        lines = [f"{_place(each)}: {each['summary']}. {each['detail']}" for each in self.diagnostics]
        super().__init__("\n".join(lines))


def _place(diagnostic: Mapping[str, Any]) -> str:
    range_ = diagnostic.get("range")
    return f"{range_['filename']}:{range_['start']['line']}" if range_ else "terraform"


@dataclass(frozen=True)
class Terraform:
    """A process that runs Terraform's commands one after the other."""

    process: subprocess.Popen[str]

    def run(self, module: Path, *words: str) -> tuple[int, str, str]:
        """One command: exit code, output, errors. Raises ValueError where Terraform itself has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([str(module), *words]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise ValueError(f"Terraform ended at: {' '.join(words)}")
        code, output, errors = json.loads(answer)
        return code, output, errors

    def validate(self, module: Path) -> None:
        """Check a module against the schemas. Raises Refused."""
        _, output, _ = self.run(module, "validate", "-json")
        answer = json.loads(output)
        if not answer["valid"]:
            raise Refused(answer["diagnostics"])

    def plan(self, module: Path, variables: Mapping[str, Any]) -> dict[str, Any]:
        """What a module would create with values for its variables, in Terraform's own JSON. Raises Refused."""
        (module / "terraform.tfvars.json").write_text(json.dumps(variables))
        code, output, _ = self.run(module, "plan", "-json", "-input=false", "-refresh=false", "-out=plan")
        if code != 0:
            messages = [json.loads(line) for line in output.splitlines()]
            raise Refused([each["diagnostic"] for each in messages if each["type"] == "diagnostic"])
        _, shown, _ = self.run(module, "show", "-json", "plan")
        plan: dict[str, Any] = json.loads(shown)
        return plan


@contextmanager
def running(folder: Path, answers: Answers) -> Iterator[Terraform]:
    """Terraform with the providers of infra/terraform, which return what ``answers`` says. ``folder`` takes sockets."""
    settings = folder / "empty.tfrc"
    settings.write_text("")
    with serve(providers(), folder, answers) as addresses:
        command = [sys.executable, "-m", "tests.infra.terraform_worker"]
        environment = os.environ | {
            "TF_REATTACH_PROVIDERS": addresses,
            # Nothing of the user's, and no question whether there is a newer version.
            "TF_CLI_CONFIG_FILE": str(settings),
            "CHECKPOINT_DISABLE": "1",
        }
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        ) as process:
            try:
                yield Terraform(process)
            finally:
                assert process.stdin is not None
                process.stdin.close()
