"""What expressions ask of the session: variables, system functions, inner queries."""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from etl_cli.sandbox.standin import types as t
from etl_cli.sandbox.standin.bulk.replay import ScanBudget
from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.session import Session
from etl_cli.sandbox.standin.sql import ast, temporal
from etl_cli.sandbox.standin.sql.bound import Bound, constant, converted, derived
from etl_cli.sandbox.standin.store.definitions import Table, View
from etl_cli.sandbox.standin.store.transaction import Transaction
from etl_cli.sandbox.standin.types import SqlType, SqlValue, Variant
from etl_cli.sandbox.standin.wire.tokens import SERVER_NAME, VERSION

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.sql.select import Query

VERSION_TEXT = ".".join(str(part) for part in (*VERSION[:3], 1))
BANNER = f"Microsoft SQL Server 2022 (stand-in) - {VERSION_TEXT} (X64)"
ENGINE_EDITION = 3  # Enterprise, Developer
OBJECT_TYPES: dict[str, type[Table] | type[View]] = {"U": Table, "V": View}


class ExecutionContext:
    """The context of one statement; its time stands still while it runs."""

    def __init__(
        self,
        session: Session,
        transaction: Transaction,
        variables: dict[str, tuple[SqlType, SqlValue]],
        query: Callable[[ast.Select, ExecutionContext], Query],
    ) -> None:
        self.session = session
        self.transaction = transaction
        self.variables = variables
        self._query = query
        self.now = datetime.datetime.now(datetime.UTC)

    def variable(self, name: str) -> Bound:
        """Return @name or @@name; 137 when it is not declared."""
        if name.startswith("@@"):
            return self._global(name)
        if name not in self.variables:
            raise SqlError(137, f'Must declare the scalar variable "{name}".', severity=15, state=2)
        kind, value = self.variables[name]
        return constant(kind, value, stable=False)

    def _global(self, name: str) -> Bound:
        session = self.session
        if name in ("@@trancount", "@@rowcount", "@@spid", "@@error"):
            kind = t.SMALLINT if name == "@@spid" else t.INT
            return constant(kind, session.variable_or_zero(name), stable=False)
        texts = {"@@version": BANNER, "@@servername": SERVER_NAME, "@@servicename": "MSSQLSERVER",
                 "@@language": "us_english"}  # fmt: skip
        if name in texts:
            return constant(t.nvarchar(300), texts[name], stable=False)
        if name == "@@dbts":
            return constant(SqlType("varbinary", 8), session.database.last_rowversion.to_bytes(8, "big"), stable=False)
        numbers = {"@@max_precision": 38, "@@datefirst": 7, "@@lock_timeout": session.settings.lock_timeout_ms,
                   "@@microsoftversion": VERSION[0] << 24 | VERSION[2], "@@options": 5496, "@@textsize": 2147483647,
                   "@@nestlevel": 0, "@@fetch_status": 0}  # fmt: skip
        if name in numbers:
            return constant(t.INT, numbers[name], stable=False)
        if name == "@@identity":
            return constant(t.numeric(38, 0), session.last_identity, stable=False)
        raise SqlError(137, f'Must declare the scalar variable "{name}".', severity=15, state=2)

    def scan_budget(self) -> ScanBudget:
        """Return what bounds the encoded rows that are kept."""
        return self.session.database.scans

    def inner_query(self, select: ast.Select) -> Query:
        """Bind a query in this context."""
        return self._query(select, self)

    def subquery(self, select: ast.Select, limit: int | None) -> tuple[tuple[SqlType, ...], list[tuple[SqlValue, ...]]]:
        """Run an inner query; one that refers to the outer query's columns is refused by name (207, 4104)."""
        query = self._query(select, self)
        return tuple(column.type for column in query.columns), list(islice(query.rows(), limit))

    def system_function(self, name: str, arguments: list[Bound]) -> Bound | None:
        """Return a function over session, server or catalogue; None when there is none of that name."""
        if name == "NEWID" and not arguments:
            return Bound(t.GUID, lambda row: uuid.uuid4().bytes_le, False, stable=False)
        if name in _CLOCKS:
            return constant(_CLOCKS[name], self._clock(name), stable=False)
        if name == "HAS_PERMS_BY_NAME" and len(arguments) >= 3:
            return self._over(t.INT, self._has_permission, arguments[:3])
        if name in _FUNCTIONS:
            kind, function = _FUNCTIONS[name]
            return self._over(kind, lambda *values: function(self, *values), arguments)
        return None

    def _over(self, kind: SqlType, function: Callable[..., SqlValue], arguments: list[Bound]) -> Bound:
        evaluates = [
            (argument if argument.type.is_exact else converted(argument, t.nvarchar(4000))).evaluate
            for argument in arguments
        ]
        bound = derived(kind, lambda row: function(*(inner(row) for inner in evaluates)), *arguments, nullable=True)
        return Bound(bound.type, bound.evaluate, True, bound.constant, False)

    def _clock(self, name: str) -> SqlValue:
        local = self.now.astimezone()
        offset = int((local.utcoffset() or datetime.timedelta()).total_seconds()) // 60
        utc = ticks_of(self.now)
        if name == "SYSDATETIMEOFFSET":
            return utc, offset
        ticks = utc if "UTC" in name else utc + offset * temporal.MINUTE
        return temporal.from_ticks(_CLOCKS[name], ticks)

    # --- objects -----------------------------------------------------------------------------------------------

    def find_object(self, name: str) -> Table | View | None:
        """Return the object that a (perhaps quoted, perhaps qualified) name means."""
        parts = split_name(name)
        if len(parts) == 3 and parts[0].lower() not in ("", self.session.database.name.lower()):
            return None
        schema = (parts[-2] if len(parts) > 1 else "") or "dbo"
        return self.transaction.find(schema, parts[-1])

    def object_id(self, name: SqlValue, kind: SqlValue = None) -> SqlValue:
        """Return OBJECT_ID."""
        if name is None:
            return None
        found = self.find_object(name)
        wanted = OBJECT_TYPES.get(str(kind).strip().upper()) if kind is not None else None
        if found is None or (kind is not None and (wanted is None or not isinstance(found, wanted))):
            return None
        return found.object_id

    def object_name(self, number: SqlValue, *_: SqlValue) -> SqlValue:
        """Return OBJECT_NAME."""
        found = self.transaction.state.objects.get(number)
        return None if found is None else found.name

    def object_schema_name(self, number: SqlValue, *_: SqlValue) -> SqlValue:
        """Return OBJECT_SCHEMA_NAME."""
        found = self.transaction.state.objects.get(number)
        return None if found is None else found.schema

    def schema_name(self, number: SqlValue = None) -> SqlValue:
        """Return SCHEMA_NAME."""
        if number is None:
            return "dbo"
        return next((name for key, name in self.transaction.state.schemas.values() if key == number), None)

    def schema_id(self, name: SqlValue = "dbo") -> SqlValue:
        """Return SCHEMA_ID."""
        found = self.transaction.state.schemas.get(str(name).lower())
        return None if found is None else found[0]

    def database_name(self, number: SqlValue = None) -> SqlValue:
        """Return DB_NAME."""
        if number is None:
            return self.session.database.name
        databases = self.session.instance.databases.values()
        return next((database.name for database in databases if database.number == number), None)

    def database_id(self, name: SqlValue = None) -> SqlValue:
        """Return DB_ID."""
        if name is None:
            return self.session.database.number
        found = self.session.instance.databases.get(str(name).lower())
        return None if found is None else found.number

    def column_length(self, table: SqlValue, column: SqlValue) -> SqlValue:
        """Return COL_LENGTH in bytes."""
        from etl_cli.sandbox.standin.catalogue.types import max_length

        found = self.find_object(table)
        position = found.positions.get(str(column).lower()) if isinstance(found, Table) else None
        return None if position is None or not isinstance(found, Table) else max_length(found.types[position])

    def change_version(self) -> SqlValue:
        """Return CHANGE_TRACKING_CURRENT_VERSION, NULL where the database is not tracked."""
        return None if self.session.database.change_tracking is None else self.transaction.state.change_version

    def min_valid_change_version(self, number: SqlValue) -> SqlValue:
        """Return CHANGE_TRACKING_MIN_VALID_VERSION, NULL for a table that is not tracked or may not be seen."""
        journal = self.transaction.state.journals.get(number)
        if journal is None or not self.allowed(number, "VIEW CHANGE TRACKING"):
            return None
        return journal.min_valid_version

    # --- rights and properties ---------------------------------------------------------------------------------

    def _has_permission(self, name: SqlValue, kind: SqlValue, right: SqlValue) -> SqlValue:
        login = self.session.login
        label = str(right).upper()
        if kind is None or str(kind).upper() in ("DATABASE", "SERVER"):
            return int(login.administrator or label in ("CONNECT", "CONNECT SQL"))
        found = None if name is None else self.find_object(name)
        if found is None:
            return None
        return int(self.allowed(found.object_id, label))

    def allowed(self, number: int, right: str) -> bool:
        """Whether the login has a right on an object: sa has all, DENY beats GRANT."""
        login, state = self.session.login, self.transaction.state
        user = login.user.lower()
        if login.administrator:
            return True
        keys = {(name, place, right) for name in (user, "public") for place in (0, number)}
        return bool(keys & state.granted) and not keys & state.denied

    def server_property(self, name: SqlValue) -> SqlValue:
        """Return SERVERPROPERTY as a sql_variant."""
        texts = {
            "productversion": VERSION_TEXT, "productlevel": "RTM", "edition": "Developer Edition (64-bit)",
            "collation": self.session.database.collation, "servername": SERVER_NAME, "machinename": SERVER_NAME,
            "productmajorversion": str(VERSION[0]), "instancename": None, "productupdatelevel": None,
        }  # fmt: skip
        numbers = {"engineedition": ENGINE_EDITION, "isintegratedsecurityonly": 0, "isclustered": 0,
                   "ishadrenabled": 0, "editionid": -2117995310}  # fmt: skip
        return _variant(str(name).lower(), texts, numbers)

    def database_property(self, name: SqlValue, item: SqlValue) -> SqlValue:
        """Return DATABASEPROPERTYEX as a sql_variant."""
        found = self.session.instance.databases.get(str(name).lower())
        if found is None:
            return None
        texts = {"collation": found.collation, "status": "ONLINE", "updateability": "READ_WRITE",
                 "recovery": "FULL", "useraccess": "MULTI_USER"}  # fmt: skip
        return _variant(str(item).lower(), texts, {"version": 957})


def _variant(name: str, texts: dict[str, Any], numbers: dict[str, int]) -> SqlValue:
    if texts.get(name) is not None:
        return Variant(t.nvarchar(128), texts[name])
    return Variant(t.INT, numbers[name]) if name in numbers else None


def ticks_of(moment: datetime.datetime) -> int:
    """Return a moment's clock reading as ticks since 0001-01-01."""
    passed = moment.replace(tzinfo=None) - datetime.datetime.min
    return (passed.days * 86_400 + passed.seconds) * temporal.SECOND + passed.microseconds * 10


def split_name(name: str) -> list[str]:
    """Return the parts of [a].[b] or a.b."""
    from etl_cli.sandbox.standin.sql.cursor import Cursor

    try:
        return list(Cursor(name).object_name())
    except SqlError:
        return [name]


_CLOCKS = {
    "GETDATE": t.DATETIME, "GETUTCDATE": t.DATETIME, "SYSDATETIME": t.datetime2(), "SYSUTCDATETIME": t.datetime2(),
    "SYSDATETIMEOFFSET": t.datetimeoffset(),
}  # fmt: skip
_NAME = t.SYSNAME
_FUNCTIONS: dict[str, tuple[SqlType, Callable[..., SqlValue]]] = {
    "DB_NAME": (_NAME, ExecutionContext.database_name), "DB_ID": (t.SMALLINT, ExecutionContext.database_id),
    "SCHEMA_NAME": (_NAME, ExecutionContext.schema_name), "SCHEMA_ID": (t.INT, ExecutionContext.schema_id),
    "OBJECT_ID": (t.INT, ExecutionContext.object_id), "OBJECT_NAME": (_NAME, ExecutionContext.object_name),
    "OBJECT_SCHEMA_NAME": (_NAME, ExecutionContext.object_schema_name),
    "COL_LENGTH": (t.SMALLINT, ExecutionContext.column_length),
    "SERVERPROPERTY": (t.SQL_VARIANT, ExecutionContext.server_property),
    "DATABASEPROPERTYEX": (t.SQL_VARIANT, ExecutionContext.database_property),
    "SUSER_SNAME": (_NAME, lambda context, *_: context.session.login.user),
    "SUSER_NAME": (_NAME, lambda context, *_: context.session.login.user),
    "ORIGINAL_LOGIN": (_NAME, lambda context: context.session.login.user),
    "USER_NAME": (_NAME, lambda context, *_: (
        "dbo" if context.session.login.administrator else context.session.login.user)),
    "HOST_NAME": (_NAME, lambda context: context.session.login.host),
    "APP_NAME": (_NAME, lambda context: context.session.login.application),
    "XACT_STATE": (t.SMALLINT, lambda context: int(context.session.depth > 0)),
    "SCOPE_IDENTITY": (t.numeric(38, 0), lambda context: context.session.last_identity),
    "ROWCOUNT_BIG": (t.BIGINT, lambda context: context.session.row_count),
    "MIN_ACTIVE_ROWVERSION": (SqlType("binary", 8), lambda context: (
        context.session.database.lowest_active_rowversion().to_bytes(8, "big"))),
    "CHANGE_TRACKING_CURRENT_VERSION": (t.BIGINT, ExecutionContext.change_version),
    "CHANGE_TRACKING_MIN_VALID_VERSION": (t.BIGINT, ExecutionContext.min_valid_change_version),
}  # fmt: skip
