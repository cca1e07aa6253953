"""What several test modules share. A server that takes long to start is started once per test process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcloud.onelake import OneLake
from tests.integration import onelake_clients
from tests.integration.fabric_item import MIRROR, WORKSPACE
from tests.integration.mssql_server import REAL_SERVER, ServerProcess, refusal, start_server


def pytest_sessionstart() -> None:
    """Log in to the server that `make test-real` names, once and before any test: a wrong password would fail each."""
    if REAL_SERVER and (said := refusal()):
        pytest.exit(f"test-real: {said}", returncode=2)


@pytest.fixture(scope="session")
def mssql_server() -> Iterator[ServerProcess]:
    with start_server() as running:
        yield running


@pytest.fixture(scope="module")
def module_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OneLake]:
    """A OneLake of a module's own, with one workspace, an empty mirrored database, and a filesystem ``raw``."""
    with OneLake(tmp_path_factory.mktemp("onelake")) as running:
        running.create_workspace(onelake_clients.WORKSPACE)
        running.create_item(onelake_clients.WORKSPACE, onelake_clients.ITEM)
        running.create_filesystem("raw")
        yield running


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    """A OneLake of the test's own, with one workspace and an empty mirrored database."""
    with OneLake(tmp_path / "onelake", 0) as running:
        running.create_workspace(WORKSPACE)
        running.create_item(WORKSPACE, MIRROR)
        yield running
