"""Long lists in pages: the same parameters on every route that has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from hygge_engine.plain_text import shortened
from hygge_engine.web.door import Refused, base_url, is_text, whole_number
from hygge_engine.web.responses import problem

# Lines of a list that a response has unless the caller says otherwise, and at most.
PAGE_DEFAULT = 100
PAGE_LIMIT = 1000

# Loads that `GET /api/runs` lists unless the caller says otherwise.
RUNS_DEFAULT = 20


@dataclass(frozen=True)
class Page:
    """At most ``limit`` lines of a list, those behind the one that is called ``after``; from the first on without."""

    limit: int = PAGE_DEFAULT
    after: str | None = None

    @classmethod
    def requested(cls, limit: str | None, after: str | None, default: int = PAGE_DEFAULT) -> Page:
        """The page that the parameters of a request ask for. Raises Refused."""
        number = default if limit is None else whole_number(limit, PAGE_LIMIT)
        if number is None:
            raise Refused(problem(HTTPStatus.BAD_REQUEST, f"'limit' must be a number from 1 to {PAGE_LIMIT}."))
        if after is not None and not is_text(after):
            raise Refused(problem(HTTPStatus.BAD_REQUEST, "'after' is not a name."))
        return cls(number, after)

    def of[T](self, lines: Sequence[T], name: Callable[[T], str]) -> tuple[list[T], str | None]:
        """This page of a list, and the name that the next one comes after; None where this is the last.

        Raises Refused where no line is called ``after``.
        """
        first = 0
        if self.after is not None:
            found = next((place for place, line in enumerate(lines) if name(line) == self.after), None)
            if found is None:
                raise Refused(no_such_line(self.after))
            first = found + 1
        shown = list(lines[first : first + self.limit])
        return shown, name(shown[-1]) if first + self.limit < len(lines) else None

    def by_name[T](self, lines: Iterable[T], name: Callable[[T], str]) -> tuple[list[T], str | None]:
        """This page of a list in the order of its lines' names, and the name that the next one comes after; None where
        this is the last.

        The next page begins where that name belongs, whether or not a line still has it. So lines may come, go and
        change between two pages, and each that stays is on one of them. Raises Refused where no line of the list could
        be called ``after``.
        """
        named = sorted(((name(line), line) for line in lines), key=lambda pair: pair[0])
        if self.after is not None:
            # A next page that an earlier version named: by an id, which belongs nowhere among names.
            if "." not in self.after and any("." in each for each, _ in named):
                raise Refused(no_such_line(self.after))
            named = [pair for pair in named if pair[0] > self.after]
        shown = named[: self.limit]
        return [line for _, line in shown], shown[-1][0] if len(named) > self.limit else None

    def next_url(self, route: str, after: str | None, **parameters: str | None) -> str | None:
        """Where the next page is; ``route`` begins with ``/api``. No key is part of it."""
        if after is None:
            return None
        given = {name: value for name, value in parameters.items() if value}
        return f"{base_url()}{route}?{urlencode({**given, 'limit': self.limit, 'after': after})}"


def no_such_line(after: str) -> Any:
    """The response where a page is to come after something that the list does not have."""
    detail = f"Nothing in this list is called '{shortened(after)}': leave 'after' out for the first page."
    return problem(HTTPStatus.BAD_REQUEST, detail)
