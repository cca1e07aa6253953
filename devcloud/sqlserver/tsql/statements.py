"""The parser of statements and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Final

from devcloud.sqlserver.tsql import commands, syntax
from devcloud.sqlserver.tsql.definitions import DefinitionParser
from devcloud.sqlserver.tsql.lexer import Kind

_COMPOUND: Final = ("+=", "-=", "*=", "/=", "%=")
_SWITCHES: Final = frozenset(
    {"NOCOUNT", "ANSI_NULLS", "ANSI_PADDING", "ANSI_WARNINGS", "ANSI_NULL_DFLT_ON", "ARITHABORT", "XACT_ABORT"}
    | {"CONCAT_NULL_YIELDS_NULL", "QUOTED_IDENTIFIER", "IMPLICIT_TRANSACTIONS", "CURSOR_CLOSE_ON_COMMIT"}
    | {"NUMERIC_ROUNDABORT", "FMTONLY", "ARITHIGNORE", "ANSI_DEFAULTS", "NOEXEC", "PARSEONLY", "NO_BROWSETABLE"}
)


@lru_cache(maxsize=512)
def parse_batch(text: str) -> commands.Batch:
    """Return the syntax of a batch. Raises SqlError 102, 105, 156 … for its mistakes, 40510 for what is not spoken."""
    return StatementParser(text).parse()


@lru_cache(maxsize=512)
def parse_expression(text: str) -> syntax.Expression:
    """Return the syntax of one expression, as kept for defaults and computed columns."""
    parser = StatementParser(text)
    expression = parser.parse_expression()
    if parser.token.kind is not Kind.END:
        raise parser.unexpected()
    return expression


class StatementParser(DefinitionParser):
    """Parses batches."""

    def parse(self) -> commands.Batch:
        """Parse the whole text."""
        statements: list[commands.Statement] = []
        while True:
            while self.accept(";"):
                pass
            if self.token.kind is Kind.END:
                return commands.Batch(tuple(statements))
            statements.append(self.parse_statement())

    def parse_statement(self) -> commands.Statement:
        """Parse one statement and the semicolon that may close it."""
        line = self.token.line
        parse = _STATEMENTS.get(self.token.upper, StatementParser._parse_bare_procedure)
        statement = replace(parse(self), line=line)
        self.accept(";")
        return statement

    def _parse_if(self) -> commands.Statement:
        self.expect("IF")
        condition, then = self.parse_condition(), self.parse_statement()
        return commands.If(condition, then, self.parse_statement() if self.accept("ELSE") else None)

    def _parse_flow(self) -> commands.Statement:
        word = self.advance().upper
        if word == "RETURN" and self.token.kind is Kind.NUMBER:
            self.advance()
        return commands.Flow(word)

    def _parse_bare_procedure(self) -> commands.Statement:
        """Parse a procedure call without EXECUTE, which only the first statement of a batch may be."""
        if self._index == 0 and self.at_name():
            return self._parse_procedure()
        if self.at_any("MERGE", "DBCC", "KILL", "BACKUP", "RESTORE", "GOTO", "CHECKPOINT", "OPEN", "CLOSE", "REVERT"):
            raise self.refused(self.token.upper)
        raise self.unexpected()

    def _parse_with(self) -> commands.Statement:
        start = self._index
        common = self.parse_common_tables()
        if self.at("UPDATE"):
            return self._parse_update(common)
        if self.at("DELETE"):
            return self._parse_delete(common)
        if self.at_any("INSERT", "MERGE"):
            raise self.refused(f"WITH … {self.token.upper}")
        self._index = start
        return commands.SelectStatement(self.parse_query())

    # Writes

    def _parse_output(self) -> tuple[syntax.SelectItem, ...]:
        if not self.accept("OUTPUT"):
            return ()
        items = self.parse_list(self.parse_select_item)
        if self.at("INTO"):
            raise self.refused("OUTPUT … INTO")
        return items

    def _parse_insert(self) -> commands.Statement:
        self.expect("INSERT")
        if self.accept("BULK"):
            raise self.refused("INSERT BULK")
        if self.at("TOP"):
            raise self.refused("INSERT TOP")
        self.accept("INTO")
        table = self.parse_name()
        self._parse_hints()
        columns = self.parse_names() if self.at("(") and self.ahead().upper != "SELECT" else None
        output = self._parse_output()
        if self.accept("DEFAULT", "VALUES"):
            return commands.Insert(table, columns, None, None, output)
        if self.accept("VALUES"):
            return commands.Insert(table, columns, self.parse_rows(), None, output)
        if self.at_any("EXEC", "EXECUTE"):
            raise self.refused("INSERT … EXECUTE")
        return commands.Insert(table, columns, None, self.parse_query(), output)

    def _parse_update(self, common: tuple[syntax.CommonTable, ...] = ()) -> commands.Statement:
        self.expect("UPDATE")
        top = self.parse_top()
        target = self.parse_name()
        self._parse_hints()
        self.expect("SET")
        assignments = self.parse_list(self._parse_assignment)
        output = self._parse_output()
        source = self.parse_source() if self.accept("FROM") else None
        where = self.parse_condition() if self.accept("WHERE") else None
        return commands.Update(target, assignments, source, where, top, output, common)

    def _parse_assignment(self) -> commands.Assignment:
        if self.token.kind is Kind.VARIABLE:
            raise self.refused("UPDATE … SET @variable")
        column = self.parse_name()[-1]
        for compound in _COMPOUND:
            if self.accept(compound):
                return commands.Assignment(column, self.parse_expression(), compound[0])
        self.expect("=")
        return commands.Assignment(column, self.parse_value())

    def _parse_delete(self, common: tuple[syntax.CommonTable, ...] = ()) -> commands.Statement:
        self.expect("DELETE")
        top = self.parse_top()
        self.accept("FROM")
        target = self.parse_name()
        self._parse_hints()
        output = self._parse_output()
        source = self.parse_source() if self.accept("FROM") else None
        where = self.parse_condition() if self.accept("WHERE") else None
        return commands.Delete(target, source, where, top, output, common)

    # Variables and options

    def _parse_variable(self) -> str:
        if self.token.kind is not Kind.VARIABLE:
            raise self.unexpected()
        return self.advance().text

    def _parse_declare(self) -> commands.Statement:
        self.expect("DECLARE")
        return commands.Declare(self.parse_list(self._parse_declared))

    def _parse_declared(self) -> tuple[str, syntax.TypeName, syntax.Expression | None]:
        name = self._parse_variable()
        self.accept("AS")
        if self.at_any("TABLE", "CURSOR"):
            raise self.refused(f"{self.token.upper} variable")
        return name, self.parse_type(), self.parse_expression() if self.accept("=") else None

    def _parse_set(self) -> commands.Statement:
        self.expect("SET")
        if self.token.kind is Kind.VARIABLE:
            name = self._parse_variable()
            for compound in _COMPOUND:
                if self.accept(compound):
                    return commands.SetVariable(
                        name, syntax.Binary(compound[0], syntax.Variable(name), self.parse_expression())
                    )
            self.expect("=")
            return commands.SetVariable(name, self.parse_expression())
        if self.accept("TRANSACTION", "ISOLATION", "LEVEL"):
            words = [self.advance().upper]
            if words[0] in ("READ", "REPEATABLE"):
                words.append(self.advance().upper)
            return commands.SetOption("ISOLATION", " ".join(words))
        if self.accept("IDENTITY_INSERT"):
            table = self.parse_name()
            return commands.SetOption("IDENTITY_INSERT", self.advance().upper, table)
        name = self.advance().upper
        if name in _SWITCHES:
            while self.accept(","):
                self.advance()
            return commands.SetOption(name, self.expect_any("ON", "OFF"))
        if name in ("LOCK_TIMEOUT", "TEXTSIZE", "ROWCOUNT", "DATEFIRST", "QUERY_GOVERNOR_COST_LIMIT"):
            return commands.SetOption(name, str(self.parse_integer()))
        if name in ("LANGUAGE", "DATEFORMAT", "DEADLOCK_PRIORITY", "CONTEXT_INFO"):
            return commands.SetOption(name, self.advance().text)
        raise self.refused(f"SET {name}")

    # Control of flow

    def _parse_begin(self) -> commands.Statement:
        self.expect("BEGIN")
        if self.accept_any("TRAN", "TRANSACTION"):
            return commands.TransactionStatement("BEGIN", self._parse_transaction_name())
        if self.at("DISTRIBUTED"):
            raise self.refused("BEGIN DISTRIBUTED TRANSACTION")
        if self.accept("TRY"):
            attempt = self._parse_block("TRY")
            self.accept(";")
            self.expect("BEGIN", "CATCH")
            return commands.TryCatch(attempt, self._parse_block("CATCH"))
        return self._parse_block()

    def _parse_block(self, *closing: str) -> commands.Block:
        statements = []
        while not self.at("END"):
            if not self.accept(";"):
                statements.append(self.parse_statement())
        self.expect("END", *closing)
        return commands.Block(tuple(statements))

    def _parse_transaction_name(self) -> str | None:
        if self.token.kind is Kind.VARIABLE:
            raise self.refused("a transaction named by a variable")
        return self.advance().text if self.at_name() else None

    def _parse_transaction_end(self) -> commands.Statement:
        kind = self.advance().upper
        if kind == "SAVE":
            raise self.refused("SAVE TRANSACTION")
        if not self.accept_any("TRAN", "TRANSACTION"):
            self.accept("WORK")
            return commands.TransactionStatement(kind, None)
        return commands.TransactionStatement(kind, self._parse_transaction_name())

    def _parse_raiserror(self) -> commands.Statement:
        self.expect("RAISERROR")
        arguments = self.parse_enclosed(self.parse_expressions)
        if self.accept("WITH") and not self.accept("NOWAIT"):
            raise self.refused(f"RAISERROR … WITH {self.token.upper}")
        if len(arguments) < 3:
            raise self.unexpected()
        return commands.RaiseError(arguments[0], arguments[1], arguments[2], arguments[3:])

    def _parse_throw(self) -> commands.Statement:
        self.expect("THROW")
        if self.at(";") or self.token.kind is Kind.END or self.at("END"):
            return commands.Throw()
        number = self.parse_expression()
        self.expect(",")
        message = self.parse_expression()
        self.expect(",")
        return commands.Throw(number, message, self.parse_expression())

    # EXECUTE

    def _parse_execute(self) -> commands.Statement:
        self.advance()
        if self.at("("):
            return commands.ExecuteText(self.parse_enclosed(self.parse_expression))
        result = None
        if self.token.kind is Kind.VARIABLE:
            result = self._parse_variable()
            self.expect("=")
        return self._parse_procedure(result)

    def _parse_procedure(self, result: str | None = None) -> commands.Statement:
        procedure: syntax.Name = self.parse_name()
        arguments: tuple[commands.Argument, ...] = ()
        if self.token.kind in (Kind.VARIABLE, Kind.STRING, Kind.NATIONAL, Kind.NUMBER, Kind.BINARY, Kind.MONEY) or (
            self.at_any("-", "NULL", "DEFAULT") or (self.at_name() and self._index > 1)
        ):
            arguments = self.parse_list(self._parse_argument)
        return commands.Execute(procedure, arguments, result)

    def _parse_argument(self) -> commands.Argument:
        name = None
        if self.token.kind is Kind.VARIABLE and self.ahead().text == "=":
            name = self._parse_variable()
            self.expect("=")
        if self.accept("DEFAULT"):
            return commands.Argument(name, None)
        value = syntax.Literal(self.advance().text) if self.at_name() else self.parse_expression()
        return commands.Argument(name, value, bool(self.accept_any("OUTPUT", "OUT")))


def _row(
    words: str, statement: Callable[..., commands.Statement], *parts: Callable[[StatementParser], object]
) -> Callable[[StatementParser], commands.Statement]:
    """Return the parser of a statement that is these words, and then its parts in their order."""

    def parse(parser: StatementParser) -> commands.Statement:
        parser.expect(*words.split())
        return statement(*(part(parser) for part in parts))

    return parse


_STATEMENTS: Final[dict[str, Callable[[StatementParser], commands.Statement]]] = {
    **dict.fromkeys(("SELECT", "("), _row("", commands.SelectStatement, StatementParser.parse_query)),
    "WITH": StatementParser._parse_with,
    "INSERT": StatementParser._parse_insert,
    "UPDATE": StatementParser._parse_update,
    "DELETE": StatementParser._parse_delete,
    "TRUNCATE": _row("TRUNCATE TABLE", commands.Truncate, StatementParser.parse_name),
    "CREATE": StatementParser.parse_create,
    "ALTER": StatementParser.parse_alter,
    "DROP": StatementParser.parse_drop,
    **dict.fromkeys(("GRANT", "DENY", "REVOKE"), StatementParser.parse_permission),
    "USE": _row("USE", commands.Use, StatementParser.parse_identifier),
    "DECLARE": StatementParser._parse_declare,
    "SET": StatementParser._parse_set,
    "IF": StatementParser._parse_if,
    "WHILE": _row("WHILE", commands.While, StatementParser.parse_condition, StatementParser.parse_statement),
    "BEGIN": StatementParser._parse_begin,
    **dict.fromkeys(("BREAK", "CONTINUE", "RETURN"), StatementParser._parse_flow),
    "PRINT": _row("PRINT", commands.Print, StatementParser.parse_expression),
    "RAISERROR": StatementParser._parse_raiserror,
    "THROW": StatementParser._parse_throw,
    "WAITFOR": _row("WAITFOR DELAY", commands.WaitFor, StatementParser.parse_expression),
    **dict.fromkeys(("COMMIT", "ROLLBACK", "SAVE"), StatementParser._parse_transaction_end),
    **dict.fromkeys(("EXEC", "EXECUTE"), StatementParser._parse_execute),
}
"""By the word that a statement begins with."""
