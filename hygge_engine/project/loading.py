"""Reads a project's files, merges what is inherited, and reports everything that is wrong with them at once."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingType
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from hygge_engine.errors import ConfigurationError
from hygge_engine.project.document import Mapping, Node, Scalar, Sequence, read_document
from hygge_engine.project.models import (
    Entity,
    EntityName,
    Flow,
    FlowName,
    JournalSettings,
    Options,
    Project,
    Schedule,
    WatermarkSettings,
    check_entity_name,
)
from hygge_engine.project.problems import Problem, Problems, Source, nearest, suggest
from hygge_engine.project.settings import (
    CONNECTIONS,
    HOMES,
    STORES,
    ConnectionSettings,
    HomeSettings,
    RunType,
    Settings,
    StoreSettings,
    load_built_in_types,
)
from hygge_engine.project.validation import (
    KeyKnowledge,
    describe_value,
    fill_placeholders,
    fill_text,
    is_broken,
    merge,
    validate,
)
from hygge_engine.project.variables import Variables

PROJECT_FILE = "hygge.yml"
FLOW_FILE = "flow.yml"
_INHERITED = ("home", "store", "watermark")

_STORE_KEYS_ELSEWHERE = {
    "full_drop": "A store has no such key: write `run_type: full_drop` on the flow, "
    "or `incremental: false` on the store, to reload the table each time.",
    "run_type": "`run_type` stands on the flow or entity; a store overrules it with `incremental: true` or `false`.",
    "table": "The table is named after the entity; `table_name` gives it another name.",
}


class ProjectDocument(Settings):
    """``hygge.yml``. ``defaults`` are inherited by every flow."""

    name: str
    connections: dict[str, dict[str, Any]] = Field(default_factory=dict)
    options: Options = Options()
    journal: JournalSettings = JournalSettings()
    defaults: dict[str, Any] = Field(default_factory=dict)


class DefaultsDocument(Settings):
    """``defaults`` of hygge.yml."""

    run_type: RunType = "full_drop"
    home: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None


class FlowDocument(Settings):
    """``flows/<flow>/flow.yml``. ``name`` defaults to the directory's."""

    name: FlowName
    schedule: Schedule | None = None
    run_type: RunType = "full_drop"
    home: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None
    entities: list[Any] = Field(default_factory=list)


class EntityDocument(Settings):
    """``flows/<flow>/entities/<entity>.yml``, or an item of a flow's ``entities``. Every key overrides the flow's."""

    name: EntityName
    run_type: RunType | None = None
    home: dict[str, Any] | None = None
    store: dict[str, Any] | None = None
    watermark: dict[str, Any] | None = None


def load_project(directory: Path, environment: MappingType[str, str] | None = None) -> Project:
    """Read and validate ``hygge.yml`` and ``flows/`` below ``directory``.

    Variables come from ``environment`` (default: the process's) and then from local.settings.json. Raises
    ConfigurationError whose ``problems`` list everything that is wrong with the project.
    """
    load_built_in_types()
    problems = Problems()
    project = _Loader(directory, os.environ if environment is None else environment, problems).load()
    if problems or project is None:
        raise _summarise(directory, problems.sorted())
    return project


def _summarise(directory: Path, problems: tuple[Problem, ...]) -> ConfigurationError:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "\n".join(str(problem) for problem in problems)
    return ConfigurationError(f"The project in {directory} has {count}.\n{lines}", problems=problems)


@dataclass(frozen=True)
class _Landing:
    """Who lands at a destination, to tell the second one."""

    entity: str
    place: str


@dataclass(frozen=True)
class _EntityTree:
    """One entity as written: its name, its own keys, and the place that names it."""

    name: str
    tree: Mapping
    place: Node


class _Loader:
    def __init__(self, directory: Path, environment: MappingType[str, str], problems: Problems) -> None:
        self._directory = directory
        self._problems = problems
        self._keys = KeyKnowledge.gather()
        self._variables = Variables(environment, directory, problems)
        self._connections: dict[str, ConnectionSettings | None] = {}
        self._landings: dict[str, _Landing] = {}

    def load(self) -> Project | None:
        root = self._directory / PROJECT_FILE
        if not root.is_file():
            self._report_missing_project()
            return None
        tree = self._read(root)
        document = self._validate(ProjectDocument, tree, PROJECT_FILE) if tree else None
        defaults = None
        if tree:
            self._connections = self._load_connections(tree)
            defaults = tree.get("defaults")
        if isinstance(defaults, Mapping):
            self._validate(DefaultsDocument, defaults, "defaults")
        else:
            defaults = None
        flows = self._load_flows(defaults)
        if document is None:
            return None
        return Project(
            name=document.name,
            directory=self._directory,
            connections={name: value for name, value in self._connections.items() if value is not None},
            options=document.options,
            journal=document.journal,
            flows=flows,
        )

    def _report_missing_project(self) -> None:
        if not self._directory.is_dir():
            hint = "Name the project's directory with --project."
            self._problems.add(Problem(str(self._directory), 0, 0, "there is no such directory", hint=hint))
            return
        hint = f"A project's directory holds {PROJECT_FILE} and flows/; name it with --project."
        if (self._directory / "hygge.yaml").is_file():
            hint = f"Rename hygge.yaml to {PROJECT_FILE}."
        self._problems.add(Problem(PROJECT_FILE, 0, 0, "there is no such file", hint=hint))

    def _read(self, path: Path) -> Mapping | None:
        file = path.relative_to(self._directory).as_posix()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            hint = "Save it as UTF-8."
            self._problems.add(Problem(file, line, 1, "the file is not UTF-8", hint=hint))
            return None
        except OSError as error:
            self._problems.add(Problem(file, 0, 0, "the file cannot be read", found=error.strerror or ""))
            return None
        tree = read_document(Source(file, text), self._problems, self._keys.is_secret)
        return self._variables.expand(tree, self._problems) if tree else None

    def _validate[T: Settings](
        self,
        model: type[T],
        tree: Mapping,
        section: str,
        *,
        defaults: MappingType[str, Any] | None = None,
        elsewhere: MappingType[str, str] | None = None,
    ) -> T | None:
        return validate(model, tree, section, self._problems, self._keys, defaults=defaults, elsewhere=elsewhere)

    def _load_connections(self, tree: Mapping) -> dict[str, ConnectionSettings | None]:
        """The connections by name; None for one that is there but has problems."""
        section = tree.get("connections")
        if not isinstance(section, Mapping):
            return {}
        connections: dict[str, ConnectionSettings | None] = {}
        for name, entry in section.entries.items():
            connections[name] = None
            if isinstance(entry.node, Mapping):
                connections[name] = self._validate_typed(CONNECTIONS, entry.node, f"connection `{name}`")
        return connections

    def _validate_typed[T: Settings](
        self,
        registry: MappingType[str, type[T]],
        tree: Mapping,
        section: str,
        *,
        values: MappingType[str, str] | None = None,
        elsewhere: MappingType[str, str] | None = None,
    ) -> T | None:
        """Validate a section by the model that its ``type`` names; ``values`` are its placeholders."""
        kind = tree.get("type")
        if kind is None:
            entry = tree.entries.get("type")
            if not (entry and is_broken(entry.node)):
                self._problems.add(
                    tree.source.problem(
                        tree.line, tree.column, f"{section} has no `type`", expected=f"one of {', '.join(registry)}"
                    )
                )
            return None
        if not isinstance(kind, Scalar) or kind.text not in registry:
            found = describe_value(kind) if isinstance(kind, Scalar) else "no text"
            hint = suggest(kind.text, registry) if isinstance(kind, Scalar) else ""
            expected = f"one of {', '.join(sorted(registry))}"
            message = f"the type of {section} is not known"
            self._problems.add(
                kind.source.problem(kind.line, kind.column, message, found=found, expected=expected, hint=hint)
            )
            return None
        model = registry[kind.text]
        defaults: dict[str, Any] = {}
        if values is not None:
            tree = fill_placeholders(tree, values, self._problems, self._keys)
            defaults = {
                name: fill_text(info.default, values)
                for name, info in model.model_fields.items()
                if isinstance(info.default, str)
            }
        return self._validate(model, tree, section, defaults=defaults, elsewhere=elsewhere)

    def _load_flows(self, defaults: Mapping | None) -> dict[str, Flow]:
        directory = self._directory / "flows"
        if not directory.is_dir():
            hint = f"Each flow has a directory of its own: flows/<flow>/{FLOW_FILE}."
            self._problems.add(Problem("flows", 0, 0, "there is no such directory", hint=hint))
            return {}
        flows: dict[str, Flow] = {}
        files: dict[str, str] = {}
        paths = sorted(path for path in directory.iterdir() if path.is_dir() and not path.name.startswith((".", "_")))
        if not paths:
            hint = f"Each flow has a directory of its own: flows/<flow>/{FLOW_FILE}."
            self._problems.add(Problem("flows", 0, 0, "there are no flows", hint=hint))
        for path in paths:
            file = (path / FLOW_FILE).relative_to(self._directory).as_posix()
            if not (path / FLOW_FILE).is_file():
                hint = "Rename flow.yaml to flow.yml." if (path / "flow.yaml").is_file() else ""
                self._problems.add(Problem(file, 0, 0, "there is no such file", hint=hint))
                continue
            flow = self._load_flow(path, defaults)
            if flow is None:
                continue
            if flow.name in flows:
                message = f"a second flow is named `{flow.name}`"
                self._problems.add(Problem(file, 1, 1, message, found=f"the first one in {files[flow.name]}"))
                continue
            flows[flow.name] = flow
            files[flow.name] = file
        return flows

    def _load_flow(self, directory: Path, defaults: Mapping | None) -> Flow | None:
        tree = self._read(directory / FLOW_FILE)
        if tree is None:
            return None
        document = self._validate(FlowDocument, tree, "the flow", defaults={"name": directory.name})
        name = document.name if document else directory.name
        inherited = tree if defaults is None else merge(defaults, tree)
        entity_trees = self._collect_entities(directory, tree)
        entities: dict[str, Entity] = {}
        for item in entity_trees:
            entity = self._load_entity(name, item, inherited)
            if entity is not None:
                entities[entity.name] = entity
        if document is None:
            return None
        run_type = _text_of(inherited.get("run_type"))
        return Flow(name, document.schedule, "incremental" if run_type == "incremental" else "full_drop", entities)

    def _collect_entities(self, directory: Path, tree: Mapping) -> list[_EntityTree]:
        """The items of flow.yml, then the files of entities/; a name in both is a problem."""
        found: list[_EntityTree] = []
        listed = tree.get("entities")
        for item in listed.items if isinstance(listed, Sequence) else ():
            own = item if isinstance(item, Mapping) else Mapping(item.source, item.line, item.column, {})
            name: Node | None = own.get("name") if isinstance(item, Mapping) else item
            if isinstance(name, Scalar) and name.broken:
                continue
            if not isinstance(name, Scalar) or name.value is None:
                self._problems.add(
                    item.source.problem(
                        item.line, item.column, "an entity has no name", expected="a name, or a mapping with `name`"
                    )
                )
                continue
            found.append(_EntityTree(name.text, own, name))
        files = directory / "entities"
        for path in sorted(files.iterdir()) if files.is_dir() else ():
            if path.suffix == ".yaml":
                file = path.relative_to(self._directory).as_posix()
                self._problems.add(Problem(file, 0, 0, "the file is not read", hint=f"Rename it to {path.stem}.yml."))
            if path.suffix != ".yml":
                continue
            own_tree = self._read(path)
            if own_tree is not None:
                named = own_tree.get("name")
                place: Node = named if named is not None else own_tree
                found.append(_EntityTree(_text_of(named) or path.stem, own_tree, place))
        return self._without_duplicates(found, tree)

    def _without_duplicates(self, found: list[_EntityTree], flow: Mapping) -> list[_EntityTree]:
        unique: dict[str, _EntityTree] = {}
        for item in found:
            # Destinations may not tell upper and lower case apart, so neither may names.
            first = unique.setdefault(item.name.casefold(), item)
            if first is not item:
                where = f"the first one in {first.place.source.file}, line {first.place.line}"
                message = f"the entity `{item.name}` is given twice"
                self._problems.add(item.place.source.problem(item.place.line, item.place.column, message, found=where))
        if not found and not is_broken(flow) and not isinstance(flow.get("entities"), (Scalar, Mapping)):
            hint = "List them in `entities: [a, b]`, or give each a file in entities/."
            self._problems.add(flow.source.problem(flow.line, flow.column, "the flow has no entities", hint=hint))
        return list(unique.values())

    def _load_entity(self, flow: str, item: _EntityTree, inherited: Mapping) -> Entity | None:
        section = f"the entity `{item.name}`"
        try:
            check_entity_name(item.name)
        except ValueError as error:
            self._problems.add(
                item.place.source.problem(item.place.line, item.place.column, str(error), found=f"`{item.name}`")
            )
            return None
        document = self._validate(EntityDocument, item.tree, section, defaults={"name": item.name})
        values = {"entity": item.name, "flow": flow}
        sections = {name: self._merge_section(name, inherited, item) for name in _INHERITED}
        home_tree, store_tree, watermark_tree = (sections[name] for name in _INHERITED)
        home: HomeSettings | None = None
        store: StoreSettings | None = None
        watermark: WatermarkSettings | None = None
        if home_tree is not None:
            home = self._validate_typed(HOMES, home_tree, "home", values=values)
            self._check_connection(home_tree)
        if store_tree is not None:
            store = self._validate_typed(STORES, store_tree, "store", values=values, elsewhere=_STORE_KEYS_ELSEWHERE)
            self._check_connection(store_tree)
        if watermark_tree is not None:
            watermark = self._validate(WatermarkSettings, watermark_tree, "watermark")
        if document is None or home is None or store is None or (watermark_tree is not None and watermark is None):
            return None
        run_type = document.run_type or _text_of(inherited.get("run_type")) or "full_drop"
        entity = Entity(
            item.name, flow, "incremental" if run_type == "incremental" else "full_drop", home, store, watermark
        )
        self._check_entity(entity, item, inherited, watermark_tree)
        return entity

    def _merge_section(self, name: str, inherited: Mapping, item: _EntityTree) -> Mapping | None:
        """``home``, ``store`` or ``watermark`` of an entity; None where it has none, or none that can be read."""
        base, own = inherited.get(name), item.tree.get(name)
        if name in item.tree.entries and own is None:
            base = None  # An explicit null takes the inherited section away.
        if isinstance(own, Mapping):
            return merge(base if isinstance(base, Mapping) else None, own)
        if isinstance(base, Mapping) and own is None:
            return base
        if base is None and own is None and name != "watermark":
            place = item.tree if name in item.tree.entries else inherited
            self._problems.add(
                place.source.problem(
                    place.line,
                    place.column,
                    f"the entity `{item.name}` has no `{name}`",
                    expected=f"`{name}` in the flow, or in the entity",
                )
            )
        return None

    def _check_connection(self, tree: Mapping) -> None:
        """``connection`` names one of hygge.yml, of the section's own type."""
        named, kind = tree.get("connection"), _text_of(tree.get("type"))
        if not isinstance(named, Scalar) or named.broken:
            return
        model = HOMES.get(kind or "") or STORES.get(kind or "")
        if model is None or "connection" not in model.model_fields:
            return
        if named.text not in self._connections:
            similar = nearest(named.text, self._connections)
            hint = f"Did you mean `{similar}`?" if similar else f"Add it below `connections` in {PROJECT_FILE}."
            self._problems.add(
                named.source.problem(
                    named.line,
                    named.column,
                    f"there is no connection `{named.text}`",
                    expected=f"one of {', '.join(sorted(self._connections))}" if self._connections else "",
                    hint=hint,
                )
            )
            return
        connection = self._connections[named.text]
        if connection is not None and connection.kind != kind:
            message = f"the connection `{named.text}` is of another type"
            self._problems.add(
                named.source.problem(
                    named.line, named.column, message, found=f"`{connection.kind}`", expected=f"`{kind}`"
                )
            )

    def _check_entity(
        self, entity: Entity, item: _EntityTree, inherited: Mapping, watermark_tree: Mapping | None
    ) -> None:
        """The rules over several sections of one entity, and over all entities."""
        incremental = entity.effective_run_type == "incremental"
        if incremental and entity.watermark is None and entity.home.needs_watermark:
            owner = item.tree if item.tree.entries else inherited
            node: Node = owner.get("run_type") or inherited.get("run_type") or owner
            self._problems.add(
                node.source.problem(
                    node.line,
                    node.column,
                    f"the entity `{entity.name}` loads incrementally, but has no `watermark`",
                    expected="`watermark: {column: …, primary_key: …}` in the flow or the entity",
                    hint="Or load it whole each time: `run_type: full_drop`.",
                )
            )
        if incremental and entity.watermark and entity.watermark.lag and watermark_tree is not None:
            self._check_lag(entity, watermark_tree)
        destination = entity.store.destination(entity.name)
        place = f"{item.place.source.file}, line {item.place.line}"
        first = self._landings.setdefault(destination.casefold(), _Landing(entity.id, place))
        if first.entity != entity.id:
            self._problems.add(
                item.place.source.problem(
                    item.place.line,
                    item.place.column,
                    f"`{entity.id}` lands in the same place as `{first.entity}` ({first.place})",
                    found=f"`{destination}` twice",
                    hint="Give one of them another destination, for example with `table_name` or `schema_name`.",
                )
            )

    def _check_lag(self, entity: Entity, watermark_tree: Mapping) -> None:
        if entity.store.upserts():
            return
        node: Node = watermark_tree.get("lag") or watermark_tree
        self._problems.add(
            node.source.problem(
                node.line,
                node.column,
                "`lag` reads rows again, and this store would keep them twice",
                expected="a store that replaces rows by key, or no `lag`",
            )
        )


def _text_of(node: Node | None) -> str | None:
    return node.text if isinstance(node, Scalar) and not node.broken and node.value is not None else None
