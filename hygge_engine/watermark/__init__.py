"""How far an incremental table has come: what a watermark's values are, how they compare, and how they are kept."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hygge_engine.watermark.values import CursorType
    from hygge_engine.watermark.watermark import Boundary, Watermark

__all__ = ["Boundary", "CursorType", "Watermark"]

_MODULES = {
    "Boundary": "hygge_engine.watermark.watermark",
    "CursorType": "hygge_engine.watermark.values",
    "Watermark": "hygge_engine.watermark.watermark",
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
