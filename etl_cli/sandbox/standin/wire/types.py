"""TYPE_INFO: how a type is told before its values ([MS-TDS] 2.2.5.6); lengths are in bytes."""

from __future__ import annotations

import struct

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.collations import LOCALES, collation
from etl_cli.sandbox.standin.errors import not_supported
from etl_cli.sandbox.standin.types import SqlType

INTN_SIZES = {"tinyint": 1, "smallint": 2, "int": 4, "bigint": 8}
VARIANT_MAX = 8009
CODES = {
    "bit": 0x68, "tinyint": 0x26, "smallint": 0x26, "int": 0x26, "bigint": 0x26, "real": 0x6D, "float": 0x6D,
    "money": 0x6E, "smallmoney": 0x6E, "datetime": 0x6F, "smalldatetime": 0x6F, "uniqueidentifier": 0x24,
    "decimal": 0x6A, "numeric": 0x6C, "date": 0x28, "time": 0x29, "datetime2": 0x2A, "datetimeoffset": 0x2B,
    "char": 0xAF, "varchar": 0xA7, "nchar": 0xEF, "nvarchar": 0xE7, "binary": 0xAD, "varbinary": 0xA5,
    "rowversion": 0xAD, "text": 0x23, "ntext": 0x63, "image": 0x22, "xml": 0xF1, "sql_variant": 0x62,
    "hierarchyid": 0xF0, "geography": 0xF0, "geometry": 0xF0,
}  # fmt: skip
SIZES = {"real": 4, "float": 8, "money": 8, "smallmoney": 4, "datetime": 8, "smalldatetime": 4,
         "uniqueidentifier": 16, "bit": 1} | INTN_SIZES  # fmt: skip


def decimal_size(precision: int) -> int:
    """Return the bytes of a decimal's value on the wire, its sign included."""
    return 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17


def time_size(scale: int) -> int:
    """Return the bytes of a time of day at this scale."""
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def type_info(kind: SqlType) -> bytes:
    """Return the TYPE_INFO bytes of a type, without the table name that old large objects carry."""
    code = bytes([CODES[kind.name]])
    if kind.name in SIZES:
        return code + bytes([SIZES[kind.name]])
    if kind.name in t.DECIMALS:
        return code + bytes([decimal_size(kind.precision), kind.precision, kind.scale])
    if kind.name in ("time", "datetime2", "datetimeoffset"):
        return code + bytes([kind.scale])
    if kind.name == "date":
        return code
    if kind.name in t.OLD_LARGE:
        return code + struct.pack("<I", 0x7FFFFFFE if kind.is_unicode else 0x7FFFFFFF) + _collation(kind)
    return code + _sized(kind)


def _sized(kind: SqlType) -> bytes:
    if kind.name == "xml":
        return b"\0"
    if kind.name == "sql_variant":
        return struct.pack("<I", VARIANT_MAX)
    if kind.name in t.USER_TYPES:
        raise not_supported(f"a column of type {kind.name} (use .ToString() or .AsBinaryZM())")
    return struct.pack("<H", wire_length(kind)) + _collation(kind)


def wire_length(kind: SqlType) -> int:
    """Return the largest length in bytes of a char or binary type; FFFF is (max)."""
    if kind.length == t.MAX:
        return 0xFFFF
    return max(kind.length, 1) * (2 if kind.is_unicode else 1)


def _collation(kind: SqlType) -> bytes:
    return kind.rules.wire if kind.is_text else b""


FIXED = {0x30: t.TINYINT, 0x32: t.BIT, 0x34: t.SMALLINT, 0x38: t.INT, 0x7F: t.BIGINT, 0x3A: t.SMALLDATETIME,
         0x3B: t.REAL, 0x3C: t.MONEY, 0x3D: t.DATETIME, 0x3E: t.FLOAT, 0x7A: t.SMALLMONEY}  # fmt: skip
BY_SIZE = {
    0x26: {1: t.TINYINT, 2: t.SMALLINT, 4: t.INT, 8: t.BIGINT}, 0x68: {1: t.BIT},
    0x6D: {4: t.REAL, 8: t.FLOAT}, 0x6E: {4: t.SMALLMONEY, 8: t.MONEY},
    0x6F: {4: t.SMALLDATETIME, 8: t.DATETIME}, 0x24: {16: t.GUID, 0: t.GUID},
}  # fmt: skip
TEXTS = {0xA7: "varchar", 0xAF: "char", 0xE7: "nvarchar", 0xEF: "nchar"}
BYTES = {0xA5: "varbinary", 0xAD: "binary"}
LARGE = {0x23: "text", 0x63: "ntext", 0x22: "image"}
SCALED = {0x29: "time", 0x2A: "datetime2", 0x2B: "datetimeoffset"}


class Reader:
    """A cursor over the bytes of one message."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """Return the next bytes; a short message is an error."""
        if count > self.left:
            raise not_supported("a message that ends early")
        self.position += count
        return self.data[self.position - count : self.position]

    def byte(self) -> int:
        """Return the next byte."""
        return self.take(1)[0]

    def unpack(self, layout: str) -> int:
        """Return one little-endian number."""
        number: int = struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))[0]
        return number

    def text(self, characters: int) -> str:
        """Return UTF-16 text."""
        return self.take(characters * 2).decode("utf-16-le", "surrogatepass")


def read_type_info(reader: Reader) -> SqlType:
    """Return the type of a parameter; not supported: table values, user types."""
    code = reader.byte()
    if code in FIXED:
        return FIXED[code]
    if code in BY_SIZE:
        return BY_SIZE[code][reader.byte()]
    if code in (0x6A, 0x6C):
        _, precision, scale = reader.take(3)
        return t.decimal(precision, scale, "decimal" if code == 0x6A else "numeric")
    if code in SCALED:
        return SqlType(SCALED[code], scale=reader.byte())
    return _read_sized(code, reader)


def _read_sized(code: int, reader: Reader) -> SqlType:
    if code == 0x28:
        return t.DATE
    if code in TEXTS:
        length = _declared(reader.unpack("H"), 2 if code in (0xE7, 0xEF) else 1)
        return SqlType(TEXTS[code], length, collation=read_collation(reader.take(5)))
    if code in BYTES:
        return SqlType(BYTES[code], _declared(reader.unpack("H"), 1))
    if code in LARGE:
        reader.take(4)
        return SqlType(LARGE[code], collation=read_collation(reader.take(5)) if code != 0x22 else "")
    if code == 0x62:
        reader.take(4)
        return t.SQL_VARIANT
    if code == 0xF1:
        if reader.byte():
            raise not_supported("an xml parameter with a schema")
        return t.XML
    raise not_supported(f"a parameter of wire type {code:#x}")


def _declared(length: int, unit: int) -> int:
    return t.MAX if length == 0xFFFF else length // unit


def read_collation(data: bytes) -> str:
    """Return the name of a collation that has this code page; '' for the default."""
    word = struct.unpack("<I", data[:4])[0]
    if word >> 20 & 0x40:
        return "Latin1_General_100_CI_AS_SC_UTF8"
    locale = word & 0xFFFFF
    if locale in (0, 0x409):
        return ""
    prefix = next((name for name, (number, _) in LOCALES.items() if number == locale), None)
    return collation(f"{prefix}_CI_AS").name if prefix else ""
