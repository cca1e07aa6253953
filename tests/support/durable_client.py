"""A durable client in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any


class Client:
    """A durable client; inputs come back as the text they went in with, as in SDK 1.7."""

    def __init__(self) -> None:
        self.instances: dict[str, Any] = {}
        self.events: list[tuple[str, str]] = []
        self.on_event: Callable[[], None] = lambda: None

    async def start_new(self, orchestration_function_name: str, instance_id: str, client_input: Any) -> Any:
        self.put(instance_id, input_=json.dumps(client_input))
        return instance_id

    async def get_status(self, instance_id: str, *, show_input: bool = False) -> Any:
        return self.instances.get(instance_id)

    async def get_status_by(self, *, runtime_status: Any) -> list[Any]:
        return list(self.instances.values())

    async def raise_event(self, instance_id: str, event_name: str, event_data: Any = None) -> None:
        self.events.append((instance_id, event_name))
        self.on_event()

    def put(self, load_id: str, runtime_status: str = "Running", **values: Any) -> None:
        now = datetime(2024, 5, 1, 6, tzinfo=UTC)
        defaults = {
            "input_": "{}",
            "output": None,
            "custom_status": None,
            "created_time": now,
            "last_updated_time": now,
        }
        status = SimpleNamespace(name=runtime_status)
        self.instances[load_id] = SimpleNamespace(instance_id=load_id, runtime_status=status, **{**defaults, **values})
