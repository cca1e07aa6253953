"""How far an incremental table has come: what a watermark's values are, how they compare, and how they are kept."""

from typing import TYPE_CHECKING

from hygge_engine.first_use import names_on_first_use

if TYPE_CHECKING:
    from hygge_engine.watermark.values import CursorType
    from hygge_engine.watermark.watermark import Boundary, Watermark

__all__ = ["Boundary", "CursorType", "Watermark"]

if not TYPE_CHECKING:
    __getattr__ = names_on_first_use(
        __name__,
        {
            "hygge_engine.watermark.values": ("CursorType",),
            "hygge_engine.watermark.watermark": ("Boundary", "Watermark"),
        },
    )
