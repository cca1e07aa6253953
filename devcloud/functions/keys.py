"""The access keys of a host: made once, kept with its state."""

import json
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from devcloud.doors import write_private


@dataclass(frozen=True)
class Keys:
    """``function`` opens functions, ``system`` the durable webhooks, ``master`` everything."""

    function: str
    master: str
    system: str


def load_keys(path: Path, function_key: str | None) -> Keys:
    """Return the keys kept in ``path``, making them if need be; a given function key replaces the kept one."""
    if path.is_file():
        keys = Keys(**json.loads(path.read_text()))
    else:
        keys = Keys(*(secrets.token_urlsafe(40) for _ in range(3)))
    if function_key is not None:
        keys = replace(keys, function=function_key)
    write_private(path, json.dumps(asdict(keys)))
    return keys
