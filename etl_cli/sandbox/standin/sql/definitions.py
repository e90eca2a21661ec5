"""CREATE, ALTER, DROP, GRANT: statements that define."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from etl_cli.sandbox.standin.collations import collation
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.ast import ColumnDefinition, KeyDefinition, Statement
from etl_cli.sandbox.standin.sql.queries import QueryParser

RIGHTS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "CONNECT", "CONTROL", "ALTER", "REFERENCES", "EXECUTE"})


class DefinitionParser(QueryParser):
    """Takes one defining statement; its first word stands at the cursor."""

    def create(self) -> Statement:
        """Take CREATE ..."""
        start = self.current.start
        self.expect("CREATE")
        if self.accept("TABLE"):
            return self._table_definition()
        if self.accept("SCHEMA"):
            return ast.CreateSchema(self._schema_name())
        if self.accept("DATABASE"):
            return ast.CreateDatabase(self.identifier())
        if self.at_any("LOGIN", "USER"):
            return self._principal(self.advance().word)
        if self.at_word("VIEW") or self.at_word("OR", "ALTER", "VIEW"):
            return self._view(start, alter=self.accept("OR", "ALTER"))
        return self._index()

    def _schema_name(self) -> str:
        name = self.identifier()
        if self.accept("AUTHORIZATION"):
            self.identifier()
        return name

    def _principal(self, kind: str) -> Statement:
        name = self.identifier()
        password = ""
        if self.accept("WITH", "PASSWORD"):
            self.expect_symbol("=")
            password = self.string()
            while self.accept_symbol(","):
                self.identifier()
                self.expect_symbol("=")
                self.advance()
        elif self.accept("FOR", "LOGIN") and self.identifier().lower() != name.lower():
            raise self.unsupported("a user with another name than its login")
        return ast.CreatePrincipal(kind, name, password)

    def _view(self, start: int, *, alter: bool) -> Statement:
        self.expect("VIEW")
        name = self.object_name()
        columns = self.names_in_brackets() if self.at_symbol("(") else ()
        if self.at_word("WITH"):
            raise self.unsupported("CREATE VIEW ... WITH")
        self.expect("AS")
        select = self.select()
        text = self.text[start : self.tokens[self.position - 1].end]
        return ast.CreateView(name, columns, select, text, alter)

    def _index(self) -> Statement:
        unique = self.accept("UNIQUE")
        clustered = self._clustered()
        if not self.accept("INDEX"):
            raise self.unsupported(f"CREATE {self.current.word}")
        name = self.identifier()
        self.expect("ON")
        table = self.object_name()
        columns = self._key_columns()
        included = self.names_in_brackets() if self.accept("INCLUDE") else ()
        if self.at_word("WHERE"):
            raise self.unsupported("a filtered index")
        self._storage()
        return ast.CreateIndex(name, table, columns, included, unique, bool(clustered))

    def _clustered(self) -> bool | None:
        if self.accept("CLUSTERED"):
            return True
        return False if self.accept("NONCLUSTERED") else None

    def _storage(self) -> None:
        """Take WITH (...) and ON filegroup, which change no answer."""
        if self.at_word("WITH") and self.ahead().text == "(":
            self.advance()
            self.skip_brackets()
        if self.accept("ON"):
            self.identifier()
        if self.accept("TEXTIMAGE_ON"):
            self.identifier()

    def _key_columns(self) -> tuple[tuple[str, bool], ...]:
        self.expect_symbol("(")
        columns = [self._key_column()]
        while self.accept_symbol(","):
            columns.append(self._key_column())
        self.expect_symbol(")")
        return tuple(columns)

    def _key_column(self) -> tuple[str, bool]:
        name = self.identifier()
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        return name, descending

    def _table_definition(self) -> Statement:
        name = self.object_name()
        self.expect_symbol("(")
        columns: list[ColumnDefinition] = []
        keys: list[KeyDefinition] = []
        while True:
            self._element(columns, keys)
            if not self.accept_symbol(",") or self.at_symbol(")"):
                break
        self.expect_symbol(")")
        self._storage()
        return ast.CreateTable(name, tuple(columns), tuple(keys))

    def _element(self, columns: list[ColumnDefinition], keys: list[KeyDefinition]) -> None:
        if self.at_any("CONSTRAINT", "PRIMARY", "UNIQUE", "FOREIGN", "CHECK"):
            name = self.identifier() if self.accept("CONSTRAINT") else None
            keys.append(self._key(name, with_columns=True))
        elif self.at_any("INDEX", "PERIOD"):
            raise self.unsupported(f"{self.current.word} in CREATE TABLE")
        else:
            columns.append(self._column_definition())

    def _key(self, name: str | None, *, with_columns: bool) -> KeyDefinition:
        if self.accept("PRIMARY", "KEY"):
            kind = "PRIMARY KEY"
        elif self.accept("UNIQUE"):
            kind = "UNIQUE"
        else:
            raise self.unsupported(f"the constraint {self.current.text}")
        clustered = self._clustered()
        columns = self._key_columns() if with_columns else ()
        self._storage()
        return KeyDefinition(kind, name, clustered, columns)

    def _column_definition(self) -> ColumnDefinition:
        name = self.identifier()
        if self.accept("AS"):
            return self._computed(name)
        column = ColumnDefinition(name, self.data_type())
        while (changed := self._column_option(column)) is not None:
            column = changed
        return column

    def _computed(self, name: str) -> ColumnDefinition:
        start = self.current.start
        expression = self.scalar()
        text = self.text[start : self.tokens[self.position - 1].end]
        persisted = self.accept("PERSISTED")
        nullable = False if persisted and self.accept("NOT", "NULL") else None
        return ColumnDefinition(name, None, nullable, computed=expression, computed_text=text, persisted=persisted)

    def _column_option(self, column: ColumnDefinition) -> ColumnDefinition | None:
        if self.accept("NOT", "NULL"):
            return replace(column, nullable=False)
        if self.accept("NULL"):
            return replace(column, nullable=True)
        if self.accept("COLLATE"):
            assert column.type is not None
            return replace(column, type=column.type.collated(collation(self.identifier()).name))
        if self.accept("IDENTITY"):
            return replace(column, identity=self._identity())
        if self.accept("ROWGUIDCOL"):
            return replace(column, rowguid=True)
        if self.accept("SPARSE"):
            return column
        return self._column_constraint(column)

    def _identity(self) -> tuple[int, int]:
        if not self.accept_symbol("("):
            return 1, 1
        seed = self.integer()
        self.expect_symbol(",")
        step = self.integer()
        self.expect_symbol(")")
        return seed, step

    def _column_constraint(self, column: ColumnDefinition) -> ColumnDefinition | None:
        name = self.identifier() if self.accept("CONSTRAINT") else None
        if self.accept("DEFAULT"):
            start = self.current.start
            default = self.scalar()
            text = self.text[start : self.tokens[self.position - 1].end]
            return replace(column, default=default, default_text=text)
        if self.at_any("PRIMARY", "UNIQUE", "CHECK", "REFERENCES", "FOREIGN"):
            key = self._key(name, with_columns=False)
            return replace(column, key=replace(key, columns=((column.name, False),)))
        if name is not None:
            raise self.unexpected()
        return None

    def alter(self) -> Statement:
        """Take ALTER ..."""
        start = self.current.start
        self.expect("ALTER")
        if self.accept("DATABASE"):
            return self._alter_database()
        if self.at_word("VIEW"):
            return self._view(start, alter=True)
        if not self.accept("TABLE"):
            raise self.unsupported(f"ALTER {self.current.word}")
        name = self.object_name()
        if self.accept("ADD"):
            return self._alter_add(name)
        if self.accept("DROP"):
            return self._alter_drop(name)
        if self.accept("ALTER", "COLUMN"):
            return ast.AlterTable(name, "ALTER COLUMN", (self._column_definition(),))
        if self.at_any("ENABLE", "DISABLE") and self.ahead().word == "CHANGE_TRACKING":
            return self._track(name)
        raise self.unsupported(f"ALTER TABLE {self.current.text}")

    def _track(self, name: ast.Name) -> Statement:
        action = self.advance().word
        self.expect("CHANGE_TRACKING")
        columns = "OFF"
        if action == "ENABLE" and self.at_word("WITH") and self.ahead().text == "(":
            self.position += 2
            self.expect("TRACK_COLUMNS_UPDATED")
            self.expect_symbol("=")
            columns = self.advance().word
            if columns not in ("ON", "OFF"):
                raise self.unexpected()
            self.expect_symbol(")")
        return ast.AlterTable(name, f"{action} CHANGE_TRACKING", names=(columns,))

    def _alter_add(self, name: ast.Name) -> Statement:
        columns: list[ColumnDefinition] = []
        keys: list[KeyDefinition] = []
        self._element(columns, keys)
        while self.accept_symbol(","):
            self._element(columns, keys)
        if any(column.key for column in columns):
            raise self.unsupported("ALTER TABLE ADD a column that is a key")
        if self.at_word("WITH", "VALUES"):
            raise self.unsupported("WITH VALUES")
        return ast.AlterTable(name, "ADD", tuple(columns), keys=tuple(keys))

    def _alter_drop(self, name: ast.Name) -> Statement:
        action = "DROP COLUMN" if self.accept("COLUMN") else "DROP CONSTRAINT"
        if action == "DROP CONSTRAINT":
            self.accept("CONSTRAINT")
        if_exists = self.accept("IF", "EXISTS")
        names = [self.identifier()]
        while self.accept_symbol(","):
            names.append(self.identifier())
        return ast.AlterTable(name, action, names=tuple(names), if_exists=if_exists)

    def _alter_database(self) -> Statement:
        name = "" if self.accept("CURRENT") else self.identifier()
        if self.accept("COLLATE"):
            raise self.unsupported("ALTER DATABASE ... COLLATE")
        self.expect("SET")
        option = self.identifier().upper()
        if option == "CHANGE_TRACKING":
            return self._database_tracking(name)
        value = self.advance().text.upper()
        if self.accept("WITH") and not self.accept("ROLLBACK", "IMMEDIATE"):
            self.expect("NO_WAIT")
        return ast.AlterDatabase(name, option, value)

    def _database_tracking(self, name: str) -> Statement:
        """Take what stands behind SET CHANGE_TRACKING: = ON or = OFF, and the options in brackets."""
        value = ""
        if self.accept_symbol("="):
            value = self.advance().word
            if value not in ("ON", "OFF"):
                raise self.unexpected()
        options: list[tuple[str, tuple[str, ...]]] = []
        if value != "OFF" and self.accept_symbol("("):
            options.append(self._tracking_option())
            while self.accept_symbol(","):
                options.append(self._tracking_option())
            self.expect_symbol(")")
        if not value and not options:
            raise self.unexpected()
        return ast.AlterDatabase(name, "CHANGE_TRACKING", value, tuple(options))

    def _tracking_option(self) -> tuple[str, tuple[str, ...]]:
        option = self.identifier().upper()
        self.expect_symbol("=")
        if option == "AUTO_CLEANUP" and self.at_any("ON", "OFF"):
            return option, (self.advance().word,)
        if option != "CHANGE_RETENTION":
            raise self.unexpected()
        return option, (str(self.integer()), self.advance().text.upper())

    def drop(self) -> Statement:
        """Take DROP ..."""
        self.expect("DROP")
        kind = self.advance().word
        if kind not in ("TABLE", "VIEW", "INDEX", "SCHEMA", "USER", "LOGIN"):
            raise self.unsupported(f"DROP {kind}")
        if_exists = self.accept("IF", "EXISTS")
        names = [self.object_name()]
        while self.accept_symbol(","):
            names.append(self.object_name())
        table: ast.Name = ()
        if kind == "INDEX":
            self.expect("ON")
            table = self.object_name()
        return ast.Drop(kind, tuple(names), if_exists, table)

    def permission(self) -> Statement:
        """Take GRANT, DENY or REVOKE."""
        action = self.advance().word
        rights = [self._right()]
        while self.accept_symbol(","):
            rights.append(self._right())
        name: ast.Name = ()
        if self.accept("ON"):
            if self.at_any("SCHEMA", "DATABASE") and self.ahead().text == "::":
                raise self.unsupported(f"rights on a {self.current.word.lower()}")
            if self.at_any("OBJECT") and self.ahead().text == "::":
                self.position += 2
            name = self.object_name()
        if not self.accept("TO"):
            self.expect("FROM")
        principals = [self.identifier()]
        while self.accept_symbol(","):
            principals.append(self.identifier())
        return ast.Permission(action, tuple(rights), name, tuple(principals))

    def _right(self) -> str:
        words: list[Any] = [self.advance().word]
        while not self.at_any("ON", "TO", "FROM") and not self.at_symbol(","):
            words.append(self.advance().word)
            if not words[-1]:
                raise self.unexpected()
        return " ".join(words)
