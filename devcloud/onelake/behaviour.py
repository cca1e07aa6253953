"""What the real services leave open or do differently: one switch each, with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

type Mode = Literal["onelake", "adls"]


@dataclass(slots=True)
class Behaviour:
    """Switches, which may be set at any time while the server runs.

    `rename_keeps_etag`: ETag and Last-Modified of a file or folder survive its rename, as clients of ADLS rely on;
    undocumented for OneLake.
    `conditional_rename_status`: the response to a rename with `If-None-Match: *` whose destination exists; 409 and 412
    have both been seen.
    `directory_create_changes_etag`: creating a directory that exists gives it a new ETag; undocumented, off here.
    `cross_item_rename`: OneLake mode allows a rename from one item to another; undocumented, so off here.
    `puts_blobs`: Put Blob is known; otherwise it returns 501.
    `ignored_conditions`: operations (`put_blob`, `rename`, `delete`, …) whose conditional headers are ignored.
    `rename_looks_at_destination_first`: a rename whose source is gone returns 409 where its destination exists.
    `rename_makes_parents`: a rename into a folder that does not exist makes it.
    `folder_etag`: "own", as OneLake has it; "contents", new with each change in the folder; "name", the same when the
    folder is made again.
    `folders_answer_head`: HEAD of a folder finds it; otherwise 404.
    `page_size`: entries of a listing, or removals of a paginated delete, per request at most.
    `requests_per_bearer_token`: each token gets 401 after this many requests, as if it had expired; None: never.
    """

    rename_keeps_etag: bool = True
    conditional_rename_status: Literal[409, 412] = 409
    directory_create_changes_etag: bool = False
    cross_item_rename: bool = False
    puts_blobs: bool = True
    ignored_conditions: frozenset[str] = frozenset()
    rename_looks_at_destination_first: bool = False
    rename_makes_parents: bool = False
    folder_etag: Literal["own", "contents", "name"] = "own"
    folders_answer_head: bool = True
    page_size: int = 5000
    requests_per_bearer_token: int | None = None
