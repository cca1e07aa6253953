"""What several test modules share, started once per test process when the first of them asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.mssql_server import ServerProcess


@pytest.fixture(scope="session")
def mssql_server() -> Iterator[ServerProcess]:
    with ServerProcess() as running:
        yield running
