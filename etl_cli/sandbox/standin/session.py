"""One login's state: its database, its settings, its transaction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from etl_cli.sandbox.standin.errors import SqlError
from etl_cli.sandbox.standin.store.database import Database
from etl_cli.sandbox.standin.store.transaction import READ_COMMITTED, Transaction, Waiting

if TYPE_CHECKING:
    from etl_cli.sandbox.standin.instance import Instance

ADMINISTRATOR_ROLE = "dbo"


@dataclass
class Settings:
    """What SET changes and RESETCONNECTION puts back."""

    isolation: str = READ_COMMITTED
    lock_timeout_ms: int = -1
    no_count: bool = False
    implicit_transactions: bool = False
    abort_on_error: bool = False
    identity_insert: int | None = None


@dataclass
class Login:
    """Who is logged in; administrator: sa, to whom everything is allowed."""

    user: str
    administrator: bool
    application: str = ""
    host: str = ""


@dataclass
class Session:
    """The server's side of one connection. check raises when the client cancels or has gone."""

    instance: Instance
    database: Database
    login: Login
    spid: int
    check: Callable[[], None] = field(default=lambda: None)
    settings: Settings = field(default_factory=Settings)
    transaction: Transaction | None = None
    depth: int = 0  # @@TRANCOUNT
    row_count: int = 0
    last_error: int = 0
    last_identity: int | None = None
    savepoints: dict[str, int] = field(default_factory=dict)
    # told when a transaction begins or ends: 'begin', 'commit', 'rollback', and its descriptor
    on_transaction: Callable[[str, bytes], None] = field(default=lambda event, descriptor: None)
    descriptor: bytes = bytes(8)

    def new_transaction(self) -> Transaction:
        """Return a transaction of this session's level that nobody else knows yet."""
        waiting = Waiting(self.settings.lock_timeout_ms, self.check, self.spid)
        return Transaction(self.database, self.settings.isolation, waiting)

    def begin(self) -> None:
        """BEGIN TRANSACTION."""
        if self.transaction is None:
            self.transaction = self.new_transaction()
            self.descriptor = self.transaction.number.to_bytes(8, "little")
            self.on_transaction("begin", self.descriptor)
        self.depth += 1

    def commit(self) -> None:
        """COMMIT: the outermost one makes the changes visible. 3902 without a transaction."""
        if self.transaction is None:
            raise SqlError(3902, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        self.depth -= 1
        if self.depth == 0:
            self.transaction.commit()
            self._ended("commit")

    def rollback(self, name: str = "") -> None:
        """ROLLBACK, wholly or to a savepoint. 3903 without a transaction."""
        if self.transaction is None:
            raise SqlError(3903, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.")
        if name.lower() in self.savepoints:
            self.transaction.roll_back_to(self.savepoints[name.lower()])
            return
        self.abandon()

    def save(self, name: str) -> None:
        """SAVE TRANSACTION."""
        if self.transaction is None:
            raise SqlError(628, "Cannot issue SAVE TRANSACTION when there is no active transaction.")
        self.savepoints[name.lower()] = self.transaction.mark

    def abandon(self) -> None:
        """Roll back whatever is open."""
        if self.transaction is not None:
            self.transaction.rollback()
            self._ended("rollback")

    def _ended(self, event: str) -> None:
        self.transaction = None
        self.depth = 0
        self.savepoints = {}
        descriptor, self.descriptor = self.descriptor, bytes(8)
        self.on_transaction(event, descriptor)

    def reset(self, *, keep_transaction: bool) -> None:
        """Do what RESETCONNECTION asks: as after login."""
        if not keep_transaction:
            self.abandon()
        self.settings = Settings()
        self.row_count = 0

    def variable_or_zero(self, name: str) -> int:
        """Return @@TRANCOUNT, @@ROWCOUNT, @@SPID or @@ERROR."""
        return {"@@trancount": self.depth, "@@rowcount": self.row_count, "@@spid": self.spid,
                "@@error": self.last_error}[name]  # fmt: skip
