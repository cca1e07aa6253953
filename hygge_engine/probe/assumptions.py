"""Every assumption that can be tried, and what was found of it. docs/probe.md has the same table; a test compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# unknown: nothing was seen either way, which is not a proof.
Holds = Literal["yes", "no", "unknown"]

_NOWHERE = "Do not load there: two loads that meet would lose or double rows."
_ONE_BY_ONE = "Run one load at a time: a load that died may delete the folder that the next one has made."
_NOTHING = "Nothing: the engine does without."
_RELOAD = "Nothing can be set. Use `run_type: full_drop` in the flows."


@dataclass(frozen=True)
class Assumption:
    """What is assumed (``text``), and what to set or do where it does not hold (``remedy``)."""

    id: str
    text: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """What was seen of one assumption. ``seconds`` is how long it took where that matters, else None."""

    id: str
    holds: Holds
    seen: str
    seconds: float | None = None


STORAGE = (
    Assumption(
        "put_whole",
        "Put Blob writes a whole small file in one request.",
        "Nothing: small files are then staged and renamed. Only `format: delta` needs Put Blob; choose another.",
    ),
    Assumption("put_if_absent", "Put Blob with `If-None-Match: *` never replaces a file.", _NOWHERE),
    Assumption("put_if_match", "Put Blob with `If-Match` replaces the version with that etag only.", _NOWHERE),
    Assumption("etags_agree", "A file's etag is the same in responses to writes, in HEAD and in listings.", _NOWHERE),
    Assumption("create_if_absent", "Create with `If-None-Match: *` leaves what exists as it is.", _NOWHERE),
    Assumption("create_truncates", "Create without a condition empties a file that exists.", _NOWHERE),
    Assumption(
        "unflushed",
        "What is appended is invisible until it is flushed.",
        "Nothing: files are completed outside the landing zone.",
    ),
    Assumption(
        "chunks",
        "An append takes 8 MiB, and several of them become one file by one flush.",
        "Nothing can be set: report it as a fault of hygge-engine.",
    ),
    Assumption("rename_moves", "A rename moves the whole file: the old path is gone, the content the same.", _NOWHERE),
    Assumption("rename_if_absent", "A rename with `If-None-Match: *` never replaces a file.", _NOWHERE),
    Assumption(
        "rename_if_match",
        "A rename with `If-Match` replaces the version with that etag only.",
        "Nothing where `put_whole` holds; else do not load there: two loads that meet would lose or double rows.",
    ),
    Assumption(
        "rename_lost",
        "A rename that is sent again after it has been done is refused (404, 409 or 412) and changes nothing.",
        _NOWHERE,
    ),
    Assumption(
        "rename_no_parent",
        "A rename into a folder that does not exist is refused with 404 and makes nothing.",
        "Nothing: but a table whose folder is deleted during a load is not noticed. Let no other program write there.",
    ),
    Assumption(
        "folder_etag_steady",
        "A folder's etag stays the same while files come and go in it.",
        "Nothing: a drop that is refused is tried again. Where many files come and go, a `full_drop` takes longer.",
    ),
    Assumption(
        "folder_etag_new",
        "A folder that is deleted and made again has another etag.",
        _ONE_BY_ONE,
    ),
    Assumption(
        "folder_delete_if_match",
        "Deleting a folder with `If-Match` takes the folder with that etag only, and everything in it.",
        _ONE_BY_ONE,
    ),
    Assumption("folder_head", "HEAD finds a folder, and says that it is one.", _NOTHING),
    Assumption("ranges", "A range of a file is read alone, and with `If-Match` of one version only.", _NOTHING),
    Assumption(
        "listing",
        "A listing shows at once what was written, renamed and deleted before it, with lengths.",
        _NOWHERE,
    ),
    Assumption(
        "names",
        "Names with a leading dot, blanks, percent signs, plus signs and other letters are found as written.",
        "Give tables and flows plain names: `table_name`, `schema_name`.",
    ),
    Assumption("missing", "What does not exist returns 404.", _NOWHERE),
    Assumption("clock", "The Date header is within 30 seconds of this machine's clock.", "Let NTP set the clocks."),
)

MIRRORING = (
    Assumption(
        "status_told",
        "Fabric reports the status of every table, by its REST API or in `Files/Monitoring/tables.json`.",
        "Start replication. Without a status set `folder_deletion_wait_seconds` to more than `dropped` ever took.",
    ),
    Assumption(
        "status_file",
        "`Files/Monitoring/tables.json` lists the same tables as the REST API.",
        "Set `fabric_api_url`, so that the API is asked.",
    ),
    Assumption(
        "shows",
        "A table shows within ten minutes of its first file, with its rows.",
        "Nothing: loads do not wait for it. Look at replication in Fabric's monitoring.",
    ),
    Assumption(
        "names_as_spelt",
        "The status spells schemas and tables as their folders do.",
        "Write `schema_name` and `table_name` as the status spells them.",
    ),
    Assumption(
        "readable",
        "The mirrored table is a Delta table at `Tables/<schema>/<table>`, which the Delta package reads.",
        "Nothing: loads do not read it. `hygge reconcile` cannot compare; count by a query of your own.",
    ),
    Assumption(
        "landing_rename",
        "A rename into the landing zone obeys `If-None-Match: *`, and is refused when it is sent again.",
        _NOWHERE,
    ),
    Assumption(
        "upserts",
        "Marker 4 replaces the row of its key or adds one, marker 2 deletes it; the marker is the last column, int32.",
        _RELOAD,
    ),
    Assumption("new_column", "A column that comes later is added, and is null in the rows before.", _RELOAD),
    Assumption("order", "Files are applied in the order of their numbers; those behind a gap wait.", _RELOAD),
    Assumption(
        "fabrics_files",
        "What Fabric puts into a table's folder begins with `_FilesReadyToDelete` or `_ProcessedFiles`.",
        "Before a `full_drop`, move away what its message names; and report the name as a fault of hygge-engine.",
    ),
    Assumption(
        "fabrics_etag",
        "A table folder's etag stays the same while Fabric works in it.",
        "Nothing: a drop that is refused is tried again.",
    ),
    Assumption(
        "dropped",
        "A table whose folder is deleted leaves the status within thirty minutes.",
        "Use `run_type: incremental`: a `full_drop` waits thirty minutes for it and fails.",
    ),
    Assumption("rebuilt", "A folder that is made again after that is a new table, with its own rows only.", _RELOAD),
    Assumption(
        "inserts",
        "Marker 0 adds a row whether its key is there or not, marker 1 adds one whose key is not there.",
        "Set `row_marker: 4`.",
    ),
    Assumption("keyless", "A table without `keyColumns` takes every row of every file.", "Set `key_columns`."),
    Assumption(
        "marker_first",
        "A row marker in the first column is taken for one or stops the table; it never becomes data.",
        _NOTHING,
    ),
    Assumption(
        "marker_within",
        "A row marker between other columns is taken for one or stops the table; it never becomes data.",
        _NOTHING,
    ),
    Assumption(
        "types",
        "Values of every type that is landed arrive unchanged.",
        "Convert the columns that are named by a `query` of the home, or leave them out with `polish.drop`.",
    ),
    Assumption(
        "underscore_schema",
        "A schema whose name begins with an underscore is mirrored.",
        "Set `mirror_schema` to a name without a leading underscore: `hygge_journal`.",
    ),
    Assumption(
        "failure_told",
        "A table whose file cannot be read is reported as failed, with a message.",
        "Nothing: `hygge doctor` cannot see it. Compare with `hygge reconcile` now and then.",
    ),
    Assumption(
        "failure_mended",
        "A failed table continues when a good file takes the bad one's place, under the same name.",
        "Nothing: `hygge go --run-type full_drop --entity …` replaces a failed table.",
    ),
    Assumption(
        "failure_reloaded",
        "A failed table can be dropped and rebuilt.",
        "Set another `table_name`, and delete the failed table's folder.",
    ),
)

CLEAN = Assumption("clean", "Nothing of the probe is left.", "Run `hygge probe` again: it removes what is left.")

ASSUMPTIONS = {each.id: each for each in (*STORAGE, *MIRRORING, CLEAN)}
