"""What activities return, for tests of the orchestrator."""

from __future__ import annotations

from typing import Any


def plan(entities: int = 1, *, concurrency: int = 4, pools: dict[str, int] | None = None) -> dict[str, Any]:
    connections = list(pools or {"db": 100})
    return {
        "status": "planned",
        "settings_hash": "h1",
        "concurrency": concurrency,
        "pools": pools or {"db": 100},
        "entities": [
            {
                "flow": "f",
                "entity": f"e{number}",
                "entity_run_id": f"run-{number}",
                "run_type": "incremental",
                "connection": connections[number % len(connections)],
            }
            for number in range(entities)
        ],
    }


def done(rows: int = 10) -> dict[str, Any]:
    return {"status": "done", "rows": rows, "files": 1}
