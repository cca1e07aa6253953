"""Reads a project's files, merges what is inherited, and reports everything that is wrong with them at once."""

from __future__ import annotations

import os
from collections.abc import Mapping as MappingType
from collections.abc import Sequence as SequenceType
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hygge_engine.errors import ConfigurationError, Problem
from hygge_engine.masking import remember_place
from hygge_engine.project.models.documents import DefaultsDocument, EntityDocument, FlowDocument, ProjectDocument
from hygge_engine.project.models.expectations import ExpectationsSettings
from hygge_engine.project.models.polish import PolishSettings
from hygge_engine.project.models.project import (
    MICROSOFT_HOSTS,
    OPTIONAL_SECTIONS,
    Entity,
    Flow,
    JournalSettings,
    Project,
    SchemaChangesSettings,
    WatermarkSettings,
    check_entity_name,
)
from hygge_engine.project.models.settings import (
    HOMES,
    STORES,
    HomeSettings,
    Settings,
    StoreSettings,
    load_types,
)
from hygge_engine.project.reading.bounds import Bounds
from hygge_engine.project.reading.checks import Checks, EntityTree, text_of
from hygge_engine.project.reading.journal_section import JournalSection
from hygge_engine.project.reading.layout import (
    EMPTY_FLOW,
    EMPTY_PROJECT,
    FLOW_FILE,
    PROJECT_FILE,
    entity_files,
    flow_directories,
    flow_strays,
    missing_project,
)
from hygge_engine.project.reading.overrides import Overrides
from hygge_engine.project.reading.secrets import SecretUses
from hygge_engine.project.reading.sections import Sections
from hygge_engine.project.reading.trees import read_document
from hygge_engine.project.reading.validation import merge, validate
from hygge_engine.project.reading.variables import Variables
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.model_faults import is_broken, is_misspelt, misspelt
from hygge_engine.project.telling.nodes import Entry, Mapping, Node, Scalar, Sequence
from hygge_engine.project.telling.other_tools import (
    NO_ENTITY_KEYS,
    NO_FLOW_KEYS,
    NO_PROJECT_KEYS,
    NO_SECTION_KEYS,
    NO_STORE_KEYS,
)
from hygge_engine.project.telling.problems import Problems, Source


def load_project(
    directory: Path, environment: MappingType[str, str] | None = None, overrides: SequenceType[str] = ()
) -> Project:
    """Read and validate ``hygge.yml`` and ``flows/`` below ``directory``.

    Variables come from ``environment`` (default: the process's) and then from local.settings.json. ``overrides`` are
    assignments such as ``flow.orders.run_type=full_drop`` (see `overrides`). Raises ConfigurationError whose
    ``problems`` list everything that is wrong with the project.
    """
    load_types()
    problems = Problems()
    # Relative ones are any text.
    remember_place("project", str(directory.resolve()))
    loader = _Loader(directory, os.environ if environment is None else environment, problems, overrides)
    project = loader.load()
    loader.secrets.check(problems)
    if problems or project is None:
        raise _summarise(directory, tuple(loader.presentable(problem) for problem in problems.sorted()))
    return project


def _summarise(directory: Path, problems: tuple[Problem, ...]) -> ConfigurationError:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "\n".join(str(problem) for problem in problems)
    return ConfigurationError(f"The project in {directory} has {count}.\n{lines}", problems=problems)


def _place(node: Scalar | Entry) -> str:
    return f"{node.source.file}:{node.line}:{node.column}"


@dataclass(frozen=True)
class _EntitySections:
    """An entity's merged sections, and the trees that they came from."""

    home: HomeSettings
    store: StoreSettings
    optional: MappingType[str, Settings]
    store_tree: Mapping
    watermark_tree: Mapping | None
    places: MappingType[str, str]

    @property
    def watermark(self) -> WatermarkSettings | None:
        found = self.optional.get("watermark")
        return found if isinstance(found, WatermarkSettings) else None

    @property
    def schema_changes(self) -> SchemaChangesSettings:
        found = self.optional.get("schema_changes")
        return found if isinstance(found, SchemaChangesSettings) else SchemaChangesSettings()

    @property
    def polish(self) -> PolishSettings | None:
        found = self.optional.get("polish")
        return found if isinstance(found, PolishSettings) else None

    @property
    def expectations(self) -> ExpectationsSettings | None:
        found = self.optional.get("expectations")
        return found if isinstance(found, ExpectationsSettings) else None


class _Loader:
    def __init__(
        self, directory: Path, environment: MappingType[str, str], problems: Problems, overrides: SequenceType[str]
    ) -> None:
        self._directory = directory
        self._problems = problems
        self._keys = KeyKnowledge.gather()
        self._sections = Sections(self._keys, problems)
        self.variables = Variables(environment, directory, problems)
        self.secrets = SecretUses(self._keys, self.variables.held)
        self._overrides = Overrides(
            overrides, problems, self._keys.is_secret, lambda node: self.variables.expand(node, problems)
        )
        for given in self._overrides.trees():
            self.secrets.collect(given)
        self._checks = Checks(directory, None, problems)
        self._bounds = Bounds(directory, MICROSOFT_HOSTS, None, environment, problems)
        self._environment = environment
        self._journal = JournalSection(problems, self._keys, self._sections.load_journal_place)
        self._flow_files: dict[str, str] = {}

    def presentable(self, problem: Problem) -> Problem:
        """A problem that shows neither secrets nor what variables hold."""
        return self.variables.hide(problem, self._keys.plain | self._keys.secret).masked()

    def load(self) -> Project | None:
        root = self._directory / PROJECT_FILE
        if not root.is_file():
            self._problems.add(missing_project(self._directory))
            return None
        tree = self._read(root, EMPTY_PROJECT)
        if tree is None:
            self._load_flows(None, None)
            return None
        tree = self._sections.with_named_connections(self._overrides.apply_to_project(tree))
        document = self._validate(ProjectDocument, tree, PROJECT_FILE, elsewhere=NO_PROJECT_KEYS)
        connections = self._sections.load_connections(tree)
        self._checks = Checks(self._directory, connections, self._problems)
        if document is not None:
            hosts, local_paths = document.options.lake_hosts, document.options.local_paths
            self._bounds = Bounds(self._directory, hosts, local_paths, self._environment, self._problems)
        defaults = tree.get("defaults")
        if isinstance(defaults, Mapping):
            self._validate(DefaultsDocument, defaults, "defaults")
        flows = self._load_flows(tree, defaults if isinstance(defaults, Mapping) else None)
        section = tree.get("journal")
        journal = self._journal.read(section if isinstance(section, Mapping) else None)
        if document is None or connections is None or journal is None:
            return None
        self._check_journal(journal, section)
        return Project(
            name=document.name,
            directory=self._directory,
            connections={name: value for name, value in connections.items() if value is not None},
            options=document.options,
            journal=journal,
            flows=flows,
        )

    def _read(self, path: Path, empty: str = "") -> Mapping | None:
        """The file's tree, or None with a problem; ``empty`` is the advice for a file that must not be."""
        file = path.relative_to(self._directory).as_posix()
        try:
            text = path.read_text(encoding="utf-8-sig")
        except IsADirectoryError:
            hint = f"It has to be a file: put its text into {path.name} itself."
            self._problems.add(Problem(file, 0, 0, "this is a directory", hint=hint))
            return None
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            hint = "Save it as UTF-8."
            self._problems.add(Problem(file, line, 1, "the file is not UTF-8", hint=hint))
            return None
        except OSError as error:
            self._problems.add(Problem(file, 0, 0, "the file cannot be read", found=error.strerror or ""))
            return None
        if text.count("\0") > len(text) // 4:
            self._problems.add(Problem(file, 1, 1, "the file is not UTF-8", found="UTF-16", hint="Save it as UTF-8."))
            return None
        source = Source(file, text, is_secret=self._keys.is_secret)
        tree = read_document(source, self._problems, self._keys.is_secret)
        if empty and tree is not None and not tree.entries:
            self._problems.add(Problem(file, 1, 1, "the file is empty", hint=empty))
            return None
        if tree is None:
            return None
        expanded = self.variables.expand(tree, self._problems)
        self.secrets.collect(expanded)
        return expanded

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

    def _load_flows(self, project: Mapping | None, defaults: Mapping | None) -> dict[str, Flow]:
        flows: dict[str, Flow] = {}
        paths, problems = flow_directories(self._directory)
        for problem in problems:
            self._problems.add(problem)
        for path in paths:
            flow = self._load_flow(path, project, defaults)
            if flow is not None:
                flows[flow.name] = flow
        self._checks.check_telemetry()
        self._checks.check_overlaps()
        self._overrides.report_unused(path.name for path in paths)
        return flows

    def _load_flow(self, directory: Path, project: Mapping | None, defaults: Mapping | None) -> Flow | None:
        for problem in flow_strays(self._directory, directory):
            self._problems.add(problem)
        tree = self._read(directory / FLOW_FILE, EMPTY_FLOW)
        if tree is None or self._is_second(directory, tree):
            return None
        names = (text_of(tree.get("name")) or directory.name, directory.name)
        tree = self._overrides.apply_to_flow(tree, names)
        document = self._validate(
            FlowDocument, tree, "the flow", defaults={"name": directory.name}, elsewhere=NO_FLOW_KEYS
        )
        name = document.name if document else directory.name
        inherited = tree
        if defaults is not None:
            inherited = replace(merge(defaults, tree), source=tree.source, line=tree.line, column=tree.column)
        entity_trees = self._overrides.apply_to_entities(self._collect_entities(directory, tree), names)
        journal_tree = self._journal.merge(project, tree)
        journal = self._journal.read(journal_tree)
        self._check_journal(journal, journal_tree, name)
        entities: dict[str, Entity] = {}
        for item in entity_trees:
            entity = self._load_entity(name, item, inherited)
            if entity is None:
                continue
            entities[entity.name] = entity
            if journal is not None:
                self._checks.check_journal(entity, journal, journal_tree, item)
        if not entity_trees:
            self._load_sections(name, EntityTree("entity", replace(tree, entries={}), tree), inherited)
        if document is None:
            return None
        run_type = text_of(inherited.get("run_type"))
        return Flow(
            name,
            document.schedule,
            "incremental" if run_type == "incremental" else "full_drop",
            entities,
            journal or JournalSettings(),
        )

    def _check_journal(self, journal: JournalSettings | None, tree: Node | None, flow: str = "") -> None:
        """Whether a journal that has a place of its own lies within the bounds."""
        if journal is not None and isinstance(journal.location, Settings) and isinstance(tree, Mapping):
            self._bounds.check(journal.location, tree.get("location") or tree, flow)

    def _is_second(self, directory: Path, tree: Mapping) -> bool:
        """Whether another flow has this one's name, which is then among the problems."""
        place = tree.get("name") or tree
        name = text_of(place) or directory.name
        file = self._flow_files.setdefault(name, tree.source.file)
        if file == tree.source.file:
            return False
        message, found = f"a second flow is named `{name}`", f"the first one in {file}"
        self._problems.add(place.source.problem(place.line, place.column, message, found=found))
        return True

    def _collect_entities(self, directory: Path, tree: Mapping) -> list[EntityTree]:
        """The items of flow.yml, then the files of entities/; a name in both is a problem."""
        found: list[EntityTree] = []
        listed = tree.get("entities")
        for item in listed.items if isinstance(listed, Sequence) else ():
            own = item if isinstance(item, Mapping) else Mapping(item.source, item.line, item.column, {})
            name: Node | None = own.get("name") if isinstance(item, Mapping) else item
            if isinstance(name, Scalar) and name.broken:
                continue
            if not isinstance(name, Scalar) or name.value is None:
                expected = "a name, or a mapping with `name`"
                hint = f"Write `- name: {next(iter(own.entries))}`, and what differs below it." if own.entries else ""
                hint = misspelt(own, "name") or hint
                if isinstance(name, Scalar) and name.text:
                    hint = f'YAML takes it for nothing: write "{name.text}", in quotes.'
                self._problems.add(
                    item.source.problem(item.line, item.column, "an entity has no name", expected=expected, hint=hint)
                )
                continue
            found.append(EntityTree(name.text, own, name))
        paths, problems = entity_files(self._directory, directory)
        for problem in problems:
            self._problems.add(problem)
        for path in paths:
            own_tree = self._read(path)
            if own_tree is not None:
                named = own_tree.get("name")
                place: Node = named if named is not None else own_tree
                found.append(EntityTree(text_of(named) or path.stem, own_tree, place))
        return self._without_duplicates(found, tree)

    def _without_duplicates(self, found: list[EntityTree], flow: Mapping) -> list[EntityTree]:
        unique: dict[str, EntityTree] = {}
        for item in found:
            # Destinations may not tell upper and lower case apart, so neither may names.
            first = unique.setdefault(item.name.casefold(), item)
            if first is not item:
                where = f"the first one in {first.place.source.file}, line {first.place.line}"
                message = f"the entity `{item.name}` is given twice"
                self._problems.add(item.place.source.problem(item.place.line, item.place.column, message, found=where))
        listed = flow.get("entities")
        if is_misspelt(flow, "entities", FlowDocument.model_fields):
            return list(unique.values())
        unreadable = isinstance(listed, (Scalar, Mapping)) or (isinstance(listed, Sequence) and listed.items)
        if not found and not is_broken(flow) and not unreadable:
            hint = "List them in `entities: [a, b]`, or give each a file in entities/."
            place = flow.entries.get("entities", flow)
            self._problems.add(flow.source.problem(place.line, place.column, "the flow has no entities", hint=hint))
        return list(unique.values())

    def _load_entity(self, flow: str, item: EntityTree, inherited: Mapping) -> Entity | None:
        section = f"the entity `{item.name}`"
        try:
            check_entity_name(item.name)
        except ValueError as error:
            self._problems.add(
                item.place.source.problem(item.place.line, item.place.column, str(error), found=f"`{item.name}`")
            )
            return None
        document = self._validate(
            EntityDocument, item.tree, section, defaults={"name": item.name}, elsewhere=NO_ENTITY_KEYS
        )
        sections = self._load_sections(flow, item, inherited)
        if document is None or sections is None:
            return None
        run_type = document.run_type or text_of(inherited.get("run_type"))
        entity = Entity(
            item.name,
            flow,
            "incremental" if run_type == "incremental" else "full_drop",
            sections.home,
            sections.store,
            sections.watermark,
            sections.schema_changes,
            sections.polish,
            sections.expectations,
            sections.places,
        )
        self._checks.check_entity(entity, item, inherited, sections.store_tree, sections.watermark_tree)
        return entity

    def _load_sections(self, flow: str, item: EntityTree, inherited: Mapping) -> _EntitySections | None:
        values = {"entity": item.name, "flow": flow}
        home_tree = self._merge_section("home", inherited, item)
        store_tree = self._merge_section("store", inherited, item)
        home: HomeSettings | None = None
        store: StoreSettings | None = None
        if home_tree is not None:
            home = self._sections.load(HOMES, home_tree, "home", values, item, NO_SECTION_KEYS)
            self._checks.check_connection(home_tree)
            if home is not None:
                self._bounds.check(home, home_tree, flow)
        if store_tree is not None:
            store = self._sections.load(STORES, store_tree, "store", values, item, NO_STORE_KEYS)
            self._checks.check_connection(store_tree)
            if store is not None:
                self._bounds.check(store, store_tree, flow)
        optional: dict[str, Settings] = {}
        places = self._places_of(home_tree) | self._places_of(store_tree)
        broken = False
        for name, model in OPTIONAL_SECTIONS.items():
            section_tree = self._merge_section(name, inherited, item)
            section = self._validate(model, section_tree, name) if section_tree is not None else None
            places |= self._places_of(section_tree)
            if section is not None:
                optional[name] = section
            else:
                unreadable = [tree.get(name) for tree in (item.tree, inherited)]
                broken |= section_tree is not None
                broken |= any(node is not None and not isinstance(node, Mapping) for node in unreadable)
        if home is None or store is None or store_tree is None or broken:
            return None
        watermark_tree = self._merge_section("watermark", inherited, item)
        return _EntitySections(home, store, optional, store_tree, watermark_tree, places)

    def _places_of(self, node: Node | None) -> dict[str, str]:
        """Where each key and text below a node stands; secrets are left out."""
        if isinstance(node, Scalar):
            return {node.text: _place(node)} if node.text else {}
        if isinstance(node, Sequence):
            return {text: place for item in node.items for text, place in self._places_of(item).items()}
        places: dict[str, str] = {}
        for key, entry in node.entries.items() if node is not None else ():
            places[key] = _place(entry)
            if not self._keys.is_secret(key):
                places |= self._places_of(entry.node)
        return places

    def _merge_section(self, name: str, inherited: Mapping, item: EntityTree) -> Mapping | None:
        """A section of an entity; None where it has none, or none that can be read."""
        base, own = inherited.get(name), item.tree.get(name)
        if name in item.tree.entries and own is None:
            base = None  # An explicit null takes the inherited section away.
        if isinstance(own, Mapping):
            return merge(base if isinstance(base, Mapping) else None, own)
        if isinstance(base, Mapping) and own is None:
            return base
        if base is None and own is None and name not in OPTIONAL_SECTIONS:
            removed = name in item.tree.entries
            place = item.tree if removed else inherited
            if is_misspelt(inherited, name, FlowDocument.model_fields):
                return None
            # A key without a value often means that the lines below it are not indented.
            entry: Entry | Mapping = place.entries.get(name, place)
            empty = isinstance(entry, Entry) and not removed
            message = f"the entity `{item.name}` takes `{name}` away" if removed else f"the flow has no `{name}`"
            self._problems.add(
                entry.source.problem(
                    entry.line,
                    entry.column,
                    message,
                    found=f"`{name}:` with nothing in it" if empty else "",
                    expected=f"`{name}` in the flow, or in each entity",
                    hint="Its keys stand below it, indented by two blanks." if empty else "",
                )
            )
        return None
