"""Requested windows: whether their bounds are possible values of the watermark's column."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from hygge_engine.errors import BoundUnusable, HyggeError
from hygge_engine.flow.factory import open_home
from hygge_engine.homes.base import ChecksCursors, Home, OrdersTexts
from hygge_engine.watermark import CursorType
from hygge_engine.watermark.bounds import check_order, checked

if TYPE_CHECKING:
    from hygge_engine.project import Entity, Project

_log = logging.getLogger(__name__)

# Sources asked at once: they wait for the network, not for this machine.
_AT_ONCE = 4


def window_bounds(
    home: Home, cursor: str, type_: CursorType, window_from: str, window_to: str
) -> tuple[str | None, str | None]:
    """A window's bounds as the home compares them, None where there is none. Raises BoundUnusable."""

    def bound(text: str, *, upper: bool) -> str:
        if isinstance(home, ChecksCursors):
            return home.bound(cursor, text, upper=upper)
        return checked(text, type_, upper=upper)

    lower = bound(window_from, upper=False) if window_from else None
    upper = bound(window_to, upper=True) if window_to else None
    if lower is not None and upper is not None:
        last = bound(window_to, upper=False)
        check_order(lower, last, type_, is_after=_of_texts(home, cursor))
    return lower, upper


def _of_texts(home: Home, cursor: str) -> Callable[[str, str], bool] | None:
    """How the source of a home orders the texts of a cursor; None where the home cannot say."""
    return partial(home.is_after, cursor) if isinstance(home, OrdersTexts) else None


def exact_text(home: Home, cursor: str, text: str) -> str:
    """A value that a row had, in the exact text form of the home that it came from."""
    return home.bound(cursor, text, upper=False) if isinstance(home, ChecksCursors) else text


def cursor_type_of(home: Home, cursor: str) -> CursorType:
    """The type of a watermark, without reading a row where the home knows it. Raises CursorUnusable, HomeNotFound."""
    return home.cursor_type(cursor) if isinstance(home, ChecksCursors) else home.high_water(cursor).type


def check_window(project: Project, entities: Sequence[Entity], window_from: str, window_to: str) -> None:
    """Ask each entity's source whether a window's bounds fit its watermark, before a load is begun for it.

    Raises BoundUnusable that names all entities whose bounds do not fit. Other faults of a source are left to the load.
    """
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        found = list(pool.map(lambda entity: _refusal(project, entity, window_from, window_to), entities))
    refused = [(entity, error) for entity, error in zip(entities, found, strict=True) if error is not None]
    if refused:
        message = " ".join(f"{entity.id}: {error.message}" for entity, error in refused)
        hint = " ".join(dict.fromkeys(error.hint for _, error in refused))
        raise BoundUnusable(message, hint=hint)


def _refusal(project: Project, entity: Entity, window_from: str, window_to: str) -> BoundUnusable | None:
    if entity.watermark is None:
        return None
    cursor = entity.watermark.cursor
    try:
        with open_home(project, entity) as home:
            window_bounds(home, cursor, cursor_type_of(home, cursor), window_from, window_to)
    except BoundUnusable as refused:
        return refused
    except HyggeError as error:
        _log.warning("Whether the window fits %s is not known yet: %s", entity.id, error)
    return None
