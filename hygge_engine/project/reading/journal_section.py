"""The section ``journal``: hygge.yml's, and what a flow says of it on top."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hygge_engine.project.models.project import JournalSettings
from hygge_engine.project.models.settings import JOURNAL_PLACES, JournalPlaceSettings
from hygge_engine.project.reading.validation import merge, validate
from hygge_engine.project.telling.keys import KeyKnowledge
from hygge_engine.project.telling.model_faults import describe_value, is_broken
from hygge_engine.project.telling.nodes import MappingNode, Node, ScalarNode
from hygge_engine.project.telling.problems import Problems, nearest

BESIDE = ("store", "home")

_EXPECTED = "`store`, `home`, a path such as `./journal`, or a mapping with `type`"


class JournalSection:
    """Reads the section. ``read_place`` validates a mapping by the model that its ``type`` names."""

    def __init__(
        self, problems: Problems, keys: KeyKnowledge, read_place: Callable[[MappingNode], JournalPlaceSettings | None]
    ) -> None:
        self._problems = problems
        self._keys = keys
        self._read_place = read_place

    def merge(self, project: MappingNode | None, flow: MappingNode) -> MappingNode | None:
        """A flow's section over the project's, key by key; None where neither has one. A null takes it away."""
        base, own = project.get("journal") if project is not None else None, flow.get("journal")
        if "journal" in flow.entries and own is None:
            return None
        inherited = base if isinstance(base, MappingNode) else None
        return merge(inherited, own) if isinstance(own, MappingNode) else inherited

    def read(self, tree: MappingNode | None) -> JournalSettings | None:
        """The settings; None where there are problems."""
        if tree is None:
            return JournalSettings()
        rest = {key: entry for key, entry in tree.entries.items() if key != "location"}
        settings = validate(JournalSettings, replace(tree, entries=rest), "journal", self._problems, self._keys)
        location = self._location(tree.get("location"))
        return settings.model_copy(update={"location": location}) if settings and location else None

    def _location(self, node: Node | None) -> str | JournalPlaceSettings | None:
        if node is None:
            return "store"
        if isinstance(node, MappingNode):
            return self._read_place(node)
        if isinstance(node, ScalarNode) and node.text in BESIDE:
            return node.text
        if isinstance(node, ScalarNode) and _is_path(node.text):
            return JOURNAL_PLACES["local"].model_validate({"type": "local", "path": node.text})
        if not is_broken(node):
            found = describe_value(node) if isinstance(node, ScalarNode) else "a list"
            choice = nearest(node.text, BESIDE) if isinstance(node, ScalarNode) else None
            hint = f"Did you mean `{choice}`?" if choice else ""
            if isinstance(node, ScalarNode) and "://" in node.text:
                hint = "A data lake is a mapping: `{ type: adls, account_url: …, filesystem: …, path: … }`."
            message = "`location` of journal has a value that cannot be used"
            self._problems.add(node.problem(message, found=found, expected=_EXPECTED, hint=hint))
        return None


def address_of(journal: JournalSettings) -> str:
    """Where a journal is, for people."""
    return journal.location if isinstance(journal.location, str) else journal.location.address


def _is_path(text: str) -> bool:
    """A bare word is more often a misspelt choice than the name of a directory."""
    return "://" not in text and (text.startswith(".") or "/" in text or "\\" in text)
