"""What several test modules share. A server that takes long to start is started once per test process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.onelake import OneLake
from tests.integration.fabric_item import MIRROR, WORKSPACE
from tests.integration.mssql_server import ServerProcess, start_server


@pytest.fixture(scope="session")
def mssql_server() -> Iterator[ServerProcess]:
    with start_server() as running:
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    """A OneLake of the test's own, with one workspace and an empty mirrored database."""
    with OneLake(tmp_path / "onelake", 0) as running:
        running.create_workspace(WORKSPACE)
        running.create_item(WORKSPACE, MIRROR)
        yield running
