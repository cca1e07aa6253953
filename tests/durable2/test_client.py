"""What the app asks of the durable client, on SDK 2.x: the verbs that both generations have."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.durable_functions import DurableFunctionsClient, OrchestrationRuntimeStatus
from durabletask.client import OrchestrationStatus

from hygge_engine.orchestration.retention import purge_histories
from hygge_engine.orchestration.schedule import ID_PREFIX, running_loads
from tests.durable2.bridge import Bridge

# The verbs of 1.7 are there, and their successors are preferred.
pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated; use:DeprecationWarning")

LOAD_APP = Path(__file__).parents[1] / "apps" / "load_sample"
ENDED = [OrchestrationRuntimeStatus.Completed, OrchestrationRuntimeStatus.Failed, OrchestrationRuntimeStatus.Terminated]


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    with Bridge(LOAD_APP, {"SAMPLE_TRACE": str(tmp_path_factory.mktemp("app"))}) as bridge:
        yield bridge


def test_old_histories_are_purged_and_young_ones_stay(bridge: Bridge) -> None:
    state = bridge.run("load", {"entities": ["a:1"], "size": 1})
    assert state.runtime_status == OrchestrationStatus.COMPLETED
    days = timedelta(days=3)
    project = cast(Any, SimpleNamespace(options=SimpleNamespace(history_retention=days.total_seconds())))

    async def purge(now: datetime) -> int:
        client = DurableFunctionsClient(json.dumps({"rpcBaseUrl": bridge.address}))
        try:
            return await purge_histories(lambda: project, client, ENDED, now)
        finally:
            await client.close()

    assert asyncio.run(purge(datetime.now(UTC) + days / 2)) == 0
    assert bridge.client.get_orchestration_state(state.instance_id) is not None
    assert asyncio.run(purge(datetime.now(UTC) + days * 2)) >= 1
    assert bridge.client.get_orchestration_state(state.instance_id) is None


def test_scheduled_loads_are_listed_with_their_flows(bridge: Bridge) -> None:
    request = {"entities": ["a:1"], "size": 1, "flows": ["f"]}
    instance = bridge.client.schedule_new_orchestration("load", input=request, instance_id=f"{ID_PREFIX}1")
    bridge.finish(instance)  # so that it is known in which state it is

    async def listed() -> dict[str, Any]:
        client = DurableFunctionsClient(json.dumps({"rpcBaseUrl": bridge.address}))
        try:
            return dict(await running_loads(client, ENDED, {}))
        finally:
            await client.close()

    assert asyncio.run(listed())[instance]["flows"] == ["f"]
