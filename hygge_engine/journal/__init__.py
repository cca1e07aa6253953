"""The canonical journal, its summaries, the schema manifest and the mirrored __hygge tables."""

from hygge_engine.journal.journal import Journal
from hygge_engine.journal.progress import Progress, ProgressWatch
from hygge_engine.journal.rows import EntityRunRow, entity_run_row, load_row

__all__ = ["EntityRunRow", "Journal", "Progress", "ProgressWatch", "entity_run_row", "load_row"]
