"""The record of loads: the journal and its summaries, the schema manifest, and the progress of loads under way.

The mirrored ``__hygge`` tables are made of it by `hygge_engine.flow.mirror`.
"""

from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "Begun": "hygge_engine.journal.progress",
    "Changes": "hygge_engine.journal.changes",
    "EntityRunRow": "hygge_engine.journal.rows",
    "Journal": "hygge_engine.journal.journal",
    "JournalReader": "hygge_engine.journal.reading",
    "Journals": "hygge_engine.journal.reading",
    "LOADS_SCHEMA": "hygge_engine.journal.summaries",
    "MANIFEST_SCHEMA": "hygge_engine.journal.manifest",
    "Manifest": "hygge_engine.journal.manifest",
    "ProgressFiles": "hygge_engine.journal.progress",
    "ProgressWatch": "hygge_engine.journal.progress",
    "SCHEMA": "hygge_engine.journal.rows",
    "entity_run_row": "hygge_engine.journal.rows",
    "load_row": "hygge_engine.journal.rows",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """A name's module is imported when the name is first used: a package that imports its own modules deadlocks
        two threads, of which one begins with the package and the other with a module."""
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        globals()[name] = getattr(import_module(_MODULES[name]), name)
        return globals()[name]
