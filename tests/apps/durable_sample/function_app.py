"""A small app that uses what the host offers; orchestrators keep to the subset that runs on Durable SDK 1.x and 2.x."""

import json
import logging
import os
import threading
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import azure.durable_functions as df
import azure.functions as func

app = df.DFApp(http_auth_level=func.AuthLevel.FUNCTION)
log = logging.getLogger("sample")
Steps = Generator[Any, Any, Any]


def _trace_folder() -> Path:
    return Path(os.environ["SAMPLE_TRACE"])


def _trace(line: str) -> None:
    with (_trace_folder() / "trace.txt").open("a") as file:
        file.write(line + "\n")


@app.route(route="echo/{name}/{number:int?}", methods=["POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    headers = {
        "X-Name": req.route_params["name"],
        "X-Number": req.route_params.get("number", "none"),
        "X-Query": req.params.get("q", ""),
        "X-Seen": req.headers.get("x-given", ""),
        "Content-Type": "application/octet-stream",
    }
    return func.HttpResponse(req.get_body()[::-1], status_code=201, headers=headers)


@app.route(route="health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> str:
    return os.environ.get("SAMPLE_GREETING", "well")


@app.route(route="instance", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def instance(req: func.HttpRequest) -> str:
    return os.environ.get("WEBSITE_INSTANCE_ID", "none")


@app.route(route="slow", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def slow(req: func.HttpRequest) -> str:
    gate = _trace_folder() / "gate"
    while not gate.exists():
        time.sleep(0.01)
    return "at last"


@app.route(route="broken", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def broken(req: func.HttpRequest) -> str:
    raise ValueError("as ordered")


@app.route(route="start/{orchestrator}/{instance?}", methods=["POST"])
@app.durable_client_input(client_name="client")
async def start(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    body = req.get_body()
    try:
        instance_id = await client.start_new(
            req.route_params["orchestrator"], req.route_params.get("instance"), json.loads(body) if body else None
        )
    except Exception as error:  # noqa: BLE001 - the client raises nothing narrower
        return func.HttpResponse(str(error), status_code=409)
    answer: func.HttpResponse = client.create_check_status_response(req, instance_id)
    return answer


@app.route(route="client/{verb}/{instance?}", methods=["GET"])
@app.durable_client_input(client_name="client")
async def client_verb(req: func.HttpRequest, client: df.DurableOrchestrationClient) -> func.HttpResponse:
    instance = req.route_params.get("instance", "")
    answer: object = None
    match req.route_params["verb"]:
        case "status":
            status = await client.get_status(instance, show_history=True, show_input=True)
            # The SDK cannot describe an instance that does not exist.
            answer = status.to_json() if status else {}
        case "all":
            answer = [status.to_json() for status in await client.get_status_all()]
        case "prefix":
            answer = [s.instance_id for s in await client.get_status_by(instance_id_prefix=instance)]
        case "raise":
            await client.raise_event(instance, req.params["event"], {"reason": req.params.get("reason", "")})
        case "terminate":
            await client.terminate(instance, "as ordered")
        case "purge":
            answer = (await client.purge_instance_history(instance)).instances_deleted
    return func.HttpResponse(json.dumps(answer, default=str), mimetype="application/json")


@app.timer_trigger(schedule="%SAMPLE_SCHEDULE%", arg_name="tick")
@app.durable_client_input(client_name="client")
async def on_tick(tick: func.TimerRequest, client: df.DurableOrchestrationClient) -> None:
    _trace(f"tick past_due={tick.past_due}")
    await client.start_new("child", None, {"name": "ticked"})


@app.activity_trigger(input_name="item")
def work(item: dict) -> dict:
    """Do ``item``: fail, die or wait as it says; returns failures as values."""
    name = item["name"]
    _trace(f"start {name}")
    if item.get("raise"):
        raise ValueError(f"{name} is broken")
    while item.get("gate") and not (_trace_folder() / item["gate"]).exists():
        time.sleep(0.005)
    time.sleep(item.get("seconds", 0))
    _trace(f"end {name}")
    if item.get("fail_times", 0) > item.get("attempt", 0):
        return {"name": name, "status": "failed", "retry_after_seconds": 0.05}
    return {"name": name, "status": "done", "thread": threading.current_thread().name}


@app.activity_trigger(input_name="summary")
def settle(summary: dict) -> int:
    _trace(f"settle {len(summary['results'])}")
    return len(summary["results"])


@app.orchestration_trigger(context_name="context")
def window(context: df.DurableOrchestrationContext) -> Steps:
    """Run items, ``size`` at once, with back-off on timers, cancellable by an event, always settled."""
    request = context.get_input()
    waiting = [dict(item) for item in request["items"]]
    cancel = context.wait_for_external_event("cancel")
    running: dict = {}
    backing_off: dict = {}
    results: list = []
    cancelled = False
    fresh: list = []
    while True:
        while waiting and not cancelled and len(running) < request["size"]:
            item = waiting.pop(0)
            fresh.append(context.call_activity("work", item))
            running[fresh[-1]] = item
        if not running and not backing_off:
            break
        tasks = [*running, *backing_off] + ([] if cancelled else [cancel])
        if fresh and request.get("nudge", True):
            # A timer that is given up before it is waited for: it ends the extension's wait at once and never fires.
            nudge = context.create_timer(context.current_utc_datetime + timedelta(days=1))
            nudge.cancel()
            tasks.append(nudge)
        fresh = []
        done = yield context.task_any(tasks)
        if done in running:
            item = running.pop(done)
            try:
                result = yield done
            except Exception:  # noqa: BLE001 - the SDKs disagree about the type
                result = {"name": item["name"], "status": "failed"}
            if "retry_after_seconds" in result and not cancelled:
                delay = timedelta(seconds=result["retry_after_seconds"])
                fresh.append(context.create_timer(context.current_utc_datetime + delay))
                backing_off[fresh[-1]] = {**item, "attempt": item.get("attempt", 0) + 1}
            else:
                results.append({"name": result["name"], "status": result["status"]})
        elif done in backing_off:
            waiting.append(backing_off.pop(done))
        elif done is cancel:
            cancelled = True
            for timer in backing_off:
                timer.cancel()
            backing_off.clear()
        context.set_custom_status({"settled": len(results), "running": len(running)})
    settled = yield context.call_activity("settle", {"results": results})
    return {"settled": settled, "cancelled": cancelled, "results": results}


@app.orchestration_trigger(context_name="context")
def retried(context: df.DurableOrchestrationContext) -> Steps:
    options = df.RetryOptions(10, 3)
    items = context.get_input()
    tasks = [context.call_activity_with_retry("work", options, item) for item in items]
    names = []
    for task in tasks:
        try:
            yield task
            names.append("ok")
        except Exception:  # noqa: BLE001 - the SDKs disagree about the type
            names.append("failed")
    return names


@app.orchestration_trigger(context_name="context")
def parent(context: df.DurableOrchestrationContext) -> Steps:
    request = context.get_input()
    tasks = [context.call_sub_orchestrator("child", item) for item in request]
    results = yield context.task_all(tasks)
    return results


@app.orchestration_trigger(context_name="context")
def child(context: df.DurableOrchestrationContext) -> Steps:
    item = context.get_input()
    if item.get("break"):
        raise ValueError("child is broken")
    result = yield context.call_activity("work", item)
    return result["name"]


@app.orchestration_trigger(context_name="context")
def countdown(context: df.DurableOrchestrationContext) -> Steps:
    left = context.get_input()
    if left == 0:
        return "lift-off"
    yield context.create_timer(context.current_utc_datetime + timedelta(milliseconds=10))
    context.continue_as_new(left - 1)
    return None


@app.orchestration_trigger(context_name="context")
def listener(context: df.DurableOrchestrationContext) -> Steps:
    first = yield context.wait_for_external_event("go")
    return {"first": first}


@app.orchestration_trigger(context_name="context")
def races(context: df.DurableOrchestrationContext) -> Steps:
    """What orchestrators may count on when they race tasks again and again; true on both SDK generations."""
    event = context.wait_for_external_event("never")
    first = context.call_activity("work", {"name": "first"})
    broken = context.call_activity("work", {"name": "broken", "raise": True})
    winner = yield context.task_any([first, event])
    read_twice = [(yield winner)["name"], (yield first)["name"]]
    loser = yield context.task_any([broken, event])
    try:
        yield loser
        raised = False
    except Exception:  # noqa: BLE001 - the SDKs disagree about the type
        raised = True
    # A timer that is given up leaves the race, and does not keep the orchestration from ending.
    late = context.create_timer(context.current_utc_datetime + timedelta(hours=1))
    second = context.call_activity("work", {"name": "second"})
    second_winner = yield context.task_any([second, late, event])
    late.cancel()
    third = context.call_activity("work", {"name": "third"})
    third_winner = yield context.task_any([third, event])
    finished = yield context.task_any([event, first])
    return {
        "the winner is the task itself": winner is first and second_winner is second and third_winner is third,
        "tasks serve as keys": {first: True}.get(winner, False),
        "a completed task is read as often as one likes": read_twice == ["first", "first"],
        "a failed task wins and raises when it is read": loser is broken and raised,
        "a task that has ended wins at once": finished is first,
    }
