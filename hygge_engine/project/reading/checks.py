"""The rules that reach over one section of the project's files: connections, watermarks, destinations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from hygge_engine.hosts import identity_of
from hygge_engine.letter_case import confusable, in_any_case
from hygge_engine.plain_text import counted, first_few
from hygge_engine.project.models.documents import FlowDocument
from hygge_engine.project.models.project import Entity, JournalSettings, check_entity_name
from hygge_engine.project.models.settings import (
    HISTORY_COLUMNS,
    HISTORY_SUFFIX,
    HOMES,
    STORES,
    Capacity,
    ConnectionSettings,
    JournalPlaceSettings,
    Surroundings,
)
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.journal_section import BESIDE, address_of
from hygge_engine.project.reading.overlaps import Overlaps
from hygge_engine.project.telling.model_faults import is_misspelt
from hygge_engine.project.telling.nodes import MappingNode, Node, ScalarNode, text_of
from hygge_engine.project.telling.problems import Problems, nearest


@dataclass(frozen=True)
class _Claim:
    """What an entity has said first about a place that it shares with others."""

    entity: str
    where: str
    value: str = ""


@dataclass(frozen=True)
class _Landing:
    """Where an entity lands, and the place that names it."""

    entity: Entity
    destination: str
    place: Node


class CrossSectionRules:
    """Keeps what the entities before have claimed.

    ``connections`` are those of hygge.yml, None for one that has problems, and None altogether where they are unknown.
    """

    def __init__(
        self, directory: Path, connections: Mapping[str, ConnectionSettings | None] | None, problems: Problems
    ) -> None:
        self._connections = connections
        self._surroundings = Surroundings(directory, connections or {})
        self._overlaps = Overlaps(self._surroundings, problems)
        self._problems = problems
        self._destinations: dict[str, _Claim] = {}
        self._agreements: dict[tuple[str, str], _Claim] = {}
        self._telemetry: dict[str, _Claim] = {}
        self._landings: list[_Landing] = []
        self._stores: dict[str, MappingNode] = {}

    def check_entity(
        self,
        entity: Entity,
        item: EntityTree,
        inherited: MappingNode,
        store: MappingNode,
        watermark: MappingNode | None,
    ) -> None:
        """All rules over the sections of one entity, and over all entities so far. The trees say where to point."""
        if entity.effective_run_type == "incremental":
            self._check_watermark(entity, item, inherited, store)
            if entity.watermark and entity.watermark.lag_seconds and watermark is not None:
                self._check_lag(entity, watermark)
        if entity.watermark and entity.watermark.lists_changes and watermark is not None:
            self._check_change_tracking(entity, watermark)
        if entity.watermark and entity.watermark.file_modified and watermark is not None:
            self._check_file_modified(entity, watermark)
        if entity.reload == "difference" and not entity.store.compares():
            self._refuse_difference(item, inherited)
        if entity.deletes.compare and entity.effective_run_type == "incremental":
            self._check_deletes(entity, item, inherited)
        if entity.deletes.mark and not entity.store.marks():
            self._refuse_mark(item, inherited)
        self._add_landing(entity, item, store)

    def history_of(self, entity: Entity, item: EntityTree, inherited: MappingNode) -> Entity | None:
        """The entity that lands each version of another one's rows, where ``history`` asks for that, with all rules
        over it; None where there is none, or something is wrong with it. All others of the flow have to be known."""
        if entity.history != "versions":
            return None
        place: Node = item.tree.get("history") or inherited.get("history") or item.place
        try:
            store = entity.store.of_history(entity.name)
            name = check_entity_name(f"{entity.name}{HISTORY_SUFFIX}")
        except ValueError as error:
            found = str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
            self._problems.add(
                place.problem(
                    f"`history: versions` makes an entity and a table whose names end in `{HISTORY_SUFFIX}`, and "
                    f"`{entity.id}` cannot have them",
                    found=found,
                    hint="Give the entity, or its table, a shorter name.",
                )
            )
            return None
        if store is None or entity.home.has_file_times():
            self._refuse_history(place, is_of_files=store is not None)
            return None
        if entity.polish is not None and (taken := _of_history(entity.polish.given_names)):
            polish: Node = item.tree.get("polish") or inherited.get("polish") or item.place
            self._problems.add(
                polish.problem(
                    f"`history: versions` lands columns {', '.join(HISTORY_COLUMNS)}, and `polish` gives such a name "
                    "to another one",
                    found=f"`{taken}`",
                    hint="Give it another name.",
                )
            )
            return None
        others = {confusable(other) for other in self._stores}
        if confusable(f"{entity.flow}.{name}") in others:
            self._problems.add(
                place.problem(
                    f"`history: versions` of `{entity.id}` makes an entity `{name}`, and the flow has one already",
                    hint="Rename one of them.",
                )
            )
            return None
        history = entity.with_history(store)
        self._add_landing(history, item, self._stores[entity.id])
        return history

    def _add_landing(self, entity: Entity, item: EntityTree, store: MappingNode) -> None:
        self._check_destination(entity, item)
        self._overlaps.add(entity, store.get("path") or item.place)
        self._stores[entity.id] = store
        self._landings.append(_Landing(entity, _one_form(entity.store.destination(entity.name)), item.place))

    def check_journal(
        self, entity: Entity, journal: JournalSettings, tree: MappingNode | None, item: EntityTree
    ) -> None:
        """An entity's journal has a place, and its mirror has one journal. ``tree`` is the section, where there is
        one."""
        location: Node | None = tree.get("location") if tree is not None else None
        beside = entity.home if journal.location == "home" else entity.store
        if journal.location in BESIDE and not beside.keeps_journal():
            place = location or self._stores[entity.id].get("type") or item.place
            self._problems.add(
                place.problem(
                    f"a {address_of(journal)} of type `{beside.type}` has no place for the journal",
                    expected="`journal.location` with a path or a data lake, in hygge.yml or the flow",
                    hint="For example `journal: { location: ./journal }` on your own machine.",
                ),
                topic=f"journal of a {beside.type}",
            )
        self._check_agreements(entity, journal, location, item)
        place = self._stores[entity.id].get("path") or item.place
        self._overlaps.add_kept(entity, entity.store.keeps(self._surroundings), place)
        if isinstance(journal.location, JournalPlaceSettings):
            self._overlaps.add_kept(entity, journal.location.keeps(self._surroundings), location or item.place)

    def check_overlaps(self) -> None:
        """No entity lands where a home of its flow reads, or in another one's folder. Called when all entities are
        known."""
        self._overlaps.check()

    def check_capacities(self) -> None:
        """No place is given more tables than it takes. Called when all entities are known."""
        shared: dict[str, list[tuple[_Landing, Capacity]]] = {}
        for landing in self._landings:
            if capacity := landing.entity.store.capacity():
                shared.setdefault(_one_form(capacity.place), []).append((landing, capacity))
        for landings in shared.values():
            _, capacity = landings[0]
            own = max(each.own for _, each in landings)
            tables = len({landing.destination for landing, _ in landings})
            if tables + own <= capacity.tables:
                continue
            by_flow = Counter(landing.entity.flow for landing, _ in landings)
            largest = [f"{flow} {counted(number, 'table')}" for flow, number in by_flow.most_common()]
            first_beyond, _ = landings[capacity.tables - own]
            self._problems.add(
                first_beyond.place.problem(
                    f"{capacity.place} would hold {counted(tables + own, 'table')}, and takes {capacity.tables:,}",
                    found=f"{first_few(largest)}" + (f", and {own} of the journal" if own else ""),
                    expected=f"{capacity.tables - own:,} tables at most of all flows that land there",
                    hint="Let some of the flows land in another one, or divide a flow in two: docs/scale.md.",
                )
            )

    def check_telemetry(self) -> None:
        """No entity lands where another one's journal is mirrored. Called when all entities are known."""
        for landing in self._landings:
            schema, _, _ = landing.destination.rpartition("/")
            mirror, _, _ = schema.rpartition("/")
            # The states of tables about loads are kept as those of a flow that is called like their schema.
            for taken in (schema, f"{mirror}/{confusable(landing.entity.flow)}"):
                claim = self._telemetry.get(taken)
                if claim is None:
                    continue
                what = "schema" if taken == schema else "flow"
                self._problems.add(
                    landing.place.problem(
                        f"the {what} of `{landing.entity.id}` has the name of the schema that the journal is mirrored "
                        f"to, for `{claim.entity}` ({claim.where})",
                        expected=f"another {what} than `{claim.value}`, or another `mirror_schema`",
                    )
                )

    def check_connection(self, section: MappingNode) -> None:
        """``connection`` names one of hygge.yml, of the section's own type."""
        named, kind = section.get("connection"), text_of(section.get("type"))
        if self._connections is None or not isinstance(named, ScalarNode) or named.broken:
            return
        model = HOMES.get(kind or "") or STORES.get(kind or "")
        if model is None or "connection" not in model.model_fields:
            return
        if named.text not in self._connections:
            similar = nearest(named.text, self._connections)
            self._problems.add(
                named.problem(
                    f"there is no connection `{named.text}`",
                    expected=f"one of {', '.join(sorted(self._connections))}" if self._connections else "",
                    hint=f"Did you mean `{similar}`?" if similar else "Add it below `connections` in hygge.yml.",
                )
            )
            return
        connection = self._connections[named.text]
        if connection is not None and connection.kind != kind:
            message = f"the connection `{named.text}` is of another type"
            self._problems.add(named.problem(message, found=f"`{connection.kind}`", expected=f"`{kind}`"))

    def _check_watermark(self, entity: Entity, item: EntityTree, inherited: MappingNode, store: MappingNode) -> None:
        if entity.watermark is not None or not entity.home.needs_watermark:
            return
        if is_misspelt(inherited, "watermark", FlowDocument.model_fields):
            return
        reason: Node | None = item.tree.get("run_type") or inherited.get("run_type")
        if entity.store.incremental:
            reason = store.get("incremental")
        place = item.place if reason is None or "watermark" in item.tree.entries else reason
        self._problems.add(
            place.problem(
                "an incremental load needs a `watermark`, and there is none",
                expected="`watermark: {column: …, primary_key: …}` in the flow or the entity",
                hint="Or load the table whole each time: `run_type: full_drop`.",
            )
        )

    def _check_lag(self, entity: Entity, watermark: MappingNode) -> None:
        if entity.store.upserts():
            return
        place: Node = watermark.get("lag") or watermark
        self._problems.add(
            place.problem(
                "`lag` reads rows again, and this store would keep them twice",
                expected="a store that replaces rows by key, or no `lag`",
            )
        )

    def _check_change_tracking(self, entity: Entity, watermark: MappingNode) -> None:
        settings = entity.watermark
        account = settings.account if settings is not None else ""
        place: Node = watermark.get("cdc" if settings is not None and settings.cdc else "change_tracking") or watermark
        if not entity.home.tracks_changes():
            message, expected = "this home does not list its changes", "a table of SQL Server, or `watermark.column`"
        elif not entity.store.deletes():
            message = f"{account} lists deleted rows, and this store cannot take rows away"
            expected = "a store that can, or `watermark.column`"
        else:
            return
        self._problems.add(place.problem(message, expected=expected))

    def _check_file_modified(self, entity: Entity, watermark: MappingNode) -> None:
        if entity.home.has_file_times():
            return
        place: Node = watermark.get("file_modified") or watermark
        message, expected = "the rows of this home are in no files", "a home of files, or `watermark.column`"
        self._problems.add(place.problem(message, expected=expected))

    def _refuse_difference(self, item: EntityTree, inherited: MappingNode) -> None:
        place: Node = item.tree.get("reload") or inherited.get("reload") or item.place
        self._problems.add(
            place.problem(
                "`reload: difference` takes rows away and replaces others, and this store cannot do that",
                expected="`reload: drop`, or a store that replaces and deletes rows by key: Open Mirroring with "
                "`row_marker: 4`, SQLite, SQL Server",
            )
        )

    def _refuse_history(self, place: Node, *, is_of_files: bool) -> None:
        message = "`history: versions` lands rows by a key of their own, and this store cannot do that"
        expected = (
            "`history: none`, or a store that replaces rows by key: Open Mirroring with `row_marker: 4`, SQLite, SQL "
            "Server"
        )
        hint = "Folders of files keep each version of a row that an increment lands anyway."
        if is_of_files:
            message = "`history: versions` compares the rows of a table, and files may hold several versions of a row"
            expected, hint = "`history: none`, or a home of tables", ""
        self._problems.add(place.problem(message, expected=expected, hint=hint))

    def _check_deletes(self, entity: Entity, item: EntityTree, inherited: MappingNode) -> None:
        if entity.watermark is not None and entity.watermark.lists_changes:
            why = f"{entity.watermark.account} lists deleted rows by itself"
        elif not entity.store.compares():
            why = "this store does not replace and delete rows by key"
        else:
            why = entity.home.cannot_list_keys(self._surroundings)
        if why:
            place: Node = item.tree.get("deletes") or inherited.get("deletes") or item.place
            self._problems.add(
                place.problem(
                    f"`deletes.compare` compares keys of the source with what has landed, and {why}",
                    expected="a table, view or query of SQL Server without Change Tracking, read from its primary, and "
                    "a store that deletes rows by key: Open Mirroring with `row_marker: 4`, SQLite, SQL Server",
                    hint="`deletes: null` in the entity takes an inherited section away.",
                )
            )

    def _refuse_mark(self, item: EntityTree, inherited: MappingNode) -> None:
        place: Node = item.tree.get("deletes") or inherited.get("deletes") or item.place
        self._problems.add(
            place.problem(
                "`deletes.mark` changes one column of a row that has landed, and files replace rows as a whole: of a "
                "deleted row only the key is known, so that all other columns would be lost",
                expected="a store that is a database: SQLite, SQL Server",
                hint="`history: versions` keeps what a row held before it was deleted.",
            )
        )

    def _check_destination(self, entity: Entity, item: EntityTree) -> None:
        destination = entity.store.destination(entity.name)
        claim = _Claim(entity.id, item.place.where, destination)
        first = self._destinations.setdefault(_one_form(destination), claim)
        if first is claim:
            return
        self._problems.add(
            item.place.problem(
                f"`{entity.id}` lands in the same place as `{first.entity}` ({first.where})",
                found=f"`{destination}` twice"
                if first.value == destination
                else f"`{destination}`, also `{first.value}`",
                hint="Give one of them another destination, for example with `table_name` or `schema_name`.",
            )
        )

    def _check_agreements(
        self, entity: Entity, journal: JournalSettings, location: Node | None, item: EntityTree
    ) -> None:
        if telemetry := entity.store.telemetry():
            claim = _Claim(entity.id, item.place.where, telemetry.rpartition("/")[2])
            self._telemetry.setdefault(_one_form(telemetry), claim)
        lies = entity.home.journal_address(entity.name) if journal.location == "home" else address_of(journal)
        for (place, key), value in entity.store.agreements(lies).items():
            node: Node = self._stores[entity.id].get(key) or item.place
            if key == "journal.location":
                node = location or item.place
            claim = _Claim(entity.id, node.where, value)
            first = self._agreements.setdefault((_one_form(place), key), claim)
            if identity_of(first.value) != identity_of(value):
                self._problems.add(
                    node.problem(
                        f"`{key}` differs between entities that share {place}",
                        found=f"`{value}`",
                        expected=f"`{first.value}`, as for `{first.entity}` ({first.where})",
                    )
                )


def _of_history(names: Iterable[str]) -> str:
    """The first of some names that a column of every history has, in any case; empty where none is."""
    return next((name for name in names if in_any_case(name) in HISTORY_COLUMNS), "")


def _one_form(place: str) -> str:
    """One form for all names of a place, and of what some place may take for it: not every one distinguishes upper and
    lower case."""
    return confusable(identity_of(place))
