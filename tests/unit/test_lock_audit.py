"""The lock: everything pinned, nothing known to be bad, nothing missing or superfluous, no licence that obliges."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.audit import ADVISORIES, findings, main, normalize, pins_of, read_advisories

ROOT = Path(__file__).parents[2]
LOCKS = sorted(ROOT.glob("requirements*.txt"))
PACKAGE_PYTHON = ROOT / ".venv-package" / "bin" / "python"

# Licences that may go into a deployment without obligations beyond naming their authors, as packages spell them.
PERMISSIVE = re.compile(
    r"MIT|BSD|Apache|PSF|Python Software|ISC|0BSD|Zlib|Unlicense|CC0|MPL|Mozilla|Public Domain", re.I
)
OBLIGING = re.compile(r"\bA?GPL|General Public License", re.I)

# The first says nothing in its metadata; its LICENSE is MIT's. The second is the ODBC driver, under Microsoft's own
# terms, which allow to pass it on unmodified.
OWN_TERMS = {"mssql-python", "mssql-python-odbc"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_lock_is_pinned_and_free_of_what_is_known_here(lock: Path) -> None:
    assert len(pins_of(lock)) > 20
    assert list(findings(pins_of(lock), read_advisories())) == []


def test_advisories_say_where_they_are_from_and_speak_of_what_is_deployed() -> None:
    document: dict[str, Any] = json.loads(ADVISORIES.read_text())
    deployed = pins_of(ROOT / "requirements.txt")

    assert document["taken_from"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", document["taken_on"])
    for advisory in document["advisories"]:
        assert advisory["references"][0]["url"].endswith(advisory["id"])
        assert all(normalize(each["package"]["name"]) in deployed for each in advisory["affected"])


@pytest.mark.parametrize(
    ("pin", "says"),
    [
        ("requests==2.31.0", "take 2.32.2 or newer"),
        ("Werkzeug==3.0.2", "take 3.0.3 or newer"),
        ("pydantic==2.3.0", "take 2.4.0 or newer"),
        ("urllib3==1.26.18", "take 1.26.19 or newer"),
    ],
)
def test_a_pin_that_went_back_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str], pin: str, says: str) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"# a lock\n{pin}\nsix==1.17.0\n")

    assert main([str(lock)]) == 1
    assert says in capsys.readouterr().out


@pytest.mark.parametrize("pin", ["requests==2.32.2", "urllib3==1.26.19", "pydantic==1.10.13", "urllib3==2.2.2"])
def test_the_version_that_mends_it_is_not(tmp_path: Path, pin: str) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{pin}\n")

    assert main([str(lock)]) == 0


@pytest.mark.parametrize(
    "line", ["requests", "requests>=2", "-r other.txt", "x @ https://example.com/x.whl", "a==1,<2"]
)
def test_a_line_that_is_not_a_pin_is_refused(tmp_path: Path, line: str) -> None:
    lock = tmp_path / "requirements.txt"
    lock.write_text(f"{line}\n")

    with pytest.raises(ValueError, match=r"requirements\.txt:1"):
        pins_of(lock)


@pytest.fixture(scope="module")
def installed() -> dict[str, dict[str, Any]]:
    """What stands in an environment of requirements.txt alone: by name, its version, needs and licence."""
    if not PACKAGE_PYTHON.exists():
        pytest.skip("`make test` sets up .venv-package")
    code = """
import importlib.metadata as metadata, json
found = {}
for each in metadata.distributions():
    said = each.metadata
    licence = [said.get("License-Expression") or "", (said.get("License") or "")[:200]]
    licence += [line for line in said.get_all("Classifier") or [] if line.startswith("License ::")]
    found[said["Name"]] = {"version": each.version, "requires": each.requires or [], "licence": "; ".join(licence)}
print(json.dumps(found))
"""
    done = subprocess.run([PACKAGE_PYTHON, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    return {normalize(name): value for name, value in json.loads(done.stdout).items()}


def test_nothing_is_missing_and_nothing_stands_beside_the_lock(installed: dict[str, dict[str, Any]]) -> None:
    from packaging.requirements import Requirement
    from packaging.version import Version

    pins = pins_of(ROOT / "requirements.txt")
    assert {name: Version(each["version"]) for name, each in installed.items()} == pins
    for name, each in installed.items():
        for need in map(Requirement, each["requires"]):
            if need.marker is not None and not need.marker.evaluate({"extra": "", "python_version": "3.13"}):
                continue
            assert need.specifier.contains(pins[normalize(need.name)], prereleases=True), f"{name} needs {need}"


def test_no_licence_obliges_to_publish(installed: dict[str, dict[str, Any]]) -> None:
    unclear = {
        name: each["licence"]
        for name, each in installed.items()
        if name not in OWN_TERMS and (OBLIGING.search(each["licence"]) or not PERMISSIVE.search(each["licence"]))
    }

    assert unclear == {}


def test_the_pipelines_ask_a_database_that_is_kept_up_to_date() -> None:
    for path in (".github/workflows/test.yml", "azure-pipelines/templates/test-jobs.yml"):
        assert "pip-audit --requirement requirements.txt" in (ROOT / path).read_text()
