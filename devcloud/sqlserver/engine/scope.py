"""What names mean inside a query, and what the session provides to the binder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from devcloud.sqlserver.engine.catalogue import Catalogue, Table
from devcloud.sqlserver.engine.settings import DatabaseSettings
from devcloud.sqlserver.engine.values import Scalar, Value
from devcloud.sqlserver.errors import make_error
from devcloud.sqlserver.tsql.syntax import CommonTable, Expression, Name
from devcloud.sqlserver.types import SqlType


class Environment(Protocol):
    """What a session provides while its statements are bound."""

    @property
    def database(self) -> str:
        """The current database."""

    @property
    def user(self) -> str:
        """The database user, ``dbo`` for administrators."""

    @property
    def login(self) -> str:
        """The login."""

    @property
    def databases(self) -> list[tuple[int, str, DatabaseSettings]]:
        """The id, name and settings of every database, in order of their ids."""

    def settings(self, database: str) -> DatabaseSettings:
        """Return the settings of a database. Raises SqlError 911."""

    @property
    def variables(self) -> dict[str, tuple[SqlType, Scalar]]:
        """Declared variables and parameters, by lower-case name with its @."""

    @property
    def now(self) -> int:
        """The UTC clock of the running statement, in ticks of 100 ns since 0001-01-01."""

    def catalogue(self, database: str) -> Catalogue:
        """Return a database's catalogue. Raises SqlError 911 or 916."""

    @property
    def has_change_tracking(self) -> bool:
        """Whether this server has Change Tracking at all."""

    def check_isolation(self, database: str) -> None:
        """Check that the session may read from a database as isolated as it asked. Raises SqlError 3951 or 3952."""

    def global_variable(self, name: str) -> tuple[SqlType, Scalar] | None:
        """Return the value of ``@@name``, or None if there is no such thing."""

    def session_function(self, name: str, arguments: tuple[Scalar, ...]) -> tuple[SqlType, Scalar] | None:
        """Return the value of a function of the session's state, or None if there is no such function."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something in FROM: how it may be called, and its columns."""

    qualifiers: frozenset[Name]
    columns: tuple[tuple[str, Value], ...]
    alias: str
    table: Table | None = None

    def answers(self, qualifier: Name) -> bool:
        """Return whether a column's qualifier means this source."""
        return tuple(part.lower() for part in qualifier if part) in self.qualifiers

    def as_nullable(self) -> Source:
        """Return the source as the optional side of an outer join."""
        columns = tuple((name, replace(value, nullable=True)) for name, value in self.columns)
        return replace(self, columns=columns)


@dataclass(frozen=True, slots=True)
class Grouped:
    """A GROUP BY expression: its syntax, its SQL before grouping, and what stands for it afterwards."""

    expression: Expression
    raw: str
    value: Value


@dataclass(slots=True)
class Scope:
    """The sources that a query's names refer to; those of the enclosing query come after."""

    sources: Sequence[Source] = ()
    parent: Scope | None = None
    grouping: Sequence[Grouped] | None = None
    inside_aggregate: bool = False
    common: dict[str, CommonBinding] = field(default_factory=dict)

    def resolve(self, parts: Name) -> tuple[Value, Scope]:
        """Return the column of that name and the scope it belongs to. Raises SqlError 207, 209, 230 or 4104."""
        scope: Scope | None = self
        while scope is not None:
            found = scope._find(parts)
            if len(found) > 1:
                raise make_error(209, parts[-1])
            if found and found[0].denied:
                raise make_error(230, *found[0].denied)
            if found:
                return found[0], scope
            scope = scope.parent
        if len(parts) > 1 and not self._knows(parts[:-1]):
            raise make_error(4104, ".".join(parts))
        raise make_error(207, parts[-1])

    def _find(self, parts: Name) -> list[Value]:
        folded = parts[-1].lower()
        return [
            value
            for source in self.sources
            if len(parts) == 1 or source.answers(parts[:-1])
            for name, value in source.columns
            if name.lower() == folded
        ]

    def _knows(self, qualifier: Name) -> bool:
        scope: Scope | None = self
        while scope is not None:
            if any(source.answers(qualifier) for source in scope.sources):
                return True
            scope = scope.parent
        return False

    def find_common(self, name: str) -> CommonBinding | None:
        """Return the common table expression of that name, or None."""
        scope: Scope | None = self
        while scope is not None:
            if name.lower() in scope.common:
                return scope.common[name.lower()]
            scope = scope.parent
        return None


@dataclass(slots=True)
class CommonBinding:
    """A common table expression; while its recursive part is bound, ``recursion`` is what it refers to itself as."""

    table: CommonTable
    scope: Scope
    recursion: tuple[str, Sequence[tuple[str, Value]]] | None = None


def qualifiers_of(name: Iterable[str]) -> frozenset[Name]:
    """Return every way in which columns of a table of that full name may be qualified."""
    parts = tuple(part.lower() for part in name)
    return frozenset(parts[start:] for start in range(len(parts)))
