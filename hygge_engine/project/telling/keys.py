"""Which keys there are, what they belong to, and which of them hold secrets: read from the registered models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from hygge_engine.project.models.project import OPTIONAL_SECTIONS, JournalSettings, Options
from hygge_engine.project.models.settings import CONNECTIONS, HOMES, JOURNAL_PLACES, STORES, Settings
from hygge_engine.project.telling.problems import has_secret_name, nearest


@dataclass(frozen=True)
class KeyKnowledge:
    """Which keys of the registered types hold secrets (``secret``) or not (``plain``), and where keys belong: for each
    key the sections that have it, for each of these the types, which are none where a section has no types."""

    secret: frozenset[str]
    plain: frozenset[str]
    sections: Mapping[str, Mapping[str, tuple[str, ...]]]
    # What has been found out of the keys that no type has, which are asked for with each entity that inherits them.
    _judged: dict[str, bool] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def gather(cls) -> KeyKnowledge:
        """Read the registry."""
        secret: set[str] = set()
        plain: set[str] = set()
        sections: dict[str, dict[str, tuple[str, ...]]] = {}
        registries: dict[str, Mapping[str, type[Settings]]] = {
            "home": HOMES,
            "store": STORES,
            "connections.<name>": CONNECTIONS,
            "journal.location": JOURNAL_PLACES,
        }
        for section, registry in registries.items():
            for kind, model in registry.items():
                for name, info in fields_within(model):
                    (secret if is_secret_field(info) else plain).add(name)
                for name in model.model_fields:
                    places = sections.setdefault(name, {})
                    places[section] = (*places.get(section, ()), kind)
        for section, model in OPTIONAL_SECTIONS.items():
            for name, info in model.model_fields.items():
                (secret if is_secret_field(info) else plain).add(name)
                sections[name] = {section: ()}
        for section, model in (("options", Options), ("journal", JournalSettings)):
            plain |= set(model.model_fields)
            sections |= {name: {section: ()} for name in model.model_fields}
        return cls(frozenset(secret), frozenset(plain - secret), sections)

    def place_of(self, key: str, section: str) -> str:
        """Where a key belongs, for those who write it in ``section``; empty for an unknown key."""
        places = self.sections.get(key, {})
        if types := places.get("connections.<name>" if section.startswith("connection ") else section):
            return f"`{key}` is a key of another type: {', '.join(sorted(types))}."
        return next((f"`{key}` is a key of `{place}`." for place in places), "")

    def is_secret(self, key: str) -> bool:
        """Whether the values of ``key`` must not be shown; misspelt names of secrets included."""
        if key in self.plain:
            return False
        if key not in self._judged:
            known = self.secret | self.plain
            self._judged[key] = key in self.secret or has_secret_name(key) or nearest(key, known) in self.secret
        return self._judged[key]


def fields_within(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    """All keys of a model and of the models within it."""
    for name, info in model.model_fields.items():
        yield name, info
        for inner in (info.annotation, *get_args(info.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields_within(inner)


def is_secret_field(info: FieldInfo) -> bool:
    """Whether a key holds a secret."""
    return info.annotation is SecretStr or SecretStr in get_args(info.annotation)
