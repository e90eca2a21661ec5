"""Remote procedure calls: parameterised statements, prepared ones, and procedures by name ([MS-TDS] 2.2.6.6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.procedures import bind_parameters, declared
from etl_cli.sandbox.standin.sql import ast
from etl_cli.sandbox.standin.sql.statements import parse_batch
from etl_cli.sandbox.standin.types import SqlType
from etl_cli.sandbox.standin.wire.types import FIXED, Reader, read_type_info
from etl_cli.sandbox.standin.wire.values import read_value

SEPARATORS = (0x80, 0xFF, 0xFE)
NUMBERS = {1: "sp_cursor", 2: "sp_cursoropen", 3: "sp_cursorprepare", 4: "sp_cursorexecute", 5: "sp_cursorprepexec",
           6: "sp_cursorunprepare", 7: "sp_cursorfetch", 8: "sp_cursoroption", 9: "sp_cursorclose",
           10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 14: "sp_prepexecrpc",
           15: "sp_unprepare"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a call; name is '' or '@name'."""

    name: str
    type: SqlType
    value: Any
    output: bool


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a message."""

    procedure: str
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement behind a handle."""

    statements: tuple[ast.Statement, ...]
    declarations: list[tuple[str, SqlType]]
    text: str


@dataclass
class Handles:
    """The prepared statements of a connection."""

    known: dict[int, Prepared] = field(default_factory=dict)
    last: int = 0

    def keep(self, prepared: Prepared) -> int:
        """Return a new handle."""
        self.last += 1
        self.known[self.last] = prepared
        return self.last

    def find(self, handle: int) -> Prepared:
        """Return a statement; 8179 for an unknown handle."""
        if handle not in self.known:
            raise SqlError(8179, f"Could not find prepared statement with handle {handle}.")
        return self.known[handle]


@dataclass(frozen=True, slots=True)
class Run:
    """What a call comes to: statements with variables, and the handle to return if any."""

    statements: tuple[ast.Statement, ...]
    variables: dict[str, tuple[SqlType, Any]]
    text: str
    handle: int | None = None


def skip_headers(payload: bytes) -> bytes:
    """Return a message without ALL_HEADERS."""
    return payload[struct.unpack_from("<I", payload)[0] :]


def parse_calls(payload: bytes) -> Iterator[Call]:
    """Yield the calls of an RPC message."""
    reader = Reader(skip_headers(payload))
    while reader.left:
        yield _call(reader)
        if reader.left and reader.data[reader.position] in SEPARATORS:
            reader.byte()


def _call(reader: Reader) -> Call:
    length = reader.unpack("H")
    if length == 0xFFFF:
        number = reader.unpack("H")
        name = NUMBERS.get(number, f"procedure {number}")
    else:
        name = reader.text(length)
    reader.unpack("H")  # option flags
    parameters = []
    while reader.left and reader.data[reader.position] not in SEPARATORS:
        parameters.append(_parameter(reader))
    return Call(name, tuple(parameters))


def _parameter(reader: Reader) -> Parameter:
    name = reader.text(reader.byte())
    status = reader.byte()
    fixed = reader.data[reader.position] in FIXED
    kind = read_type_info(reader)
    return Parameter(name, kind, read_value(kind, reader, fixed=fixed), bool(status & 1))


def prepare_run(call: Call, handles: Handles) -> Run:
    """Return what a call comes to; a procedure by name becomes EXEC with its parameters as variables."""
    values = [(parameter.name, parameter.type, parameter.value) for parameter in call.parameters]
    name = call.procedure.rpartition(".")[2].strip("[]").lower()
    if name == "sp_executesql":
        text, listed = values[0][2], values[1][2] if len(values) > 1 else ""
        return Run(parse_batch(text), bind_parameters(declared(listed or ""), values[2:]), text)
    if name in ("sp_prepexec", "sp_prepare"):
        return _prepare(values, handles, run=name == "sp_prepexec")
    if name == "sp_prepexecrpc":
        prepared = _procedure(values[1][2], values[2:])
        handle = handles.keep(prepared)
        return Run(prepared.statements, bind_parameters(prepared.declarations, values[2:]), prepared.text, handle)
    if name == "sp_execute":
        prepared = handles.find(values[0][2])
        return Run(prepared.statements, bind_parameters(prepared.declarations, values[1:]), prepared.text)
    if name == "sp_unprepare":
        handles.known.pop(values[0][2], None)
        return Run((), {}, "")
    prepared = _procedure(name, values)
    return Run(prepared.statements, bind_parameters(prepared.declarations, values), prepared.text)


def _prepare(values: list[tuple[str, SqlType, Any]], handles: Handles, *, run: bool) -> Run:
    """Keep a statement behind a new handle; the old handle that comes along is dropped."""
    text = values[2][2]
    prepared = Prepared(parse_batch(text), declared(values[1][2] or ""), text)
    if values[0][2]:
        handles.known.pop(values[0][2], None)
    handle = handles.keep(prepared)
    if not run:
        return Run((), {}, text, handle)
    return Run(prepared.statements, bind_parameters(prepared.declarations, values[3:]), text, handle)


def _procedure(name: str, values: list[tuple[str, SqlType, Any]]) -> Prepared:
    """Return EXEC name with a variable for each value; named values keep their names."""
    declarations = [(given or f"@p{place}", kind) for place, (given, kind, _) in enumerate(values, 1)]
    arguments = tuple(
        (given.lower(), ast.Variable(variable.lower()))
        for (given, _, _), (variable, _) in zip(values, declarations, strict=True)
    )
    lowered = [(variable.lower(), kind) for variable, kind in declarations]
    return Prepared((ast.Execute((name,), arguments),), lowered, f"EXEC {name}")
