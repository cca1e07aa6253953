"""Mistakes of people who know other tools: keys in the wrong file or section, and other tools' words."""

from __future__ import annotations

from collections.abc import Iterable

from rapidfuzz.distance import Levenshtein

from hygge_engine.project.telling.problems import nearest

NO_PROJECT_KEYS = {
    **dict.fromkeys(
        ("home", "store", "watermark", "run_type"),
        "It belongs in a flow's flow.yml, or below `defaults` for all flows.",
    ),
    **dict.fromkeys(("schedule", "entities"), "It belongs in a flow's flow.yml."),
    **dict.fromkeys(("flows", "flow"), "A flow is a directory: flows/<flow>/flow.yml."),
}
NO_FLOW_KEYS = {
    "full_drop": "Write `run_type: full_drop`.",
    "connections": "Connections belong in hygge.yml; a home names one with `connection`.",
}
NO_ENTITY_KEYS = {
    "full_drop": "Write `run_type: full_drop`.",
    "schedule": "A schedule is the flow's; an entity of another one needs a flow of its own.",
    "journal": "A journal is the flow's; an entity of another one needs a flow of its own.",
}
NO_SECTION_KEYS = {
    key: f"`{key}` is beside this section, not within it: check its indentation."
    for key in ("home", "store", "watermark", "schedule", "entities")
}
NO_STORE_KEYS = {
    **NO_SECTION_KEYS,
    "full_drop": "A store has no such key: write `run_type: full_drop` on the flow, "
    "or `incremental: false` on the store, to reload the table each time.",
    "run_type": "`run_type` belongs to the flow or entity; a store overrides it with `incremental: true` or `false`.",
    "table": "The table is named after the entity; `table_name` gives it another name.",
}

# Other tools' words, as lower case with underscores; in the order in which hygge's are tried.
_SYNONYMS: dict[str, tuple[str, ...]] = {
    our: tuple(theirs.split())
    for our, theirs in {
        # Keys.
        "account_url": "url endpoint dfs_url",
        "auth": "authentication login_type",
        "column": "cursor cursor_column cursor_field timestamp_column watermark_column",
        "concurrency": "parallelism parallel threads workers max_parallel",
        "database": "db dbname db_name catalog initial_catalog",
        "entities": "tables streams",
        "filesystem": "workspace workspace_id workspace_guid container bucket",
        "home": "source src extract from",
        "key_columns": "key keys primary_key primary_keys pk unique_key merge_keys",
        "lakehouse": "lakehouse_id item item_id",
        "mirror_name": "mirror mirror_id mirrored_database item item_id",
        "password": "pwd pass passwd",
        "primary_key": "pk key keys key_columns unique_key",
        "run_type": "mode load_type load_mode write_disposition",
        "schedule": "cron crontab timer trigger interval",
        "server": "host hostname data_source",
        "store": "destination target sink dest load to",
        "username": "user uid user_id user_name login",
        # Values.
        "account_key": "key shared_key access_key",
        "client_secret": "service_principal spn",
        "default": "entra entra_id aad azure_ad azure_cli cli interactive",
        "full_drop": "full truncate overwrite replace reload",
        "incremental": "append delta merge upsert",
        "local": "file files disk folder directory",
        "managed_identity": "msi identity system_assigned user_assigned",
        "mssql": "sqlserver sql_server azure_sql azuresql sqlazure",
        "ndjson": "json jsonl jsonlines",
        "onelake": "lakehouse fabric_lakehouse",
        "open_mirroring": "fabric mirror mirroring mirrored_database",
        "service_principal": "client_secret spn",
        "sql": "password basic sql_login sql_server",
    }.items()
}


def translate(word: str, known: Iterable[str]) -> str | None:
    """Which of ``known`` other tools call ``word``; None where none does."""
    theirs = word.lower().replace("-", "_").replace(" ", "_")
    return next((our for our in sorted(known) if theirs in _SYNONYMS.get(our, ())), None)


def is_slip(word: str, known: Iterable[str]) -> bool:
    """Whether a word is surely one of ``known``: another tool's word for it, or a single letter away from it."""
    choices = list(known)
    return translate(word, choices) is not None or any(Levenshtein.distance(word, our) == 1 for our in choices)


def intended(word: str, known: Iterable[str]) -> str | None:
    """Which of ``known`` was meant: what other tools call so, else the nearest; None where none is like it."""
    choices = sorted(known)
    return translate(word, choices) or nearest(word, choices)
