"""`make test-real` logs in once before any test, and says what was wrong instead of failing each."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.integration.mssql_server import ServerProcess, stand_in_only

SECRET = "No-such-password!2025"


@stand_in_only("the tests of a real server have logged in already")
def test_nothing_is_tested_on_a_server_that_lets_nobody_in(mssql_server: ServerProcess) -> None:
    given = {
        "TEST_SQL_SERVER": mssql_server.address,
        "SQL_USERNAME": "sa",
        "SQL_PASSWORD": SECRET,
        "SQL_ENCRYPT": "false",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "any_server", "tests/integration"]

    done = subprocess.run(command, env=os.environ | given, capture_output=True, text=True, check=False, timeout=120)

    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert f"sa cannot log in to {mssql_server.address}" in said
    assert "SQL_PASSWORD" in said
    assert SECRET not in said
    assert "Traceback" not in said
