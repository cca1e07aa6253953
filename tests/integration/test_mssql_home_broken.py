"""A server, or what lies before it, that sends nonsense or half a response: an error in time, and never a wrong row."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from hygge_engine.errors import HomeUnavailable, HyggeError
from hygge_engine.homes.base import ReadWindow
from hygge_engine.homes.mssql import driver_session, driver_thread
from hygge_engine.homes.mssql.home import MssqlHome
from hygge_engine.homes.mssql.settings import MssqlHomeSettings
from tests.integration.mssql_server import DRIVERS, ServerProcess, connect
from tests.integration.relay import HEADER, Relay, Spoil

ROWS = 1500

# More than a driver gets of the server until all rows have been read.
PACKETS = 40

PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def server(mssql_server: ServerProcess) -> ServerProcess:
    mssql_server.run(
        "CREATE TABLE dbo.long_rows (id int NOT NULL PRIMARY KEY, m int NOT NULL, t nvarchar(40))",
        f"INSERT INTO dbo.long_rows SELECT value, value, CONCAT(N'note ', value) FROM GENERATE_SERIES(1, {ROWS})",
    )
    return mssql_server


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_session, "LOGIN_OVERTIME_SECONDS", 0.5)
    monkeypatch.setattr(driver_session, "CLOSING_SECONDS", 0.5)
    monkeypatch.setattr(driver_thread, "OVERTIME_SECONDS", 0.5)
    monkeypatch.setattr(driver_thread, "CLOSING_SECONDS", 0.5)
    monkeypatch.setattr(driver_thread, "_POLL_SECONDS", 0.05)


def read(address: str, driver: str) -> list[int] | HyggeError:
    """The ids of all rows, in order, or the error."""
    settings = MssqlHomeSettings(connection="shop", table="dbo.long_rows")
    connection = connect(address, driver, query_timeout_seconds=1, login_timeout_seconds=1)
    try:
        with MssqlHome(connection, settings) as home:
            window = ReadWindow("m", None, home.high_water("m").value)
            home.count(window)
            return sorted(row["id"] for batch in home.read(window) for row in batch.rows.to_pylist())
    except HyggeError as error:
        return error


def at(place: int, change: Callable[[bytes], bytes], *, last: bool = False) -> Spoil:
    return lambda number, packet: (change(packet), not last) if number == place else (packet, True)


def half(packet: bytes) -> bytes:
    return packet[: len(packet) // 2]


def ones(packet: bytes) -> bytes:
    return packet[:HEADER] + b"\xff" * (len(packet) - HEADER)


def announces_more(packet: bytes) -> bytes:
    return packet[:2] + b"\xff\xff" + packet[4:]


def test_an_answer_that_stops_in_the_midst_of_a_packet_ends_in_time(server: ServerProcess, hurried: None) -> None:
    spoils = [at(place, half, last=True) for place in range(1, 24, 3)]
    spoils += [at(place, change, last=True) for place in (2, 12, 19) for change in (ones, announces_more)]

    cases = [(spoil, driver) for spoil in spoils for driver in DRIVERS]
    of_other_tests = set(threading.enumerate())

    def driver_threads() -> list[threading.Thread]:
        own = set(threading.enumerate()) - of_other_tests
        return [thread for thread in own if thread.name in ("hygge-driver", "hygge-hang-up")]

    with ExitStack() as stack:
        relays = [stack.enter_context(Relay(server.address, spoil)) for spoil, _ in cases]
        with ThreadPoolExecutor(len(cases)) as pool:
            addresses, drivers = [relay.address for relay in relays], [driver for _, driver in cases]
            answers = list(pool.map(read, addresses, drivers, timeout=PATIENCE_SECONDS))
        for thread in driver_threads():  # they end although the server still keeps the connection open
            thread.join(PATIENCE_SECONDS)
    errors = [answer for answer in answers if isinstance(answer, HyggeError)]
    assert {type(error) for error in errors} == {HomeUnavailable}
    assert any("No complete response of the server within 1.5 s" in error.message for error in errors)
    assert [answer for answer in answers if isinstance(answer, list) and answer != list(range(1, ROWS + 1))] == []
    assert driver_threads() == []
    for driver in DRIVERS:
        assert read(server.address, driver) == list(range(1, ROWS + 1))


def twice(packet: bytes) -> bytes:
    return packet * 2


def lost(_: bytes) -> bytes:
    return b""


def garbage(packet: bytes) -> bytes:
    return packet[:HEADER] + random.Random(len(packet)).randbytes(len(packet) - HEADER)


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_is_lost_or_comes_twice_never_becomes_rows(server: ServerProcess, hurried: None, driver: str) -> None:
    spoils = [at(place, change) for place in range(3, PACKETS, 4) for change in (twice, lost, half, garbage)]

    def try_one(spoil: Spoil) -> list[int] | HyggeError:
        with Relay(server.address, spoil) as relay:
            return read(relay.address, driver)

    with ThreadPoolExecutor(len(spoils)) as pool:
        answers = list(pool.map(try_one, spoils, timeout=PATIENCE_SECONDS))
    wrong = [len(a) for a in answers if isinstance(a, list) and a != list(range(1, ROWS + 1))]
    assert wrong == []
    assert [str(error) for error in answers if isinstance(error, HyggeError) and not error.transient] == []
