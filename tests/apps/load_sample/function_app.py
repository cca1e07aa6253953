"""The project's load orchestrator over activities that only pretend: an entity's name says how its slices go."""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import azure.durable_functions as df

from hygge_engine.orchestration import load as orchestrators

app = df.DFApp()


def _trace(line: str) -> None:
    with (Path(os.environ["SAMPLE_TRACE"]) / "trace.txt").open("a") as file:
        file.write(line + "\n")


@app.orchestration_trigger(context_name="context")
def load(context: df.DurableOrchestrationContext) -> Generator[Any, Any, Any]:
    return (yield from orchestrators.load(context))


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
    return {**plan, "entities": entities}


@app.activity_trigger(input_name="task")
def run_flow(task: dict) -> dict:
    """Land ten rows per slice; the first slice of an entity called ``flaky`` fails."""
    name, _, slices = task["entity"].partition(":")
    _trace(f"slice {task['entity']} {task['attempt']}")
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


@app.activity_trigger(input_name="outcome")
def settle_load(outcome: dict) -> dict:
    _trace(f"settle {len(outcome['results'])}")
    return {"status": "settled"}
