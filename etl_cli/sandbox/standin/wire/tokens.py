"""The tokens of a reply ([MS-TDS] 2.2.7), each as bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from etl_cli.sandbox.standin.collations import DEFAULT, collation
from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.types import OLD_LARGE, SqlType
from etl_cli.sandbox.standin.wire.types import type_info

SERVER_NAME = "standin"
PROGRAM_NAME = "Microsoft SQL Server"
VERSION = (16, 0, 4175)  # SQL Server 2022
MORE, ERROR, COUNT, ATTENTION = 0x01, 0x02, 0x10, 0x20
DONE, DONE_PROCEDURE, DONE_IN_PROCEDURE = 0xFD, 0xFE, 0xFF
ENV_DATABASE, ENV_LANGUAGE, ENV_PACKET_SIZE, ENV_COLLATION = 1, 2, 4, 7
ENV_BEGIN, ENV_COMMIT, ENV_ROLLBACK, ENV_RESET = 8, 9, 10, 18
COMMANDS = {"SELECT": 0xC1, "INSERT": 0xC3, "DELETE": 0xC4, "UPDATE": 0xC5}
NULLABLE, READ_WRITE, IDENTITY, COMPUTED = 0x01, 0x08, 0x10, 0x20
ROWVERSION_USER_TYPE = 80


@dataclass(frozen=True, slots=True)
class ResultColumn:
    """One column of a result: what COLMETADATA says of it."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False
    table: str = ""


def _short(text: str) -> bytes:
    """B_VARCHAR: the number of UTF-16 units in one byte, then the text."""
    data = text.encode("utf-16-le", "surrogatepass")[:510]
    return bytes([len(data) // 2]) + data


def _long(text: str) -> bytes:
    """US_VARCHAR: the number of UTF-16 units in two bytes, then the text."""
    data = text.encode("utf-16-le", "surrogatepass")[:8000]
    return struct.pack("<H", len(data) // 2) + data


def column_metadata(columns: tuple[ResultColumn, ...]) -> bytes:
    """Return COLMETADATA."""
    return b"\x81" + struct.pack("<H", len(columns)) + b"".join(_column(column) for column in columns)


def _column(column: ResultColumn) -> bytes:
    flags = (NULLABLE if column.nullable else 0) | (IDENTITY if column.identity else 0)
    flags |= COMPUTED if column.computed else READ_WRITE
    user_type = ROWVERSION_USER_TYPE if column.type.name == "rowversion" else 0
    table = b"\x01" + _long(column.table) if column.type.name in OLD_LARGE else b""
    return struct.pack("<IH", user_type, flags) + type_info(column.type) + table + _short(column.name)


def done(token: int, status: int, rows: int = 0, command: str = "") -> bytes:
    """Return DONE, DONEPROC or DONEINPROC."""
    return struct.pack("<BHHQ", token, status, COMMANDS.get(command, 0), rows)


def message(error: SqlError) -> bytes:
    """Return ERROR, or INFO when the severity is 10 or less."""
    body = struct.pack("<IBB", error.number, error.state, error.severity)
    body += _long(error.message) + _short(SERVER_NAME) + _short("") + struct.pack("<I", error.line)
    return (b"\xaa" if error.severity > 10 else b"\xab") + struct.pack("<H", len(body)) + body


def environment(kind: int, new: str, old: str) -> bytes:
    """Return ENVCHANGE with text values."""
    return _environment(kind, _short(new) + _short(old))


def environment_bytes(kind: int, new: bytes, old: bytes) -> bytes:
    """Return ENVCHANGE with byte values: collation, transaction descriptors."""
    return _environment(kind, bytes([len(new)]) + new + bytes([len(old)]) + old)


def _environment(kind: int, values: bytes) -> bytes:
    return b"\xe3" + struct.pack("<HB", len(values) + 1, kind) + values


def default_collation() -> bytes:
    """Return the ENVCHANGE that tells the server's collation."""
    return environment_bytes(ENV_COLLATION, collation(DEFAULT).wire, b"")


def login_ack(tds_version: int) -> bytes:
    """Return LOGINACK; tds_version as in LOGIN7."""
    name = _short(PROGRAM_NAME)
    body = b"\x01" + struct.pack(">I", tds_version) + name + struct.pack(">BBH", *VERSION)
    return b"\xad" + struct.pack("<H", len(body)) + body


def feature_ack(features: dict[int, bytes]) -> bytes:
    """Return FEATUREEXTACK."""
    items = b"".join(bytes([key]) + struct.pack("<I", len(data)) + data for key, data in features.items())
    return b"\xae" + items + b"\xff"


def return_status(status: int) -> bytes:
    """Return RETURNSTATUS."""
    return b"\x79" + struct.pack("<i", status)


def return_value(name: str, kind: SqlType, value: bytes, ordinal: int = 0) -> bytes:
    """Return RETURNVALUE of an output parameter; value is encoded as in a row."""
    head = b"\xac" + struct.pack("<H", ordinal) + _short(name) + b"\x01" + struct.pack("<IH", 0, 0)
    return head + type_info(kind) + value
