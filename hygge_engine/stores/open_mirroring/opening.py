"""Opens what `OpenMirroringSettings` describe."""

from __future__ import annotations

from hygge_engine.lake import opening as lakes
from hygge_engine.lake.base import Lake
from hygge_engine.project.models.project import Entity, Project
from hygge_engine.stores.open_mirroring.layout import layout_of
from hygge_engine.stores.open_mirroring.settings import OpenMirroringSettings
from hygge_engine.stores.open_mirroring.store import OpenMirroringTable


def open_table(settings: OpenMirroringSettings, project: Project, entity: Entity) -> OpenMirroringTable:
    """The entity's table in the landing zone, not yet looked at."""
    return OpenMirroringTable(lakes.open_lake(settings), settings, layout_of(settings, entity.flow, entity.name))


def open_journal(settings: OpenMirroringSettings, project: Project, entity: Entity) -> tuple[Lake, str]:
    """Where the journal is kept beside the landing zone: a lake, and the journal's folder in it."""
    return lakes.open_lake(settings), layout_of(settings, entity.flow, entity.name).journal
