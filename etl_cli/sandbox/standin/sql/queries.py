"""SELECT, its sources and its tail."""

from __future__ import annotations

from dataclasses import replace

from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.sql import ast, lexer
from etl_cli.sandbox.standin.sql.ast import Expression, Source
from etl_cli.sandbox.standin.sql.expressions import ExpressionParser

_HINTS_WORDS = """
NOLOCK READUNCOMMITTED READCOMMITTED READCOMMITTEDLOCK REPEATABLEREAD SERIALIZABLE HOLDLOCK ROWLOCK PAGLOCK TABLOCK
TABLOCKX UPDLOCK XLOCK NOWAIT READPAST SNAPSHOT FORCESEEK FORCESCAN NOEXPAND INDEX KEEPIDENTITY
"""
HINTS = frozenset(_HINTS_WORDS.split())
CHANGES_THE_RESULT = frozenset({"READPAST", "NOWAIT"})


class QueryParser(ExpressionParser):
    """Takes queries."""

    def select(self) -> ast.Select:
        """Take a query with UNION ALL, ORDER BY and OPTION."""
        first = self._core()
        others: list[ast.Select] = []
        while self.at_word("UNION"):
            self.advance()
            if not self.accept("ALL"):
                raise self.unsupported("UNION without ALL")
            others.append(self._core())
        if self.at_any("EXCEPT", "INTERSECT"):
            raise self.unsupported(self.current.word)
        query = self._tail(replace(first, unions=tuple(others)))
        if self.at_word("OPTION"):
            self.advance()
            self.skip_brackets()
        if self.at_word("FOR") and self.ahead().word in ("XML", "JSON", "BROWSE"):
            raise self.unsupported("FOR " + self.ahead().word)
        return query

    def _core(self) -> ast.Select:
        self.expect("SELECT")
        distinct = self.accept("DISTINCT") or (self.accept("ALL") and False)
        top = self._top()
        items = [self._item()]
        while self.accept_symbol(","):
            items.append(self._item())
        if self.at_word("INTO"):
            raise self.unsupported("SELECT INTO")
        source = self.source() if self.accept("FROM") else None
        where = self.expression() if self.accept("WHERE") else None
        group = self._group() if self.accept("GROUP", "BY") else ()
        having = self.expression() if self.accept("HAVING") else None
        return ast.Select(tuple(items), source, where, group, having, (), top, None, None, distinct)

    def _top(self) -> Expression | None:
        if not self.accept("TOP"):
            return None
        if self.accept_symbol("("):
            top = self.scalar()
            self.expect_symbol(")")
        else:
            top = self._primary()
        if self.at_any("PERCENT") or self.at_word("WITH", "TIES"):
            raise self.unsupported("TOP " + self.current.word)
        return top

    def _group(self) -> tuple[Expression, ...]:
        keys = [self.scalar()]
        while self.accept_symbol(","):
            keys.append(self.scalar())
        if self.at_any("WITH"):
            raise self.unsupported("GROUP BY ... WITH " + self.ahead().word)
        return tuple(keys)

    def _tail(self, query: ast.Select) -> ast.Select:
        if not self.accept("ORDER", "BY"):
            return query
        order = [self._order_item()]
        while self.accept_symbol(","):
            order.append(self._order_item())
        offset = fetch = None
        if self.accept("OFFSET"):
            offset = self.scalar()
            self._rows()
            if self.accept("FETCH"):
                self.advance()  # NEXT or FIRST
                fetch = self.scalar()
                self._rows()
                self.expect("ONLY")
        return replace(query, order=tuple(order), offset=offset, fetch=fetch)

    def _rows(self) -> None:
        if not (self.accept("ROWS") or self.accept("ROW")):
            raise self.unexpected()

    def _order_item(self) -> ast.OrderItem:
        expression = self.scalar()
        if self.accept("DESC"):
            return ast.OrderItem(expression, True)
        self.accept("ASC")
        return ast.OrderItem(expression)

    def _item(self) -> ast.SelectItem:
        if self.accept_symbol("*"):
            return ast.SelectItem(ast.Star())
        star = self._qualified_star()
        if star is not None:
            return star
        if self.current.kind == lexer.VARIABLE and self.ahead().text == "=":
            raise self.unsupported("SELECT @variable = ...")
        if self.at_identifier() and self.ahead().text == "=":
            alias = self.identifier()
            self.advance()
            return ast.SelectItem(self.scalar(), alias)
        expression = self.scalar()
        return ast.SelectItem(expression, self._column_alias())

    def _column_alias(self) -> str | None:
        if self.accept("AS"):
            if self.current.kind in (lexer.STRING, lexer.NSTRING):
                return self.string()
            return self.identifier()
        return self.identifier() if self.at_identifier() else None

    def _qualified_star(self) -> ast.SelectItem | None:
        start = self.position
        parts: list[str] = []
        while self.at_identifier() and self.ahead().text == ".":
            parts.append(self.identifier().lower())
            self.advance()
            if parts and self.accept_symbol("*"):
                return ast.SelectItem(ast.Star(tuple(parts)))
        self.position = start
        return None

    def source(self) -> Source:
        """Take what stands behind FROM."""
        left = self._joined()
        while self.accept_symbol(","):
            left = ast.Join("CROSS", left, self._joined(), None)
        return left

    def _joined(self) -> Source:
        left = self._table()
        while True:
            kind = self._join_kind()
            if kind is None:
                return left
            right = self._table()
            condition = None
            if kind != "CROSS":
                self.expect("ON")
                condition = self.expression()
            left = ast.Join(kind, left, right, condition)

    def _join_kind(self) -> str | None:
        if self.accept("JOIN") or self.accept("INNER", "JOIN"):
            return "INNER"
        if self.accept("CROSS", "JOIN"):
            return "CROSS"
        for kind in ("LEFT", "RIGHT", "FULL"):
            if self.accept(kind, "JOIN") or self.accept(kind, "OUTER", "JOIN"):
                return kind
        if self.at_any("CROSS", "OUTER", "INNER", "LEFT", "RIGHT", "FULL"):
            raise self.unsupported(f"{self.current.word} {self.ahead().word}")
        return None

    def _table(self) -> Source:
        if self.accept_symbol("("):
            return self._bracketed_source()
        line = self.current.line
        if self.at_word("CHANGETABLE") and self.ahead().text == "(":
            return self._change_table()
        name = self.object_name()
        if self.at_symbol("(") and self.ahead().word not in HINTS:
            raise self.unsupported("the table function " + ".".join(name))
        self.hints()
        alias = self._table_alias()
        self.hints()
        if self.at_any("TABLESAMPLE", "PIVOT", "UNPIVOT") or self.at_word("FOR", "SYSTEM_TIME"):
            raise self.unsupported(self.current.word)
        return ast.TableReference(name, alias, line)

    def _change_table(self) -> Source:
        line = self.advance().line
        self.expect_symbol("(")
        if not self.accept("CHANGES"):
            raise self.unsupported(f"CHANGETABLE({self.current.text} ...)")
        name = self.object_name()
        self.expect_symbol(",")
        version = self._signed()
        if not isinstance(version, (ast.Literal, ast.Variable, ast.Unary)):
            raise self.unexpected()
        self.expect_symbol(")")
        alias = self._table_alias()
        if alias is None:
            raise SqlError(22104, "A table returned by the CHANGETABLE function must be aliased.", line=line)
        return ast.ChangeTable(name, version, alias, self.names_in_brackets() if self.at_symbol("(") else (), line)

    def _bracketed_source(self) -> Source:
        if self.at_word("VALUES"):
            return self._values_table()
        if not self.at_word("SELECT"):
            inner = self.source()
            self.expect_symbol(")")
            return inner
        query = self.select()
        self.expect_symbol(")")
        alias = self._table_alias()
        if alias is None:
            raise self.unexpected()
        return ast.DerivedTable(query, alias, self.names_in_brackets() if self.at_symbol("(") else ())

    def _values_table(self) -> Source:
        rows = self.value_rows()
        self.expect_symbol(")")
        alias = self._table_alias()
        if alias is None or any(item is None for row in rows for item in row):
            raise self.unexpected()
        plain = tuple(tuple(item for item in row if item is not None) for row in rows)
        return ast.ValuesTable(plain, alias, self.names_in_brackets())

    def value_rows(self) -> tuple[tuple[Expression | None, ...], ...]:
        """Take VALUES (..), (..); None stands for DEFAULT."""
        self.expect("VALUES")
        rows = [self._value_row()]
        while self.accept_symbol(","):
            rows.append(self._value_row())
        return tuple(rows)

    def _value_row(self) -> tuple[Expression | None, ...]:
        self.expect_symbol("(")
        row: list[Expression | None] = [None if self.accept("DEFAULT") else self.scalar()]
        while self.accept_symbol(","):
            row.append(None if self.accept("DEFAULT") else self.scalar())
        self.expect_symbol(")")
        return tuple(row)

    def _table_alias(self) -> str | None:
        if self.accept("AS"):
            return self.identifier()
        return self.identifier() if self.at_identifier() else None

    def hints(self) -> None:
        """Take table hints; those that would change what is read are refused."""
        bare = self.at_symbol("(") and self.ahead().word in HINTS
        if not bare and not (self.at_word("WITH") and self.ahead().text == "("):
            return
        self.accept("WITH")
        start = self.position
        self.skip_brackets()
        for token in self.tokens[start : self.position]:
            if token.word in CHANGES_THE_RESULT:
                raise self.unsupported("the hint " + token.word)
