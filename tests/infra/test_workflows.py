"""actionlint takes the workflows of GitHub: keys, expressions, contexts, runners, jobs that wait for each other."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.terraform import ROOT
from tests.support.planted import plant

WORKFLOWS = ROOT / ".github" / "workflows"


def errors_of(project: Path) -> list[str]:
    """What actionlint says to the workflows of a project, a line each."""
    # Whether a shell's linter is installed must make no difference.
    command = [str(Path(sys.prefix) / "bin" / "actionlint"), "-oneline", "-no-color", "-shellcheck=", "-pyflakes="]
    files = sorted(str(path) for path in (project / ".github" / "workflows").glob("*.yml"))
    run = subprocess.run([*command, *files], capture_output=True, text=True, cwd=project, timeout=60)
    assert run.returncode in (0, 1), run.stderr
    return run.stdout.splitlines()


def test_the_workflows_are_valid() -> None:
    assert errors_of(ROOT) == []


# What is planted: the file, what it says, what it says instead, and what must be said to it.
PLANTED: dict[str, tuple[str, str | re.Pattern[str], str, str]] = {
    "an event that there is not": ("test.yml", "pull_request:", "pull_requests:", "pull_requests"),
    "a key that there is not": ("test.yml", "timeout-minutes: 40", "timeout-minute: 40", "timeout-minute"),
    "a runner that there is not": ("test.yml", "runs-on: ubuntu-24.04", "runs-on: ubuntu-24.40", "ubuntu-24.40"),
    "a job that there is not": ("deploy.yml", "needs: what-if", "needs: whatif", "whatif"),
    "jobs that wait for each other": ("deploy.yml", "needs: test", "needs: deploy", "cyclic"),
    "a context that there is not": ("deploy.yml", "vars.SQL_SERVER ", "variables.SQL_SERVER ", "variables"),
    "a property of the matrix": ("test.yml", "matrix.version", "matrix.versions", "versions"),
    "a permission that there is not": ("deploy.yml", "id-token: write", "id_token: write", "id_token"),
    "a bracket less": ("test.yml", "${{ github.run_id }}", "${{ github.run_id }", "expression"),
    "a workflow that there is not": ("deploy.yml", "workflows/test.yml", "workflows/tests.yml", "tests.yml"),
    "a step without a command": ("test.yml", "      - run: make check\n", "      - name: check\n", "run"),
    "an action without a version": ("test.yml", re.compile(r"actions/checkout@\w+"), "actions/checkout", "checkout"),
    "a title from outside in a command": (
        "test.yml",
        "run: make check\n",
        "run: echo ${{ github.event.pull_request.title }}\n",
        "untrusted",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found(fault: str, tmp_path: Path) -> None:
    file, written, instead, named = PLANTED[fault]
    (tmp_path / ".git").mkdir()
    path = Path(shutil.copytree(WORKFLOWS, tmp_path / ".github" / "workflows")) / file
    plant(path, written, instead)

    errors = errors_of(tmp_path)

    assert any(named in error for error in errors), errors
