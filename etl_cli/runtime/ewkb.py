"""PostGIS's binary form of a shape: WKB with the SRID behind its head.

SQL Server's AsBinaryZM() gives little-endian WKB whose type code tells of Z and M (1000 and 2000 are added), which
PostGIS reads. EWKB says by a bit of the type code that four bytes of SRID follow; parts of a shape have none.
"""

from __future__ import annotations

import struct

import pyarrow as pa
import pyarrow.compute as pc

_HAS_SRID = b"\x20"
"""The highest byte of a type code, which is zero in WKB, with EWKB's bit for the SRID."""

_STORABLE = {"geometry": range(1, 11), "geography": range(1, 8)}
"""Codes of shapes. PostGIS's geography knows no arcs: its edges are great circles already."""

_NAMES = {8: "a CIRCULARSTRING", 9: "a COMPOUNDCURVE", 10: "a CURVEPOLYGON", 126: "a FULLGLOBE"}


def with_srids(wkb: pa.Array, srids: pa.Array) -> pa.Array:
    """Little-endian WKB with each value's SRID in it; NULL stays NULL. A pass for each SRID: mostly there is one."""
    wide = wkb.cast(pa.large_binary())
    result = pa.nulls(len(wide), pa.large_binary())
    numbers = srids.fill_null(0)
    for srid in pc.unique(numbers):
        head = _HAS_SRID + struct.pack("<I", srid.as_py())
        result = pc.if_else(pc.equal(numbers, srid), pc.binary_replace_slice(wide, 4, 5, head), result)
    return result


def first_unstorable(wkb: pa.Array, kind: str) -> tuple[int, str] | None:
    """The first row whose shape PostGIS's `kind` (geometry or geography) has not, and what it is; None = all fit."""
    heads = pc.binary_slice(wkb.cast(pa.large_binary()), 0, 5)
    for head in pc.unique(heads).drop_null().to_pylist():
        what = _misfit(head, kind)
        if what:
            return pc.index(heads, pa.scalar(head, pa.large_binary())).as_py(), what
    return None


def _misfit(head: bytes, kind: str) -> str:
    if len(head) < 5 or head[0] != 1:
        return "no little-endian WKB"
    code = struct.unpack("<I", head[1:])[0]
    if code < 4000 and code % 1000 in _STORABLE[kind]:
        return ""
    return _NAMES.get(code % 1000, f"a shape of the unknown type {code}")
