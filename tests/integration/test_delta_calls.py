"""What is asked of the Delta package lets other threads run: the lake is one of them here, or could not respond."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Transaction
from deltalake.schema import Field, PrimitiveType, Schema
from deltalake.transaction import AddAction, create_table_with_add_actions

from devcloud.onelake import OneLake
from hygge_engine.errors import StoreUnavailable
from hygge_engine.lake.credentials import object_store_options
from hygge_engine.stores.delta import DeltaLocation, DeltaReadBack
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from tests.integration.onelake_clients import ITEM, WORKSPACE

SCHEMA = pa.schema([("id", pa.int64())])


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[OneLake]:
    with OneLake(tmp_path) as lake:
        lake.create_workspace(WORKSPACE)
        lake.create_item(WORKSPACE, ITEM)
        yield lake


def options_of(lake: OneLake) -> dict[str, str]:
    account = {"account_url": lake.url, "filesystem": WORKSPACE, "mirror_name": ITEM, **lake.credential}
    return object_store_options(
        OpenMirroringSettings.model_validate({"type": "open_mirroring", "credential": "account_key", **account})
    )


def add(name: str) -> AddAction:
    return AddAction(name, 1, {}, 0, True, '{"numRecords": 1}')


def test_every_call_of_a_load_and_a_comparison_lets_the_lake_answer(lake: OneLake) -> None:
    options = options_of(lake)
    address = f"az://{WORKSPACE}/{ITEM}/Tables/things"
    written = CommitProperties(app_transactions=[Transaction("engine", 1)])
    schema = Schema.from_arrow(SCHEMA)
    create_table_with_add_actions(address, schema, [], storage_options=options, commit_properties=written)
    table = DeltaTable(address, storage_options=options)
    assert table.transaction_version("engine") == 1
    table.alter.add_columns([Field("name", PrimitiveType("string"), nullable=True)])
    query = QueryBuilder().register("landed", table).execute("SELECT id FROM landed")
    assert pa.RecordBatchReader.from_stream(query).read_all().num_rows == 0
    table.create_write_transaction([add("a.parquet")], "append", table.schema(), commit_properties=written)
    table = DeltaTable(address, storage_options=options)
    table.create_write_transaction([add("b.parquet")], "overwrite", table.schema())
    assert DeltaTable(address, storage_options=options).count() == 1
    assert DeltaTable(address, version=0, storage_options=options).version() == 0


def test_a_call_that_keeps_the_lock_would_be_noticed(lake: OneLake) -> None:
    """The control: its request gets no response before it gives up."""
    options = options_of(lake) | {"timeout": "1s", "retry_timeout": "1s", "max_retries": "0"}
    address = f"az://{WORKSPACE}/{ITEM}/Tables/things"
    create_table_with_add_actions(address, Schema.from_arrow(SCHEMA), [], storage_options=options)
    table = DeltaTable(address, storage_options=options)
    with pytest.raises(OSError, match="timed out"):
        table.history(1)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (403, "AuthorizationFailure", "403 Forbidden: AuthorizationFailure"),
        (503, "ServerBusy", "503 Service Unavailable: ServerBusy"),
    ],
)
def test_what_goes_wrong_is_said_on_one_line_without_addresses_queries(
    lake: OneLake, status: int, code: str, said: str
) -> None:
    lake.faults.add(verb="read", times=None, status=status, code=code)
    options = options_of(lake) | {"max_retries": "0"}
    location = DeltaLocation(f"az://{WORKSPACE}", lambda: options)
    with pytest.raises(StoreUnavailable) as raised:
        DeltaReadBack(location, f"{ITEM}/Tables/things").count()
    assert said in raised.value.message
    assert "\n" not in raised.value.message
    assert not any(part in raised.value.message for part in ("\x1b", "↳", "<", "sig=", "retry_timeout"))
    assert len(raised.value.message) < 400
