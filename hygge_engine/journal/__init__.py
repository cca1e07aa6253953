"""The record of loads: the journal and its summaries, the schema manifest, and the progress of loads under way.

The mirrored ``__hygge`` tables are made of it by `hygge_engine.flow.mirror`.
"""

from typing import TYPE_CHECKING

from hygge_engine.first_use import names_on_first_use

if TYPE_CHECKING:
    from hygge_engine.journal.changes import Changes
    from hygge_engine.journal.journal import Journal
    from hygge_engine.journal.manifest import MANIFEST_SCHEMA, Manifest
    from hygge_engine.journal.progress import Begun, ProgressFiles, ProgressWatch
    from hygge_engine.journal.reading import JournalReader, Journals
    from hygge_engine.journal.rows import SCHEMA, EntityRunRow, entity_run_row, load_row
    from hygge_engine.journal.summaries import LOADS_SCHEMA

__all__ = [
    "LOADS_SCHEMA",
    "MANIFEST_SCHEMA",
    "SCHEMA",
    "Begun",
    "Changes",
    "EntityRunRow",
    "Journal",
    "JournalReader",
    "Journals",
    "Manifest",
    "ProgressFiles",
    "ProgressWatch",
    "entity_run_row",
    "load_row",
]

if not TYPE_CHECKING:
    __getattr__ = names_on_first_use(
        __name__,
        {
            "hygge_engine.journal.changes": ("Changes",),
            "hygge_engine.journal.journal": ("Journal",),
            "hygge_engine.journal.manifest": ("MANIFEST_SCHEMA", "Manifest"),
            "hygge_engine.journal.progress": ("Begun", "ProgressFiles", "ProgressWatch"),
            "hygge_engine.journal.reading": ("JournalReader", "Journals"),
            "hygge_engine.journal.rows": ("EntityRunRow", "SCHEMA", "entity_run_row", "load_row"),
            "hygge_engine.journal.summaries": ("LOADS_SCHEMA",),
        },
    )
