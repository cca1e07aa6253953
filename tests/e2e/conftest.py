"""One SQL Server for the whole directory; each module has tables of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.mssql_server import ServerProcess


@pytest.fixture(scope="session")
def mssql_server() -> Iterator[ServerProcess]:
    with ServerProcess() as running:
        running.run("CREATE USER reader FOR LOGIN reader")
        yield running
