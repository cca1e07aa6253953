"""An observer that records what it receives of a load."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any


class Recorder:
    def __init__(self) -> None:
        self.thread: set[int] = set()
        self.entities: list[str] = []
        self.progress: dict[str, list[int]] = {}
        self.settled: dict[str, Mapping[str, Any]] = {}

    def planned(self, entities: Sequence[Mapping[str, Any]]) -> None:
        self.thread.add(threading.get_ident())
        self.entities = [entity["entity"] for entity in entities]

    def entity_progress(self, flow: str, entity: str, rows: int, bytes_: int) -> None:
        self.thread.add(threading.get_ident())
        self.progress.setdefault(entity, []).append(rows)

    def entity_ended(self, flow: str, entity: str, result: Mapping[str, Any]) -> None:
        self.thread.add(threading.get_ident())
        self.settled[entity] = result
