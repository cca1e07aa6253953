"""What a load reports: traces and metrics by OpenTelemetry, lineage by OpenLineage, ids in the log.

Nothing here is needed for a load, and nothing here may fail one. Without settings nothing is sent, nothing is imported
and nothing is waited for (``docs/telemetry.md``).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hygge_engine.telemetry.log_ids import add_ids_to_logs
    from hygge_engine.telemetry.process import telemetry_of_process
    from hygge_engine.telemetry.telemetry import Telemetry
    from hygge_engine.telemetry.trace_ids import in_trace_of

__all__ = ["Telemetry", "add_ids_to_logs", "in_trace_of", "telemetry_of_process"]

_MODULES = {
    "Telemetry": "hygge_engine.telemetry.telemetry",
    "add_ids_to_logs": "hygge_engine.telemetry.log_ids",
    "in_trace_of": "hygge_engine.telemetry.trace_ids",
    "telemetry_of_process": "hygge_engine.telemetry.process",
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
