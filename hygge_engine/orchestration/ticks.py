"""What the timer has come to: a small file beside the journal, so that no tick is lost whose function dies.

The file says until when the schedules are served, and which loads were started for them that may not have ended. It is
written *before* the loads are started: the next tick starts those that never were. Only this file shows that: the host
records that a tick has fired, not its outcome, and a listing of all orchestrations may end after a page.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hygge_engine.errors import LakeConditionNotMet, LakeNotFound

if TYPE_CHECKING:
    from hygge_engine.lake.base import Lake
    from hygge_engine.project.models.project import Project


@dataclass(frozen=True)
class Served:
    """All that came due until ``until`` has been started, or is about to be; ``loads`` are those that may not have
    ended, with their flows. ``etag`` is that of the file it was read from."""

    until: datetime
    loads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    etag: str | None = None


class TickFile:
    """Reads and replaces one project's file. All methods let the LakeError family pass."""

    def __init__(self, lake: Lake, root: str, project: str) -> None:
        from hygge_engine.journal.names import file_name  # brings Arrow, which the host does not need to start

        self._lake = lake
        self._path = f"{root.strip('/')}/schedule/{file_name(project)}.json"

    def read(self) -> Served | None:
        """What is served; None where that is not known: the first time, and where the file holds something else."""
        try:
            content = self._lake.read(self._path)
        except LakeNotFound:
            return None
        try:
            value: dict[str, Any] = json.loads(content.data)
            loads = {str(load): tuple(str(flow) for flow in flows) for load, flows in value["loads"].items()}
            return Served(datetime.fromisoformat(value["until"]), loads, content.etag)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, served: Served, *, over: Served | None) -> None:
        """Replace what was read; raises LakeConditionNotMet where another process has done so since.

        Without ``over`` whatever is there is replaced.
        """
        loads = {load: list(flows) for load, flows in served.loads.items()}
        value = {"until": served.until.isoformat(), "loads": loads, "nonce": uuid4().hex}
        data = json.dumps(value, indent=1).encode()
        try:
            self._lake.put(self._path, data, if_match=over.etag if over else None)
        except LakeConditionNotMet:
            if self._lake.read(self._path).data != data:  # else only our own response was lost
                raise


def tick_file_of(project: Project) -> TickFile | None:
    """Where a project's ticks are recorded: with the loads of its first entity. None for a project without any."""
    from hygge_engine.orchestration.places import place_of

    if not project.entities:
        return None
    place = place_of(project, project.entities[0])
    return TickFile(place.lake, place.root, project.name)
