"""`scripts/setup` where things are missing: what it installs, and what it says where it cannot. Programs are stubs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"
REASON = "error: Failed to install cpython-3.13: error resolving DNS"
PLAIN = (
    "sh",
    "cat",
    "cksum",
    "dirname",
    "env",
    "head",
    "id",
    "ls",
    "mkdir",
    "mktemp",
    "nproc",
    "rm",
    "sha256sum",
    "tail",
)


class Machine:
    """A directory with the scripts, and a PATH on which nothing is but what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.project = directory / "project"
        self.programs = directory / "bin"
        self.calls = directory / "calls"
        self.programs.mkdir(parents=True)
        (self.project / "scripts").mkdir(parents=True)
        for name in ("setup", "build-python", "debian-packages"):
            shutil.copy(SCRIPTS / name, self.project / "scripts" / name)
        for name in ("requirements-dev.txt", "pyproject.toml"):
            (self.project / name).touch()
        for name in PLAIN:
            found = shutil.which(name)
            assert found is not None
            (self.programs / name).symlink_to(found)

    def put(self, name: str, body: str) -> None:
        """Put a program on the PATH that notes how it is called."""
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(f'#!/bin/sh\nprintf "%s\\n" "{name} $*" >>"{self.calls}"\n{body}\n')
        path.chmod(0o755)

    def run(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.project / "scripts" / script, *arguments],
            env={"PATH": str(self.programs), "HOME": str(self.project), "TMPDIR": str(self.project)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def called(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.put("dpkg-query", 'case "$*" in *here*) echo "install ok installed";; *) exit 1;; esac')
    machine.put("id", "echo 0")
    machine.put("apt-get", "exit 0")
    return machine


def test_missing_packages_are_installed_and_others_left_alone(machine: Machine) -> None:
    assert machine.run("debian-packages", "here", "gone").returncode == 0
    (install,) = [call for call in machine.called() if " install " in call]
    assert install.endswith(" gone")
    machine.calls.unlink()
    assert machine.run("debian-packages", "here").returncode == 0
    assert not any(call.startswith("apt-get") for call in machine.called())


def test_who_may_not_install_is_told_one_command(machine: Machine) -> None:
    machine.put("id", "echo 1000")
    machine.put("sudo", "exit 1")
    result = machine.run("debian-packages", "gone", "lost")
    assert result.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y gone lost" in result.stderr


def test_what_apt_says_is_shown_where_it_fails(machine: Machine) -> None:
    machine.put("apt-get", 'echo "E: no such mirror" >&2; exit 100')
    result = machine.run("debian-packages", "gone")
    assert result.returncode == 1
    assert "E: no such mirror" in result.stderr
    assert "apt-get install -y gone" in result.stderr


def test_why_there_is_no_python_is_said_and_what_helps(machine: Machine) -> None:
    machine.put("uv", f'case "$*" in "python install"*) echo "{REASON}" >&2; exit 2;; *) exit 1;; esac')
    machine.put("dpkg-query", 'echo "install ok installed"')
    machine.put("curl", 'echo "curl: (6) Could not resolve host" >&2; exit 6')
    result = machine.run("setup")
    assert result.returncode == 1
    assert REASON in result.stderr
    assert "Could not resolve host" in result.stderr
    assert "scripts/build-python" in result.stderr
    assert "deb.debian.org" in "".join(machine.called())


def test_a_python_of_pyenv_that_is_not_active_is_found(machine: Machine) -> None:
    machine.put("uv", f"mkdir -p {machine.project}/.venv")
    machine.put("python3.13", "exit 127")  # the shim of a version that is not active
    own = machine.project / ".pyenv" / "versions" / "3.13.0" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\nexit 0\n")
    own.chmod(0o755)
    assert machine.run("setup").returncode == 0
    assert any(call.startswith("uv venv") and str(own) in call for call in machine.called())
