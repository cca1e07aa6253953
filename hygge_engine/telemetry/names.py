"""The names of everything that is sent. Queries, alerts and the workbook of ``infra/monitoring`` use the same ones; a
test compares them."""

from __future__ import annotations

from hygge_engine.row_counts import COUNT_NAMES

SCOPE = "hygge_engine"

SPAN_LOAD = "hygge.load"
SPAN_PLAN = "hygge.plan"
SPAN_ENTITY = "hygge.entity"
SPAN_SLICE = "hygge.slice"
SPAN_SETTLE = "hygge.settle"
SPANS = (SPAN_LOAD, SPAN_PLAN, SPAN_ENTITY, SPAN_SLICE, SPAN_SETTLE)

# Instruments: name, unit (UCUM) and meaning.
ROWS = ("hygge.rows", "{row}", "Rows that finished entity runs have landed.")
CHANGES = ("hygge.changes", "{row}", "Rows of finished entity runs by what became of them, as far as that is known.")
BYTES = ("hygge.bytes", "By", "Bytes that finished entity runs have landed, as the destination counts them.")
ENTITIES = ("hygge.entities", "{run}", "Entity runs that have finished.")
LOADS = ("hygge.loads", "{load}", "Loads that have ended.")
ENTITY_DURATION = ("hygge.entity.duration", "s", "From an entity run's first slice to its end.")
LOAD_DURATION = ("hygge.load.duration", "s", "From a load's start to its end, before the journal is written.")
LAG = ("hygge.lag", "s", "How far the committed watermark is behind the clock, where the cursor is a time.")
RETRIES = ("hygge.retries", "{attempt}", "Attempts that failed and are tried again.")
METRICS = (ROWS, CHANGES, BYTES, ENTITIES, LOADS, ENTITY_DURATION, LOAD_DURATION, LAG, RETRIES)

# Attributes of spans; those of metrics are the ones without an id, whose values are few.
LOAD_ID = "hygge.load_id"
ENTITY_RUN_ID = "hygge.entity_run_id"
FLOW = "hygge.flow"
ENTITY = "hygge.entity"
RUN_TYPE = "hygge.run_type"
STATUS = "hygge.status"
ATTEMPT = "hygge.attempt"
ATTEMPTS = "hygge.attempts"
ENTITY_COUNT = "hygge.entity_count"
ROW_COUNT = "hygge.row_count"
CHANGE = "hygge.change"
BYTE_COUNT = "hygge.byte_count"
FILE_COUNT = "hygge.file_count"
REQUESTED_BY = "hygge.requested_by"
PRINCIPAL = "hygge.principal"
# How many rows were inserted, updated, deleted and unchanged: attributes of spans, by the journal's names.
ROW_COUNTS = {name: f"hygge.{name}" for name in COUNT_NAMES}
# OpenTelemetry's own name for the class of an error (semantic conventions, "error.type").
ERROR_TYPE = "error.type"
ATTRIBUTES = (
    *(LOAD_ID, ENTITY_RUN_ID, FLOW, ENTITY, RUN_TYPE, STATUS, ATTEMPT, ATTEMPTS, ENTITY_COUNT),
    *(ROW_COUNT, CHANGE, *ROW_COUNTS.values(), BYTE_COUNT, FILE_COUNT, REQUESTED_BY, PRINCIPAL, ERROR_TYPE),
)
