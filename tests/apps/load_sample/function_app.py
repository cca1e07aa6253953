"""The project's load orchestrator over activities that only pretend: an entity's name says how its slices go."""

import contextlib
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import azure.durable_functions as df

from hygge_engine.orchestration import load as orchestrators
from hygge_engine.orchestration.concurrency import EntityRunState

app = df.DFApp()


def _trace(line: str) -> None:
    with (Path(os.environ["SAMPLE_TRACE"]) / "trace.txt").open("a") as file:
        file.write(line + "\n")


@app.orchestration_trigger(context_name="context")
def load(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    limit = context.get_input().get("activities_per_history", orchestrators.ACTIVITIES_PER_HISTORY)
    return (yield from orchestrators.load_steps(context, lambda _: None, limit))


@app.orchestration_trigger(context_name="context")
def run_lane(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield from orchestrators.lane(context))


@app.activity_trigger(input_name="request")
def plan_load(request: dict) -> dict:
    """Plan the entities that the request names, ``name:slices`` each."""
    names = request["request"]["entities"]
    entities = [
        {"flow": "f", "entity": name, "entity_run_id": f"run {name}", "run_type": "full_drop", "connection": "db"}
        for name in names
    ]
    size = request["request"]["size"]
    plan = {"status": "planned", "settings_hash": "h", "concurrency": size, "pools": {"db": size}}
    plan |= {feature: request.get(feature, False) for feature in ("table_lanes", "shares")}
    if request["request"].get("lanes"):
        board = Path(os.environ["SAMPLE_TRACE"]) / "plan.json"
        board.write_text(json.dumps(entities))
        plan["board"] = {"flow": "f", "entity": names[0], "name": "b"}
    return {**plan, "entities": entities}


@app.activity_trigger(input_name="turn")
def run_next(turn: dict) -> dict:
    """Take the first entity that no file says is taken; a turn that has its file has taken already."""
    folder = Path(os.environ["SAMPLE_TRACE"])
    if turn.get("stop"):
        (folder / "stop").touch()
    if not turn.get("turn") or (folder / "stop").exists():
        return {"status": "continue", "taken": None, "cancelled": (folder / "stop").exists()}
    own = f"{turn['lane']}-{turn['turn']}"
    for index, entity in enumerate(json.loads((folder / "plan.json").read_text())):
        taken = folder / f"taken-{index}"
        with contextlib.suppress(FileExistsError), taken.open("x") as file:
            file.write(own)
        if taken.read_text() == own:
            entity_run = EntityRunState(0, entity, attempts=turn["attempt"])
            return {**_run_slice(entity_run.slice_task(turn["load_id"], turn["settings_hash"])), "taken": entity}
    return {"status": "continue", "taken": None}


@app.activity_trigger(input_name="task")
def run_flow(task: dict) -> dict:
    return _run_slice(task)


def _run_slice(task: dict) -> dict:
    """Land ten rows per slice; the first slice of an entity called ``flaky`` fails, one called ``ranges`` is read in as
    many ranges, not in slices."""
    name, _, slices = task["entity"].partition(":")
    _trace(f"slice {task['entity']} {task['attempt']}")
    if name == "ranges":
        return _read_in_ranges(task, int(slices))
    if name.startswith("flaky") and task["attempt"] == 1:
        return {
            "status": "failed",
            "transient": True,
            "error": "home.unavailable",
            "message": "The connection was lost.",
            "retry_after_seconds": 0.05,
        }
    state = "continue" if task["attempt"] < int(slices) else "done"
    return {"status": state, "rows": 10 * task["attempt"], "files": task["attempt"], "bytes": 10}


def _read_in_ranges(task: dict, count: int) -> dict:
    read = [Path(os.environ["SAMPLE_TRACE"]) / f"read-{task['load_id']}-{number}" for number in range(count)]
    if task.get("division"):
        read[task["range_number"]].touch()
        return {"status": "done", "rows": 10}
    if left := [str(number) for number, file in enumerate(read) if not file.exists()]:
        return {"status": "continue", "ranges": count, "ranges_left": ",".join(left), "division": "d"}
    return {"status": "done", "rows": 10 * count, "files": count, "bytes": 10}


@app.activity_trigger(input_name="outcome")
def settle_load(outcome: dict) -> dict:
    _trace(f"settle {len(outcome['results'])}")
    return {"status": "settled"}
