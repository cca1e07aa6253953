"""The parser of data definition: tables, indexes, views, schemas, principals and permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from devcloud.sqlserver.tsql import commands
from devcloud.sqlserver.tsql.databases import DatabaseParser
from devcloud.sqlserver.tsql.lexer import Kind
from devcloud.sqlserver.tsql.syntax import Name, TypeName

_PERMISSIONS: Final = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "CONTROL", "EXECUTE", "ALTER", "REFERENCES", "CONNECT", "TAKE OWNERSHIP"}
    | {"VIEW DEFINITION", "VIEW CHANGE TRACKING", "VIEW DATABASE STATE", "VIEW SERVER STATE", "CREATE TABLE"}
)


class DefinitionParser(DatabaseParser):
    """Parses CREATE, ALTER, DROP, GRANT, DENY and REVOKE."""

    def parse_create(self) -> commands.Statement:
        """Parse CREATE …."""
        start = self.token.start
        self.expect("CREATE")
        replace = self.accept("OR", "ALTER")
        if self.accept("VIEW"):
            return self.parse_view(start, replace)
        parse = _CREATE.get(self.token.upper)
        if parse is not None:
            self.advance()
            return parse(self)
        unique = self.accept("UNIQUE")
        clustered = self.accept_any("CLUSTERED", "NONCLUSTERED") == "CLUSTERED"
        if self.accept("INDEX"):
            return self._parse_create_index(unique, clustered)
        raise self.refused(f"CREATE {self.token.upper}")

    def _parse_create_synonym(self) -> commands.Statement:
        synonym = self.parse_name()
        self.expect("FOR")
        return commands.CreateSynonym(synonym, self.parse_name())

    def _parse_create_schema(self) -> commands.Statement:
        name = self.parse_identifier()
        if self.accept("AUTHORIZATION"):
            self.parse_identifier()
        return commands.Create("schema", name)

    def _parse_create_login(self) -> commands.Statement:
        name = self.parse_identifier()
        self.expect("WITH", "PASSWORD", "=")
        password = self.parse_string()
        while self.accept(","):
            self.parse_identifier()
            self.expect("=")
            self.advance()
        return commands.Create("login", name, password)

    def _parse_create_user(self) -> commands.Statement:
        name = self.parse_identifier()
        login: str | None = name
        if self.accept("WITHOUT", "LOGIN"):
            login = None
        elif self.accept("FOR", "LOGIN") or self.accept("FROM", "LOGIN"):
            login = self.parse_identifier()
        if self.accept("WITH", "DEFAULT_SCHEMA", "="):
            self.parse_identifier()
        return commands.Create("user", name, login)

    def parse_view(self, start: int, replace: bool) -> commands.Statement:
        """Parse what follows CREATE VIEW; the whole statement began at ``start``."""
        name = self.parse_name()
        columns = self.parse_names() if self.at("(") else ()
        if self.accept("WITH") and not self.accept_any("SCHEMABINDING", "VIEW_METADATA"):
            raise self.refused(f"WITH {self.token.upper}")
        self.expect("AS")
        body_start = self.token.start
        query = self.parse_query()
        if self.accept("WITH", "CHECK", "OPTION"):
            raise self.refused("WITH CHECK OPTION")
        end = self.last_end
        return commands.CreateView(name, columns, query, self.text[start:end], self.text[body_start:end], replace)

    # Tables

    def _parse_create_table(self) -> commands.Statement:
        name = self.parse_name()
        self.expect("(")
        columns, keys, defaults = self._parse_elements(")")
        self.expect(")")
        if self.accept("ON"):
            self.advance()
        if self.at("WITH", "("):
            raise self.refused("CREATE TABLE … WITH")
        if defaults:
            raise self.unexpected()
        return commands.CreateTable(name, tuple(columns), tuple(keys))

    def _parse_elements(
        self, close: str
    ) -> tuple[list[commands.ColumnDefinition], list[commands.KeyDefinition], list[tuple[str | None, str, str]]]:
        columns: list[commands.ColumnDefinition] = []
        keys: list[commands.KeyDefinition] = []
        defaults: list[tuple[str | None, str, str]] = []
        while not self.at(close):
            constraint = self.parse_identifier() if self.accept("CONSTRAINT") else None
            if self.at_any("PRIMARY", "UNIQUE", "INDEX"):
                keys.append(self._parse_key(constraint, None))
            elif self.at_any("CHECK", "FOREIGN"):
                raise self.refused(f"{self.token.upper} constraint")
            elif self.accept("DEFAULT"):
                text = self._parse_default()
                self.expect("FOR")
                defaults.append((constraint, self.parse_identifier(), text))
            elif constraint is not None:
                raise self.unexpected()
            else:
                columns.append(self._parse_column(keys))
            if not self.accept(","):
                break
        return columns, keys, defaults

    def _parse_key(self, name: str | None, column: str | None) -> commands.KeyDefinition:
        """Parse PRIMARY KEY, UNIQUE or INDEX; on ``column``, where it stands behind one."""
        is_index = self.accept("INDEX")
        if is_index:
            name = self.parse_identifier()
        primary = not is_index and self.accept("PRIMARY", "KEY")
        unique = primary or self.accept("UNIQUE")
        if not primary and not unique and not is_index:
            raise self.unexpected()
        word = self.accept_any("CLUSTERED", "NONCLUSTERED")
        columns = ((column, False),) if column is not None and not self.at("(") else self._parse_key_columns()
        self._skip_index_options()
        return commands.KeyDefinition(name, columns, unique, primary, None if word is None else word == "CLUSTERED")

    def _skip_index_options(self) -> None:
        """Skip WITH (…) and ON filegroup: storage options change no result."""
        if self.at("WITH", "("):
            self.advance()
            self._skip_parentheses()
        if self.at("ON") and self.ahead().kind in (Kind.QUOTED, Kind.NAME) and self.ahead().upper in ("", "PRIMARY"):
            self.advance()
            self.advance()

    def _parse_key_columns(self) -> tuple[tuple[str, bool], ...]:
        return self.parse_enclosed(
            lambda: self.parse_list(lambda: (self.parse_identifier(), self.accept_any("ASC", "DESC") == "DESC"))
        )

    def _parse_column(self, keys: list[commands.KeyDefinition]) -> commands.ColumnDefinition:
        name = self.parse_identifier()
        if self.accept("AS"):
            return self._parse_computed(name, keys)
        if name.lower() in ("timestamp", "rowversion") and self.at_any(",", ")"):
            return commands.ColumnDefinition(name, TypeName("timestamp"))
        kind = self.parse_type()
        nullable: bool | None = None
        identity: tuple[int, int] | None = None
        default = default_name = collation = None
        while not self.at_any(",", ")", ";") and self.token.kind is not Kind.END:
            constraint = self.parse_identifier() if self.accept("CONSTRAINT") else None
            if self.accept("NOT", "NULL"):
                nullable = False
            elif self.accept("NULL"):
                nullable = True
            elif self.accept("IDENTITY"):
                identity = self._parse_identity()
            elif self.accept("DEFAULT"):
                default, default_name = self._parse_default(), constraint
            elif self.accept("COLLATE"):
                collation = self.advance().text
            elif self.at_any("PRIMARY", "UNIQUE"):
                keys.append(self._parse_key(constraint, name))
                nullable = False if keys[-1].primary else nullable
            elif self.accept("ROWGUIDCOL"):
                continue
            elif self.at_any("CHECK", "REFERENCES", "FOREIGN", "SPARSE", "MASKED", "GENERATED", "ENCRYPTED", "HIDDEN"):
                raise self.refused(f"{self.token.upper} on a column")
            else:
                break
        return commands.ColumnDefinition(name, kind, nullable, identity, default, default_name, collation=collation)

    def _parse_identity(self) -> tuple[int, int]:
        if not self.accept("("):
            return 1, 1
        seed = self.parse_integer()
        self.expect(",")
        increment = self.parse_integer()
        self.expect(")")
        return seed, increment

    def _parse_default(self) -> str:
        start = self.token.start
        self.parse_expression()
        return self.text[start : self.last_end]

    def _parse_computed(self, name: str, keys: list[commands.KeyDefinition]) -> commands.ColumnDefinition:
        text = self._parse_default()
        persisted = self.accept("PERSISTED")
        nullable = None
        if self.accept("NOT", "NULL"):
            nullable = False
        if self.at_any("PRIMARY", "UNIQUE", "CONSTRAINT"):
            raise self.refused("constraint on a computed column")
        return commands.ColumnDefinition(name, None, nullable, computed=text, persisted=persisted)

    def _parse_create_index(self, unique: bool, clustered: bool) -> commands.Statement:
        name = self.parse_identifier()
        self.expect("ON")
        table = self.parse_name()
        columns = self._parse_key_columns()
        included = self.parse_names() if self.accept("INCLUDE") else ()
        if self.at("WHERE"):
            raise self.refused("filtered index")
        self._skip_index_options()
        return commands.CreateIndex(table, commands.KeyDefinition(name, columns, unique, False, clustered, included))

    # ALTER and DROP

    def parse_alter(self) -> commands.Statement:
        """Parse ALTER …."""
        start = self.token.start
        self.expect("ALTER")
        if self.accept("VIEW"):
            return self.parse_view(start, replace=True)
        if self.accept("DATABASE"):
            return self.parse_alter_database()
        if not self.accept("TABLE"):
            raise self.refused(f"ALTER {self.token.upper}")
        table = self.parse_name()
        if self.accept("WITH"):
            self.accept_any("CHECK", "NOCHECK")
        if self.accept("ADD"):
            columns, keys, defaults = self._parse_elements(";")
            return commands.AddToTable(table, tuple(columns), tuple(keys), tuple(defaults))
        if self.accept("ALTER", "COLUMN"):
            column = self.parse_identifier()
            if self.at_any("ADD", "DROP"):
                raise self.refused("ALTER COLUMN … ADD or DROP")
            kind = self.parse_type()
            collation = self.advance().text if self.accept("COLLATE") else None
            nullable = False if self.accept("NOT", "NULL") else True if self.accept("NULL") else None
            return commands.AlterColumn(table, column, kind, nullable, collation)
        if self.accept("DROP"):
            word = self.accept_any("COLUMN", "CONSTRAINT") or "CONSTRAINT"
            if_exists = self.accept("IF", "EXISTS")
            return commands.DropFromTable(table, word.lower(), self.parse_list(self.parse_identifier), if_exists)
        if self.at_any("ENABLE", "DISABLE"):
            return self.parse_tracking(table)
        raise self.refused(f"ALTER TABLE … {self.token.upper}")

    def parse_drop(self) -> commands.Statement:
        """Parse DROP …."""
        self.expect("DROP")
        kind = self.accept_any("TABLE", "VIEW", "SYNONYM", "SCHEMA", "DATABASE", "INDEX", "USER", "LOGIN", "ROLE")
        if kind is None:
            raise self.refused(f"DROP {self.token.upper}")
        if_exists = self.accept("IF", "EXISTS")
        names = self.parse_list(self.parse_name)
        table = None
        if kind == "INDEX":
            self.expect("ON")
            table = self.parse_name()
        return commands.Drop(kind.lower(), names, if_exists, table)

    # Permissions

    def parse_permission(self) -> commands.Statement:
        """Parse GRANT, DENY or REVOKE."""
        verb = self.advance().upper
        permissions = [self._parse_permission_name()]
        columns = self.parse_names() if self.at("(") else ()
        while self.accept(","):
            permissions.append(self._parse_permission_name())
        securable: Name | None = None
        scope = "object"
        if self.accept("ON"):
            if self.accept("SCHEMA", ":") or self.accept("SCHEMA", "::"):
                scope = "schema"
                self.accept(":")
            elif self.accept("OBJECT", "::"):
                scope = "object"
            elif self.accept("DATABASE", "::"):
                scope = "database"
            securable = self.parse_name()
            columns = self.parse_names() if self.at("(") else columns
        else:
            scope = "database"
        if not (self.accept("TO") or (verb == "REVOKE" and self.accept("FROM"))):
            raise self.unexpected()
        principals = self.parse_list(self._parse_principal)
        if self.at("WITH", "GRANT"):
            raise self.refused("WITH GRANT OPTION")
        securable = securable if scope != "database" else None
        return commands.Permission(verb, tuple(permissions), securable, scope, principals, columns)

    def _parse_principal(self) -> str:
        return self.advance().text if self.at("PUBLIC") else self.parse_identifier()

    def _parse_permission_name(self) -> str:
        words = [self.advance().upper]
        while self.token.kind is Kind.NAME and not self.at_any("ON", "TO", "FROM", "("):
            words.append(self.advance().upper)
        name = " ".join(words)
        if name not in _PERMISSIONS:
            raise self.refused(f"permission {name}")
        return name


_CREATE: Final[dict[str, Callable[[DefinitionParser], commands.Statement]]] = {
    "TABLE": DefinitionParser._parse_create_table,
    "SYNONYM": DefinitionParser._parse_create_synonym,
    "SCHEMA": DefinitionParser._parse_create_schema,
    "DATABASE": lambda parser: commands.Create("database", parser.parse_identifier()),
    "LOGIN": DefinitionParser._parse_create_login,
    "USER": DefinitionParser._parse_create_user,
    "ROLE": lambda parser: commands.Create("role", parser.parse_identifier()),
}
