"""Walking over tokens: words, names, types; the ground under the parsers."""

from __future__ import annotations

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import SqlError, not_supported, syntax
from etl_cli.sandbox.standin.sql import lexer
from etl_cli.sandbox.standin.sql.ast import Name
from etl_cli.sandbox.standin.sql.lexer import Token
from etl_cli.sandbox.standin.types import SqlType

# words that end an alias or an expression where a name might stand
_RESERVED_WORDS = """
ADD ALL ALTER AND AS ASC BEGIN BETWEEN BY CASE CHECK COLLATE COLUMN COMMIT CONSTRAINT CREATE CROSS DECLARE DEFAULT
DELETE DENY DESC DISTINCT DROP ELSE END ESCAPE EXCEPT EXEC EXECUTE EXISTS FETCH FOR FOREIGN FROM FULL FUNCTION GO GRANT
GROUP HAVING IDENTITY IF IN INDEX INNER INSERT INTERSECT INTO IS JOIN KEY LEFT LIKE MERGE NOT NULL OF ON OPTION
OR ORDER OUTER OVER PIVOT PRIMARY PRINT PROCEDURE REFERENCES RETURN REVOKE RIGHT ROLLBACK SAVE SELECT SET TABLE
TABLESAMPLE THEN TOP TRAN TRANSACTION TRIGGER TRUNCATE UNION UNIQUE UNPIVOT UPDATE USE VALUES VIEW WAITFOR WHEN
WHERE WHILE WITH
"""
RESERVED = frozenset(_RESERVED_WORDS.split())

PLAIN_TYPES = {
    "bit": t.BIT, "tinyint": t.TINYINT, "smallint": t.SMALLINT, "int": t.INT, "integer": t.INT, "bigint": t.BIGINT,
    "money": t.MONEY, "smallmoney": t.SMALLMONEY, "real": t.REAL, "date": t.DATE, "datetime": t.DATETIME,
    "smalldatetime": t.SMALLDATETIME, "text": SqlType("text"), "ntext": SqlType("ntext"),
    "image": SqlType("image"), "uniqueidentifier": t.GUID, "xml": t.XML, "sql_variant": t.SQL_VARIANT,
    "hierarchyid": SqlType("hierarchyid"), "geography": SqlType("geography"), "geometry": SqlType("geometry"),
    "rowversion": t.ROWVERSION, "timestamp": t.ROWVERSION, "sysname": t.SYSNAME,
}  # fmt: skip
SIZED_TYPES = {"char": 8000, "varchar": 8000, "nchar": 4000, "nvarchar": 4000, "binary": 8000, "varbinary": 8000}


class Cursor:
    """A place in a batch's tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = lexer.tokenize(text)
        self.position = 0

    @property
    def current(self) -> Token:
        """The token here."""
        return self.tokens[self.position]

    def ahead(self, distance: int = 1) -> Token:
        """Return a later token; END past the end."""
        return self.tokens[min(self.position + distance, len(self.tokens) - 1)]

    def advance(self) -> Token:
        """Take the token here."""
        token = self.current
        if token.kind != lexer.END:
            self.position += 1
        return token

    def unexpected(self) -> SqlError:
        """Return 102 for the token here."""
        return syntax(self.current.text or self.tokens[max(self.position - 1, 0)].text, self.current.line)

    def unsupported(self, piece: str) -> SqlError:
        """Return 50000 with the line of the token here."""
        return not_supported(piece, self.current.line)

    def at_word(self, *words: str) -> bool:
        """Whether these words stand here, one after the other."""
        return all(self.ahead(i).word == word for i, word in enumerate(words))

    def at_any(self, *words: str) -> bool:
        """Whether one of these words stands here."""
        return self.current.word in words

    def accept(self, *words: str) -> bool:
        """Take these words if they stand here."""
        if not self.at_word(*words):
            return False
        self.position += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Take these words; 102 otherwise."""
        if not self.accept(*words):
            raise self.unexpected()

    def at_symbol(self, symbol: str) -> bool:
        """Whether this operator stands here."""
        return self.current.kind == lexer.OPERATOR and self.current.text == symbol

    def accept_symbol(self, symbol: str) -> bool:
        """Take this operator if it stands here."""
        if self.at_symbol(symbol):
            self.position += 1
            return True
        return False

    def expect_symbol(self, symbol: str) -> None:
        """Take this operator; 102 otherwise."""
        if not self.accept_symbol(symbol):
            raise self.unexpected()

    def at_identifier(self) -> bool:
        """Whether a name stands here that is no reserved word."""
        token = self.current
        return token.kind == lexer.QUOTED or (token.kind == lexer.NAME and token.word not in RESERVED)

    def identifier(self) -> str:
        """Take one name."""
        if not self.at_identifier():
            raise self.unexpected()
        return self.advance().text

    def object_name(self) -> Name:
        """Take a name of one to four parts; an empty part (db..t) is ''."""
        parts = [self.identifier()]
        while self.accept_symbol("."):
            parts.append("" if self.at_symbol(".") else self.identifier())
        if len(parts) > 3:
            raise self.unsupported("a name of four parts: " + ".".join(parts))
        return tuple(parts)

    def names_in_brackets(self) -> tuple[str, ...]:
        """Take (a, b, c)."""
        self.expect_symbol("(")
        names = [self.identifier()]
        while self.accept_symbol(","):
            names.append(self.identifier())
        self.expect_symbol(")")
        return tuple(names)

    def integer(self) -> int:
        """Take a whole number, perhaps signed."""
        sign = -1 if self.accept_symbol("-") else 1
        if self.current.kind != lexer.NUMBER or not self.current.text.isdigit():
            raise self.unexpected()
        return sign * int(self.advance().text)

    def string(self) -> str:
        """Take a string constant."""
        if self.current.kind not in (lexer.STRING, lexer.NSTRING):
            raise self.unexpected()
        return self.advance().text

    def data_type(self) -> SqlType:
        """Take a type; 2715 for a name that is none."""
        line = self.current.line
        name = self.identifier().lower()
        if name == "sys" and self.accept_symbol("."):
            name = self.identifier().lower()
        if name in PLAIN_TYPES:
            return PLAIN_TYPES[name]
        numbers = self._type_numbers()
        if name in SIZED_TYPES:
            return SqlType(name, self._length(name, numbers))
        if name in ("decimal", "numeric", "dec"):
            precision, scale = [*numbers, 18, 0][:2] if not numbers else [*numbers, 0][:2]
            if not 1 <= precision <= 38 or not 0 <= scale <= precision:
                raise SqlError(2750, f"Column or parameter #1: Specified column precision {precision} is invalid.")
            return t.decimal(precision, scale, "numeric" if name == "numeric" else "decimal")
        if name == "float":
            return t.REAL if numbers and numbers[0] <= 24 else t.FLOAT
        if name in ("time", "datetime2", "datetimeoffset"):
            return SqlType(name, scale=numbers[0] if numbers else 7)
        raise SqlError(2715, f"Cannot find data type {name}.", line=line)

    def _length(self, name: str, numbers: list[int]) -> int:
        length = numbers[0] if numbers else 1
        if length == t.MAX and name in ("varchar", "nvarchar", "varbinary"):
            return length
        if not 1 <= length <= SIZED_TYPES[name]:
            raise SqlError(131, f"The size ({length}) given to the type '{name}' exceeds the maximum allowed.")
        return length

    def _type_numbers(self) -> list[int]:
        if not self.accept_symbol("("):
            return []
        if self.accept("MAX"):
            numbers = [t.MAX]
        else:
            numbers = [self.integer()]
            while self.accept_symbol(","):
                numbers.append(self.integer())
        self.expect_symbol(")")
        return numbers

    def skip_brackets(self) -> None:
        """Take a balanced (...) without looking into it: hints and options."""
        self.expect_symbol("(")
        depth = 1
        while depth:
            token = self.advance()
            if token.kind == lexer.END:
                raise self.unexpected()
            depth += (token.kind == lexer.OPERATOR) * ((token.text == "(") - (token.text == ")"))
