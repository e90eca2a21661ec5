"""hierarchyid, geography and geometry: only as far as their text and well-known binary go."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from etl_cli.sandbox.standin.errors import SqlError, not_supported

DEFAULT_SRID = {"geography": 4326, "geometry": 0}
SHAPES = {"POINT": 1, "LINESTRING": 2, "POLYGON": 3, "MULTIPOINT": 4, "MULTILINESTRING": 5, "MULTIPOLYGON": 6}
PARTS = {4: 1, 5: 2, 6: 3}


class UserValue(NamedTuple):
    """A value of a CLR type: its text, its well-known binary (with Z and M; without) and its SRID."""

    text: str
    data: bytes = b""
    flat: bytes = b""
    srid: int = 0


def parse(kind: str, text: str, srid: int | None = None) -> UserValue:
    """Return the value that text says; 6522 where SQL Server's CLR type refuses it."""
    if kind == "hierarchyid":
        if not re.fullmatch(r"/(?:-?\d+(?:\.-?\d+)*/)*", text):
            raise _refused("hierarchyid", f"The input string '{text}' is not a valid string representation")
        return UserValue(text)
    number = DEFAULT_SRID[kind] if srid is None else srid
    return UserValue(text.strip(), _binary(kind, text, flat=False), _binary(kind, text, flat=True), number)


def point(kind: str, first: float, second: float, srid: int) -> UserValue:
    """Return Point(latitude, longitude, srid) of geography, Point(x, y, srid) of geometry."""
    x, y = (second, first) if kind == "geography" else (first, second)
    return parse(kind, f"POINT ({_number(x)} {_number(y)})", srid)


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _refused(kind: str, reason: str) -> SqlError:
    return SqlError(
        6522,
        f'A .NET Framework error occurred during execution of user-defined routine or aggregate "{kind}": {reason}.',
    )


def _binary(kind: str, text: str, *, flat: bool) -> bytes:
    tokens = re.findall(r"[A-Za-z]+|[(),]|[^\s(),]+", text)
    data, rest = _shape(kind, tokens, flat=flat)
    if rest:
        raise _refused(kind, f"unexpected '{rest[0]}'")
    return data


def _shape(kind: str, tokens: list[str], *, flat: bool) -> tuple[bytes, list[str]]:
    code = SHAPES.get(tokens[0].upper() if tokens else "")
    if code is None:
        raise not_supported(f"{kind} of the text {' '.join(tokens[:1])}")
    if tokens[1:2] and tokens[1].upper() == "EMPTY":
        raise not_supported(f"an empty {kind}")
    return _body(kind, code, tokens[1:], flat=flat)


def _body(kind: str, code: int, tokens: list[str], *, flat: bool) -> tuple[bytes, list[str]]:
    if code == 1:
        points, rest = _points(kind, tokens)
        return _head(code, points[0], flat=flat) + _pack(points[0], flat=flat), rest
    if code == 2:
        points, rest = _points(kind, tokens)
        return _head(code, points[0], flat=flat) + _pack_all(points, flat=flat), rest
    return _nested(kind, code, tokens, flat=flat)


def _nested(kind: str, code: int, tokens: list[str], *, flat: bool) -> tuple[bytes, list[str]]:
    """Polygons hold rings, the MULTI shapes hold whole shapes."""
    if tokens[:1] != ["("]:
        raise _refused(kind, "'(' expected")
    parts: list[bytes] = []
    first: list[float] = []
    rest = tokens[1:]
    while True:
        if code == 3:
            points, rest = _points(kind, rest)
            first = first or points[0]
            parts.append(_pack_all(points, flat=flat))
        else:
            part, rest = _body(kind, PARTS[code], rest, flat=flat)
            parts.append(part)
        if rest[:1] != [","]:
            break
        rest = rest[1:]
    if rest[:1] != [")"]:
        raise _refused(kind, "')' expected")
    head = _head(code, first, flat=flat) if first else b"\x01" + struct.pack("<I", code + _extra(parts[0]))
    return head + struct.pack("<I", len(parts)) + b"".join(parts), rest[1:]


def _points(kind: str, tokens: list[str]) -> tuple[list[list[float]], list[str]]:
    if tokens[:1] != ["("] or ")" not in tokens:
        raise _refused(kind, "'(' expected")
    end = tokens.index(")")
    points: list[list[float]] = [[]]
    for token in tokens[1:end]:
        if token == ",":
            points.append([])
        else:
            points[-1].append(_coordinate(kind, token))
    if any(not 2 <= len(point) <= 4 for point in points):
        raise _refused(kind, "two to four coordinates expected")
    return points, tokens[end + 1 :]


def _coordinate(kind: str, token: str) -> float:
    try:
        return float(token)
    except ValueError:
        raise _refused(kind, f"a number was expected, not '{token}'") from None


def _head(code: int, point: list[float], *, flat: bool) -> bytes:
    """Little-endian ISO well-known binary: 1000 is added for Z, 2000 for M."""
    extra = 0 if flat else {2: 0, 3: 1000, 4: 3000}[len(point)]
    return b"\x01" + struct.pack("<I", code + extra)


def _extra(part: bytes) -> int:
    """What the type code of a part says of Z and M: the whole says the same."""
    return int(struct.unpack_from("<I", part, 1)[0]) // 1000 * 1000


def _pack(point: list[float], *, flat: bool) -> bytes:
    kept = point[:2] if flat else point
    return struct.pack(f"<{len(kept)}d", *kept)


def _pack_all(points: list[list[float]], *, flat: bool) -> bytes:
    return struct.pack("<I", len(points)) + b"".join(_pack(point, flat=flat) for point in points)
