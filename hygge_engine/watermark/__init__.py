"""How far an incremental table has come: what a watermark's values are, how they compare, and how they are kept."""

from hygge_engine.watermark.values import CursorType
from hygge_engine.watermark.watermark import Boundary, Watermark

__all__ = ["Boundary", "CursorType", "Watermark"]
