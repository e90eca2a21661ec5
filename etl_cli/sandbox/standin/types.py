"""T-SQL types, and the Python value that stands for each while the stand-in holds it.

| type | value |
| --- | --- |
| bit, tinyint, smallint, int, bigint | int (bit: 0 or 1) |
| decimal, numeric | int, scaled by 10**scale; money and smallmoney by 10**4 |
| real, float | float |
| date | int, days since 0001-01-01 |
| time, datetime2 | int, 100 ns ticks since midnight, since 0001-01-01 |
| datetime | int, 1/300 s since 1900-01-01; smalldatetime: int, minutes since 1900-01-01 |
| datetimeoffset | (UTC ticks since 0001-01-01, offset in minutes) |
| char, varchar, text, nchar, nvarchar, ntext, xml | str; a lone surrogate is one character |
| binary, varbinary, image, rowversion | bytes |
| uniqueidentifier | 16 bytes in the wire's order (first three groups little-endian) |
| sql_variant | Variant |
| hierarchyid, geography, geometry | spatial.UserValue |

NULL is None everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from etl_cli.sandbox.standin import collations

MAX = -1
SqlValue = Any

INTEGERS = {"bit": (0, 1), "tinyint": (0, 255), "smallint": (-(2**15), 2**15 - 1),
            "int": (-(2**31), 2**31 - 1), "bigint": (-(2**63), 2**63 - 1)}  # fmt: skip
DECIMALS = frozenset({"decimal", "numeric"})
MONEYS = {"money": (-(2**63), 2**63 - 1), "smallmoney": (-(2**31), 2**31 - 1)}
FLOATS = frozenset({"real", "float"})
TEMPORALS = frozenset({"date", "time", "datetime", "smalldatetime", "datetime2", "datetimeoffset"})
CODE_PAGE_TEXT = frozenset({"char", "varchar", "text"})
UNICODE_TEXT = frozenset({"nchar", "nvarchar", "ntext"})
BINARIES = frozenset({"binary", "varbinary", "image", "rowversion"})
USER_TYPES = frozenset({"hierarchyid", "geography", "geometry"})
OLD_LARGE = frozenset({"text", "ntext", "image"})

# high to low; an operator's operands are converted to the higher (T-SQL "Data type precedence")
PRECEDENCE = (
    "hierarchyid", "geography", "geometry", "sql_variant", "xml", "datetimeoffset", "datetime2", "datetime",
    "smalldatetime", "date", "time", "float", "real", "decimal", "numeric", "money", "smallmoney", "bigint",
    "int", "smallint", "tinyint", "bit", "ntext", "text", "image", "rowversion", "uniqueidentifier",
    "nvarchar", "nchar", "varchar", "char", "varbinary", "binary",
)  # fmt: skip
RANK = {name: rank for rank, name in enumerate(PRECEDENCE)}


@dataclass(frozen=True, slots=True)
class SqlType:
    """A declared type; length counts characters of nchar/nvarchar and bytes of the rest, MAX is (max)."""

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    collation: str = ""

    @property
    def is_integer(self) -> bool:
        """Bit to bigint."""
        return self.name in INTEGERS

    @property
    def is_scaled(self) -> bool:
        """Decimal, numeric, money, smallmoney: an int scaled by 10**scale."""
        return self.name in DECIMALS or self.name in MONEYS

    @property
    def is_exact(self) -> bool:
        """Integers and scaled types."""
        return self.is_integer or self.is_scaled

    @property
    def is_float(self) -> bool:
        """Real or float."""
        return self.name in FLOATS

    @property
    def is_number(self) -> bool:
        """Any number."""
        return self.is_exact or self.is_float

    @property
    def is_temporal(self) -> bool:
        """Date, time and their relatives."""
        return self.name in TEMPORALS

    @property
    def is_unicode(self) -> bool:
        """Text in UTF-16."""
        return self.name in UNICODE_TEXT

    @property
    def is_text(self) -> bool:
        """Text with a collation."""
        return self.name in CODE_PAGE_TEXT or self.is_unicode

    @property
    def is_binary(self) -> bool:
        """Plain bytes, rowversion included."""
        return self.name in BINARIES

    @property
    def is_large(self) -> bool:
        """Whether the value is sent in parts or as an old large object."""
        return self.length == MAX or self.name in OLD_LARGE or self.name == "xml"

    @property
    def rules(self) -> collations.Collation:
        """The collation; the server's default where none is declared."""
        return collations.collation(self.collation or collations.DEFAULT)

    @property
    def label(self) -> str:
        """The name as error messages say it: SQL Server calls rowversion timestamp."""
        return "timestamp" if self.name == "rowversion" else self.name

    def collated(self, name: str) -> SqlType:
        """Return the same type under another collation."""
        return replace(self, collation=name)

    def declaration(self) -> str:
        """Return the type as it is written in DDL."""
        if self.name in DECIMALS:
            return f"{self.name}({self.precision},{self.scale})"
        if self.name in ("time", "datetime2", "datetimeoffset"):
            return f"{self.name}({self.scale})"
        if self.name in ("char", "varchar", "nchar", "nvarchar", "binary", "varbinary"):
            return f"{self.name}({'max' if self.length == MAX else self.length})"
        return self.label


class Variant(NamedTuple):
    """A sql_variant's value with its base type."""

    type: SqlType
    value: SqlValue


BIT, TINYINT, SMALLINT = SqlType("bit"), SqlType("tinyint"), SqlType("smallint")
INT, BIGINT = SqlType("int"), SqlType("bigint")
FLOAT, REAL = SqlType("float", precision=53), SqlType("real", precision=24)
MONEY, SMALLMONEY = SqlType("money", precision=19, scale=4), SqlType("smallmoney", precision=10, scale=4)
DATE, DATETIME, SMALLDATETIME = SqlType("date"), SqlType("datetime", scale=3), SqlType("smalldatetime")
GUID, XML, SQL_VARIANT = SqlType("uniqueidentifier"), SqlType("xml", MAX), SqlType("sql_variant")
ROWVERSION = SqlType("rowversion", 8)
SYSNAME = SqlType("nvarchar", 128)


def decimal(precision: int, scale: int, name: str = "decimal") -> SqlType:
    """Return the decimal type of this precision and scale."""
    return SqlType(name, precision=precision, scale=scale)


def numeric(precision: int, scale: int) -> SqlType:
    """Return the numeric type of this precision and scale: what literals with a point are."""
    return decimal(precision, scale, "numeric")


def nvarchar(length: int = MAX, collation: str = "") -> SqlType:
    """Return the type of UTF-16 text of at most length units."""
    return SqlType("nvarchar", length, collation=collation)


def varchar(length: int = MAX, collation: str = "") -> SqlType:
    """Return the type of code page text of at most length bytes."""
    return SqlType("varchar", length, collation=collation)


def varbinary(length: int = MAX) -> SqlType:
    """Return the type of at most length bytes."""
    return SqlType("varbinary", length)


def datetime2(scale: int = 7) -> SqlType:
    """Return the type of a moment with scale digits."""
    return SqlType("datetime2", scale=scale)


def datetimeoffset(scale: int = 7) -> SqlType:
    """Return the type of a moment with its offset, with scale digits."""
    return SqlType("datetimeoffset", scale=scale)


def time(scale: int = 7) -> SqlType:
    """Return the type of a time of day with scale digits."""
    return SqlType("time", scale=scale)


def utf16_length(text: str) -> int:
    """Return the number of UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2
