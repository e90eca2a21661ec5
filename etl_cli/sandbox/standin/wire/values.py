"""One value to its bytes in a row, and back from a parameter; the bulk path is in bulk/encode.py.

Layouts: [MS-TDS] 2.2.5.5 and 2.2.5.2.3 (PLP). Every type goes as its nullable variant.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.errors import not_supported
from etl_cli.sandbox.standin.types import SqlType, SqlValue, Variant
from etl_cli.sandbox.standin.wire.types import (
    CODES,
    INTN_SIZES,
    Reader,
    decimal_size,
    read_collation,
    time_size,
)

Encoder = Callable[[SqlValue], bytes]
TICKS_PER_DAY = 864_000_000_000
THIRDS_PER_DAY = 300 * 86_400
PLP_NULL = b"\xff" * 8
PLP_END = b"\0\0\0\0"
UNKNOWN_PLP_LENGTH = 0xFFFFFFFFFFFFFFFE
TEXT_POINTER = b"\x10" + b"standin-textptr!" + b"\0" * 8
MAX_BYTES = 0xFFFF


def encoder(kind: SqlType) -> Encoder:
    """Return the function from a value, or None, to its bytes in a row."""
    raw = payload_encoder(kind)
    if kind.name in t.OLD_LARGE:
        return lambda v: b"\0" if v is None else TEXT_POINTER + _counted("<I", raw(v))
    if kind.is_large:
        return lambda v: PLP_NULL if v is None else plp(raw(v))
    if kind.name == "sql_variant":
        return lambda v: b"\0\0\0\0" if v is None else _counted("<I", raw(v))
    if kind.is_text or kind.is_binary:
        return lambda v: b"\xff\xff" if v is None else _counted("<H", raw(v))
    return lambda v: b"\0" if v is None else _counted("<B", raw(v))


def _counted(layout: str, data: bytes) -> bytes:
    return struct.pack(layout, len(data)) + data


def plp(data: bytes) -> bytes:
    """Return data as a partially length-prefixed value of one part."""
    head = struct.pack("<Q", len(data))
    return head + (_counted("<I", data) + PLP_END if data else PLP_END)


def payload_encoder(kind: SqlType) -> Encoder:
    """Return the function from a value to its bytes without length."""
    name = kind.name
    if name in INTN_SIZES or name == "bit":
        size = INTN_SIZES.get(name, 1)
        return lambda v: v.to_bytes(size, "little", signed=size > 1)
    if name in t.DECIMALS:
        size = decimal_size(kind.precision) - 1
        return lambda v: (b"\1" if v >= 0 else b"\0") + abs(v).to_bytes(size, "little")
    if kind.is_unicode or name == "xml":
        return lambda v: v.encode("utf-16-le", "surrogatepass")
    if kind.is_text:
        return kind.rules.encode
    if kind.is_temporal:
        return _temporal_encoder(kind)
    return _PLAIN[name] if name in _PLAIN else _refuse(kind)


def _refuse(kind: SqlType) -> Encoder:
    raise not_supported(f"a value of type {kind.name} on the wire")


def _temporal_encoder(kind: SqlType) -> Encoder:
    if kind.name == "date":
        return lambda v: v.to_bytes(3, "little")
    if kind.name == "datetime":
        return lambda v: struct.pack("<iI", *divmod(v, THIRDS_PER_DAY))
    if kind.name == "smalldatetime":
        return lambda v: struct.pack("<HH", *divmod(v, 1440))
    size, unit = time_size(kind.scale), int(10 ** (7 - kind.scale))

    def clock(ticks: int) -> bytes:
        return (ticks // unit).to_bytes(size, "little")

    def moment(ticks: int) -> bytes:
        days, rest = divmod(ticks, TICKS_PER_DAY)
        return clock(rest) + days.to_bytes(3, "little")

    if kind.name == "time":
        return clock
    if kind.name == "datetime2":
        return moment
    return lambda v: moment(v[0]) + struct.pack("<h", v[1])


def _money(value: int) -> bytes:
    return struct.pack("<iI", value >> 32, value & 0xFFFFFFFF)


def _variant(value: Variant) -> bytes:
    """Base type, its properties, then the value without length ([MS-TDS] 2.2.5.5.4)."""
    kind, content = value
    code = VARIANT_CODES.get(kind.name)
    if code is None:
        raise not_supported(f"sql_variant with a value of type {kind.name}")
    properties = _variant_properties(kind)
    return bytes([code, len(properties)]) + properties + payload_encoder(kind)(content)


VARIANT_CODES = {"bit": 0x32, "tinyint": 0x30, "smallint": 0x34, "int": 0x38, "bigint": 0x7F, "real": 0x3B,
                 "float": 0x3E, "money": 0x3C, "smallmoney": 0x7A, "datetime": 0x3D,
                 "smalldatetime": 0x3A} | {n: CODES[n] for n in (
                     "uniqueidentifier", "decimal", "numeric", "date", "time", "datetime2", "datetimeoffset",
                     "char", "varchar", "nchar", "nvarchar", "binary", "varbinary")}  # fmt: skip
VARIANT_NAMES = {code: name for name, code in VARIANT_CODES.items()}


def _variant_properties(kind: SqlType) -> bytes:
    if kind.name in t.DECIMALS:
        return bytes([kind.precision, kind.scale])
    if kind.name in ("time", "datetime2", "datetimeoffset"):
        return bytes([kind.scale])
    if kind.is_text:
        return kind.rules.wire + struct.pack("<H", max(kind.length, 1) * (2 if kind.is_unicode else 1))
    return struct.pack("<H", max(kind.length, 1)) if kind.is_binary else b""


_PLAIN: dict[str, Encoder] = {
    "real": lambda v: struct.pack("<f", v), "float": lambda v: struct.pack("<d", v), "money": _money,
    "smallmoney": lambda v: struct.pack("<i", v), "uniqueidentifier": bytes, "binary": bytes,
    "varbinary": bytes, "image": bytes, "rowversion": bytes, "sql_variant": _variant,
}  # fmt: skip


def read_value(kind: SqlType, reader: Reader, *, fixed: bool = False) -> SqlValue:
    """Return a parameter's value; fixed: the type had no nullable variant, so no length comes first."""
    data = reader.take(_fixed_size(kind)) if fixed else _read_payload(kind, reader)
    return None if data is None else decode(kind, data)


def _fixed_size(kind: SqlType) -> int:
    return {"bit": 1, "real": 4, "float": 8, "money": 8, "smallmoney": 4, "datetime": 8, "smalldatetime": 4,
            **INTN_SIZES}[kind.name]  # fmt: skip


def _read_payload(kind: SqlType, reader: Reader) -> bytes | None:
    if kind.length == t.MAX:
        return _read_plp(reader)
    if kind.name in t.OLD_LARGE:
        length = reader.unpack("i")
        return None if length < 0 else reader.take(length)
    if kind.name == "sql_variant":
        length = reader.unpack("I")
        return reader.take(length) if length else None
    if kind.is_text or kind.is_binary:
        length = reader.unpack("H")
        return None if length == MAX_BYTES else reader.take(length)
    length = reader.byte()
    return reader.take(length) if length else None


def _read_plp(reader: Reader) -> bytes | None:
    if reader.take(8) == PLP_NULL:
        return None
    parts = []
    while length := reader.unpack("I"):
        parts.append(reader.take(length))
    return b"".join(parts)


def decode(kind: SqlType, data: bytes) -> SqlValue:
    """Return the value of bytes that stand without length."""
    name = kind.name
    if kind.is_integer:
        return int.from_bytes(data, "little", signed=len(data) > 1)
    if name in t.DECIMALS:
        return int.from_bytes(data[1:], "little") * (1 if data[0] else -1)
    if kind.is_unicode or name == "xml":
        return data.decode("utf-16-le", "surrogatepass").removeprefix("\ufeff" if name == "xml" else "")
    if kind.is_text:
        return kind.rules.decode(data)
    if kind.is_temporal:
        return _decode_temporal(kind, data)
    if kind.is_float:
        return struct.unpack("<d" if name == "float" else "<f", data)[0]
    if name == "money":
        high, low = struct.unpack("<iI", data)
        return high << 32 | low
    if name == "smallmoney":
        return struct.unpack("<i", data)[0]
    return _decode_variant(data) if name == "sql_variant" else data


def _decode_temporal(kind: SqlType, data: bytes) -> SqlValue:
    if kind.name == "date":
        return int.from_bytes(data, "little")
    if kind.name == "datetime":
        days, thirds = struct.unpack("<iI", data)
        return days * THIRDS_PER_DAY + thirds
    if kind.name == "smalldatetime":
        days, minutes = struct.unpack("<HH", data)
        return days * 1440 + minutes
    size, unit = time_size(kind.scale), 10 ** (7 - kind.scale)
    ticks = int.from_bytes(data[:size], "little") * unit
    if kind.name == "time":
        return ticks
    ticks += int.from_bytes(data[size : size + 3], "little") * TICKS_PER_DAY
    if kind.name == "datetime2":
        return ticks
    return ticks, struct.unpack("<h", data[size + 3 :])[0]


def _decode_variant(data: bytes) -> Variant:
    name = VARIANT_NAMES.get(data[0])
    if name is None:
        raise not_supported(f"sql_variant with base type {data[0]:#x}")
    properties, content = data[2 : 2 + data[1]], data[2 + data[1] :]
    kind = _variant_type(name, properties)
    return Variant(kind, decode(kind, content))


def _variant_type(name: str, properties: bytes) -> SqlType:
    if name in t.DECIMALS:
        return t.decimal(properties[0], properties[1], name)
    if name in ("time", "datetime2", "datetimeoffset"):
        return SqlType(name, scale=properties[0])
    kind = SqlType(name)
    if kind.is_text:
        unit = 2 if kind.is_unicode else 1
        return SqlType(name, struct.unpack("<H", properties[5:])[0] // unit, collation=read_collation(properties[:5]))
    if kind.is_binary:
        return SqlType(name, struct.unpack("<H", properties)[0])
    return {"float": t.FLOAT, "real": t.REAL, "money": t.MONEY, "smallmoney": t.SMALLMONEY}.get(name, kind)
