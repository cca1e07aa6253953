"""The project's files as trees: read, with their variables replaced, and with what the command line gives on top."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from hygge_engine.errors import Problem
from hygge_engine.letter_case import confusable
from hygge_engine.project.models.documents import FlowDocument
from hygge_engine.project.reading.entity_tree import EntityTree
from hygge_engine.project.reading.layout import (
    EMPTY_FLOW,
    EMPTY_PROJECT,
    FLOW_FILE,
    FLOWS,
    PROJECT_FILE,
    entity_files,
    flow_directories,
    flow_strays,
    leads_to_flows,
    unreadable,
)
from hygge_engine.project.reading.overrides import Overrides
from hygge_engine.project.reading.secrets import SecretUses
from hygge_engine.project.reading.short_forms import spell_out
from hygge_engine.project.reading.trees import read_document
from hygge_engine.project.reading.variables import Variables
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.model_faults import is_broken, is_misspelt, misspelling_hint
from hygge_engine.project.telling.nodes import MappingNode, Node, ScalarNode, SequenceNode, text_of
from hygge_engine.project.telling.problems import Problems, SourceText


@dataclass(frozen=True)
class FlowTree:
    """A flow as written: the name of its directory, flow.yml, and its entities, each once."""

    directory: str
    tree: MappingNode
    entities: list[EntityTree]


class Files:
    """Reads the files of the project in ``directory``; what cannot be read is among the problems."""

    def __init__(
        self,
        directory: Path,
        keys: KeyKnowledge,
        variables: Variables,
        secrets: SecretUses,
        overrides: Overrides,
        problems: Problems,
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._variables = variables
        self._secrets = secrets
        self._overrides = overrides
        self._problems = problems
        self._flow_files: dict[str, str] = {}

    def read_project(self) -> MappingNode | None:
        """hygge.yml; None where it cannot be read."""
        tree = self._read(self._directory / PROJECT_FILE, EMPTY_PROJECT)
        return spell_out(self._overrides.apply_to_project(tree)) if tree is not None else None

    def read_flows(self) -> list[FlowTree]:
        """The flows that can be read."""
        paths, problems = flow_directories(self._directory)
        for problem in problems:
            self._problems.add(problem)
        flows = []
        for path in paths:
            try:
                flow = self._read_flow(path)
            except OSError as error:
                self._problems.add(unreadable(self._directory, error))
                continue
            if flow is not None:
                flows.append(flow)
        self._overrides.report_unused(path.name for path in paths)
        return flows

    def _read_flow(self, directory: Path) -> FlowTree | None:
        for problem in flow_strays(self._directory, directory):
            self._problems.add(problem)
        tree = self._read(directory / FLOW_FILE, EMPTY_FLOW)
        if tree is None or self._is_second(directory, tree):
            return None
        names = (text_of(tree.get("name")) or directory.name, directory.name)
        tree = spell_out(self._overrides.apply_to_flow(tree, names))
        found = self._overrides.apply_to_entities(self._collect_entities(directory, tree), names)
        entities = [replace(item, tree=spell_out(item.tree)) for item in found]
        return FlowTree(directory.name, tree, entities)

    def _read(self, path: Path, empty: str = "") -> MappingNode | None:
        """The file's tree, or None with a problem; ``empty`` is the advice for a file that must not be."""
        file = path.relative_to(self._directory).as_posix()
        if path.parent != self._directory and not leads_to_flows(self._directory, path):
            hint = "Replace the link by the file: messages could show the linked file's lines."
            self._problems.add(Problem(file, 0, 0, f"the link leads out of {FLOWS}/", hint=hint))
            return None
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
            self._problems.add(unreadable(self._directory, error))
            return None
        if text.count("\0") > len(text) // 4:
            self._problems.add(Problem(file, 1, 1, "the file is not UTF-8", found="UTF-16", hint="Save it as UTF-8."))
            return None
        source = SourceText(file, text, is_secret=self._keys.is_secret)
        tree = read_document(source, self._problems, self._keys.is_secret)
        if empty and tree is not None and not tree.entries:
            self._problems.add(Problem(file, 1, 1, "the file is empty", hint=empty))
            return None
        if tree is None:
            return None
        expanded = self._variables.expand(tree, self._problems)
        self._secrets.collect(expanded)
        return spell_out(expanded)

    def _is_second(self, directory: Path, tree: MappingNode) -> bool:
        """Whether another flow has this one's name, which is then among the problems."""
        place = tree.get("name") or tree
        name = text_of(place) or directory.name
        file = self._flow_files.setdefault(name, tree.source.file)
        if file == tree.source.file:
            return False
        message, found = f"a second flow is named `{name}`", f"the first one in {file}"
        self._problems.add(place.problem(message, found=found))
        return True

    def _collect_entities(self, directory: Path, tree: MappingNode) -> list[EntityTree]:
        """The items of flow.yml, then the files of entities/; a name in both is a problem."""
        found: list[EntityTree] = []
        listed = tree.get("entities")
        for item in listed.items if isinstance(listed, SequenceNode) else ():
            own = item if isinstance(item, MappingNode) else MappingNode(item.source, item.line, item.column, {})
            name: Node | None = own.get("name") if isinstance(item, MappingNode) else item
            if isinstance(name, ScalarNode) and name.broken:
                continue
            if not isinstance(name, ScalarNode) or name.value is None:
                expected = "a name, or a mapping with `name`"
                hint = f"Write `- name: {next(iter(own.entries))}`, and what differs below it." if own.entries else ""
                hint = misspelling_hint(own, "name") or hint
                if isinstance(name, ScalarNode) and name.text:
                    hint = f'YAML takes it for nothing: write "{name.text}", in quotes.'
                self._problems.add(item.problem("an entity has no name", expected=expected, hint=hint))
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

    def _without_duplicates(self, found: list[EntityTree], flow: MappingNode) -> list[EntityTree]:
        unique: dict[str, EntityTree] = {}
        for item in found:
            # Destinations may not distinguish upper and lower case, so names must not either.
            first = unique.setdefault(confusable(item.name), item)
            if first is not item:
                where = f"the first one in {first.place.where}"
                message = f"the entity `{item.name}` is given twice"
                self._problems.add(item.place.problem(message, found=where))
        listed = flow.get("entities")
        if is_misspelt(flow, "entities", FlowDocument.model_fields):
            return list(unique.values())
        unreadable = isinstance(listed, (ScalarNode, MappingNode)) or (
            isinstance(listed, SequenceNode) and listed.items
        )
        if not found and not is_broken(flow) and not unreadable:
            hint = "List them in `entities: [a, b]`, or give each a file in entities/."
            place = flow.entries.get("entities", flow)
            self._problems.add(place.problem("the flow has no entities", hint=hint))
        return list(unique.values())
