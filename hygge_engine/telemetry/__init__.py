"""What a load reports: traces and metrics by OpenTelemetry, lineage by OpenLineage, ids in the log.

Nothing here is needed for a load, and nothing here may fail one. Without settings nothing is sent, nothing is imported
and nothing is waited for (``docs/telemetry.md``).
"""

from typing import TYPE_CHECKING

from hygge_engine.first_use import names_on_first_use

if TYPE_CHECKING:
    from hygge_engine.telemetry.log_ids import add_ids_to_logs
    from hygge_engine.telemetry.process import telemetry_of_process
    from hygge_engine.telemetry.telemetry import Telemetry
    from hygge_engine.telemetry.trace_ids import in_trace_of

__all__ = ["Telemetry", "add_ids_to_logs", "in_trace_of", "telemetry_of_process"]

if not TYPE_CHECKING:
    __getattr__ = names_on_first_use(
        __name__,
        {
            "hygge_engine.telemetry.log_ids": ("add_ids_to_logs",),
            "hygge_engine.telemetry.process": ("telemetry_of_process",),
            "hygge_engine.telemetry.telemetry": ("Telemetry",),
            "hygge_engine.telemetry.trace_ids": ("in_trace_of",),
        },
    )
