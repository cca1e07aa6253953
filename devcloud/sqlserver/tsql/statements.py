"""The parser of statements and batches."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from devcloud.sqlserver.tsql.commands import (
    Argument,
    Assignment,
    Batch,
    Block,
    Declare,
    Delete,
    Execute,
    ExecuteText,
    Flow,
    If,
    Insert,
    Print,
    RaiseError,
    SelectStatement,
    SetOption,
    SetVariable,
    Statement,
    Throw,
    Transaction,
    Truncate,
    TryCatch,
    Update,
    Use,
    WaitFor,
    While,
)
from devcloud.sqlserver.tsql.definitions import DefinitionParser
from devcloud.sqlserver.tsql.lexer import Kind
from devcloud.sqlserver.tsql.syntax import Binary, Column, CommonTable, Expression, Literal, Name, SelectItem, Variable

_COMPOUND: Final = ("+=", "-=", "*=", "/=", "%=")
_SWITCHES: Final = frozenset(
    {"NOCOUNT", "ANSI_NULLS", "ANSI_PADDING", "ANSI_WARNINGS", "ANSI_NULL_DFLT_ON", "ARITHABORT", "XACT_ABORT"}
    | {"CONCAT_NULL_YIELDS_NULL", "QUOTED_IDENTIFIER", "IMPLICIT_TRANSACTIONS", "CURSOR_CLOSE_ON_COMMIT"}
    | {"NUMERIC_ROUNDABORT", "FMTONLY", "ARITHIGNORE", "ANSI_DEFAULTS", "NOEXEC", "PARSEONLY", "NO_BROWSETABLE"}
)


@lru_cache(maxsize=512)
def parse_batch(text: str) -> Batch:
    """Return the syntax of a batch. Raises SqlError 102, 105, 156 … for its mistakes, 40510 for what is not spoken."""
    return StatementParser(text).parse()


@lru_cache(maxsize=512)
def parse_expression(text: str) -> Expression:
    """Return the syntax of one expression, as kept for defaults and computed columns."""
    parser = StatementParser(text)
    expression = parser.parse_expression()
    if parser.token.kind is not Kind.END:
        raise parser.unexpected()
    return expression


class StatementParser(DefinitionParser):
    """Parses batches."""

    def parse(self) -> Batch:
        """Parse the whole text."""
        statements: list[Statement] = []
        while True:
            while self.accept(";"):
                pass
            if self.token.kind is Kind.END:
                return Batch(tuple(statements))
            statements.append(self.parse_statement())

    def parse_statement(self) -> Statement:
        """Parse one statement and the semicolon that may close it."""
        statement = self._parse_statement()
        self.accept(";")
        return statement

    def _parse_statement(self) -> Statement:
        line, word = self.token.line, self.token.upper
        match word:
            case "SELECT":
                return SelectStatement(self.parse_query(), line)
            case "(":
                return SelectStatement(self.parse_query(), line)
            case "WITH":
                return self._parse_with(line)
            case "INSERT":
                return self._parse_insert(line)
            case "UPDATE":
                return self._parse_update(line)
            case "DELETE":
                return self._parse_delete(line)
            case "TRUNCATE":
                self.expect("TRUNCATE", "TABLE")
                return Truncate(self.parse_name(), line)
            case "CREATE":
                return self.parse_create()
            case "ALTER":
                return self.parse_alter()
            case "DROP":
                return self.parse_drop()
            case "GRANT" | "DENY" | "REVOKE":
                return self.parse_permission()
            case "USE":
                self.advance()
                return Use(self.parse_identifier(), line)
            case "DECLARE":
                return self._parse_declare(line)
            case "SET":
                return self._parse_set(line)
            case "IF":
                self.advance()
                condition = self.parse_condition()
                then = self.parse_statement()
                return If(condition, then, self.parse_statement() if self.accept("ELSE") else None, line)
            case "WHILE":
                self.advance()
                return While(self.parse_condition(), self.parse_statement(), line)
            case "BEGIN":
                return self._parse_begin(line)
            case "BREAK" | "CONTINUE" | "RETURN":
                self.advance()
                if word == "RETURN" and self.token.kind is Kind.NUMBER:
                    self.advance()
                return Flow(word, line)
            case "PRINT":
                self.advance()
                return Print(self.parse_expression(), line)
            case "RAISERROR":
                return self._parse_raiserror(line)
            case "THROW":
                return self._parse_throw(line)
            case "WAITFOR":
                self.expect("WAITFOR", "DELAY")
                return WaitFor(self.parse_expression(), line)
            case "COMMIT" | "ROLLBACK" | "SAVE":
                return self._parse_transaction_end(line)
            case "EXEC" | "EXECUTE":
                return self._parse_execute(line)
            case _:
                return self._parse_bare_procedure(line)

    def _parse_bare_procedure(self, line: int) -> Statement:
        """Parse a procedure call without EXECUTE, which only the first statement of a batch may be."""
        if self._index == 0 and self.at_name():
            return self._parse_procedure(line)
        if self.at_any("MERGE", "DBCC", "KILL", "BACKUP", "RESTORE", "GOTO", "CHECKPOINT", "OPEN", "CLOSE", "REVERT"):
            raise self.refused(self.token.upper)
        raise self.unexpected()

    def _parse_with(self, line: int) -> Statement:
        start = self._index
        common = self.parse_common_tables()
        if self.at("UPDATE"):
            return self._parse_update(line, common)
        if self.at("DELETE"):
            return self._parse_delete(line, common)
        if self.at_any("INSERT", "MERGE"):
            raise self.refused(f"WITH … {self.token.upper}")
        self._index = start
        return SelectStatement(self.parse_query(), line)

    # Writes

    def _parse_output(self) -> tuple[SelectItem, ...]:
        if not self.accept("OUTPUT"):
            return ()
        items = [self.parse_select_item()]
        while self.accept(","):
            items.append(self.parse_select_item())
        if self.at("INTO"):
            raise self.refused("OUTPUT … INTO")
        return tuple(items)

    def _parse_insert(self, line: int) -> Statement:
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
            return Insert(table, columns, None, None, output, line)
        if self.accept("VALUES"):
            return Insert(table, columns, self.parse_rows(), None, output, line)
        if self.at_any("EXEC", "EXECUTE"):
            raise self.refused("INSERT … EXECUTE")
        return Insert(table, columns, None, self.parse_query(), output, line)

    def _parse_update(self, line: int, common: tuple[CommonTable, ...] = ()) -> Statement:
        self.expect("UPDATE")
        top = self.parse_top()
        target = self.parse_name()
        self._parse_hints()
        self.expect("SET")
        assignments = [self._parse_assignment()]
        while self.accept(","):
            assignments.append(self._parse_assignment())
        output = self._parse_output()
        source = self.parse_source() if self.accept("FROM") else None
        where = self.parse_condition() if self.accept("WHERE") else None
        return Update(target, tuple(assignments), source, where, top, output, common, line)

    def _parse_assignment(self) -> Assignment:
        if self.token.kind is Kind.VARIABLE:
            raise self.refused("UPDATE … SET @variable")
        column = self.parse_name()[-1]
        for compound in _COMPOUND:
            if self.accept(compound):
                return Assignment(column, Binary(compound[0], Column((column,)), self.parse_expression()))
        self.expect("=")
        return Assignment(column, None if self.accept("DEFAULT") else self.parse_expression())

    def _parse_delete(self, line: int, common: tuple[CommonTable, ...] = ()) -> Statement:
        self.expect("DELETE")
        top = self.parse_top()
        self.accept("FROM")
        target = self.parse_name()
        self._parse_hints()
        output = self._parse_output()
        source = self.parse_source() if self.accept("FROM") else None
        where = self.parse_condition() if self.accept("WHERE") else None
        return Delete(target, source, where, top, output, common, line)

    # Variables and options

    def _parse_variable(self) -> str:
        if self.token.kind is not Kind.VARIABLE:
            raise self.unexpected()
        return self.advance().text

    def _parse_declare(self, line: int) -> Statement:
        self.expect("DECLARE")
        variables = []
        while True:
            name = self._parse_variable()
            self.accept("AS")
            if self.at_any("TABLE", "CURSOR"):
                raise self.refused(f"{self.token.upper} variable")
            kind = self.parse_type()
            variables.append((name, kind, self.parse_expression() if self.accept("=") else None))
            if not self.accept(","):
                return Declare(tuple(variables), line)

    def _parse_set(self, line: int) -> Statement:
        self.expect("SET")
        if self.token.kind is Kind.VARIABLE:
            name = self._parse_variable()
            for compound in _COMPOUND:
                if self.accept(compound):
                    return SetVariable(name, Binary(compound[0], Variable(name), self.parse_expression()), line)
            self.expect("=")
            return SetVariable(name, self.parse_expression(), line)
        if self.accept("TRANSACTION", "ISOLATION", "LEVEL"):
            words = [self.advance().upper]
            if words[0] in ("READ", "REPEATABLE"):
                words.append(self.advance().upper)
            return SetOption("ISOLATION", " ".join(words), line=line)
        if self.accept("IDENTITY_INSERT"):
            table = self.parse_name()
            return SetOption("IDENTITY_INSERT", self.advance().upper, table, line)
        name = self.advance().upper
        if name in _SWITCHES:
            while self.accept(","):
                self.advance()
            value = self.accept_any("ON", "OFF")
            if value is None:
                raise self.unexpected()
            return SetOption(name, value, line=line)
        if name in ("LOCK_TIMEOUT", "TEXTSIZE", "ROWCOUNT", "DATEFIRST", "QUERY_GOVERNOR_COST_LIMIT"):
            return SetOption(name, str(self.parse_integer()), line=line)
        if name in ("LANGUAGE", "DATEFORMAT", "DEADLOCK_PRIORITY", "CONTEXT_INFO"):
            return SetOption(name, self.advance().text, line=line)
        raise self.refused(f"SET {name}")

    # Control of flow

    def _parse_begin(self, line: int) -> Statement:
        self.expect("BEGIN")
        if self.accept_any("TRAN", "TRANSACTION"):
            return Transaction("BEGIN", self._parse_transaction_name(), line)
        if self.at("DISTRIBUTED"):
            raise self.refused("BEGIN DISTRIBUTED TRANSACTION")
        if self.accept("TRY"):
            attempt = self._parse_block(line, "TRY")
            self.accept(";")
            self.expect("BEGIN", "CATCH")
            return TryCatch(attempt, self._parse_block(line, "CATCH"), line)
        return self._parse_block(line)

    def _parse_block(self, line: int, *closing: str) -> Block:
        statements = []
        while not self.at("END"):
            if not self.accept(";"):
                statements.append(self.parse_statement())
        self.expect("END", *closing)
        return Block(tuple(statements), line)

    def _parse_transaction_name(self) -> str | None:
        if self.token.kind is Kind.VARIABLE:
            raise self.refused("a transaction named by a variable")
        return self.advance().text if self.at_name() else None

    def _parse_transaction_end(self, line: int) -> Statement:
        kind = self.advance().upper
        if kind == "SAVE":
            raise self.refused("SAVE TRANSACTION")
        if not self.accept_any("TRAN", "TRANSACTION"):
            self.accept("WORK")
            return Transaction(kind, None, line)
        return Transaction(kind, self._parse_transaction_name(), line)

    def _parse_raiserror(self, line: int) -> Statement:
        self.expect("RAISERROR", "(")
        arguments = self.parse_expressions()
        self.expect(")")
        if self.accept("WITH") and not self.accept("NOWAIT"):
            raise self.refused(f"RAISERROR … WITH {self.token.upper}")
        if len(arguments) < 3:
            raise self.unexpected()
        return RaiseError(arguments[0], arguments[1], arguments[2], arguments[3:], line)

    def _parse_throw(self, line: int) -> Statement:
        self.expect("THROW")
        if self.at(";") or self.token.kind is Kind.END or self.at("END"):
            return Throw(line=line)
        number = self.parse_expression()
        self.expect(",")
        message = self.parse_expression()
        self.expect(",")
        return Throw(number, message, self.parse_expression(), line)

    # EXECUTE

    def _parse_execute(self, line: int) -> Statement:
        self.advance()
        if self.accept("("):
            text = self.parse_expression()
            self.expect(")")
            return ExecuteText(text, line)
        result = None
        if self.token.kind is Kind.VARIABLE:
            result = self._parse_variable()
            self.expect("=")
        return self._parse_procedure(line, result)

    def _parse_procedure(self, line: int, result: str | None = None) -> Statement:
        procedure: Name = self.parse_name()
        arguments: list[Argument] = []
        if self.token.kind in (Kind.VARIABLE, Kind.STRING, Kind.NATIONAL, Kind.NUMBER, Kind.BINARY, Kind.MONEY) or (
            self.at_any("-", "NULL", "DEFAULT") or (self.at_name() and self._index > 1)
        ):
            while True:
                arguments.append(self._parse_argument())
                if not self.accept(","):
                    break
        return Execute(procedure, tuple(arguments), result, line)

    def _parse_argument(self) -> Argument:
        name = None
        if self.token.kind is Kind.VARIABLE and self.ahead().text == "=":
            name = self._parse_variable()
            self.expect("=")
        if self.accept("DEFAULT"):
            return Argument(name, None)
        value = Literal(self.advance().text) if self.at_name() else self.parse_expression()
        return Argument(name, value, bool(self.accept_any("OUTPUT", "OUT")))
