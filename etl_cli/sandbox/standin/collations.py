"""Collations: their code page, their five bytes on the wire, and the key by which their text compares.

Comparison is an approximation of the Windows tables: case, accent and binary sensitivity, trailing spaces and
the order punctuation < digits < letters are as on SQL Server; word sort of hyphens and the tables of single
languages are not.
"""

from __future__ import annotations

import codecs
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from etl_cli.sandbox.standin.errors import SqlError

DEFAULT = "SQL_Latin1_General_CP1_CI_AS"

# name's prefix -> (locale id, code page); [MS-LCID] and the documentation of Windows collations
LOCALES = {
    "latin1_general": (0x409, "cp1252"), "cyrillic_general": (0x419, "cp1251"), "greek": (0x408, "cp1253"),
    "turkish": (0x41F, "cp1254"), "hebrew": (0x40D, "cp1255"), "arabic": (0x401, "cp1256"),
    "estonian": (0x425, "cp1257"), "lithuanian": (0x427, "cp1257"), "latvian": (0x426, "cp1257"),
    "polish": (0x415, "cp1250"), "czech": (0x405, "cp1250"), "hungarian": (0x40E, "cp1250"),
    "romanian": (0x418, "cp1250"), "ukrainian": (0x422, "cp1251"), "vietnamese": (0x42A, "cp1258"),
    "thai": (0x41E, "cp874"), "japanese": (0x411, "cp932"), "korean_wansung": (0x412, "cp949"),
    "chinese_prc": (0x804, "cp936"), "chinese_taiwan_stroke": (0x404, "cp950"), "french": (0x40C, "cp1252"),
    "finnish_swedish": (0x40B, "cp1252"), "danish_norwegian": (0x406, "cp1252"),
    "modern_spanish": (0xC0A, "cp1252"), "german_phonebook": (0x10407, "cp1252"),
}  # fmt: skip
VERSIONS = {"_90_": 1, "_100_": 2, "_140_": 3}
SQL_SORT_IDS = {
    "sql_latin1_general_cp1_ci_as": 52, "sql_latin1_general_cp1_cs_as": 51,
    "sql_latin1_general_cp1_ci_ai": 54, "sql_latin1_general_cp1251_ci_as": 106,
    "sql_latin1_general_cp1250_ci_as": 82,
}  # fmt: skip
IGNORE_CASE, IGNORE_ACCENT, IGNORE_WIDTH, IGNORE_KANA = 1, 2, 4, 8
BINARY, BINARY2, UTF8 = 0x10, 0x20, 0x40


def _replacement(error: UnicodeError) -> tuple[str | bytes, int]:
    """Map the C1 controls one to one, as Windows code pages do, and everything else to a question mark."""
    if isinstance(error, UnicodeDecodeError):
        return chr(error.object[error.start]), error.start + 1
    if isinstance(error, UnicodeEncodeError):
        code = ord(error.object[error.start])
        return bytes([code]) if 0x80 <= code < 0xA0 else b"?", error.start + 1
    raise error


codecs.register_error("standin-code-page", _replacement)


@dataclass(frozen=True, slots=True)
class Collation:
    """One collation by name; flags are the bits of the wire's collation field."""

    name: str
    locale: int
    flags: int
    version: int
    sort_id: int
    codec: str

    @property
    def wire(self) -> bytes:
        """The five bytes of TYPE_INFO ([MS-TDS] 2.2.5.1.2)."""
        return struct.pack("<IB", self.locale | self.flags << 20 | self.version << 28, self.sort_id)

    @property
    def is_utf8(self) -> bool:
        """Whether varchar under this collation is UTF-8."""
        return bool(self.flags & UTF8)

    def encode(self, text: str) -> bytes:
        """Return varchar bytes; what the code page lacks becomes '?', as on SQL Server (no best fit here)."""
        if self.codec == "utf-8":
            return text.encode("utf-8", "surrogatepass")
        return text.encode(self.codec, "standin-code-page")

    def decode(self, data: bytes) -> str:
        """Return the text of varchar bytes."""
        return data.decode(self.codec, "surrogatepass" if self.codec == "utf-8" else "standin-code-page")

    def key(self, *, unicode: bool) -> Callable[[str], object]:
        """Return the function whose results compare as the texts do; trailing spaces never count."""
        if self.flags & (BINARY | BINARY2):
            return _code_unit_key if unicode else lambda text: self.encode(text.rstrip(" "))
        if self.flags & IGNORE_CASE:
            return _folded_key if not self.flags & IGNORE_ACCENT else _base_key
        return _case_key


def _code_unit_key(text: str) -> bytes:
    return text.rstrip(" ").encode("utf-16-be", "surrogatepass")


def _ranks() -> dict[int, int]:
    """ASCII in the order control, space, punctuation, digit, letter; nothing maps to 0."""
    order = sorted(range(128), key=lambda c: (chr(c).isalpha(), chr(c).isdigit(), c >= 32, c))
    return {code: rank + 1 for rank, code in enumerate(order)}


_RANKS = _ranks()


def _folded_key(text: str) -> str:
    """Case does not count; an accent counts after all base letters are equal."""
    folded = text.rstrip(" ").casefold()
    if folded.isascii():
        return folded.translate(_RANKS)
    base, accents = _split(folded)
    return base.translate(_RANKS) + "\0" + accents if accents else base.translate(_RANKS)


def _base_key(text: str) -> str:
    return _split(text.rstrip(" ").casefold())[0].translate(_RANKS)


def _case_key(text: str) -> tuple[str, str]:
    """Case counts last, and a small letter comes before its capital."""
    return _folded_key(text), text.rstrip(" ").swapcase()


def _split(folded: str) -> tuple[str, str]:
    """Return base letters, and the combining marks with their places."""
    base: list[str] = []
    marks: list[str] = []
    for char in unicodedata.normalize("NFD", folded):
        if unicodedata.combining(char):
            marks.append(chr(len(base) + 1) + char)
        else:
            base.append(char)
    return "".join(base), "".join(marks)


@lru_cache(maxsize=256)
def collation(name: str) -> Collation:
    """Return the collation of this name; 448 when it is not known here."""
    lower = name.lower()
    plain = lower.removeprefix("sql_")
    prefix = max((p for p in LOCALES if plain.startswith(p)), key=len, default=None)
    if prefix is None or (lower.startswith("sql_") and lower not in SQL_SORT_IDS):
        raise SqlError(448, f"Invalid collation '{name}'.")
    locale, codec = LOCALES[prefix]
    if lower.startswith("sql_") and "cp125" in lower:
        codec = "cp" + lower.split("_cp")[1].split("_")[0]
    version = next((number for mark, number in VERSIONS.items() if mark in lower), 0)
    flags = _flags(lower)
    return Collation(name, locale, flags, version, SQL_SORT_IDS.get(lower, 0), "utf-8" if flags & UTF8 else codec)


def _flags(lower: str) -> int:
    parts = lower.split("_")
    utf8 = UTF8 if parts[-1] == "utf8" else 0
    if "bin2" in parts:
        return BINARY2 | utf8
    if "bin" in parts:
        return BINARY
    flags = utf8
    flags |= IGNORE_CASE if "ci" in parts else 0
    flags |= IGNORE_ACCENT if "ai" in parts else 0
    flags |= 0 if "ws" in parts else IGNORE_WIDTH
    return flags | (0 if "ks" in parts else IGNORE_KANA)
