"""Every setting that is a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from pydantic import BaseModel, SecretStr

from hygge_engine.project.models.project import OPTIONAL_SECTIONS
from hygge_engine.project.models.settings import CONNECTIONS, HOMES, JOURNAL_PLACES, STORES, Settings, load_types
from tests.unit.project_files import FLOW, HYGGE

load_types()

SECTIONS: dict[str, Mapping[str, type[Settings]]] = {
    "connections": CONNECTIONS,
    "home": HOMES,
    "store": STORES,
    "journal.location": JOURNAL_PLACES,
    # They have no type; one that is written there is a mistake like others.
    **{name: {name: model} for name, model in OPTIONAL_SECTIONS.items()},
}


def secrets_of(model: type[BaseModel]) -> list[str]:
    """The model's keys that hold secrets, those of models within it as ``outer.inner``."""
    found: list[str] = []
    for name, info in model.model_fields.items():
        kinds = {info.annotation, *get_args(info.annotation)}
        found += [name] if SecretStr in kinds else []
        inner = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        found += [f"{name}.{key}" for kind in inner for key in secrets_of(kind)]
    return found


SECRETS = [
    (section, kind, key)
    for section, registry in SECTIONS.items()
    for kind, model in registry.items()
    for key in secrets_of(model)
]


def with_section(section: str, text: str) -> dict[str, str]:
    """The sample's files with a section replaced by a text of one line."""
    if section == "journal.location":
        return {"hygge": f"{HYGGE}journal:\n  location: {text}\n"}
    if section == "connections":
        return {"hygge": f"name: shop\nconnections:\n  shop_db: {text}\n"}
    if f"{section}:\n" not in FLOW:
        return {"flows__orders_to_fabric__flow": f"{FLOW}{section}: {text}\n"}
    begin = FLOW.index(f"{section}:\n")
    end = FLOW.index("store:\n" if section == "home" else "watermark:\n")
    return {"flows__orders_to_fabric__flow": f"{FLOW[:begin]}{section}: {text}\n{FLOW[end:]}"}
