"""The Function app: names, routes and schedules. What they do is in ``hygge_engine``; every body here is one call.

Runs unchanged on azure-functions-durable 1.7 and 2.x (see ``docs/orchestration.md``).
"""

import logging
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func
from azure.functions.timer import TimerRequest

from hygge_engine.memory import choose_allocator
from hygge_engine.orchestration import load as orchestrators
from hygge_engine.orchestration.activities import Activities
from hygge_engine.orchestration.permits import Permits
from hygge_engine.orchestration.retention import forget
from hygge_engine.orchestration.schedule import read_tick, start_due_loads
from hygge_engine.orchestration.source import ProjectSource
from hygge_engine.orchestration.turns import Turns, activities_at_once
from hygge_engine.telemetry import add_ids_to_logs
from hygge_engine.web.api import Api
from hygge_engine.web.door import authenticated
from hygge_engine.web.responses import Response

# The storage SDK logs every request with its headers at INFO: thousands of lines a load, which cost money to keep.
logging.getLogger("azure").setLevel(logging.WARNING)
add_ids_to_logs()
choose_allocator()

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)

_RUNNING = [
    df.OrchestrationRuntimeStatus.Pending,
    df.OrchestrationRuntimeStatus.Running,
    df.OrchestrationRuntimeStatus.Suspended,
]
_ENDED = [
    df.OrchestrationRuntimeStatus.Completed,
    df.OrchestrationRuntimeStatus.Failed,
    df.OrchestrationRuntimeStatus.Terminated,
]

project = ProjectSource(Path(__file__).parent)
turns = Turns(activities_at_once(Path(__file__).parent / "host.json"))
activities = Activities(project, turns=turns, permits=Permits())
api = Api(project, _RUNNING)


@app.timer_trigger(schedule="%HYGGE_SCHEDULE%", arg_name="timer")
@app.durable_client_input(client_name="client")
async def load_on_schedule(timer: TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Start the flows that came due since the last tick."""
    tick = read_tick(timer.schedule_status, past_due=timer.past_due, now=datetime.now(UTC))
    await start_due_loads(project, tick, client, _RUNNING)


@app.timer_trigger(schedule="0 23 * * * *", arg_name="timer")
@app.durable_client_input(client_name="client")
async def purge_old_histories(timer: TimerRequest, client: df.DurableOrchestrationClient) -> None:
    """Purge the orchestrations of loads that ended long ago, and the leftovers of those that never ended."""
    await forget(project, client, _ENDED, datetime.now(UTC))


@app.route(route="loads", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start_load(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Start a load."""
    headers = {"content_type": "content-type", "traceparent": "traceparent"}
    given = {name: req.headers.get(header, "") for name, header in headers.items()}
    key = req.headers.get("idempotency-key")
    who = {"requested_by": "http", "principal": authenticated(req.headers)}
    return _response(await api.start_load(req.get_body(), client, idempotency_key=key, **who, **given))


@app.route(route="loads/{load_id}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def load_status(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Show where a load stands."""
    return _response(
        await api.load_status(req.route_params["load_id"], client, **_given(req, "limit", "after", "status"))
    )


@app.route(route="loads/{load_id}/cancel", methods=["POST"])
@app.durable_client_input(client_name="client")
async def cancel_load(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    """Ask a load to stop at its last commits."""
    return _response(await api.cancel_load(req.route_params["load_id"], client))


@app.route(route="flows", methods=["GET"])
def list_flows(req: func.HttpRequest) -> func.HttpResponse:
    """List the project's flows and entities."""
    return _response(api.flows(**_given(req, "limit", "after")))


@app.route(route="runs", methods=["GET"])
def list_runs(req: func.HttpRequest) -> func.HttpResponse:
    """List the loads in the journal, or its summary of each flow or entity."""
    return _response(api.runs(**_given(req, "limit", "flow", "by", "after")))


@app.route(route="runs/{coordinator_run_id}", methods=["GET"])
def show_run(req: func.HttpRequest) -> func.HttpResponse:
    """Show one load with its entity runs."""
    return _response(api.run(req.route_params["coordinator_run_id"], **_given(req, "limit", "after", "status")))


@app.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:
    """Say whether the app can read its project."""
    return _response(api.health())


@app.route(route="openapi.json", methods=["GET"])
def openapi(req: func.HttpRequest) -> func.HttpResponse:
    """Describe the API."""
    return _response(api.openapi())


@app.orchestration_trigger(context_name="context")
def load(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Plan, run and finish one load."""
    return (yield from orchestrators.load(context))


@app.orchestration_trigger(context_name="context")
def run_lane(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    """Run one lane of a load."""
    return (yield from orchestrators.lane(context))


@app.activity_trigger(input_name="request")
def plan_load(request: dict) -> dict:
    """Choose the entities of a load."""
    return activities.plan_load(request)


@app.activity_trigger(input_name="task")
def run_flow(task: dict) -> dict:
    """Work on one slice of one entity."""
    return activities.run_flow(task)


@app.activity_trigger(input_name="turn")
def run_next(turn: dict) -> dict:
    """Take the next entity of a load and work on its first slice."""
    return activities.run_next(turn)


@app.activity_trigger(input_name="outcome")
def settle_load(outcome: dict) -> dict:
    """Write a load into the journal."""
    return activities.settle_load(outcome)


def _given(req: func.HttpRequest, *names: str) -> dict[str, str | None]:
    return {name: req.params.get(name) for name in names}


def _response(response: Response) -> func.HttpResponse:
    return func.HttpResponse(
        response.body, status_code=response.status, headers=response.headers, mimetype=response.content_type
    )
