"""The canonical journal, its summaries, the schema manifest and the mirrored __hygge tables."""
