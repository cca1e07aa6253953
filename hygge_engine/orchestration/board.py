"""The plan of a large load, from which its lanes take one entity after another: files beside the load's progress.

``progress/<load>/@board/<name>/plan.json`` has the entities in order. ``taken/<shelf>/<place in the plan>`` is created
by who takes that entity, ``turns/<lane>-<turn>`` says which one a lane's turn has taken, so that a turn that is
delivered again takes no other. A shelf has few enough places that listing it costs the same however long the plan is.
None of this is trusted: the load compares what its lanes report with its own plan.

``parcels/<number>.json`` are results of entities that have ended, which the load has put down for its settling.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from hygge_engine.errors import LakeConditionNotMet, LakeNotFound
from hygge_engine.orchestration.lanes import Group
from hygge_engine.orchestration.payloads import BoardReference, EntityPayload, PlannedEntity

if TYPE_CHECKING:
    from hygge_engine.orchestration.places import JournalPlace
    from hygge_engine.project.models.project import Project

# Loads whose plans a process keeps in memory: half a megabyte each for 5,000 entities.
BOARDS_KEPT = 8

# Places of the plan whose files are in one folder: whoever finds that others take as well sees at once what they took.
PLACES_PER_SHELF = 64


class Board:
    """The plan of one load, with so many places ``per_shelf``; 0: all in one folder, as an earlier version wrote it.
    Thread-safe; all methods let the LakeError family pass."""

    def __init__(self, place: JournalPlace, load_id: str, name: str, per_shelf: int = PLACES_PER_SHELF) -> None:
        self._lake = place.lake
        self._progress = place.progress
        self._load_id = load_id
        self._folder = f"{place.progress.board_folder(load_id)}/{name}"
        self._per_shelf = per_shelf
        self._lock = threading.Lock()
        self._entities: list[PlannedEntity] | None = None
        self._open: dict[Group, list[int]] = {}
        self._place_of: dict[str, int] = {}

    def write(self, entities: Sequence[PlannedEntity]) -> None:
        """Write the plan down."""
        self._lake.put(f"{self._folder}/plan.json", json.dumps(entities).encode())

    def put_down(self, number: int, results: Sequence[EntityPayload]) -> None:
        """Write down a parcel of results."""
        self._lake.put(self._parcel(number), json.dumps(results).encode())

    def results(self, parcels: int, others: Sequence[EntityPayload]) -> list[EntityPayload]:
        """The results in so many parcels and the others, one for each entity, with the plan's names. Raises
        LakeNotFound where a parcel is gone."""
        found: dict[str, EntityPayload] = {}
        for number in range(parcels):
            for result in json.loads(self._lake.read(self._parcel(number)).data):
                found[result["entity_run_id"]] = result
        found |= {result["entity_run_id"]: result for result in others}
        return [{**result, **self.names_of(id_)} for id_, result in found.items()]  # type: ignore[typeddict-item]

    def names_of(self, entity_run_id: str) -> dict[str, str]:
        """What the entity of a run is called."""
        entity = self._read()[self._place_of[entity_run_id]]
        return {"flow": entity["flow"], "entity": entity["entity"]}

    def is_cancelled(self) -> bool:
        """Whether the load was asked to stop."""
        return self._progress.is_cancelled(self._load_id)

    def request_cancel(self) -> None:
        """Ask the load to stop."""
        self._progress.request_cancel(self._load_id)

    def take(self, lane: str, turn: int, group: Group) -> PlannedEntity | None:
        """The first entity of a group that nobody has taken; what this turn has taken before, if it has; None where
        nothing is left."""
        entities = self._read()
        own = f"{self._folder}/turns/{lane}-{turn}"
        earlier = self._index_of(own)
        if earlier is not None:
            return entities[earlier]
        while (index := self._reserve(group)) is not None:
            known = False
            try:
                if not self._create(f"{self._shelf_of(index)}/{index}", f"{lane}-{turn}"):
                    known = True
                    self._look_again(group, index)
                    continue
                if self._create(own, str(index)):
                    known = True
                    return entities[index]
            finally:
                if not known:
                    self._give_back(group, index)
            # Another delivery of this turn was faster. What this one has taken is left to the load: a file that is
            # deleted could be another lane's by the time that the request arrives, or is repeated.
            earlier = self._index_of(own)
            return None if earlier is None else entities[earlier]
        return None

    def _read(self) -> list[PlannedEntity]:
        with self._lock:
            if self._entities is None:
                entities: list[PlannedEntity] = json.loads(self._lake.read(f"{self._folder}/plan.json").data)
                # The first one last, where a list gives it away without moving the others.
                for index in reversed(range(len(entities))):
                    if not entities[index].get("apart"):
                        self._open.setdefault(Group.of(entities[index]), []).append(index)
                    self._place_of[entities[index]["entity_run_id"]] = index
                self._entities = entities
            return self._entities

    def _reserve(self, group: Group) -> int | None:
        """The first place of the plan that this process knows nobody to have."""
        with self._lock:
            open_ = self._open.get(group)
            return open_.pop() if open_ else None

    def _give_back(self, group: Group, index: int) -> None:
        with self._lock:
            self._open[group].append(index)
            self._open[group].sort(reverse=True)

    def _parcel(self, number: int) -> str:
        return f"{self._folder}/parcels/{number}.json"

    def _shelf_of(self, index: int) -> str:
        shelf = f"/{index // self._per_shelf}" if self._per_shelf else ""
        return f"{self._folder}/taken{shelf}"

    def _look_again(self, group: Group, index: int) -> None:
        """Others are at work as well: see what they have taken of the places beside this one."""
        listed = {entry.name for entry in self._lake.list(self._shelf_of(index))}
        with self._lock:
            self._open[group] = [index for index in self._open[group] if str(index) not in listed]

    def _index_of(self, path: str) -> int | None:
        try:
            return int(self._lake.read(path).data)
        except LakeNotFound:
            return None

    def _create(self, path: str, text: str) -> bool:
        """Create a file; False where there is one that says something else."""
        try:
            self._lake.put(path, text.encode(), if_absent=True)
        except LakeConditionNotMet:
            return self._lake.read(path).data == text.encode()
        return True


class Boards:
    """The boards that a process has read lately. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, Board] = OrderedDict()

    def open(self, project: Project, load_id: str, reference: Mapping[str, Any]) -> Board:
        """The board that a plan names."""
        name = str(reference["name"])
        with self._lock:
            if name not in self._known:
                self._known[name] = Board(_place_at(project, reference), load_id, name, reference.get("per_shelf", 0))
            self._known.move_to_end(name)
            while len(self._known) > BOARDS_KEPT:
                self._known.popitem(last=False)
            return self._known[name]


def write_board(project: Project, load_id: str, entities: Sequence[PlannedEntity]) -> BoardReference:
    """Write down a plan for its lanes, beside the journal of its first entity."""
    reference: BoardReference = {
        "flow": entities[0]["flow"],
        "entity": entities[0]["entity"],
        "name": uuid4().hex,
        "per_shelf": PLACES_PER_SHELF,
    }
    Board(_place_at(project, reference), load_id, reference["name"]).write(entities)
    return reference


def _place_at(project: Project, reference: Mapping[str, Any]) -> JournalPlace:
    from hygge_engine.orchestration.places import place_of

    return place_of(project, project.flows[reference["flow"]].entities[reference["entity"]])
