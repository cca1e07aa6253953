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
    `conditional_rename_status`: the answer to a rename with `If-None-Match: *` whose destination exists; 409 and 412
    have both been seen.
    `directory_create_changes_etag`: creating a directory that exists gives it a new ETag; undocumented, off here.
    `cross_item_rename`: OneLake mode allows a rename from one item to another; undocumented, so off here.
    `page_size`: entries of a listing, or removals of a paginated delete, per request at most.
    `requests_per_bearer_token`: each token is answered 401 after so many requests, as if it had expired; None: never.
    """

    rename_keeps_etag: bool = True
    conditional_rename_status: Literal[409, 412] = 409
    directory_create_changes_etag: bool = False
    cross_item_rename: bool = False
    page_size: int = 5000
    requests_per_bearer_token: int | None = None
