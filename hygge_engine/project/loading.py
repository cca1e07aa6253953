"""Loads a project: its files are read and expanded, entities inherit, sections are validated, everything is checked
together, and a project is assembled, or every problem is reported at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hygge_engine.errors import ConfigurationError, Problem
from hygge_engine.masking import remember_place
from hygge_engine.project.models.documents import DefaultsDocument, FlowDocument, ProjectDocument
from hygge_engine.project.models.project import MICROSOFT_HOSTS, Flow, JournalSettings, Project
from hygge_engine.project.models.settings import ConnectionSettings, Settings, load_types
from hygge_engine.project.reading.bounds import ReadLimits
from hygge_engine.project.reading.checks import CrossSectionRules
from hygge_engine.project.reading.entities import Entities, run_type_of
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.files import Files, FlowTree
from hygge_engine.project.reading.inheritance import flow_over
from hygge_engine.project.reading.journal_section import JournalSection
from hygge_engine.project.reading.layout import PROJECT_FILE, missing_project, unreadable
from hygge_engine.project.reading.overrides import Overrides
from hygge_engine.project.reading.secrets import SecretUses
from hygge_engine.project.reading.sections import Sections
from hygge_engine.project.reading.validation import validate
from hygge_engine.project.reading.variables import Variables
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.nodes import MappingNode, Node
from hygge_engine.project.telling.other_tools import NO_FLOW_KEYS, NO_PROJECT_KEYS
from hygge_engine.project.telling.problems import Problems


def load_project(
    directory: Path,
    environment: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    *,
    follows_links: bool = False,
) -> Project:
    """Read and validate ``hygge.yml`` and ``flows/`` below ``directory``.

    Variables come from ``environment`` (default: the process's) and then from local.settings.json. ``overrides`` are
    assignments such as ``flow.orders.run_type=full_drop`` (see `overrides`). With ``follows_links``, a path that a link
    of this machine leads beyond its bounds is a problem, too; without, it fails the entities that use it.
    Raises ConfigurationError whose ``problems`` list everything that is wrong with the project.
    """
    load_types()
    # Relative ones are any text.
    remember_place("project", str(directory.resolve()))
    environment = os.environ if environment is None else environment
    problems, keys = Problems(), KeyKnowledge.gather()
    variables = Variables(environment, directory, problems)
    secrets = SecretUses(keys, variables.held)
    given = Overrides(overrides, problems, keys.is_secret, lambda node: variables.expand(node, problems))
    for tree in given.trees():
        secrets.collect(tree)
    files = Files(directory, keys, variables, secrets, given, problems)
    project = None
    try:
        project = _load(directory, environment, files, keys, problems, follows_links=follows_links)
    except OSError as error:  # of whatever lies where the project does, or where its settings lead
        problems.add(unreadable(directory, error))
    secrets.check(problems)
    if problems or project is None:
        # Neither secrets nor what variables hold is shown.
        words = keys.plain | keys.secret
        raise _summarise(directory, tuple(variables.hide(each, words).masked() for each in problems.sorted()))
    return project


def _summarise(directory: Path, problems: tuple[Problem, ...]) -> ConfigurationError:
    count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "\n".join(str(problem) for problem in problems)
    return ConfigurationError(f"The project in {directory} has {count}.\n{lines}", problems=problems)


def _load(
    directory: Path,
    environment: Mapping[str, str],
    files: Files,
    keys: KeyKnowledge,
    problems: Problems,
    *,
    follows_links: bool,
) -> Project | None:
    """The project; None where hygge.yml has problems. Those of flows are added to the problems."""
    if not (directory / PROJECT_FILE).is_file():
        problems.add(missing_project(directory))
        return None
    tree, flow_trees = files.read_project(), files.read_flows()
    sections = Sections(keys, problems)
    journals = JournalSection(problems, keys, sections.load_journal_place)
    frame = _read_frame(tree, keys, sections, problems) if tree is not None else _Frame()
    options = frame.document.options if frame.document is not None else None
    hosts, local_paths = (options.lake_hosts, options.local_paths) if options is not None else (MICROSOFT_HOSTS, None)
    bounds = ReadLimits(directory, hosts, local_paths, environment, problems, follows_links=follows_links)
    checks = CrossSectionRules(directory, frame.connections, problems)
    reader = _FlowReader(keys, journals, bounds, checks, Entities(keys, sections, bounds, checks, problems), problems)
    flows = [flow for each in flow_trees if (flow := reader.read(each, frame)) is not None]
    checks.check_capacities()
    checks.check_telemetry()
    checks.check_overlaps()
    if tree is None:
        return None
    section = tree.get("journal")
    journal = journals.read(section if isinstance(section, MappingNode) else None)
    _check_journal(bounds, journal, section)
    if frame.document is None or frame.connections is None or journal is None:
        return None
    return Project(
        name=frame.document.name,
        directory=directory,
        connections={name: value for name, value in frame.connections.items() if value is not None},
        options=frame.document.options,
        journal=journal,
        flows={flow.name: flow for flow in flows},
    )


@dataclass(frozen=True)
class _Frame:
    """What hygge.yml says for all flows: None where it does not, or has problems."""

    tree: MappingNode | None = None
    document: ProjectDocument | None = None
    connections: Mapping[str, ConnectionSettings | None] | None = None
    defaults: MappingNode | None = None


def _read_frame(tree: MappingNode, keys: KeyKnowledge, sections: Sections, problems: Problems) -> _Frame:
    tree = sections.with_named_connections(tree)
    document = validate(ProjectDocument, tree, PROJECT_FILE, problems, keys, elsewhere=NO_PROJECT_KEYS)
    defaults = tree.get("defaults")
    if not isinstance(defaults, MappingNode):
        defaults = None
    else:
        validate(DefaultsDocument, defaults, "defaults", problems, keys)
    return _Frame(tree, document, sections.load_connections(tree), defaults)


class _FlowReader:
    """Builds flows from their trees; their problems are added to the problems."""

    def __init__(
        self,
        keys: KeyKnowledge,
        journals: JournalSection,
        bounds: ReadLimits,
        checks: CrossSectionRules,
        entities: Entities,
        problems: Problems,
    ) -> None:
        self._keys = keys
        self._journals = journals
        self._bounds = bounds
        self._checks = checks
        self._entities = entities
        self._problems = problems

    def read(self, flow: FlowTree, frame: _Frame) -> Flow | None:
        """The flow with the entities that can be used; None where flow.yml has problems."""
        document = validate(
            FlowDocument,
            flow.tree,
            "the flow",
            self._problems,
            self._keys,
            defaults={"name": flow.directory},
            elsewhere=NO_FLOW_KEYS,
        )
        name = document.name if document else flow.directory
        journal_tree = self._journals.merge(frame.tree, flow.tree)
        journal = self._journals.read(journal_tree)
        _check_journal(self._bounds, journal, journal_tree, name)
        inherited = flow_over(frame.defaults, flow.tree)
        entities = {}
        for item in flow.entities:
            entity = self._entities.read(name, item, inherited)
            if entity is None:
                continue
            entities[entity.name] = entity
            if journal is not None:
                self._checks.check_journal(entity, journal, journal_tree, item)
        for item in flow.entities:  # once all names are known
            known = entities.get(item.name)
            history = self._checks.history_of(known, item, inherited) if known is not None else None
            if history is not None:
                entities[history.name] = history
                if journal is not None:
                    self._checks.check_journal(history, journal, journal_tree, item)
        if not flow.entities:
            nothing = EntityTree("entity", replace(flow.tree, entries={}), flow.tree)
            self._entities.check_sections(name, nothing, inherited)
        if document is None:
            return None
        return Flow(name, document.schedule, run_type_of(inherited), entities, journal or JournalSettings())


def _check_journal(bounds: ReadLimits, journal: JournalSettings | None, tree: Node | None, flow: str = "") -> None:
    """Whether a journal that has a place of its own lies within the bounds."""
    if journal is not None and isinstance(journal.location, Settings) and isinstance(tree, MappingNode):
        bounds.check(journal.location, tree.get("location") or tree, flow)
