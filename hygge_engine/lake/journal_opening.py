"""Opens what ``journal.location`` as a mapping describes."""

from __future__ import annotations

from hygge_engine.lake import opening as lakes
from hygge_engine.lake.base import Lake
from hygge_engine.lake.journal_settings import AdlsJournal, LocalJournal, OneLakeJournal
from hygge_engine.lake.onelake import JOURNAL_FOLDER
from hygge_engine.project.models.project import Project


def open_place(settings: LocalJournal | AdlsJournal | OneLakeJournal, project: Project) -> tuple[Lake, str]:
    """A lake, and the journal's folder in it."""
    if not isinstance(settings, LocalJournal):
        return lakes.open_lake(settings), settings.folder
    return lakes.open_directory(project.directory / settings.address, project.disk_reach()), JOURNAL_FOLDER
