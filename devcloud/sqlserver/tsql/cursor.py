"""The parser's place in the tokens, and what names and keywords are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devcloud.sqlserver.errors import SqlError, make_error, refuse
from devcloud.sqlserver.tsql.lexer import Kind, Token, tokenize
from devcloud.sqlserver.tsql.syntax import Name, TypeName
from devcloud.sqlserver.types import MAX

RESERVED: Final = frozenset(
    """
    ADD ALL ALTER AND ANY AS ASC AUTHORIZATION BACKUP BEGIN BETWEEN BREAK BROWSE BULK BY CASCADE CASE CHECK CHECKPOINT
    CLOSE CLUSTERED COALESCE COLLATE COLUMN COMMIT COMPUTE CONSTRAINT CONTAINS CONTINUE CONVERT CREATE CROSS CURRENT
    CURRENT_DATE CURRENT_TIME CURRENT_TIMESTAMP CURRENT_USER CURSOR DATABASE DBCC DEALLOCATE DECLARE DEFAULT DELETE
    DENY DESC DISTINCT DISTRIBUTED DOUBLE DROP ELSE END ERRLVL ESCAPE EXCEPT EXEC EXECUTE EXISTS EXIT EXTERNAL FETCH
    FILE FILLFACTOR FOR FOREIGN FREETEXT FROM FULL FUNCTION GOTO GRANT GROUP HAVING HOLDLOCK IDENTITY IDENTITY_INSERT
    IF IN INDEX INNER INSERT INTERSECT INTO IS JOIN KEY KILL LEFT LIKE MERGE NATIONAL NOCHECK NONCLUSTERED NOT NULL
    NULLIF OF OFF OFFSETS ON OPEN OPENQUERY OPENROWSET OPTION OR ORDER OUTER OVER PERCENT PIVOT PLAN PRIMARY PRINT
    PROC PROCEDURE PUBLIC RAISERROR READ RECONFIGURE REFERENCES REPLICATION RESTORE RESTRICT RETURN REVERT REVOKE RIGHT
    ROLLBACK ROWCOUNT RULE SAVE SCHEMA SELECT SESSION_USER SET SHUTDOWN SOME STATISTICS SYSTEM_USER TABLE TABLESAMPLE
    TEXTSIZE THEN TO TOP TRAN TRANSACTION TRIGGER TRUNCATE TRY_CONVERT UNION UNIQUE UNPIVOT UPDATE USE USER VALUES
    VARYING VIEW WAITFOR WHEN WHERE WHILE WITH
    """.split()  # noqa: SIM905
)
"""T-SQL's reserved words (learn.microsoft.com, "Reserved keywords"): none of them is a name unless it is quoted."""

FUNCTIONS_NAMED_BY_KEYWORDS: Final = frozenset({"LEFT", "RIGHT", "COALESCE", "NULLIF", "CONVERT", "TRY_CONVERT"})


class Cursor:
    """Walks over the tokens of one batch."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokenize(text)
        self._index = 0

    @property
    def token(self) -> Token:
        """The token at hand."""
        return self._tokens[self._index]

    def ahead(self, count: int = 1) -> Token:
        """Return the token that many places ahead."""
        return self._tokens[min(self._index + count, len(self._tokens) - 1)]

    def advance(self) -> Token:
        """Step over the token at hand and return it."""
        token = self.token
        if token.kind is not Kind.END:
            self._index += 1
        return token

    @property
    def last_end(self) -> int:
        """Where the token before ended, in the batch's text."""
        return self._tokens[self._index - 1].end if self._index else 0

    def at(self, *words: str) -> bool:
        """Return whether the tokens from here on are these words or operators."""
        return all(self._is(self.ahead(offset), word) for offset, word in enumerate(words))

    def at_any(self, *words: str) -> bool:
        """Return whether the token at hand is one of these words or operators."""
        return any(self._is(self.token, word) for word in words)

    @staticmethod
    def _is(token: Token, word: str) -> bool:
        return token.upper == word and token.kind in (Kind.NAME, Kind.OPERATOR)

    def accept(self, *words: str) -> bool:
        """Step over these words if they come next."""
        if not self.at(*words):
            return False
        self._index += len(words)
        return True

    def accept_any(self, *words: str) -> str | None:
        """Step over the token at hand if it is one of these words, and return it."""
        return self.advance().upper if self.at_any(*words) else None

    def expect(self, *words: str) -> None:
        """Step over these words; SqlError 102 or 156 where others stand."""
        for word in words:
            if not self.accept(word):
                raise self.unexpected()

    def expect_any(self, *words: str) -> str:
        """Step over one of these words and return it; SqlError 102 or 156 where another stands."""
        word = self.accept_any(*words)
        if word is None:
            raise self.unexpected()
        return word

    def parse_list[T](self, parse: Callable[[], T]) -> tuple[T, ...]:
        """Parse ``a, b, …``, each with ``parse``."""
        items = [parse()]
        while self.accept(","):
            items.append(parse())
        return tuple(items)

    def parse_enclosed[T](self, parse: Callable[[], T]) -> T:
        """Parse ``(…)`` with ``parse`` for what is inside."""
        self.expect("(")
        inner = parse()
        self.expect(")")
        return inner

    def unexpected(self) -> SqlError:
        """Return the error for the token at hand."""
        token = self.token
        if token.kind is Kind.END:
            token = self._tokens[self._index - 1] if self._index else token
        if token.kind is Kind.NAME and token.upper in RESERVED:
            return make_error(156, token.text, line=token.line)
        return make_error(102, token.text, line=token.line)

    def refused(self, what: str) -> SqlError:
        """Return the error for T-SQL that is valid but not spoken here."""
        return refuse(what, self.token.line)

    # Names

    def at_name(self) -> bool:
        """Return whether a name can begin here."""
        return self.token.kind is Kind.QUOTED or (self.token.kind is Kind.NAME and self.token.upper not in RESERVED)

    def parse_identifier(self) -> str:
        """Parse one name."""
        if not self.at_name():
            raise self.unexpected()
        return self.advance().text

    def parse_name(self) -> Name:
        """Parse a name of one to four parts; an omitted part, as in ``db..table``, is empty."""
        parts = [self.parse_identifier()]
        while self.accept("."):
            parts.append("" if self.at(".") else self.parse_identifier())
        if len(parts) > 4:
            raise self.unexpected()
        return tuple(parts)

    def parse_names(self) -> tuple[str, ...]:
        """Parse ``(a, b, …)``."""
        return self.parse_enclosed(lambda: self.parse_list(self.parse_identifier))

    def parse_type(self) -> TypeName:
        """Parse a type's name and facets."""
        if self.token.kind not in (Kind.NAME, Kind.QUOTED):
            raise self.unexpected()
        name = self.advance().text.lower()
        if name == "sys" and self.accept("."):
            name = self.parse_identifier().lower()
        if name == "national":
            name = f"national {self.advance().text.lower()}"
        if name == "double" and self.accept("PRECISION"):
            return TypeName("float", (53,))
        if name in ("char", "character", "binary", "national char", "national character") and self.accept("VARYING"):
            name = {"char": "varchar", "character": "varchar", "binary": "varbinary"}.get(name, "nvarchar")
        arguments: list[int] = []
        if self.accept("("):
            while not self.accept(")"):
                arguments.append(MAX if self.accept("MAX") else self.parse_integer())
                if not self.at(")"):
                    self.expect(",")
        return TypeName(name, tuple(arguments))

    def parse_integer(self) -> int:
        """Parse a whole number, which may be negative."""
        sign = -1 if self.accept("-") else 1
        if self.token.kind is not Kind.NUMBER or not self.token.text.isdigit():
            raise self.unexpected()
        return sign * int(self.advance().text)

    def parse_string(self) -> str:
        """Parse a string literal."""
        if self.token.kind not in (Kind.STRING, Kind.NATIONAL):
            raise self.unexpected()
        return self.advance().text
