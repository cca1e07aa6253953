"""Keys that people write in the wrong file or section, and where they belong."""

from __future__ import annotations

NO_PROJECT_KEYS = {
    **dict.fromkeys(
        ("home", "store", "watermark", "run_type"),
        "It stands in a flow's flow.yml, or below `defaults` for all flows.",
    ),
    **dict.fromkeys(("schedule", "entities"), "It stands in a flow's flow.yml."),
    **dict.fromkeys(("flows", "flow"), "A flow is a directory: flows/<flow>/flow.yml."),
}
NO_FLOW_KEYS = {
    "full_drop": "Write `run_type: full_drop`.",
    "connections": "Connections stand in hygge.yml; a home names one with `connection`.",
}
NO_ENTITY_KEYS = {
    "full_drop": "Write `run_type: full_drop`.",
    "schedule": "A schedule is the flow's; an entity of another one needs a flow of its own.",
}
NO_SECTION_KEYS = {
    key: f"`{key}` stands beside this section, not within it: check its indentation."
    for key in ("home", "store", "watermark", "schedule", "entities")
}
NO_STORE_KEYS = {
    **NO_SECTION_KEYS,
    "full_drop": "A store has no such key: write `run_type: full_drop` on the flow, "
    "or `incremental: false` on the store, to reload the table each time.",
    "run_type": "`run_type` stands on the flow or entity; a store overrules it with `incremental: true` or `false`.",
    "table": "The table is named after the entity; `table_name` gives it another name.",
}
