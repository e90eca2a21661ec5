"""What a source's error means: is it worth another try, and what is there to do.

Numbers are those of SQL Server's sys.messages. pyodbc hands the number on in its text; mssql-python
gives text only, so there the known texts decide.
"""

from __future__ import annotations

import re

from etl_cli.runtime.errors import SourceError

TRANSIENT = frozenset({1205, 1222, 3958, 3961, 3966, 3967, 10928, 10929, 40197, 40501, 40613, 49918, 49919, 49920})
"""Deadlock, lock timeout, snapshot conflicts of a reader, throttling: another try may succeed."""

PERMANENT = frozenset(
    {102, 156, 207, 208, 229, 230, 245, 911, 916, 3952, 4060, 8114, 8152, 18452, 18456, 18487, 18488, 22105, 22115}
)

_REMEDY_SYNTAX = "correct `where` of the table, or --where"
_REMEDY_TRACKING = (
    "ALTER DATABASE ... SET CHANGE_TRACKING = ON (CHANGE_RETENTION = 7 DAYS), "
    "and ALTER TABLE ... ENABLE CHANGE_TRACKING"
)
_REMEDIES = {
    102: _REMEDY_SYNTAX,
    156: _REMEDY_SYNTAX,
    207: "a column is gone, or `where` names one that is not there: compare the table with `etl-cli plan`",
    208: "create the table, or take it out of `tables`",
    229: "grant SELECT on it to the source user",
    1222: "another session holds a lock; raise source.lock_timeout or allow snapshot isolation",
    3952: "set source.isolation: read_committed, or ALTER DATABASE ... SET ALLOW_SNAPSHOT_ISOLATION ON",
    22105: _REMEDY_TRACKING,
    22115: _REMEDY_TRACKING,
    4060: "check source.database, and that the login may open it",
    18456: "check source.user and source.password in .env",
}
_REMEDY_UNREACHABLE = "check host and port, and that the server is up"
_REMEDY_CERTIFICATE = (
    "install the server's certificate, or set SOURCE_DB_TRUST_CERTIFICATE=true for a development server"
)
_NUMBER = re.compile(r"\((\d+)\)\s*\(SQL[A-Za-z]+\)")
_PREFIXES = re.compile(r"(\[[^\]]*\]\s*)+")
_PERMANENT_TEXTS = (
    "login failed",
    "incorrect syntax",
    "invalid object name",
    "invalid column name",
    "permission was denied",
    "cannot open database",
)


def number_of(error: BaseException) -> int | None:
    """The server's error number in a pyodbc error's text; 0 and absent are None."""
    match = _NUMBER.search(str(error))
    return int(match[1]) or None if match else None


def is_transient(error: BaseException) -> bool:
    """Whether another try may succeed: what is not known to be permanent may."""
    number = error.number if isinstance(error, SourceError) else number_of(error)
    if number is not None and number in PERMANENT:
        return False
    return not any(text in str(error).lower() for text in _PERMANENT_TEXTS)


def translate(error: BaseException, shard: str, doing: str) -> SourceError:
    """A driver's error as one line: the shard, what was being done, what the server said, what to do."""
    number = number_of(error)
    said = _said(error)
    return SourceError(f"shard {shard}: {doing} failed: {said}", _remedy(number, error), shard=shard, number=number)


def _said(error: BaseException) -> str:
    """The server's own words, without the driver's prefixes, state and function names."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = str(error.args[1]) if len(error.args) > 1 and isinstance(error.args[1], str) else str(error)
    text = _PREFIXES.sub("", text.split("(SQL")[0])
    text = re.sub(r"^Driver Error: [^;]*; DDBC Error: ", "", text)
    text = re.sub(r"\s*\(\d+\)\s*$", "", text.strip())
    number = number_of(error)
    return f"{' '.join(text.split()).rstrip('.;')}" + (f" (error {number})" if number else "")


def _remedy(number: int | None, error: BaseException) -> str:
    if number in _REMEDIES:
        return _REMEDIES[number]
    if isinstance(error, OSError):
        return _REMEDY_UNREACHABLE
    lower = str(error).lower()
    if "incorrect syntax" in lower:
        return _REMEDY_SYNTAX
    if "change tracking is not enabled" in lower:
        return _REMEDY_TRACKING
    if "certificate verify failed" in lower or ("certificate" in lower and "trust" in lower):
        return _REMEDY_CERTIFICATE
    if any(word in lower for word in ("login timeout", "tcp provider", "communication link", "unable to connect")):
        return _REMEDY_UNREACHABLE
    return "see the server's log"
