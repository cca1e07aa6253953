"""A request for a load: which flows and entities, how, and on whose behalf."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from hygge_engine.errors import InvalidRequest
from hygge_engine.plain_text import shortened

if TYPE_CHECKING:
    from hygge_engine.project.models.settings import Reload, RunType

# The values of `RunType` and `Reload` in `hygge_engine.project.models.settings`, which would bring the whole of
# pydantic with it: the Functions host imports this module before it can serve the first request.
RUN_TYPES = ("full_drop", "incremental")
RELOADS = ("drop", "difference")

# The header of W3C Trace Context, version 00.
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

_KEYS = ("entities", "flows", "reload", "requested_by", "run_type", "window")

# Longest `requested_by` that is kept: it ends in the journal's rows, and says who, not why.
REQUESTED_BY_LIMIT_CHARACTERS = 200


@dataclass(frozen=True)
class LoadRequest:
    """A load to be run.

    ``flows`` and ``entities`` (``entity`` or ``flow.entity``) select; empty means all. ``run_type`` overrides the
    flows' own, ``reload`` how entities are reloaded. ``window_from`` and ``window_to`` (empty: open) bound the
    watermark column of a backfill, both inclusive: its rows are read again, and the watermark stays where it is.
    ``coordinator_run_id`` names the load in the journal; without it the orchestration's instance id does.
    ``skip_reason`` is set where the load must only be recorded, not run. ``traceparent`` (W3C Trace Context) is the
    caller's span, to which the load's trace links. ``requested_by`` is what the caller claims to be, ``principal`` whom
    the platform has authenticated (empty: none).
    """

    flows: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    run_type: RunType | None = None
    requested_by: str = ""
    coordinator_run_id: str | None = None
    skip_reason: str = ""
    window_from: str = ""
    window_to: str = ""
    traceparent: str = ""
    principal: str = ""
    reload: Reload | None = None

    @property
    def is_backfill(self) -> bool:
        """Whether a window is loaded again, rather than what is new."""
        return bool(self.window_from or self.window_to)

    def to_json(self) -> dict[str, Any]:
        """A JSON-serialisable mapping."""
        return {**asdict(self), "flows": list(self.flows), "entities": list(self.entities)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> LoadRequest:
        """The inverse of `to_json`, for values that this class has written itself; other keys are left out."""
        names = {field.name for field in fields(cls)}
        lists = {name: tuple(value.get(name) or ()) for name in ("flows", "entities")}
        return cls(**{name: item for name, item in value.items() if name in names} | lists)


def parse_request(body: Any, *, requested_by: str) -> LoadRequest:
    """A request from a decoded JSON body (None: an empty one). Raises InvalidRequest with every problem at once."""
    if body is None:
        body = {}
    if not isinstance(body, dict):
        raise InvalidRequest([f"The body must be a JSON object, found {_kind(body)}."])
    problems = [
        f"Unknown key '{shortened(key)}'; expected one of: {', '.join(_KEYS)}."
        for key in sorted(str(key) for key in body.keys() - set(_KEYS))
    ]
    flows = _names(body, "flows", problems)
    entities = _names(body, "entities", problems)
    run_type = body.get("run_type")
    if run_type is not None and run_type not in RUN_TYPES:
        problems.append(f"'run_type' must be one of {', '.join(RUN_TYPES)}; found {_shown(run_type)}.")
    reload = body.get("reload")
    if reload is not None and reload not in RELOADS:
        problems.append(f"'reload' must be one of {', '.join(RELOADS)}; found {_shown(reload)}.")
    who = body.get("requested_by", requested_by)
    if not isinstance(who, str):
        problems.append(f"'requested_by' must be a string; found {_kind(who)}.")
    elif len(who) > REQUESTED_BY_LIMIT_CHARACTERS:
        problems.append(f"'requested_by' is longer than {REQUESTED_BY_LIMIT_CHARACTERS} characters.")
    bounds = _window(body, problems)
    if problems:
        raise InvalidRequest(problems)
    return LoadRequest(
        flows=flows,
        entities=entities,
        run_type=run_type,
        reload=reload,
        requested_by=who,
        window_from=bounds.get("from", ""),
        window_to=bounds.get("to", ""),
    )


def usable_traceparent(header: str) -> str:
    """The caller's header as it is, or empty where it is not valid: that must not refuse a load."""
    return header if _TRACEPARENT.fullmatch(header) else ""


def _window(body: dict[str, Any], problems: list[str]) -> dict[str, str]:
    value = body.get("window")
    if value is None:
        return {}
    if not isinstance(value, dict) or not value or value.keys() - {"from", "to"}:
        problems.append("'window' must be an object with 'from', 'to' or both.")
        return {}
    wrong = [key for key, bound in value.items() if isinstance(bound, bool) or not isinstance(bound, str | int)]
    problems.extend(f"'window.{key}' must be a string or a whole number; found {_kind(value[key])}." for key in wrong)
    empty = [key for key, bound in value.items() if isinstance(bound, str) and not bound.strip()]
    problems.extend(f"'window.{key}' is empty; leave it out for a window without that end." for key in empty)
    return {key: str(bound) for key, bound in value.items() if key not in wrong}


def _names(body: dict[str, Any], key: str, problems: list[str]) -> tuple[str, ...]:
    value = body.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        problems.append(f"'{key}' must be a list of names; found {_kind(value)}.")
        return ()
    wrong = [item for item in value if not isinstance(item, str) or not item]
    problems.extend(f"'{key}' must hold names; found {_shown(item)}." for item in wrong)
    return tuple(dict.fromkeys(item for item in value if isinstance(item, str) and item))


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _shown(value: Any) -> str:
    return f"'{shortened(value)}'" if isinstance(value, str) else _kind(value)
