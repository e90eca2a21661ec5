"""Expressions and predicates, by falling precedence."""

from __future__ import annotations

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.collations import DEFAULT, collation
from etl_cli.sandbox.standin.sql import ast, lexer
from etl_cli.sandbox.standin.sql.ast import Expression
from etl_cli.sandbox.standin.sql.cursor import PLAIN_TYPES, Cursor
from etl_cli.sandbox.standin.types import SqlType

COMPARISONS = {"=": "=", "<>": "<>", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">=", "!<": ">=", "!>": "<="}
METHODS = {"tostring": "ToString", "asbinaryzm": "AsBinaryZM", "stasbinary": "STAsBinary", "stastext": "STAsText",
           "astextzm": "AsTextZM", "getlevel": "GetLevel"}  # fmt: skip
PROPERTIES = {"stsrid": "STSrid"}
NILADIC = {"CURRENT_TIMESTAMP": "GETDATE", "SYSTEM_USER": "SUSER_SNAME", "CURRENT_USER": "USER_NAME",
           "SESSION_USER": "USER_NAME", "USER": "USER_NAME"}  # fmt: skip
FUNCTION_KEYWORDS = frozenset({"LEFT", "RIGHT"})
DATE_PART_FUNCTIONS = frozenset({"DATEADD", "DATEDIFF", "DATEDIFF_BIG", "DATEPART"})
NULL_TYPE = t.INT  # what SQL Server says of SELECT NULL
LARGEST_INT = 2**31 - 1


def string_literal(text: str, *, unicode: bool) -> ast.Literal:
    """Return a constant; '..' holds only what the server's code page holds."""
    if unicode:
        length = t.utf16_length(text)
        return ast.Literal(t.nvarchar(length if length <= 4000 else t.MAX), text)
    data = collation(DEFAULT).encode(text)
    return ast.Literal(t.varchar(len(data) if len(data) <= 8000 else t.MAX), collation(DEFAULT).decode(data))


def number_literal(text: str) -> ast.Literal:
    """Return an int, a numeric or a float, by how it is written."""
    if "e" in text.lower():
        return ast.Literal(t.FLOAT, float(text))
    whole, _, fraction = text.partition(".")
    value = int((whole + fraction) or "0")
    if "." not in text and value <= LARGEST_INT:
        return ast.Literal(t.INT, value)
    precision = max(len((whole + fraction).lstrip("0")), len(fraction), 1)
    return ast.Literal(t.numeric(min(precision, 38), len(fraction)), value)


class ExpressionParser(Cursor):
    """Takes one expression at a time."""

    def select(self) -> ast.Select:
        """Take a query; the query parser does it."""
        raise NotImplementedError

    def expression(self) -> Expression:
        """Take a predicate or a scalar."""
        return self._logical("OR", self._conjunction)

    def _conjunction(self) -> Expression:
        return self._logical("AND", self._negation)

    def _logical(self, word: str, operand: object) -> Expression:
        assert callable(operand)
        operands: list[Expression] = [operand()]
        while self.accept(word):
            operands.append(operand())
        return operands[0] if len(operands) == 1 else ast.Logical(word, tuple(operands))

    def _negation(self) -> Expression:
        if self.accept("NOT"):
            return ast.Not(self._negation())
        return self._predicate()

    def _predicate(self) -> Expression:
        if self.at_word("EXISTS"):
            self.advance()
            return ast.Exists(self._bracketed_select())
        left = self.scalar()
        operator = COMPARISONS.get(self.current.text) if self.current.kind == lexer.OPERATOR else None
        if operator:
            self.advance()
            if self.at_any("ALL", "ANY", "SOME"):
                raise self.unsupported(self.current.word)
            return ast.Comparison(operator, left, self.scalar())
        if self.accept("IS"):
            negated = self.accept("NOT")
            self.expect("NULL")
            return ast.IsNull(left, negated)
        return self._worded(left)

    def _worded(self, left: Expression) -> Expression:
        negated = self.at_word("NOT") and self.ahead().word in ("IN", "LIKE", "BETWEEN") and self.accept("NOT")
        if self.accept("IN"):
            return self._in(left, negated)
        if self.accept("LIKE"):
            pattern = self.scalar()
            escape = self.scalar() if self.accept("ESCAPE") else None
            return ast.Like(left, pattern, escape, negated)
        if self.accept("BETWEEN"):
            low = self.scalar()
            self.expect("AND")
            both = ast.Logical("AND", (ast.Comparison(">=", left, low), ast.Comparison("<=", left, self.scalar())))
            return ast.Not(both) if negated else both
        return left

    def _in(self, left: Expression, negated: bool) -> Expression:
        self.expect_symbol("(")
        if self.at_word("SELECT"):
            found = ast.InSelect(left, self.select(), negated)
            self.expect_symbol(")")
            return found
        items = [self.scalar()]
        while self.accept_symbol(","):
            items.append(self.scalar())
        self.expect_symbol(")")
        return ast.InList(left, tuple(items), negated)

    def _bracketed_select(self) -> ast.Select:
        self.expect_symbol("(")
        found = self.select()
        self.expect_symbol(")")
        return found

    def scalar(self) -> Expression:
        """Take sums; & ^ | stand on the same level as + and -."""
        left = self._product()
        while self.current.kind == lexer.OPERATOR and self.current.text in ("+", "-", "&", "|", "^"):
            operator = self.advance().text
            left = ast.Binary(operator, left, self._product())
        return left

    def _product(self) -> Expression:
        left = self._signed()
        while self.current.kind == lexer.OPERATOR and self.current.text in ("*", "/", "%"):
            operator = self.advance().text
            left = ast.Binary(operator, left, self._signed())
        return left

    def _signed(self) -> Expression:
        if self.current.kind == lexer.OPERATOR and self.current.text in ("-", "+", "~"):
            operator = self.advance().text
            return ast.Unary(operator, self._signed())
        found = self._primary()
        while True:
            if self.accept("COLLATE"):
                found = ast.Collate(found, collation(self.identifier()).name)
            elif self.at_symbol(".") and not isinstance(found, ast.Column):
                found = self._method(found)
            else:
                return found

    def _method(self, target: Expression) -> Expression:
        self.expect_symbol(".")
        name = self.identifier()
        if name.lower() in PROPERTIES:
            return ast.Method(target, PROPERTIES[name.lower()])
        if name.lower() not in METHODS:
            raise self.unsupported(f"the method .{name}")
        return ast.Method(target, METHODS[name.lower()], self._arguments())

    def _primary(self) -> Expression:
        token = self.current
        if token.kind in (lexer.STRING, lexer.NSTRING):
            self.advance()
            return string_literal(token.text, unicode=token.kind == lexer.NSTRING)
        if token.kind == lexer.NUMBER:
            self.advance()
            return number_literal(token.text)
        if token.kind == lexer.BINARY:
            self.advance()
            digits = token.text[2:]
            data = bytes.fromhex("0" * (len(digits) % 2) + digits)
            return ast.Literal(t.varbinary(len(data) if len(data) <= 8000 else t.MAX), data)
        if token.kind == lexer.VARIABLE:
            self.advance()
            return ast.Variable(token.text.lower())
        if self.accept_symbol("("):
            return self._bracketed()
        return self._word()

    def _bracketed(self) -> Expression:
        inner: Expression = ast.ScalarSelect(self.select()) if self.at_word("SELECT") else self.expression()
        self.expect_symbol(")")
        return inner

    def _word(self) -> Expression:
        if self.accept("NULL"):
            return ast.Literal(NULL_TYPE, None)
        if self.accept("CASE"):
            return self._case()
        if self.at_any("CAST", "TRY_CAST") and self.ahead().text == "(":
            return self._cast()
        if self.at_any("CONVERT", "TRY_CONVERT") and self.ahead().text == "(":
            return self._convert()
        if self.current.word in NILADIC and self.ahead().text != "(":
            return ast.Function(NILADIC[self.advance().word])
        if self.current.word in FUNCTION_KEYWORDS and self.ahead().text == "(":
            return ast.Function(self.advance().word, self._arguments())
        return self._name()

    def _name(self) -> Expression:
        parts = [self.identifier()]
        if self.accept_symbol("::"):
            return ast.StaticMethod(parts[0].lower(), self.identifier(), self._arguments())
        while self.at_symbol("."):
            following = self.ahead()
            if following.text.lower() in METHODS and self.ahead(2).text == "(":
                return self._method(_column(parts))
            if following.text.lower() in PROPERTIES:
                return self._method(_column(parts))
            self.advance()
            parts.append("" if self.at_symbol(".") else self.identifier())
        if self.at_symbol("("):
            return self._call(".".join(parts).upper())
        return _column(parts)

    def _call(self, name: str) -> Expression:
        if self.ahead().text == "*" and self.ahead(2).text == ")":
            self.position += 3
            found = ast.Function(name, star=True)
        elif self.ahead().word == "DISTINCT":
            self.position += 2
            argument = self.expression()
            self.expect_symbol(")")
            found = ast.Function(name, (argument,), distinct=True)
        elif name in DATE_PART_FUNCTIONS and self.ahead().kind == lexer.NAME and self.ahead(2).text == ",":
            found = self._date_part_call(name)
        else:
            found = ast.Function(name, self._arguments())
        if self.at_word("OVER") or self.at_word("WITHIN"):
            raise self.unsupported(f"{name} {self.current.word}")
        return found

    def _date_part_call(self, name: str) -> ast.Function:
        """The first argument is a bare word, which becomes a text constant."""
        self.expect_symbol("(")
        part = string_literal(self.advance().text.lower(), unicode=False)
        arguments: list[Expression] = [part]
        while self.accept_symbol(","):
            arguments.append(self.expression())
        self.expect_symbol(")")
        return ast.Function(name, tuple(arguments))

    def _arguments(self) -> tuple[Expression, ...]:
        self.expect_symbol("(")
        arguments: list[Expression] = []
        if not self.at_symbol(")"):
            arguments.append(self.expression())
            while self.accept_symbol(","):
                arguments.append(self.expression())
        self.expect_symbol(")")
        return tuple(arguments)

    def _case(self) -> Expression:
        operand = None if self.at_word("WHEN") else self.scalar()
        branches: list[tuple[Expression, Expression]] = []
        while self.accept("WHEN"):
            when = self.expression()
            self.expect("THEN")
            branches.append((when, self.scalar()))
        otherwise = self.scalar() if self.accept("ELSE") else None
        self.expect("END")
        return ast.Case(operand, tuple(branches), otherwise)

    def _cast(self) -> Expression:
        forgiving = self.advance().word == "TRY_CAST"
        self.expect_symbol("(")
        operand = self.scalar()
        self.expect("AS")
        kind = self._cast_type()
        self.expect_symbol(")")
        return ast.Cast(operand, kind, None, forgiving)

    def _convert(self) -> Expression:
        forgiving = self.advance().word == "TRY_CONVERT"
        self.expect_symbol("(")
        kind = self._cast_type()
        self.expect_symbol(",")
        operand = self.scalar()
        style = self.scalar() if self.accept_symbol(",") else None
        self.expect_symbol(")")
        return ast.Cast(operand, kind, style, forgiving)

    def _cast_type(self) -> SqlType:
        """In CAST and CONVERT char, varchar, binary and their like are 30 long without a length."""
        start = self.position
        kind = self.data_type()
        sized = self.tokens[self.position - 1].text == ")"
        if sized or kind.name not in ("char", "varchar", "nchar", "nvarchar", "binary", "varbinary"):
            return kind
        assert self.position > start
        return SqlType(kind.name, t.SYSNAME.length if self._is_sysname(start) else 30)

    def _is_sysname(self, start: int) -> bool:
        return PLAIN_TYPES.get(self.tokens[start].text.lower()) is t.SYSNAME


def _column(parts: list[str]) -> ast.Column:
    return ast.Column(tuple(part.lower() for part in parts), ".".join(parts))
